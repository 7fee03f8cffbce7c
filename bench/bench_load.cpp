// SPDX-License-Identifier: MIT
// How fast a model is read into fresh memory, beside the two plain ways to fill fresh memory of the
// same kind with as many threads: a pread loop, and a memcpy from a populated mapping of the file.
// Usage: bench_load FILE.gguf [Google Benchmark options]
#include <allot/device/host_device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/load.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/os/input_file.hpp>

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr std::uint64_t piece_bytes = 4 * allot::MiB;

std::string path;

std::size_t thread_count() {
  return std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, 16);
}

/// Calls `fill(offset, count)` for all pieces of `bytes`, on as many threads as the loader has.
template <class F>
void in_parallel(std::uint64_t bytes, const F& fill) {
  std::atomic<std::uint64_t> next{0};
  const auto work = [&] {
    for (;;) {
      const std::uint64_t at = next.fetch_add(piece_bytes);
      if (at >= bytes) return;
      fill(at, std::min(piece_bytes, bytes - at));
    }
  };
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < thread_count(); ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
}

allot::HostMemory::Region fresh_memory(std::uint64_t bytes, bool huge_pages) {
  allot::HostMemory memory{{.huge_pages = huge_pages}};
  return memory.acquire(bytes, 256);
}

void plain_pread(benchmark::State& state) {
  const allot::os::InputFile input{path};
  for (auto _ : state) {
    const auto region = fresh_memory(input.size(), state.range(0) != 0);
    auto* const to = static_cast<std::byte*>(region.address());
    in_parallel(input.size(), [&](std::uint64_t at, std::uint64_t count) {
      input.read(at, {to + at, static_cast<std::size_t>(count)});
    });
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(input.size()));
}

void plain_memcpy(benchmark::State& state) {
  const allot::os::InputFile input{path};
  const int descriptor = ::open(path.c_str(), O_RDONLY);
  void* const from =
      ::mmap(nullptr, input.size(), PROT_READ, MAP_SHARED | MAP_POPULATE, descriptor, 0);
  ::close(descriptor);
  if (from == MAP_FAILED) return state.SkipWithError("cannot map the file");
  for (auto _ : state) {
    const auto region = fresh_memory(input.size(), state.range(0) != 0);
    auto* const to = static_cast<std::byte*>(region.address());
    in_parallel(input.size(), [&](std::uint64_t at, std::uint64_t count) {
      std::memcpy(to + at, static_cast<const std::byte*>(from) + at, count);
    });
  }
  ::munmap(from, input.size());
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(input.size()));
}

void allot_load(benchmark::State& state) {
  const allot::gguf::File file{path};
  const allot::load::Plan plan = allot::load::make_plan(file);
  allot::HostDevice device{{.huge_pages = state.range(0) != 0}};
  for (auto _ : state) {
    const auto model = allot::load::load(file, plan, device);
    benchmark::DoNotOptimize(model.tensors().data());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(plan.tensor_bytes()));
}

BENCHMARK(plain_pread)
    ->ArgName("huge_pages")
    ->Arg(0)
    ->Arg(1)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(plain_memcpy)
    ->ArgName("huge_pages")
    ->Arg(0)
    ->Arg(1)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(allot_load)
    ->ArgName("huge_pages")
    ->Arg(0)
    ->Arg(1)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (argc != 2) {
    std::fprintf(stderr, "Usage: bench_load FILE.gguf [--benchmark_...]\n");
    return 2;
  }
  path = argv[1];
  try {
    benchmark::RunSpecifiedBenchmarks();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_load: %s\n", error.what());
    return 1;
  }
}
