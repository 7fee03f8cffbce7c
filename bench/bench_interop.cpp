// SPDX-License-Identifier: MIT
/// \file
/// `pmr::Resource` over arenas, beside the standard library's resources: a thousand allocations are
/// alive, and one at random is replaced; then a `std::pmr::map` that is filled and emptied. For
/// another malloc under `new_delete_resource`: LD_PRELOAD=libmimalloc.so.2.
#include <allot/arena.hpp>
#include <allot/interop/pmr.hpp>
#include <allot/memory/host_memory.hpp>
#include <allot/observer/address_index.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/good_fit.hpp>
#include <allot/strategy/linear.hpp>
#include <allot/synchronization/locked.hpp>

#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <memory_resource>
#include <random>
#include <vector>

namespace {

using namespace allot;

constexpr std::size_t live = 1000;

struct Step {
  std::size_t slot;
  std::size_t bytes;
};

std::vector<Step> steps_of(int thread) {
  std::mt19937_64 random{static_cast<std::uint64_t>(thread) + 1};
  std::uniform_real_distribution<double> exponent{3, 12};
  std::vector<Step> steps(1 << 16);
  for (Step& step : steps)
    step = {random() % live, static_cast<std::size_t>(std::exp2(exponent(random)))};
  return steps;
}

/// An arena and its resource.
template <class S, class L, class O>
struct OverArena {
  Arena<S, AlignTo<16>, L, HostMemory, O> arena{256 * MiB};
  pmr::Resource<decltype(arena)> resource{arena};
};
/// A resource of the standard library, over the default one.
template <class ResourceType>
struct Standard {
  ResourceType resource;
};
struct NewDelete {
  std::pmr::memory_resource& resource = *std::pmr::new_delete_resource();
};

template <class Source>
void replace(benchmark::State& state) {
  static std::unique_ptr<Source> source;
  if (state.thread_index() == 0) source = std::make_unique<Source>();
  const std::vector<Step> steps = steps_of(state.thread_index());
  struct Held {
    void* address;
    std::size_t bytes;
  };
  std::vector<Held> held;
  std::size_t next = 0;
  for (auto _ : state) {
    std::pmr::memory_resource& resource = source->resource;
    const Step& step = steps[next++ % steps.size()];
    if (held.size() < live) {
      held.push_back({resource.allocate(step.bytes, 8), step.bytes});
    } else {
      Held& one = held[step.slot];
      resource.deallocate(one.address, one.bytes, 8);
      one = {resource.allocate(step.bytes, 8), step.bytes};
    }
  }
  for (const Held& one : held) source->resource.deallocate(one.address, one.bytes, 8);
  state.SetItemsProcessed(state.iterations());
}

template <class Source>
void fill_map(benchmark::State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    auto source = std::make_unique<Source>();
    state.ResumeTiming();
    std::pmr::map<std::uint64_t, std::uint64_t> map{&source->resource};
    for (std::uint64_t i = 0; i < 10'000; ++i) map.emplace(i * 0x9e37'79b9'7f4a'7c15, i);
    benchmark::DoNotOptimize(map.size());
  }
  state.SetItemsProcessed(state.iterations() * 10'000);
}

using Good = OverArena<GoodFit, Unsynchronized, Unobserved>;
using GoodIndexed = OverArena<GoodFit, Unsynchronized, AddressIndex>;
using Best = OverArena<BestFit, Unsynchronized, Unobserved>;
using Bump = OverArena<Linear, Unsynchronized, Unobserved>;
using GoodLocked = OverArena<GoodFit, Locked<>, Unobserved>;
using GoodLockedIndexed = OverArena<GoodFit, Locked<>, AddressIndex>;
using Pool = Standard<std::pmr::unsynchronized_pool_resource>;
using LockedPool = Standard<std::pmr::synchronized_pool_resource>;
using Monotonic = Standard<std::pmr::monotonic_buffer_resource>;

BENCHMARK(replace<Good>)->Name("replace/arena_good_fit");
BENCHMARK(replace<GoodIndexed>)->Name("replace/arena_good_fit_indexed");
BENCHMARK(replace<Best>)->Name("replace/arena_best_fit");
BENCHMARK(replace<Pool>)->Name("replace/std_unsynchronized_pool");
BENCHMARK(replace<NewDelete>)->Name("replace/std_new_delete");
BENCHMARK(replace<GoodLocked>)->Name("replace/arena_good_fit_locked")->ThreadRange(1, 2);
BENCHMARK(replace<GoodLockedIndexed>)
    ->Name("replace/arena_good_fit_locked_indexed")
    ->ThreadRange(1, 2);
BENCHMARK(replace<LockedPool>)->Name("replace/std_synchronized_pool")->ThreadRange(1, 2);
BENCHMARK(replace<NewDelete>)->Name("replace/std_new_delete_threads")->ThreadRange(1, 2);
BENCHMARK(fill_map<Good>)->Name("map/arena_good_fit");
BENCHMARK(fill_map<Bump>)->Name("map/arena_linear");
BENCHMARK(fill_map<Pool>)->Name("map/std_unsynchronized_pool");
BENCHMARK(fill_map<Monotonic>)->Name("map/std_monotonic");
BENCHMARK(fill_map<NewDelete>)->Name("map/std_new_delete");

}  // namespace

BENCHMARK_MAIN();
