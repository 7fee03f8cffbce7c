// SPDX-License-Identifier: MIT
/// \file
/// Strategies, alignments and synchronizations on traces, beside yardsticks: the churns, the server
/// and the training step of `trace.hpp`, or the traces named as arguments.
///
/// Time is that of one allocation and one free, from the first free on: before, the arena only
/// fills. It is bookkeeping only, no memory is touched. Every allocator stores the same 24 bytes
/// for a block, in an array with one slot for each live block; `WritesOnly` does nothing else, and
/// is what the others would be without allocating.
///
/// Counters: refused_% of all requests; footprint, the highest end of any block over the most bytes
/// live at once; bytes/block, bookkeeping over the most blocks live at once.
#include <allot/arena.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/buddy.hpp>
#include <allot/strategy/first_fit.hpp>
#include <allot/strategy/good_fit.hpp>
#include <allot/synchronization/locked.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "allocators.hpp"
#include "trace.hpp"

namespace {

using namespace allot;
using namespace allot::bench;

struct Outcome {
  std::chrono::duration<double> time{};
  std::uint64_t allocations = 0;  // in that time
  std::uint64_t refused = 0;
};

constexpr std::uint64_t empty = ~std::uint64_t{0};

/// Calls `told(block)` for each block that was allocated.
template <class Allocator, class Told>
Outcome replay(Allocator& allocator, const Trace& trace, Told&& told) {
  std::vector<Block> slots(trace.slots, Block{empty, 0, {}});
  Outcome outcome;
  auto start = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < trace.operations.size(); ++i) {
    if (i == trace.first_free) {
      start = std::chrono::steady_clock::now();
      outcome.allocations = 0;
    }
    const Operation& operation = trace.operations[i];
    Block& block = slots[operation.slot];
    if (operation.bytes == 0) {
      if (block.offset != empty) allocator.free(block);
      block.offset = empty;
      continue;
    }
    ++outcome.allocations;
    if (const std::optional<Block> placed = allocator.allocate(operation.bytes)) {
      block = *placed;
      told(block);
    } else {
      block.offset = empty;
      ++outcome.refused;
    }
  }
  outcome.time = std::chrono::steady_clock::now() - start;
  for (const Block& block : slots) {
    if (block.offset != empty) allocator.free(block);
  }
  return outcome;
}

/// The most bytes that a trace has live at once, if none is refused.
std::uint64_t peak_bytes(const Trace& trace) {
  std::vector<std::uint64_t> slots(trace.slots);
  std::uint64_t live = 0;
  std::uint64_t peak = 0;
  for (const Operation& operation : trace.operations) {
    live += operation.bytes - (operation.bytes == 0 ? slots[operation.slot] : 0);
    slots[operation.slot] = operation.bytes;
    peak = std::max(peak, live);
  }
  return peak;
}

template <class Allocator>
void run(benchmark::State& state, const std::function<const Trace&()>& make) {
  const Trace& trace = make();
  Outcome outcome;
  for (auto _ : state) {
    Allocator allocator{trace};
    outcome = replay(allocator, trace, [](const Block&) {});
    state.SetIterationTime(outcome.time.count() / static_cast<double>(outcome.allocations));
  }
  const auto requests = static_cast<double>(
      std::count_if(trace.operations.begin(), trace.operations.end(),
                    [](const Operation& operation) { return operation.bytes != 0; }));
  state.counters["refused_%"] = 100 * static_cast<double>(outcome.refused) / requests;
  if constexpr (requires(const Allocator allocator) { allocator.bookkeeping_bytes(); }) {
    Allocator allocator{trace};
    std::uint64_t end = 0;
    replay(allocator, trace,
           [&end](const Block& block) { end = std::max(end, block.offset + block.size); });
    state.counters["footprint"] = static_cast<double>(end) / static_cast<double>(peak_bytes(trace));
    state.counters["bytes/block"] =
        static_cast<double>(allocator.bookkeeping_bytes()) / static_cast<double>(trace.slots);
  }
}

/// A trace that is made when it is first replayed, and kept until another one is wanted.
struct Workload {
  std::string name;
  std::uint64_t live = 0;  ///< blocks, about
  std::function<Trace()> make = {};
};

const Trace& trace_of(const Workload& workload) {
  static std::string made;
  static Trace trace;
  if (made != workload.name) trace = workload.make();
  made = workload.name;
  return trace;
}

std::vector<Workload> workloads() {
  std::vector<Workload> all;
  for (const std::uint64_t live : {1'000U, 10'000U, 100'000U, 1'000'000U}) {
    for (const Sizes sizes : {Sizes::log_uniform, Sizes::recurring}) {
      for (const int fill : {85, 95}) {
        for (const std::uint64_t seed : {1U, 2U, 3U}) {
          const std::string kind = sizes == Sizes::log_uniform ? "churn-log" : "churn-rec";
          all.push_back({kind + "/live:" + std::to_string(live) + "/fill:" + std::to_string(fill) +
                             "/seed:" + std::to_string(seed),
                         live, [=] {
                           return make_churn(sizes, live, fill / 100.0, 2 * live + 400'000, seed);
                         }});
        }
      }
    }
  }
  all.push_back({"serving", 1'000, [] { return make_serving(100'000, 1); }});
  all.push_back({"step", 96, [] { return make_step(400'000, 1); }});
  return all;
}

template <class Allocator>
void add(const Workload& workload, const std::string& name) {
  benchmark::RegisterBenchmark((workload.name + "/" + name).c_str(),
                               [workload](benchmark::State& state) {
                                 run<Allocator>(
                                     state, [&]() -> const Trace& { return trace_of(workload); });
                               })
      ->UseManualTime()
      ->Iterations(1)
      ->Unit(benchmark::kNanosecond);
}

void add_all(const Workload& workload) {
  using Mutex = Locked<std::mutex>;
  add<WritesOnly>(workload, "WritesOnly");
  add<ArenaClient<BestFit>>(workload, "BestFit");
  add<ArenaClient<FirstFit>>(workload, "FirstFit");
  add<ArenaClient<GoodFit>>(workload, "GoodFit");
  add<ArenaClient<Buddy>>(workload, "Buddy");
  add<ArenaClient<WideBestFit>>(workload, "WideBestFit");
  add<ArenaClient<WideFirstFit>>(workload, "WideFirstFit");
  add<ArenaClient<WideBuddy>>(workload, "WideBuddy");
  add<ArenaClient<WideBestFit, AlignTo<1>>>(workload, "WideBestFit,AlignTo<1>");
  add<ArenaClient<BestFit, AlignTo<4096>>>(workload, "BestFit,AlignTo<4096>");
  add<ArenaClient<GoodFit, AlignTo<4096>>>(workload, "GoodFit,AlignTo<4096>");
  add<ArenaClient<BestFit, AlignTo<alignment>, Mutex>>(workload, "BestFit,Locked");
  add<ArenaClient<GoodFit, AlignTo<alignment>, Mutex>>(workload, "GoodFit,Locked");
  add<MultimapBestFit>(workload, "multimap-best-fit");
  if (workload.live <= 10'000) {  // the list is linear, the others have memory to touch
    add<ListBestFit>(workload, "list-best-fit");
    add<Interprocess<RbtreeBestFit>>(workload, "interprocess-rbtree-best-fit");
    if (workload.live <= 1'000)
      add<Interprocess<SimpleSeqFit>>(workload, "interprocess-simple-seq-fit");
    add<Malloc>(workload, "malloc");
    add<PoolResource>(workload, "pmr-pool");
    if (MimallocFunctions::functions().are_found()) add<Mimalloc>(workload, "mimalloc");
    if (JemallocFunctions::functions().are_found()) add<Jemalloc>(workload, "jemalloc");
  }
}

}  // namespace

int main(int argc, char** argv) try {
  benchmark::Initialize(&argc, argv);
  std::vector<Workload> all;
  for (int i = 1; i < argc; ++i) {
    const auto trace = std::make_shared<Trace>(read_trace(argv[i]));
    all.push_back({trace->name, trace->slots, [trace] { return *trace; }});
  }
  if (all.empty()) all = workloads();
  for (const Workload& workload : all) add_all(workload);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_strategies: %s\n", error.what());
  return 1;
}
