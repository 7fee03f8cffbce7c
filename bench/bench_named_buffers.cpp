// SPDX-License-Identifier: MIT
/// \file
/// What named buffers cost, beside the copy that a resize cannot avoid: adding and freeing one
/// among 1,000 and 100,000, looking one up, a resize of a million elements, a check for leaks.
#include <allot/device/host_device.hpp>
#include <allot/pool/named/named_buffers.hpp>

#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace {

using namespace allot;

constexpr std::uint64_t capacity = std::uint64_t{64} << 30;  // no page is touched
constexpr BufferConfig plain{.growth = Growth::exact(), .minimum = 0};

std::string name_of(std::int64_t number) { return "buffer of layer " + std::to_string(number); }

void fill(NamedBuffers<HostDevice>& buffers, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) buffers.add<float>(name_of(i), 1000, plain);
}

/// Adds that many buffers, and frees them untimed; the time is of one `add`.
void add(benchmark::State& state) {
  NamedBuffers buffers{HostDevice{}, capacity, MemoryLimit::bytes(capacity)};
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < state.range(0); ++i) names.push_back(name_of(i));
  for (auto _ : state) {
    for (const std::string& name : names) buffers.add<float>(name, 1000, plain);
    state.PauseTiming();
    for (const std::string& name : names) buffers.free(name);
    state.ResumeTiming();
  }
  state.counters["each"] =
      benchmark::Counter(static_cast<double>(state.iterations() * state.range(0)),
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void add_and_free_one_more(benchmark::State& state) {
  NamedBuffers buffers{HostDevice{}, capacity, MemoryLimit::bytes(capacity)};
  fill(buffers, state.range(0));
  for (auto _ : state) {
    buffers.add<float>("one more", 1000, plain);
    buffers.free("one more");
  }
}

void get(benchmark::State& state) {
  NamedBuffers buffers{HostDevice{}, capacity, MemoryLimit::bytes(capacity)};
  fill(buffers, state.range(0));
  const std::string name = name_of(state.range(0) / 2);
  for (auto _ : state) benchmark::DoNotOptimize(buffers.get<float>(name));
}

void check_leaks(benchmark::State& state) {
  NamedBuffers buffers{HostDevice{}, capacity, MemoryLimit::bytes(capacity)};
  fill(buffers, state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(buffers.check_leaks().size());
}

void take_statistics(benchmark::State& state) {
  NamedBuffers buffers{HostDevice{}, capacity, MemoryLimit::bytes(capacity)};
  fill(buffers, state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(buffers.stats().buffers.size());
}

constexpr std::uint64_t million = 1'000'000;

/// A million floats move to another place and room for two million: between two places that are in
/// memory already.
void resize(benchmark::State& state) {
  HostDevice device;
  NamedBuffers buffers{device, 64 * MiB};
  auto stream = device.make_stream();
  // Walls leave two places of two million floats. A buffer is added in one, and moves to the other.
  for (int i = 0; i < 2; ++i) {
    const auto place = buffers.add<float>("place " + std::to_string(i), 2 * million, plain);
    buffers.add<float>("wall " + std::to_string(i), 1, plain);
    std::memset(place.data(), 1, place.slice().bytes());
  }
  buffers.free("place 0");
  buffers.add<float>("x", million, plain);
  buffers.add<float>("rest of place 0", million - 64, plain);
  buffers.free("place 1");
  for (auto _ : state) {
    buffers.ensure_capacity<float>("x", 2 * million, stream);
    state.PauseTiming();
    buffers.free("x");
    buffers.add<float>("x", million, plain);
    state.ResumeTiming();
  }
  state.counters["moved"] =
      static_cast<double>(buffers.stats().resizes - buffers.stats().resizes_in_place);
}

/// The lower bound: the copy alone.
void copy_only(benchmark::State& state) {
  HostDevice device;
  auto memory = device.memory().acquire(64 * MiB, 256);
  auto* const from = static_cast<std::byte*>(memory.address());
  std::memset(from, 1, 64 * MiB);
  auto stream = device.make_stream();
  for (auto _ : state) {
    device.copy_on_device(from + 32 * MiB, from, million * sizeof(float), stream);
    benchmark::ClobberMemory();
    state.PauseTiming();
    state.ResumeTiming();
  }
}

void resize_in_place(benchmark::State& state) {
  HostDevice device;
  NamedBuffers buffers{device, 64 * MiB};
  auto stream = device.make_stream();
  for (auto _ : state) {
    state.PauseTiming();
    buffers.add<float>("x", million, plain);
    state.ResumeTiming();
    buffers.ensure_capacity<float>("x", 2 * million, stream);
    state.PauseTiming();
    buffers.free("x");
    state.ResumeTiming();
  }
}

BENCHMARK(add)->Arg(1000)->Arg(100'000)->Unit(benchmark::kMicrosecond);
BENCHMARK(add_and_free_one_more)->Arg(1000)->Arg(100'000);
BENCHMARK(get)->Arg(1000)->Arg(100'000);
BENCHMARK(check_leaks)->Arg(1000)->Arg(100'000)->Unit(benchmark::kMicrosecond);
BENCHMARK(take_statistics)->Arg(1000)->Arg(100'000)->Unit(benchmark::kMicrosecond);
BENCHMARK(copy_only)->Unit(benchmark::kMicrosecond);
BENCHMARK(resize)->Unit(benchmark::kMicrosecond);
BENCHMARK(resize_in_place)->Unit(benchmark::kMicrosecond);

}  // namespace

BENCHMARK_MAIN();
