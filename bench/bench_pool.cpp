// SPDX-License-Identifier: MIT
// What a pooled buffer costs on the host, beside malloc: acquired and returned, of one size and of
// many, alone and by two threads. Nothing touches the memory. And what results, work on a set of
// streams, and readbacks cost beside what they are for.
#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/pool/buffers/buffer_pool.hpp>
#include <allot/stream/async_result.hpp>
#include <allot/stream/readback.hpp>
#include <allot/stream/stream_set.hpp>

#include <benchmark/benchmark.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <type_traits>

namespace {

using namespace allot;

/// The working buffers of a layer.
constexpr std::array<std::uint64_t, 8> sizes{1 * MiB,   1 * MiB,    1536 * KiB, 2 * MiB,
                                             512 * KiB, 2816 * KiB, 2816 * KiB, 1024};

template <class D, class C>
struct Pooled {
  BufferPool<D, C> pool{D{}, 256 * MiB};
  D device{};
  SharedStream<D> stream{device};

  auto get(std::uint64_t bytes) { return pool.acquire(bytes, stream); }
};

struct Malloced {
  struct Free {
    void operator()(void* memory) const noexcept { std::free(memory); }
  };
  std::unique_ptr<void, Free> get(std::uint64_t bytes) {
    return std::unique_ptr<void, Free>{std::malloc(bytes)};
  }
};

template <class Source>
Source& shared_source() {
  static Source source;
  return source;
}

/// One buffer, acquired and returned; the argument is its size.
template <class Source>
void one(benchmark::State& state) {
  Source& source = shared_source<Source>();
  const auto bytes = static_cast<std::uint64_t>(state.range(0));
  for (auto _ : state) {
    auto buffer = source.get(bytes);
    benchmark::DoNotOptimize(buffer);
  }
  state.SetItemsProcessed(state.iterations());
}

/// All buffers of a layer at once; figures are of one buffer.
template <class Source>
void a_layer(benchmark::State& state) {
  Source& source = shared_source<Source>();
  using Buffer = decltype(source.get(1));
  for (auto _ : state) {
    std::array<Buffer, sizes.size()> buffers;
    for (std::size_t i = 0; i < sizes.size(); ++i) buffers[i] = source.get(sizes[i]);
    benchmark::DoNotOptimize(buffers);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(sizes.size()));
}

/// A result that is made, set, and waited for.
void result(benchmark::State& state) {
  for (auto _ : state) {
    AsyncPromise<int> promise;
    const AsyncResult<int> result = promise.result();
    promise.set_value(1);
    benchmark::DoNotOptimize(result.wait());
  }
}

/// Empty work, submitted to one of two streams; the argument is the bytes that are counted.
void submit(benchmark::State& state) {
  HostDevice device;
  StreamSet streams{device, 2, StreamChoice::least_outstanding};
  const auto bytes = static_cast<std::uint64_t>(state.range(0));
  for (auto _ : state) streams.submit(bytes, [](auto&, auto&) {});
}

/// 256 bytes read back.
void read_back(benchmark::State& state) {
  HostDevice device;
  BufferPool pool{device, 1 * MiB};
  const auto buffer = pool.acquire(256);
  auto stream = device.make_stream();
  Readback<float, HostDevice> readback{device, 64};
  for (auto _ : state) {
    readback.start(buffer.slice(), stream);
    benchmark::DoNotOptimize(readback.wait());
  }
}

}  // namespace

BENCHMARK(result);
BENCHMARK(submit)->Arg(0)->Arg(4096);
BENCHMARK(read_back);
BENCHMARK_TEMPLATE(one, Pooled<HostDevice, FourSteps>)->Arg(4096)->Arg(1 << 20);
BENCHMARK_TEMPLATE(one, Pooled<HostDevice, PowersOfTwo>)->Arg(1 << 20);
BENCHMARK_TEMPLATE(one, Pooled<HostDevice, ExactSizes>)->Arg(1 << 20);
BENCHMARK_TEMPLATE(one, Pooled<StagedHostDevice, FourSteps>)->Arg(1 << 20);
BENCHMARK_TEMPLATE(one, Malloced)->Arg(4096)->Arg(1 << 20);
BENCHMARK_TEMPLATE(one, Pooled<HostDevice, FourSteps>)->Arg(1 << 20)->Threads(2)->UseRealTime();
BENCHMARK_TEMPLATE(one, Malloced)->Arg(1 << 20)->Threads(2)->UseRealTime();
BENCHMARK_TEMPLATE(a_layer, Pooled<HostDevice, FourSteps>);
BENCHMARK_TEMPLATE(a_layer, Pooled<HostDevice, FourSteps>)->Threads(2)->UseRealTime();
BENCHMARK_TEMPLATE(a_layer, Malloced);
BENCHMARK_TEMPLATE(a_layer, Malloced)->Threads(2)->UseRealTime();

BENCHMARK_MAIN();
