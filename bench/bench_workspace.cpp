// SPDX-License-Identifier: MIT
/// \file
/// What workspaces, planned offsets and paged caches cost. Plans carry their size as counters:
/// `over_bound` is bytes above the lower bound, in percent, and `best_fit` the same of an arena of
/// `BestFit` that replays the lifetimes.
///
///     bench_workspace [--trace FILE] [Google Benchmark's options]
#include <allot/arena.hpp>
#include <allot/device/host_device.hpp>
#include <allot/offsets/plan_offsets.hpp>
#include <allot/pool/kv/block_pool.hpp>
#include <allot/pool/kv/kv_cache.hpp>
#include <allot/pool/workspace/workspace.hpp>
#include <allot/strategy/best_fit.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "offsets/graphs.hpp"
#include "trace.hpp"
#include "untouched_cache.hpp"

namespace {

using namespace allot;

double percent_over(std::uint64_t bytes, std::uint64_t bound) {
  return (static_cast<double>(bytes) / static_cast<double>(bound) - 1) * 100;
}

void add_plan(const std::string& name, const std::vector<Lifetime>& lifetimes) {
  benchmark::RegisterBenchmark(("plan_offsets/" + name).c_str(), [lifetimes](
                                                                     benchmark::State& state) {
    OffsetPlan plan;
    for (auto _ : state) plan = plan_offsets(lifetimes);
    using AnyArena = Arena<WideBestFit, AlignTo<256>>;
    const std::uint64_t best_fit = test::peak_of_trace<AnyArena>(lifetimes, std::uint64_t{1} << 50);
    state.counters["buffers"] = static_cast<double>(lifetimes.size());
    state.counters["over_bound"] = percent_over(plan.bytes, plan.lower_bound);
    state.counters["best_fit"] = percent_over(best_fit, plan.lower_bound);
    state.SetLabel(std::string{to_text(plan.order)} + (plan.is_cut_short ? ", cut short" : ""));
  })->Unit(benchmark::kMillisecond);
}

/// A trace file's lifetimes: a step for each of its lines.
std::vector<Lifetime> lifetimes_of(const bench::Trace& trace) {
  std::vector<Lifetime> lifetimes;
  std::vector<std::size_t> held_by(trace.slots);
  std::uint64_t step = 0;
  for (const bench::Operation& operation : trace.operations) {
    if (operation.bytes == 0) {
      lifetimes[held_by[operation.slot]].last = step - 1;
    } else {
      held_by[operation.slot] = lifetimes.size();
      lifetimes.push_back({operation.bytes, step, trace.operations.size(), bench::alignment});
    }
    ++step;
  }
  return lifetimes;
}

/// A scope with some allocations, as a layer makes them; the time is that of one allocation.
void workspace_scope(benchmark::State& state) {
  Workspace<HostDevice> workspace{HostDevice{}, {.initial_bytes = 64 * MiB}};
  const auto allocations = static_cast<int>(state.range(0));
  for (auto _ : state) {
    auto scope = workspace.scope();
    for (int i = 0; i < allocations; ++i) benchmark::DoNotOptimize(scope.allocate(4096));
  }
  state.SetItemsProcessed(state.iterations() * allocations);
}

/// One block taken and one given back, at random places of a pool that is almost full.
void block_take_give(benchmark::State& state) {
  const auto blocks = static_cast<std::uint64_t>(state.range(0));
  BlockPool<HostDevice> pool{HostDevice{}, {.blocks = blocks, .block_bytes = 256}};
  std::vector<std::uint32_t> taken;
  while (const auto block = pool.try_allocate()) taken.push_back(*block);
  std::mt19937_64 random{1};
  std::vector<std::uint32_t> places(1 << 16);
  for (auto& place : places) place = static_cast<std::uint32_t>(random() % blocks);
  std::size_t next = 0;
  for (auto _ : state) {
    std::uint32_t& block = taken[places[next++ % places.size()]];
    pool.release(block);
    block = pool.allocate();
  }
}

void share_give(benchmark::State& state) {
  BlockPool<HostDevice> pool{HostDevice{}, {.blocks = 1000, .block_bytes = 256}};
  const auto block = pool.allocate();
  for (auto _ : state) {
    pool.retain(block);
    pool.release(block);
  }
}

/// A token appended to each of 256 sequences in turn.
void append_token(benchmark::State& state) {
  KvCache<HostDevice> cache{HostDevice{}, untouched_cache(1 << 18)};
  std::vector<KvCache<HostDevice>::Sequence> sequences;
  for (int i = 0; i < 256; ++i) sequences.push_back(cache.start().sequence);
  std::size_t next = 0;
  std::uint64_t appended = 0;
  for (auto _ : state) {
    auto& sequence = sequences[next++ % sequences.size()];
    sequence.append(7);
    if (++appended % (std::uint64_t{1} << 21) == 0) {
      state.PauseTiming();
      for (auto& each : sequences) each.truncate(0);
      state.ResumeTiming();
    }
  }
}

/// A prompt of which all but the last block is found; the time is that of the whole prompt.
void start_with_prefix(benchmark::State& state) {
  KvCache<HostDevice> cache{HostDevice{}, untouched_cache(1 << 12)};
  const std::vector<std::uint32_t> prompt(static_cast<std::size_t>(state.range(0)), 3);
  auto first = cache.start(prompt).sequence;
  first.publish();
  for (auto _ : state) benchmark::DoNotOptimize(cache.start(prompt));
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

BENCHMARK(workspace_scope)->Arg(0)->Arg(1)->Arg(8);
BENCHMARK(block_take_give)->Arg(1'000)->Arg(100'000)->Arg(1'000'000);
BENCHMARK(share_give);
BENCHMARK(append_token);
BENCHMARK(start_with_prefix)->Arg(512);

}  // namespace

int main(int argc, char** argv) {
  std::string trace;
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::strcmp(argv[i], "--trace") != 0) continue;
    trace = argv[i + 1];
    std::copy(argv + i + 2, argv + argc, argv + i);
    argc -= 2;
    break;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  try {
    for (const std::size_t buffers : {100U, 1'000U, 10'000U, 100'000U})
      add_plan("random/" + std::to_string(buffers), test::random_lifetimes(buffers, 20, 1));
    add_plan("random/100000/1000 alive", test::random_lifetimes(100'000, 1000, 1));
    for (const bool fused : {false, true}) {
      const test::TransformerGraph graph{{.layers = 32, .fused_attention = fused}};
      add_plan(fused ? "transformer, attention fused" : "transformer", graph.lifetimes());
    }
    add_plan("step", test::training_steps(1041, 1));
    if (!trace.empty()) add_plan(trace, lifetimes_of(bench::read_trace(trace)));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_workspace: %s\n", error.what());
    return 1;
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
