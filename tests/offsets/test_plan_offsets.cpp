// SPDX-License-Identifier: MIT
#include <allot/arena.hpp>
#include <allot/offsets/plan_offsets.hpp>
#include <allot/strategy/best_fit.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "offsets/graphs.hpp"
#include "support/random.hpp"
#include "support/sanitizers.hpp"

namespace {

using namespace allot;

constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();

bool are_alive_together(const Lifetime& a, const Lifetime& b) {
  return a.first <= b.last && b.first <= a.last;
}

/// The most bytes alive at any step, step by step.
std::uint64_t naive_lower_bound(const std::vector<Lifetime>& lifetimes) {
  std::uint64_t bound = 0;
  for (const Lifetime& at : lifetimes) {
    std::uint64_t alive = 0;
    for (const Lifetime& other : lifetimes) {
      if (other.first <= at.first && at.first <= other.last) alive += other.bytes;
    }
    bound = std::max(bound, alive);
  }
  return bound;
}

/// Every rule of a plan, by brute force.
void require_right(const std::vector<Lifetime>& lifetimes, const OffsetPlan& plan) {
  REQUIRE(plan.offsets.size() == lifetimes.size());
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < lifetimes.size(); ++i) {
    const Lifetime& a = lifetimes[i];
    REQUIRE(plan.offsets[i] % a.alignment == 0);
    REQUIRE(plan.alignment % (a.bytes == 0 ? 1 : a.alignment) == 0);
    end = std::max(end, plan.offsets[i] + a.bytes);
    for (std::size_t j = 0; j < i; ++j) {
      const Lifetime& b = lifetimes[j];
      if (!are_alive_together(a, b)) continue;
      const bool is_apart = plan.offsets[i] + a.bytes <= plan.offsets[j] ||
                            plan.offsets[j] + b.bytes <= plan.offsets[i];
      REQUIRE((is_apart || a.bytes == 0 || b.bytes == 0));
    }
  }
  REQUIRE(plan.bytes == end);
  REQUIRE(plan.bytes >= plan.lower_bound);
}

/// The fewest bytes of any plan: some order placed at the lowest offsets is optimal.
std::uint64_t fewest_bytes(const std::vector<Lifetime>& lifetimes) {
  std::vector<std::size_t> order(lifetimes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::uint64_t best = most;
  do {
    std::vector<std::uint64_t> offsets(lifetimes.size());
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
      const Lifetime& a = lifetimes[order[i]];
      std::uint64_t offset = 0;
      for (bool moved = true; moved;) {
        moved = false;
        for (std::size_t j = 0; j < i; ++j) {
          const Lifetime& b = lifetimes[order[j]];
          const std::uint64_t other = offsets[order[j]];
          if (!are_alive_together(a, b) || offset + a.bytes <= other || other + b.bytes <= offset)
            continue;
          offset = (other + b.bytes + a.alignment - 1) / a.alignment * a.alignment;
          moved = true;
        }
      }
      offsets[order[i]] = offset;
      bytes = std::max(bytes, offset + a.bytes);
    }
    best = std::min(best, bytes);
  } while (std::next_permutation(order.begin(), order.end()));
  return best;
}

}  // namespace

TEST_CASE("buffers that are never alive together share their bytes") {
  const std::vector<Lifetime> lifetimes{{1000, 0, 1}, {2000, 2, 3}, {3000, 4, 4}};
  const OffsetPlan plan = plan_offsets(lifetimes);
  CHECK(plan.offsets == std::vector<std::uint64_t>{0, 0, 0});
  CHECK(plan.bytes == 3000);
  CHECK(plan.lower_bound == 3000);
  CHECK(plan.alignment == 256);
}

TEST_CASE("what is used last at a step is alive together with what is used first there") {
  const std::vector<Lifetime> lifetimes{{256, 0, 1}, {256, 1, 2}};
  CHECK(plan_offsets(lifetimes).bytes == 512);
}

TEST_CASE("no buffers, and buffers of no bytes, need no block") {
  CHECK(plan_offsets({}).bytes == 0);
  const std::vector<Lifetime> lifetimes{{0, 0, 9, 4096}, {0, 3, 4, 1}};
  const OffsetPlan plan = plan_offsets(lifetimes);
  CHECK(plan.bytes == 0);
  CHECK(plan.alignment == 1);
  CHECK(plan.offsets == std::vector<std::uint64_t>{0, 0});
}

TEST_CASE("what cannot be planned is refused, with the buffer and its numbers") {
  const auto refused = [](const std::vector<Lifetime>& lifetimes, const char* text) {
    CHECK_THROWS_WITH_AS(static_cast<void>(plan_offsets(lifetimes)), text, std::invalid_argument);
  };
  refused({{1, 0, 0}, {5, 7, 6}},
          "buffer 1 is used first at step 7 and last at step 6; give the first step, then the last "
          "one, which is not before it");
  refused({{5, 0, 1, 48}},
          "buffer 0 has an alignment of 48 bytes, which is no power of two; use 1, 2, 4, ...");
  refused({{5, 0, 1, 0}},
          "buffer 0 has an alignment of 0 bytes, which is no power of two; use 1, 2, 4, ...");
  const char* const overflow =
      "the 2 buffers that are alive at once exceed 2^64 bytes; check their sizes";
  refused({{most, 0, 1}, {1, 1, 2}}, overflow);
  refused({{most - 1, 0, 1, 4096}, {1, 0, 2, 4096}}, overflow);
  CHECK(plan_offsets(std::vector<Lifetime>{{most, 0, 1}, {most, 2, 2}}).bytes == most);
  CHECK(plan_offsets(std::vector<Lifetime>{{1, 0, most}, {1, most, most}}).bytes == 257);
}

TEST_CASE("random plans are free of overlaps, aligned, and not below the lower bound") {
  for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 60; ++seed) {
    INFO("ALLOT_SEED=" << seed);
    std::mt19937_64 random{seed};
    std::vector<Lifetime> lifetimes;
    for (std::uint64_t i = 0; i < 1 + random() % 150; ++i) {
      const std::uint64_t first = random() % 60;
      lifetimes.push_back(
          {random() % 5000, first, first + random() % 30, std::uint64_t{1} << random() % 13});
    }
    const OffsetPlan plan = plan_offsets(lifetimes, {.work = random() % 200'000});
    require_right(lifetimes, plan);
    REQUIRE(plan.lower_bound == naive_lower_bound(lifetimes));
    REQUIRE(plan_offsets(lifetimes, {.work = 0}).bytes >= plan.bytes);
    REQUIRE(plan_offsets(lifetimes).offsets == plan_offsets(lifetimes).offsets);
  }
}

TEST_CASE("a plan that is not cut short is the one that any more work gives") {
  for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 10; ++seed) {
    INFO("ALLOT_SEED=" << seed);
    std::mt19937_64 random{seed};
    std::vector<Lifetime> lifetimes;
    for (std::uint64_t i = 0; i < 8; ++i) {
      const std::uint64_t first = random() % 8;
      lifetimes.push_back(
          {1 + random() % 12, first, first + random() % 5, std::uint64_t{1} << random() % 3});
    }
    const OffsetPlan plan = plan_offsets(lifetimes);
    for (std::uint64_t work = 0; work < 3000; work += test::is_sanitized ? 37 : 3) {
      const OffsetPlan less = plan_offsets(lifetimes, {.work = work});
      REQUIRE((less.is_cut_short || less.offsets == plan.offsets));
    }
  }
}

TEST_CASE("plans of few buffers are the best there are") {
  int optimal = 0;
  int plans = 0;
  for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 100; ++seed) {
    INFO("ALLOT_SEED=" << seed);
    std::mt19937_64 random{seed};
    std::vector<Lifetime> lifetimes;
    for (std::uint64_t i = 0; i < 7; ++i) {
      const std::uint64_t first = random() % 8;
      lifetimes.push_back(
          {1 + random() % 12, first, first + random() % 5, std::uint64_t{1} << random() % 3});
    }
    const OffsetPlan plan = plan_offsets(lifetimes);
    require_right(lifetimes, plan);
    const std::uint64_t fewest = fewest_bytes(lifetimes);
    REQUIRE(plan.bytes >= fewest);
    REQUIRE(static_cast<double>(plan.bytes) <= 1.1 * static_cast<double>(fewest));
    optimal += plan.bytes == fewest ? 1 : 0;
    ++plans;
  }
  MESSAGE(optimal << " of " << plans << " plans of 7 buffers are optimal");
  CHECK(optimal >= plans - 3);
}

TEST_CASE("a training-like step is planned within 5 % of the lower bound, as BestFit is not") {
  using AnyArena = Arena<WideBestFit, AlignTo<256>>;
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    const std::vector<Lifetime> lifetimes = test::training_steps(4, seed);
    const OffsetPlan plan = plan_offsets(lifetimes);
    require_right(lifetimes, plan);
    CHECK(plan.bytes <= plan.lower_bound + plan.lower_bound / 20);
    CHECK(plan.bytes <= test::peak_of_trace<AnyArena>(lifetimes, std::uint64_t{1} << 40));
  }
}

TEST_CASE("a transformer's graph is planned within 5 % of the lower bound, and below BestFit") {
  using AnyArena = Arena<WideBestFit, AlignTo<256>>;
  for (const bool fused : {false, true}) {
    for (const std::uint64_t layers : {1U, 2U, 32U}) {
      for (const std::uint64_t tokens : {1U, 7U, 512U}) {
        CAPTURE(fused);
        CAPTURE(layers);
        CAPTURE(tokens);
        const test::TransformerGraph graph{
            {.layers = layers, .tokens = tokens, .fused_attention = fused}};
        const OffsetPlan plan = plan_offsets(graph.lifetimes());
        require_right(graph.lifetimes(), plan);
        CHECK(plan.bytes <= plan.lower_bound + plan.lower_bound / 20);
        CHECK(plan.bytes <=
              test::peak_of_trace<AnyArena>(graph.lifetimes(), std::uint64_t{1} << 40));
      }
    }
  }
}

TEST_CASE("a hundred thousand buffers are planned, whether few or all are alive at once") {
  constexpr std::size_t count = test::is_sanitized ? 10'000 : 100'000;
  const std::vector<Lifetime> few = test::random_lifetimes(count, 20, 1);
  const OffsetPlan plan = plan_offsets(few);
  CHECK(plan.bytes >= plan.lower_bound);
  CHECK(plan.bytes <= plan.lower_bound + plan.lower_bound / 10);
  const std::vector<Lifetime> all(count, Lifetime{256, 0, 1});
  CHECK(plan_offsets(all, {.work = 1000}).bytes == 256 * count);
}
