// SPDX-License-Identifier: MIT
/// \file
/// Runs the same program over six arenas that differ in one policy each. It allocates as an
/// inference server does: weights that stay, sequences that grow page by page and end at some time,
/// scratch memory for each step. The table at the end shows how each arena did.
///
///     policy_comparison [STEPS]
#include <allot/arena.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/buddy.hpp>
#include <allot/strategy/first_fit.hpp>
#include <allot/strategy/good_fit.hpp>
#include <allot/synchronization/locked.hpp>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace {

using allot::AlignTo;
using allot::Arena;
using allot::Block;
using allot::GiB;
using allot::MiB;

struct Outcome {
  double nanoseconds = 0;  // of one allocation and one free
  std::uint64_t requests = 0;
  std::uint64_t refused = 0;
  double fragmentation = 0;  // mean over the steps
  allot::Usage usage{};      // at the end of the last step
};

/// Nothing in here knows which arena it is.
template <class AnyArena>
Outcome serve(AnyArena& arena, int steps) {
  Outcome outcome;
  std::mt19937_64 random{1};
  std::uniform_real_distribution<double> chance{0, 1};
  const auto log_uniform = [&](double from, double to) {
    return static_cast<std::uint64_t>(std::exp2(from + (to - from) * chance(random)));
  };
  const auto allocate = [&](std::vector<Block>& into, std::uint64_t bytes) {
    ++outcome.requests;
    if (const std::optional<Block> block = arena.try_allocate(bytes)) {
      into.push_back(*block);
    } else {
      ++outcome.refused;
    }
  };
  const auto free_all = [&](std::vector<Block>& blocks) {
    for (; !blocks.empty(); blocks.pop_back()) arena.deallocate(blocks.back());
  };

  std::vector<Block> weights;
  for (int i = 0; i < 290; ++i) allocate(weights, log_uniform(12, 26));

  std::vector<std::vector<Block>> sequences;
  std::vector<Block> scratch;
  const auto start = std::chrono::steady_clock::now();
  for (int step = 0; step < steps; ++step) {
    if (sequences.size() < 44 && chance(random) < 0.2) sequences.emplace_back();
    for (int i = 0; i < 4; ++i) allocate(scratch, log_uniform(12, 24));
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      if (random() % 4 == 0) allocate(sequences[i], 2 * MiB);
      if (random() % 256 != 0) continue;  // the sequence has ended
      free_all(sequences[i]);
      std::swap(sequences[i], sequences.back());
      sequences.pop_back();
    }
    outcome.fragmentation += arena.fragmentation() / steps;
    free_all(scratch);
  }
  const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - start;
  outcome.nanoseconds = taken.count() / static_cast<double>(outcome.requests);
  outcome.usage = arena.usage();
  return outcome;
}

template <class AnyArena>
void compare(const char* name, int steps) {
  AnyArena arena{8 * GiB};
  const Outcome outcome = serve(arena, steps);
  const double used = static_cast<double>(outcome.usage.used);
  std::printf("%-34s %8.0f %11.2f %9.1f %12.1f %13.1f\n", name, outcome.nanoseconds,
              100 * static_cast<double>(outcome.refused) / static_cast<double>(outcome.requests),
              100 * static_cast<double>(outcome.usage.padding) / used, 100 * outcome.fragmentation,
              static_cast<double>(arena.bookkeeping_bytes()) / 1024);
}

}  // namespace

int main(int argc, char** argv) {
  char* end = nullptr;
  const long steps = argc > 1 ? std::strtol(argv[1], &end, 10) : 20'000;
  if (argc > 2 || (argc == 2 && (*end != '\0' || steps < 1 || steps > 10'000'000))) {
    std::fprintf(stderr, "usage: policy_comparison [STEPS]   (1 to 10,000,000; default 20,000)\n");
    return 2;
  }
  std::printf("%ld steps of a server in 8 GiB of bare offsets\n\n", steps);
  std::printf("%-34s %8s %11s %9s %12s %13s\n", "arena", "ns", "refused %", "padding %",
              "fragmented %", "bookkeeping");
  std::printf("%-34s %8s %11s %9s %12s %13s\n", "", "a pair", "of requests", "of used",
              "on average", "KiB");
  const int count = static_cast<int>(steps);
  compare<Arena<allot::BestFit>>("BestFit", count);
  compare<Arena<allot::FirstFit>>("FirstFit", count);
  compare<Arena<allot::GoodFit>>("GoodFit", count);
  compare<Arena<allot::Buddy>>("Buddy", count);
  compare<Arena<allot::BestFit, AlignTo<2 * MiB>>>("BestFit, AlignTo<2 MiB>", count);
  compare<Arena<allot::BestFit, AlignTo<256>, allot::Locked<std::mutex>>>(
      "BestFit, Locked<std::mutex>", count);
  std::printf(
      "\nns: one allocation and one free, including the program's own work. Fragmented: free, but\n"
      "not in the largest free block. The policies: docs/policies.md.\n");
}
