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

#include "offsets/check_plan.hpp"
#include "offsets/graphs.hpp"
#include "support/random.hpp"
#include "support/sanitizers.hpp"

namespace {

using namespace allot;
using test::fewest_bytes;
using test::naive_lower_bound;
using test::require_right;

constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();

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
          "buffer 0 has an alignment of 48 bytes, which is not a power of two; use 1, 2, 4, ...");
  refused({{5, 0, 1, 0}},
          "buffer 0 has an alignment of 0 bytes, which is not a power of two; use 1, 2, 4, ...");
  const char* const overflow =
      "the 2 buffers that are alive at once exceed 2^64 bytes; check their sizes";
  refused({{most, 0, 1}, {1, 1, 2}}, overflow);
  refused({{most - 1, 0, 1, 4096}, {1, 0, 2, 4096}}, overflow);
  CHECK(plan_offsets(std::vector<Lifetime>{{most, 0, 1}, {most, 2, 2}}).bytes == most);
  CHECK(plan_offsets(std::vector<Lifetime>{{1, 0, most}, {1, most, most}}).bytes == 257);
}

namespace {

std::vector<Lifetime> some_lifetimes(std::mt19937_64& random, std::uint64_t most_buffers) {
  std::vector<Lifetime> lifetimes;
  const std::uint64_t buffers = 1 + random() % most_buffers;
  const std::uint64_t steps = 2 + random() % 60;
  const std::uint64_t duration = 1 + random() % steps;
  const std::uint64_t alignments = 1 + random() % 13;
  const std::uint64_t unit = random() % 2 == 0 ? 1 : 512;
  for (std::uint64_t i = 0; i < buffers; ++i) {
    const std::uint64_t first = random() % steps;
    lifetimes.push_back({random() % 50 * (random() % 100) * unit, first,
                         first + random() % duration, std::uint64_t{1} << random() % alignments});
  }
  return lifetimes;
}

/// The largest first, of equal ones the longest-lived, each to the lowest gap.
std::uint64_t bytes_by_size(const std::vector<Lifetime>& lifetimes) {
  std::vector<std::size_t> order(lifetimes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    if (lifetimes[a].bytes != lifetimes[b].bytes) return lifetimes[a].bytes > lifetimes[b].bytes;
    return lifetimes[a].last - lifetimes[a].first > lifetimes[b].last - lifetimes[b].first;
  });
  return test::bytes_in_order(lifetimes, order);
}

}  // namespace

TEST_CASE("random plans are free of overlaps, aligned, and not below the lower bound") {
  for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 300; ++seed) {
    INFO("ALLOT_SEED=" << seed);
    std::mt19937_64 random{seed};
    const std::vector<Lifetime> lifetimes = some_lifetimes(random, 150);
    const OffsetPlanOptions options{.work = random() % 500'000};
    const OffsetPlan plan = plan_offsets(lifetimes, options);
    require_right(lifetimes, plan);
    test::require_right_by_step(lifetimes, plan);
    REQUIRE(plan.lower_bound == naive_lower_bound(lifetimes));
    REQUIRE(plan_offsets(lifetimes, options).offsets == plan.offsets);
  }
}

TEST_CASE("a plan is never of more bytes than best fit's, or than those by size") {
  using AnyArena = Arena<WideBestFit, AlignTo<1>>;
  const std::uint64_t count = test::operations(test::is_sanitized ? 1'000 : 10'000);
  for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + count; ++seed) {
    INFO("ALLOT_SEED=" << seed);
    std::mt19937_64 random{seed};
    const std::vector<Lifetime> lifetimes = some_lifetimes(random, 40);
    const OffsetPlan plan = plan_offsets(lifetimes, {.work = 60'000});
    require_right(lifetimes, plan);
    REQUIRE(plan.bytes <= bytes_by_size(lifetimes));
    std::vector<Lifetime> some = lifetimes;
    std::erase_if(some, [](const Lifetime& lifetime) { return lifetime.bytes == 0; });
    REQUIRE(plan.bytes <= test::peak_of_trace<AnyArena>(some, std::uint64_t{1} << 50));
  }
}

TEST_CASE("more work never gives a plan of more bytes") {
  for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 40; ++seed) {
    INFO("ALLOT_SEED=" << seed);
    std::mt19937_64 random{seed};
    const std::vector<Lifetime> lifetimes =
        seed % 8 == 0 ? test::random_lifetimes(700 + random() % 2000, 20, seed)
                      : some_lifetimes(random, 150);
    std::vector<std::uint64_t> works;
    for (int i = 0; i < 12; ++i) works.push_back(random() % (std::uint64_t{1} << random() % 22));
    std::sort(works.begin(), works.end());
    std::uint64_t bytes = most;
    for (const std::uint64_t work : works) {
      const OffsetPlan plan = plan_offsets(lifetimes, {.work = work});
      test::require_right_by_step(lifetimes, plan);
      REQUIRE(plan.bytes <= bytes);
      bytes = plan.bytes;
    }
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
    REQUIRE(plan.bytes == fewest);
    REQUIRE(!plan.is_cut_short);
  }
}

TEST_CASE("what alignment makes impossible is refuted in few runs, however many bytes it takes") {
  // Of two that are alive together, the second begins at the next multiple: half as much again.
  constexpr std::uint64_t alignment = std::uint64_t{1} << 40;
  for (const std::uint64_t pairs : {1U, 40U}) {
    std::vector<Lifetime> lifetimes;
    for (std::uint64_t i = 0; i < 2 * pairs; ++i)
      lifetimes.push_back({alignment + 1, i / 2, i / 2, alignment});
    const OffsetPlan plan = plan_offsets(lifetimes, {.work = 1'000'000});
    CHECK(plan.bytes == 3 * alignment + 1);
    CHECK(!plan.is_cut_short);
  }
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
  const OffsetPlan plan = plan_offsets(few, {.work = 100'000'000});
  test::require_right_by_step(few, plan);
  CHECK(plan.bytes <= plan.lower_bound + plan.lower_bound / 50);
  const std::vector<Lifetime> all(count, Lifetime{256, 0, 1});
  CHECK(plan_offsets(all, {.work = 1000}).bytes == 256 * count);
}

TEST_CASE("an order by time that keeps who comes first gives every buffer the same place") {
  constexpr std::size_t count = 5'000;
  const std::vector<Lifetime> lifetimes = test::random_lifetimes(count, 20, 5);
  const std::vector<detail::PlainLifetime> all = detail::plain(lifetimes);
  const detail::Packing<> packing = detail::make_packing(std::span{all});
  const std::vector<std::uint32_t> order =
      detail::order_of(std::span{all}, std::vector<std::uint64_t>(count), PlanOrder::size);
  const std::vector<std::uint32_t> local = detail::LocalOrder<>{packing, 0}.of(order);
  REQUIRE(local != order);
  REQUIRE(local.size() == count);
  std::uint64_t work_left = std::uint64_t{1} << 40;
  detail::GapIndex<> gaps{packing.totals.size()};
  detail::OrderPlacer<> placer{all, packing, gaps, work_left};
  constexpr std::uint64_t limit = std::uint64_t{1} << 60;
  const auto plan = placer.place_lowest(order, limit);
  const auto same = placer.place_lowest(local, limit);
  REQUIRE(plan);
  REQUIRE(same);
  CHECK(plan->offsets == same->offsets);
}
