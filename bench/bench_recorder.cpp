// SPDX-License-Identifier: MIT
/// \file
/// What `report::Recorder` adds to an arena: a thousand blocks are alive, and one at random is
/// replaced. ns/event is the time of a call; a recorder's share is the difference to `unobserved`.
/// bytes/event is what the recording takes.
#include <allot/arena.hpp>
#include <allot/report/recorder.hpp>
#include <allot/strategy/best_fit.hpp>

#include <benchmark/benchmark.h>

#include <cstdint>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace allot;
using report::Recorder;
using report::Recording;

template <class ObserverType>
using Watched = Arena<BestFit, AlignTo<256>, Unsynchronized, OffsetsOnly, ObserverType>;

template <class ObserverType>
void replace_blocks(benchmark::State& state, Watched<ObserverType>& arena, std::string_view name) {
  constexpr std::size_t live = 1000;
  struct Step {
    std::size_t slot;
    std::uint64_t bytes;
  };
  std::mt19937_64 random{1};
  std::vector<Step> steps(1 << 16);
  for (Step& step : steps) step = {random() % live, 1 + random() % 100'000};
  std::vector<Block> blocks;
  for (std::size_t i = 0; i < live; ++i) blocks.push_back(arena.allocate({1000, 0, name}));
  std::size_t next = 0;
  for (auto _ : state) {
    const Step& step = steps[next++ % steps.size()];
    arena.deallocate(blocks[step.slot]);
    blocks[step.slot] = arena.allocate({step.bytes, 0, name});
  }
  state.counters["ns/event"] =
      benchmark::Counter(static_cast<double>(state.iterations()) * 2e-9,
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void unobserved(benchmark::State& state) {
  Watched<Unobserved> arena{1 * GiB};
  replace_blocks(state, arena, "");
}

void latest(benchmark::State& state, std::string_view name, std::uint32_t sample) {
  Watched<Recorder> arena{1 * GiB, {}, Recorder{{.sample = sample}}};
  replace_blocks(state, arena, name);
  const auto [bytes, events] = arena.with_observer([](const Recorder& recorder) {
    return std::pair{recorder.recording().size(), recorder.events()};
  });
  const double kept = static_cast<double>(events < 65'536 ? events : 65'536);
  state.counters["bytes/event"] = static_cast<double>(bytes) / kept;
}

void everything(benchmark::State& state) {
  Watched<Recorder> arena{
      1 * GiB, {}, Recorder{{.keeps = Recording::everything, .file = "/dev/null"}}};
  replace_blocks(state, arena, "");
}

BENCHMARK(unobserved);
BENCHMARK_CAPTURE(latest, no_names, "", 1);
BENCHMARK_CAPTURE(latest, names, "blk.12.attn_q.weight", 1);
BENCHMARK_CAPTURE(latest, one_in_64, "", 64);
BENCHMARK(everything);

}  // namespace

BENCHMARK_MAIN();
