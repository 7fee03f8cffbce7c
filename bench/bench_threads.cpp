// SPDX-License-Identifier: MIT
/// \file
/// Threads that allocate and free at once: one locked arena, an arena in shards, and, for
/// comparison, an arena for each thread. Each thread keeps a thousand blocks and replaces one at
/// random.
#include <allot/arena.hpp>
#include <allot/sharded_arena.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/good_fit.hpp>
#include <allot/synchronization/locked.hpp>

#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

namespace {

using namespace allot;

constexpr std::uint64_t capacity = std::uint64_t{64} << 30;
constexpr std::size_t blocks_each = 1000;

/// The replacements of one thread: made before the time is taken.
struct Step {
  std::size_t slot;
  std::uint64_t bytes;
};

std::vector<Step> steps_of(int thread) {
  std::mt19937_64 random{static_cast<std::uint64_t>(thread) + 1};
  std::uniform_real_distribution<double> exponent{8, 22};
  std::vector<Step> steps(1 << 16);
  for (Step& step : steps) {
    step = {random() % blocks_each, static_cast<std::uint64_t>(std::exp2(exponent(random)))};
  }
  return steps;
}

template <class A>
void churn(benchmark::State& state, A& arena) {
  const std::vector<Step> steps = steps_of(state.thread_index());
  std::vector<Block> blocks;
  for (std::size_t i = 0; i < blocks_each; ++i) blocks.push_back(arena.allocate(steps[i].bytes));
  std::size_t next = 0;
  for (auto _ : state) {
    const Step& step = steps[next++ % steps.size()];
    arena.deallocate(blocks[step.slot]);
    blocks[step.slot] = arena.allocate(step.bytes);
  }
  for (const Block& block : blocks) arena.deallocate(block);
  state.SetItemsProcessed(state.iterations());
}

/// One arena for all threads.
template <class A>
void shared(benchmark::State& state) {
  static A arena{capacity};
  churn(state, arena);
}

/// One for each thread.
template <class A>
void separate(benchmark::State& state) {
  const auto arena = std::make_unique<A>(capacity / 2);
  churn(state, *arena);
}

template <class S>
void add(const std::string& name) {
  using Single = Arena<S, AlignTo<256>, Locked<std::mutex>>;
  const auto add_one = [&](const std::string& kind, void (*f)(benchmark::State&)) {
    benchmark::RegisterBenchmark((kind + "/" + name).c_str(), f)
        ->Threads(1)
        ->Threads(2)
        ->UseRealTime();
  };
  add_one("Locked", shared<Single>);
  add_one("ShardedArena<2>", shared<ShardedArena<Single, 2>>);
  add_one("separate", separate<Arena<S>>);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  add<BestFit>("BestFit");
  add<GoodFit>("GoodFit");
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
