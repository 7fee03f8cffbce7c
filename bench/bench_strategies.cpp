// SPDX-License-Identifier: MIT
/// \file
/// Strategies on a churn, or on the traces named as arguments. A churn: random frees until the next request fits under a fill, then one
/// allocation. Time is that of one allocation and one free, bookkeeping only: no memory is touched.
///
/// Every allocator stores the same 24 bytes for a block, in an array with one slot for each live
/// block; `WritesOnly` does nothing else, and is what the others would be without allocating.
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
#include <cstdlib>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "trace.hpp"

namespace {

using namespace allot;
using bench::Operation;
using bench::Sizes;
using bench::Trace;

/// An arena of bare offsets.
template <class S, class L = Unsynchronized>
class ArenaOf {
 public:
  explicit ArenaOf(const Trace& trace) : arena_{trace.capacity} {}

  std::optional<Block> allocate(std::uint64_t bytes) { return arena_.try_allocate(bytes); }
  void free(const Block& block) { arena_.deallocate(block); }
  [[nodiscard]] std::uint64_t bookkeeping_bytes() const { return arena_.bookkeeping_bytes(); }

 private:
  Arena<S, AlignTo<bench::alignment>, L> arena_;
};

/// No allocator at all.
class WritesOnly {
 public:
  explicit WritesOnly(const Trace&) {}

  std::optional<Block> allocate(std::uint64_t bytes) { return Block{bytes, bytes, {}}; }
  void free(const Block& block) { benchmark::DoNotOptimize(block.offset); }
  [[nodiscard]] static std::uint64_t bookkeeping_bytes() { return 0; }
};

/// The C library, with memory of its own; it takes part for its time.
class Malloc {
 public:
  explicit Malloc(const Trace&) {}

  std::optional<Block> allocate(std::uint64_t bytes) {
    void* const memory = std::malloc(bytes);
    if (memory == nullptr) return std::nullopt;
    return Block{reinterpret_cast<std::uintptr_t>(memory), bytes, {}};
  }
  void free(const Block& block) { std::free(reinterpret_cast<void*>(block.offset)); }
  [[nodiscard]] static std::uint64_t bookkeeping_bytes() { return 0; }
};

/// The textbook's best fit: a multimap by size, a map by offset.
class TextbookBestFit {
 public:
  explicit TextbookBestFit(const Trace& trace) { insert(0, trace.capacity / 256 * 256); }

  std::optional<Block> allocate(std::uint64_t bytes) {
    const std::uint64_t size = (bytes + 255) / 256 * 256;
    const auto found = by_size_.lower_bound(size);
    if (found == by_size_.end()) return std::nullopt;
    const std::uint64_t offset = found->second;
    const std::uint64_t rest = found->first - size;
    by_offset_.erase(offset);
    by_size_.erase(found);
    if (rest != 0) insert(offset + size, rest);
    return Block{offset, size, {}};
  }

  void free(const Block& block) {
    std::uint64_t offset = block.offset;
    std::uint64_t size = block.size;
    auto after = by_offset_.lower_bound(offset);
    if (after != by_offset_.end() && after->first == offset + size) {
      size += after->second->first;
      by_size_.erase(after->second);
      after = by_offset_.erase(after);
    }
    if (after != by_offset_.begin()) {
      const auto before = std::prev(after);
      if (before->first + before->second->first == offset) {
        offset = before->first;
        size += before->second->first;
        by_size_.erase(before->second);
        by_offset_.erase(before);
      }
    }
    insert(offset, size);
  }
  [[nodiscard]] static std::uint64_t bookkeeping_bytes() { return 0; }

 private:
  using BySize = std::multimap<std::uint64_t, std::uint64_t>;

  void insert(std::uint64_t offset, std::uint64_t size) {
    by_offset_.emplace(offset, by_size_.emplace(size, offset));
  }

  BySize by_size_;
  std::map<std::uint64_t, BySize::iterator> by_offset_;
};

struct Outcome {
  std::chrono::duration<double> time{};
  std::uint64_t allocations = 0;  // in that time
  std::uint64_t refused = 0;
  std::uint64_t bookkeeping_bytes = 0;
};

/// The operations from the first free on are timed: before, the arena only fills.
template <class Allocator>
Outcome replay(Allocator& allocator, const Trace& trace) {
  static constexpr std::uint64_t empty = ~std::uint64_t{0};
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
    } else {
      block.offset = empty;
      ++outcome.refused;
    }
  }
  outcome.time = std::chrono::steady_clock::now() - start;
  outcome.bookkeeping_bytes = allocator.bookkeeping_bytes();
  for (const Block& block : slots) {
    if (block.offset != empty) allocator.free(block);
  }
  return outcome;
}

template <class Allocator>
void run(benchmark::State& state, const Trace& trace) {
  Outcome outcome;
  for (auto _ : state) {
    Allocator allocator{trace};
    outcome = replay(allocator, trace);
    state.SetIterationTime(outcome.time.count() / static_cast<double>(outcome.allocations));
  }
  const auto requests = static_cast<double>(
      std::count_if(trace.operations.begin(), trace.operations.end(),
                    [](const Operation& operation) { return operation.bytes != 0; }));
  state.counters["refused_%"] = 100 * static_cast<double>(outcome.refused) / requests;
  state.counters["bytes/block"] =
      static_cast<double>(outcome.bookkeeping_bytes) / static_cast<double>(trace.slots);
}

template <class Allocator>
void churn(benchmark::State& state, Sizes sizes) {
  const auto live = static_cast<std::uint64_t>(state.range(0));
  const double fill = static_cast<double>(state.range(1)) / 100;
  run<Allocator>(state, bench::make_churn(sizes, live, fill, 3 * live + 400'000, 1));
}

/// Registers the churns, or where there are traces, these.
template <class Allocator>
void add(const std::string& name, const std::vector<Trace>& traces) {
  for (const Trace& trace : traces) {
    benchmark::RegisterBenchmark((trace.name + "/" + name).c_str(), run<Allocator>,
                                 std::cref(trace))
        ->UseManualTime()
        ->Iterations(1);
  }
  if (!traces.empty()) return;
  for (const Sizes sizes : {Sizes::log_uniform, Sizes::recurring}) {
    const std::string workload = sizes == Sizes::log_uniform ? "churn-log/" : "churn-rec/";
    benchmark::RegisterBenchmark((workload + name).c_str(), churn<Allocator>, sizes)
        ->ArgNames({"live", "fill"})
        ->ArgsProduct({{1'000, 10'000, 100'000}, {85, 95}})
        ->UseManualTime()
        ->Iterations(1);
  }
}

}  // namespace

int main(int argc, char** argv) try {
  benchmark::Initialize(&argc, argv);
  std::vector<Trace> traces;
  for (int i = 1; i < argc; ++i) traces.push_back(bench::read_trace(argv[i]));
  add<WritesOnly>("WritesOnly", traces);
  add<ArenaOf<BestFit>>("BestFit", traces);
  add<ArenaOf<FirstFit>>("FirstFit", traces);
  add<ArenaOf<GoodFit>>("GoodFit", traces);
  add<ArenaOf<Buddy>>("Buddy", traces);
  add<ArenaOf<GoodFit, Locked<std::mutex>>>("GoodFit+mutex", traces);
  add<TextbookBestFit>("multimap-best-fit", traces);
  add<Malloc>("malloc", traces);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_strategies: %s\n", error.what());
  return 1;
}
