// SPDX-License-Identifier: MIT
/// \file
/// The slowest single operation of each strategy: over a churn of ten million allocations, and in
/// cases constructed to be bad. JSON on standard output.
///
/// Each case is run several times over the same operations, and of each operation the least time
/// counts: interruptions by the machine hit a different operation each time.
///
/// | case         | what                                                                          |
/// |--------------|-------------------------------------------------------------------------------|
/// | churn        | log-uniform sizes, about 10,000 live blocks at 85 % fill                      |
/// | fill         | blocks of one unit until the range is full: the bookkeeping grows             |
/// | reserved     | the same after `reserve`                                                      |
/// | comb         | every second one is freed: as many holes of one size as there can be          |
/// | refill       | ... and filled again                                                          |
/// | merge        | ... the others are freed in random order: most of them join two holes         |
/// | aligned      | one unit at an even place, while all holes are at odd places                  |
#include <allot/arena.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/buddy.hpp>
#include <allot/strategy/first_fit.hpp>
#include <allot/strategy/good_fit.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "trace.hpp"

namespace {

using namespace allot;
using namespace allot::bench;

constexpr int runs = 5;

/// The least time of each operation over several runs, in ns.
class Stopwatch {
 public:
  void start_run() {
    next_ = 0;
    ++run_;
  }

  template <class F>
  auto time(F&& f) {
    const auto start = std::chrono::steady_clock::now();
    auto result = f();
    const auto taken = std::chrono::steady_clock::now() - start;
    const auto nanoseconds =
        static_cast<float>(std::chrono::duration_cast<std::chrono::nanoseconds>(taken).count());
    if (run_ == 1) {
      least_.push_back(nanoseconds);
    } else {
      least_[next_] = std::min(least_[next_], nanoseconds);
    }
    ++next_;
    return result;
  }

  void print(const std::string& strategy, const char* name, bool& is_first) {
    std::sort(least_.begin(), least_.end());
    const std::size_t count = least_.size();
    std::printf(
        "%s\n  {\"strategy\": \"%s\", \"case\": \"%s\", \"operations\": %zu, "
        "\"median_ns\": %.0f, \"p99.99_ns\": %.0f, \"worst_ns\": %.0f}",
        is_first ? "" : ",", strategy.c_str(), name, count, static_cast<double>(least_[count / 2]),
        static_cast<double>(least_[count - 1 - count / 10'000]),
        static_cast<double>(least_.back()));
    is_first = false;
  }

 private:
  int run_ = 0;
  std::size_t next_ = 0;
  std::vector<float> least_;
};

template <class S>
void churn(const std::string& name, const Trace& trace, bool& is_first) {
  Stopwatch watch;
  for (int run = 0; run < runs; ++run) {
    Arena<S> arena{trace.capacity};
    std::vector<std::optional<Block>> slots(trace.slots);
    watch.start_run();
    for (const Operation& operation : trace.operations) {
      std::optional<Block>& block = slots[operation.slot];
      if (operation.bytes != 0) {
        block = watch.time([&] { return arena.try_allocate(operation.bytes); });
      } else if (block) {
        watch.time([&] {
          arena.deallocate(*block);
          return true;
        });
      }
    }
  }
  watch.print(name, "churn", is_first);
}

template <class S>
void combs(const std::string& name, std::uint64_t blocks, bool& is_first) {
  constexpr std::uint64_t unit = 256;
  Stopwatch fill;
  Stopwatch reserved;
  Stopwatch comb;
  Stopwatch refill;
  Stopwatch merge;
  Stopwatch aligned;
  for (int run = 0; run < runs; ++run) {
    Arena<S> arena{blocks * unit};
    std::vector<Block> live(blocks);
    const auto deallocate = [&](std::uint64_t i) {
      arena.deallocate(live[i]);
      return true;
    };
    fill.start_run();
    for (Block& block : live) block = fill.time([&] { return arena.allocate(unit); });
    comb.start_run();
    for (std::uint64_t i = 1; i < blocks; i += 2) comb.time([&] { return deallocate(i); });
    aligned.start_run();
    for (int i = 0; i < 10; ++i) aligned.time([&] { return arena.try_allocate(unit, 2 * unit); });
    refill.start_run();
    for (std::uint64_t i = 1; i < blocks; i += 2)
      live[i] = refill.time([&] { return arena.allocate(unit); });
    for (std::uint64_t i = 1; i < blocks; i += 2) arena.deallocate(live[i]);
    std::vector<std::uint64_t> order;
    for (std::uint64_t i = 0; i < blocks; i += 2) order.push_back(i);
    std::shuffle(order.begin(), order.end(), std::mt19937_64{1});
    merge.start_run();
    for (const std::uint64_t i : order) merge.time([&] { return deallocate(i); });

    Arena<S> other{blocks * unit};
    other.reserve(blocks);
    reserved.start_run();
    for (std::uint64_t i = 0; i < blocks; ++i)
      reserved.time([&] { return other.allocate(unit).offset; });
  }
  fill.print(name, "fill", is_first);
  reserved.print(name, "reserved", is_first);
  comb.print(name, "comb", is_first);
  refill.print(name, "refill", is_first);
  merge.print(name, "merge", is_first);
  aligned.print(name, "aligned", is_first);
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t allocations = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 10'000'000;
  const Trace trace = make_churn(Sizes::log_uniform, 10'000, 0.85, allocations, 1);
  const std::uint64_t blocks = std::max<std::uint64_t>(allocations / 10, 1000);
  bool is_first = true;
  std::printf("[");
  churn<BestFit>("BestFit", trace, is_first);
  churn<FirstFit>("FirstFit", trace, is_first);
  churn<GoodFit>("GoodFit", trace, is_first);
  churn<Buddy>("Buddy", trace, is_first);
  combs<BestFit>("BestFit", blocks, is_first);
  combs<FirstFit>("FirstFit", blocks, is_first);
  combs<GoodFit>("GoodFit", blocks, is_first);
  combs<Buddy>("Buddy", blocks, is_first);
  std::printf("\n]\n");
}
