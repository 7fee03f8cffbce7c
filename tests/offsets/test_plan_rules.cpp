// SPDX-License-Identifier: MIT
// Lifetimes that ask for more than size, time and alignment: places of their own, places that are
// shared, memories, streams; and what to keep elsewhere if not all fits.
#include <allot/offsets/plan_offsets.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#if __has_include(<stop_token>)
#include <stop_token>
#else
#include <memory>
#endif

#include "offsets/check_plan.hpp"
#include "offsets/graphs.hpp"
#include "offsets/packing_boxes.hpp"
#include "support/random.hpp"

namespace {

using namespace allot;
using Verdict = OffsetFit::Verdict;

#if __has_include(<stop_token>)
using StopSource = std::stop_source;
#else
/// What older libc++ lacks.
class StopSource {
 public:
  class Token {
   public:
    explicit Token(std::shared_ptr<const bool> asked) : asked_{std::move(asked)} {}
    [[nodiscard]] bool stop_requested() const noexcept { return *asked_; }

   private:
    std::shared_ptr<const bool> asked_;
  };
  [[nodiscard]] Token get_token() const { return Token{asked_}; }
  void request_stop() { *asked_ = true; }

 private:
  std::shared_ptr<bool> asked_ = std::make_shared<bool>(false);
};
#endif

/// Whether two that are alive together may have one place.
bool may_share(const std::vector<Lifetime>& all, std::size_t a, std::size_t b) {
  const auto replaces = [&](std::size_t after, std::size_t before) {
    return all[after].may_replace == before && all[before].last == all[after].first &&
           all[after].bytes <= all[before].bytes;
  };
  return replaces(a, b) || replaces(b, a);
}

/// Every rule, pair by pair.
void require_rules(const std::vector<Lifetime>& all, const OffsetPlanOptions& options,
                   const OffsetPlan& plan) {
  REQUIRE(plan.offsets.size() == all.size());
  REQUIRE(plan.memories.size() == all.size());
  const std::size_t memories = std::max<std::size_t>(options.capacities.size(), 1);
  REQUIRE(plan.memory_bytes.size() == memories);
  std::vector<std::uint64_t> ends(memories);
  for (std::size_t i = 0; i < all.size(); ++i) {
    INFO("buffer " << i);
    REQUIRE(plan.offsets[i] % all[i].alignment == 0);
    REQUIRE(plan.memories[i] < memories);
    if (!all[i].memories.empty()) {
      const auto& allowed = all[i].memories;
      REQUIRE(std::find(allowed.begin(), allowed.end(), plan.memories[i]) != allowed.end());
    }
    if (all[i].fixed_offset) REQUIRE(plan.offsets[i] == *all[i].fixed_offset);
    if (all[i].bytes != 0) {
      ends[plan.memories[i]] = std::max(ends[plan.memories[i]], plan.offsets[i] + all[i].bytes);
    }
    for (std::size_t k = 0; k < i; ++k) {
      if (all[i].bytes == 0 || all[k].bytes == 0 || !test::are_alive_together(all[i], all[k]) ||
          plan.memories[i] != plan.memories[k])
        continue;
      const bool is_apart = plan.offsets[i] + all[i].bytes <= plan.offsets[k] ||
                            plan.offsets[k] + all[k].bytes <= plan.offsets[i];
      const bool is_shared = plan.offsets[i] == plan.offsets[k] && may_share(all, i, k);
      INFO("and " << k);
      REQUIRE((is_apart || is_shared));
    }
  }
  REQUIRE(plan.memory_bytes == ends);
  for (std::size_t m = 0; m < options.capacities.size(); ++m)
    REQUIRE(ends[m] <= options.capacities[m]);
  REQUIRE(plan.bytes == std::accumulate(ends.begin(), ends.end(), std::uint64_t{0}));
  REQUIRE(plan.bytes >= plan.lower_bound);
}

std::vector<Lifetime> unruled_lifetimes(std::mt19937_64& random, std::uint64_t count) {
  std::vector<Lifetime> all;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t first = random() % (2 * count);
    all.push_back({random() % 100, first, first + random() % 8, std::uint64_t{1} << random() % 4});
  }
  return all;
}

/// Asks for something of each kind, never for what cannot be.
void add_rules(std::vector<Lifetime>& all, const OffsetPlanOptions& options,
               std::mt19937_64& random) {
  std::uint64_t place = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    Lifetime& each = all[i];
    each.stream = static_cast<std::uint32_t>(random() % 3);
    if (random() % 3 == 0) {
      const std::size_t other = random() % all.size();
      if (other != i) each.may_replace = other;
      if (other != i && random() % 2 == 0 && each.bytes != 0) {
        each.first = all[other].last;
        each.last = each.first + random() % 5;
      }
    }
    if (options.capacities.size() > 1 && random() % 2 == 0)
      each.memories = {random() % options.capacities.size()};
    if (random() % 6 == 0) {
      place = (place + 15) / 16 * 16;
      each.fixed_offset = place;
      if (!options.capacities.empty()) each.memories = {0};
      place += each.bytes;
    }
  }
}

std::string message_of(const std::vector<Lifetime>& all, const OffsetPlanOptions& options = {}) {
  try {
    static_cast<void>(plan_offsets(all, options));
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a plan keeps every rule, of random lifetimes with all of them") {
  for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 300; ++seed) {
    INFO("ALLOT_SEED=" << seed);
    std::mt19937_64 random{seed};
    std::vector<Lifetime> all = unruled_lifetimes(random, 1 + random() % 30);
    OffsetPlanOptions options{.work = 200'000};
    if (random() % 2 == 0) options.capacities = {5'000, 5'000, 5'000};
    if (random() % 2 == 0) options.stream_wait_bytes = random() % 50;
    add_rules(all, options, random);
    const OffsetPlan plan = plan_offsets(all, options);
    if (plan.memories.empty()) {
      test::require_right(all, plan);
    } else {
      require_rules(all, options, plan);
    }
  }
}

TEST_CASE("more work never gives a plan of more bytes, with rules too") {
  for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 40; ++seed) {
    INFO("ALLOT_SEED=" << seed);
    std::mt19937_64 random{seed};
    std::vector<Lifetime> all = unruled_lifetimes(random, 25);
    OffsetPlanOptions options;
    if (seed % 2 == 0) options.capacities = {2'000, 2'000};
    add_rules(all, options, random);
    std::uint64_t before = std::numeric_limits<std::uint64_t>::max();
    for (const std::uint64_t work : {0U, 100U, 1'000U, 5'000U, 20'000U, 100'000U, 400'000U}) {
      options.work = work;
      const std::uint64_t bytes = plan_offsets(all, options).bytes;
      REQUIRE(bytes <= before);
      before = bytes;
    }
  }
}

TEST_CASE("around places of their own, few buffers get the best plan") {
  int best = 0;
  constexpr int rounds = 60;
  for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + rounds; ++seed) {
    INFO("ALLOT_SEED=" << seed);
    std::mt19937_64 random{seed};
    std::vector<Lifetime> all;
    for (std::uint64_t i = 0; i < 6; ++i) {
      const std::uint64_t first = random() % 8;
      all.push_back({1 + random() % 12, first, first + random() % 5, 1});
    }
    all[0].fixed_offset = random() % 20;
    const OffsetPlan plan = plan_offsets(all);
    require_rules(all, {}, plan);
    // The best plan is found by some order, the one with a place first.
    std::vector<std::size_t> order{1, 2, 3, 4, 5};
    std::uint64_t fewest = std::numeric_limits<std::uint64_t>::max();
    do {
      std::vector<std::uint64_t> offsets{*all[0].fixed_offset, 0, 0, 0, 0, 0};
      std::vector<std::size_t> placed{0};
      std::uint64_t bytes = offsets[0] + all[0].bytes;
      for (const std::size_t i : order) {
        for (bool moved = true; moved;) {
          moved = false;
          for (const std::size_t k : placed) {
            if (!test::are_alive_together(all[i], all[k]) ||
                offsets[i] + all[i].bytes <= offsets[k] || offsets[k] + all[k].bytes <= offsets[i])
              continue;
            offsets[i] = offsets[k] + all[k].bytes;
            moved = true;
          }
        }
        placed.push_back(i);
        bytes = std::max(bytes, offsets[i] + all[i].bytes);
      }
      fewest = std::min(fewest, bytes);
    } while (std::next_permutation(order.begin(), order.end()));
    REQUIRE(plan.lower_bound <= fewest);
    REQUIRE(plan.bytes >= fewest);
    best += plan.bytes == fewest ? 1 : 0;
  }
  CHECK(best >= rounds * 9 / 10);
}

TEST_CASE("an operation in place takes no memory of its own") {
  // A chain of element-wise operations: 10 buffers, each read only by the next.
  std::vector<Lifetime> chain;
  for (std::uint64_t i = 0; i < 10; ++i) {
    Lifetime each{1000, i, i + 1, 1};
    if (i != 0) each.may_replace = i - 1;
    chain.push_back(each);
  }
  const OffsetPlan plan = plan_offsets(chain);
  require_rules(chain, {}, plan);
  CHECK(plan.bytes == 1000);
  CHECK(plan.lower_bound == 1000);
  CHECK(!plan.is_cut_short);

  // Not larger than what it replaces, and only if that one is not read later.
  const std::vector<Lifetime> grows{{100, 0, 1, 1}, {101, 1, 2, 1, {}, 0}};
  CHECK(plan_offsets(grows).bytes == 201);
  const std::vector<Lifetime> read_later{{100, 0, 2, 1}, {100, 1, 3, 1, {}, 0}};
  CHECK(plan_offsets(read_later).bytes == 200);
  // Of two that may, one does.
  const std::vector<Lifetime> two{{100, 0, 1, 1}, {100, 1, 2, 1, {}, 0}, {100, 1, 2, 1, {}, 0}};
  CHECK(plan_offsets(two).bytes == 200);
  CHECK(plan_offsets(two).lower_bound == 200);
}

TEST_CASE("in place never costs bytes, and saves some of a transformer's") {
  const test::TransformerGraph graph{{.layers = 4}};
  std::vector<Lifetime> all = graph.lifetimes();
  const std::uint64_t apart = plan_offsets(all).bytes;
  for (std::size_t i = 1; i < all.size(); ++i) {
    for (std::size_t k = 0; k < i; ++k) {
      if (all[k].last == all[i].first && all[k].bytes == all[i].bytes) all[i].may_replace = k;
    }
  }
  const OffsetPlan plan = plan_offsets(all);
  require_rules(all, {}, plan);
  CHECK(plan.bytes < apart);
}

TEST_CASE("memories: each buffer where it may be, within what each has") {
  const std::vector<Lifetime> all{{60, 0, 9, 1, {}, {}, {0}},
                                  {60, 0, 9, 1, {}, {}, {0, 1}},
                                  {60, 0, 9, 1, {}, {}, {1, 0}},
                                  {60, 10, 12, 1}};
  const OffsetPlanOptions options{.capacities = {100, 200}};
  const OffsetPlan plan = plan_offsets(all, options);
  require_rules(all, options, plan);
  CHECK(plan.memories == std::vector<std::size_t>{0, 1, 1, 0});
  CHECK(plan.memory_bytes == std::vector<std::uint64_t>{60, 120});

  const OffsetFit fit = fit_offsets(all, 1'000, {.capacities = {50, 200}});
  CHECK(fit.verdict == Verdict::impossible);  // the first fits only memory 0, and does not
  CHECK(fit.buffers == std::vector<std::uint32_t>{0});
  CHECK(message_of(all, {.capacities = {100, 50}}).find("has no room in any memory") !=
        std::string::npos);
  CHECK(fit_offsets(all, 1'000, {.capacities = {60, 120}}).verdict == Verdict::fits);
  CHECK(fit_offsets(all, 179, {.capacities = {60, 120}}).verdict == Verdict::impossible);
}

TEST_CASE("a proof counts the places that buffers may share in these memories") {
  // c can be in a's place, b elsewhere.
  const std::vector<Lifetime> all{
      {100, 0, 1, 1, {}, {}, {0}}, {100, 1, 2, 1, {}, 0}, {100, 1, 2, 1, {}, 0, {0}}};
  const OffsetPlanOptions options{.capacities = {100, 100}};
  const OffsetFit fit = fit_offsets(all, 200, options);
  CHECK(fit.verdict != Verdict::impossible);
  if (fit.verdict == Verdict::fits) require_rules(all, options, fit.plan);
}

TEST_CASE(
    "places that end beyond the capacity are a proof: the last of each memory, when most of it is "
    "alive") {
  std::vector<Lifetime> one{{10, 0, 1, 1, 0}, {20, 5, 7, 1, 90}, {30, 3, 9, 1}};
  OffsetFit fit = fit_offsets(one, 100);
  CHECK(fit.verdict == OffsetFit::Verdict::impossible);
  CHECK(fit.buffers == std::vector<std::uint32_t>{1});
  CHECK(fit.step == 5);
  CHECK(fit_offsets(one, 110).verdict == OffsetFit::Verdict::fits);

  std::vector<Lifetime> two{{10, 0, 1, 1, 60}, {20, 4, 6, 1, 60}, {30, 5, 9, 1, 0}};
  two[0].memories = two[2].memories = {0};
  two[1].memories = {1};
  OffsetPlanOptions options;
  options.capacities = {100, 100};
  fit = fit_offsets(two, 120, options);
  CHECK(fit.verdict == OffsetFit::Verdict::impossible);
  CHECK(fit.buffers == std::vector<std::uint32_t>{0, 1});
  CHECK(fit.step == 4);
  CHECK(fit.plan.lower_bound == 150);
}

TEST_CASE("what is kept elsewhere is proven the least only if it is, with shared places too") {
  const std::vector<Lifetime> all{
      {100, 0, 1, 1}, {100, 0, 1, 1}, {100, 1, 2, 1, {}, 0}, {100, 1, 2, 1, {}, 1}, {60, 1, 1, 1}};
  const OffsetFit fit = fit_offsets(all, 200);
  CHECK(fit.verdict == Verdict::impossible);
  CHECK(fit.plan.lower_bound == 260);
  if (fit.spill.is_proven) CHECK(fit.spill.bytes == 60);
}

TEST_CASE("a capacity that a plan has fits, with rules too") {
  const test::TransformerGraph graph{{.layers = 2}};
  std::vector<Lifetime> all = graph.lifetimes();
  for (std::size_t i = 1; i < all.size(); ++i) {
    if (all[i - 1].last == all[i].first && all[i - 1].bytes == all[i].bytes)
      all[i].may_replace = i - 1;
  }
  const std::uint64_t bytes = plan_offsets(all).bytes;
  CHECK(fit_offsets(all, bytes).verdict == Verdict::fits);
  CHECK(fit_offsets(all, bytes, {.capacities = {bytes}}).verdict == Verdict::fits);
}

TEST_CASE("a wait between streams is avoided for as many bytes as it is worth") {
  const std::vector<Lifetime> all{{100, 0, 1, 1, {}, {}, {}, 0}, {100, 2, 3, 1, {}, {}, {}, 1}};
  const OffsetPlan close = plan_offsets(all, {.stream_wait_bytes = 99});
  CHECK(close.bytes == 100);
  CHECK(close.stream_waits == 1);
  const OffsetPlan apart = plan_offsets(all, {.stream_wait_bytes = 101});
  CHECK(apart.bytes == 200);
  CHECK(apart.stream_waits == 0);
  CHECK(plan_offsets(all).stream_waits == 1);  // without a price it is counted, too
  const OffsetPlanOptions never{.capacities = {100},
                                .stream_wait_bytes = std::numeric_limits<std::uint64_t>::max()};
  CHECK(plan_offsets(all, never).bytes == 100);  // there is no room to avoid it
}

TEST_CASE("what cannot be asked for is an error that names the buffer") {
  CHECK(message_of({{100, 0, 1, 64, 32}}) ==
        "buffer 0 has its place at 32, which is not a multiple of its alignment, 64");
  CHECK(message_of({{100, 0, 1, 1, 0}, {100, 1, 2, 1, 50}}) ==
        "buffer 0 and buffer 1 have places that overlap while both are alive: at 0 and 50, 100 and "
        "100 bytes");
  CHECK(message_of({{100, 0, 1, 1, ~std::uint64_t{0}}}).find("end beyond") != std::string::npos);
  CHECK(message_of({{100, 0, 1, 1, {}, 0}}).find("may replace buffer 0") != std::string::npos);
  CHECK(message_of({{100, 0, 1, 1, {}, 7}}).find("may replace buffer 7") != std::string::npos);
  CHECK(message_of({{100, 0, 1, 1, {}, {}, {1}}}, {.capacities = {5}})
            .find("names memory 1, but there are 1") != std::string::npos);
  CHECK(message_of({{100, 0, 1, 1, {}, {}, {0, 0}}}, {.capacities = {500, 1}})
            .find("names memory 0 twice") != std::string::npos);
  CHECK(message_of({{100, 0, 1, 1, 0}}, {.capacities = {500, 500}}).find("may be in 2 memories") !=
        std::string::npos);
  CHECK(message_of({{100, 0, 1, 1}}, {.capacities = {50}}).find("the capacity is 50") !=
        std::string::npos);
}

TEST_CASE("what to keep elsewhere: the fewest bytes, then the fewest buffers") {
  int proven = 0;
  for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 100; ++seed) {
    INFO("ALLOT_SEED=" << seed);
    std::mt19937_64 random{seed};
    std::vector<Lifetime> all;
    for (std::uint64_t i = 0; i < 7; ++i) {
      const std::uint64_t first = random() % 6;
      all.push_back({1 + random() % 12, first, first + random() % 5, 1});
    }
    const std::uint64_t capacity = test::fewest_bytes(all) * 2 / 3;
    const OffsetFit fit = fit_offsets(all, capacity, {.work = 10'000'000});
    REQUIRE(fit.verdict == Verdict::impossible);
    const auto rest_without = [&](std::uint32_t bits) {
      std::vector<Lifetime> rest;
      for (std::uint32_t i = 0; i < all.size(); ++i) {
        if ((bits >> i & 1) == 0) rest.push_back(all[i]);
      }
      return rest;
    };
    std::uint32_t bits = 0;
    for (const std::uint32_t i : fit.spill.buffers) bits |= std::uint32_t{1} << i;
    REQUIRE(test::fewest_bytes(rest_without(bits)) <= capacity);
    if (!fit.spill.is_proven) continue;
    ++proven;
    for (std::uint32_t other = 0; other < 128; ++other) {
      std::uint64_t bytes = 0;
      std::size_t count = 0;
      for (std::uint32_t i = 0; i < 7; ++i) {
        bytes += (other >> i & 1) != 0 ? all[i].bytes : 0;
        count += other >> i & 1;
      }
      if (bytes > fit.spill.bytes ||
          (bytes == fit.spill.bytes && count >= fit.spill.buffers.size()))
        continue;
      REQUIRE(test::naive_lower_bound(rest_without(other)) > 0);
      REQUIRE(test::fewest_bytes(rest_without(other)) > capacity);
    }
  }
  CHECK(proven > 80);
  CHECK(fit_offsets(std::vector<Lifetime>{{10, 0, 1, 1}}, 10).spill.buffers.empty());
}

TEST_CASE("of many buffers, what is left fits too") {
  std::mt19937_64 random{5};
  std::vector<Lifetime> all = unruled_lifetimes(random, 6'000);
  const std::uint64_t capacity = test::naive_lower_bound(all) * 3 / 4;
  const OffsetFit fit = fit_offsets(all, capacity, {.work = 1'000'000});
  CHECK(fit.verdict == Verdict::impossible);
  REQUIRE(!fit.spill.buffers.empty());
  CHECK(!fit.spill.is_proven);
  for (const std::uint32_t i : fit.spill.buffers) all[i].bytes = 0;
  CHECK(fit_offsets(all, capacity, {.work = 1'000'000}).verdict == Verdict::fits);
}

TEST_CASE(
    "placing by rules takes some units for each buffer: few alive together, all, or no room") {
  const auto units_of = [](std::size_t count, std::uint64_t longest, std::uint64_t capacity) {
    std::mt19937_64 random{count};
    std::vector<Lifetime> lifetimes(count);
    for (std::size_t i = 0; i < count; ++i) {
      Lifetime& each = lifetimes[i];
      each = {256 * (1 + random() % 4096), i, i + random() % longest};
      if (i % 3 == 0) each.memories = {1, 0};
      if (i != 0 && lifetimes[i - 1].last == i) each.may_replace = i - 1;
    }
    lifetimes[0].memories = {0};
    lifetimes[0].fixed_offset = 0;
    OffsetPlanOptions options;
    options.capacities = {capacity, capacity};
    const detail::PlanRules<> rules{lifetimes, options};
    constexpr std::uint64_t most_work = std::uint64_t{1} << 40;
    std::uint64_t work_left = most_work;
    detail::RulePlacer<> placer{lifetimes, rules, 0, work_left};
    std::vector<std::uint32_t> order(count);
    for (std::uint32_t i = 0; i < count; ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), random);
    const auto plan = placer.place(order, true, true);
    REQUIRE(plan);
    if (capacity > std::uint64_t{1} << 30) CHECK(plan->is_whole());
    return (most_work - work_left) / count;
  };
  constexpr std::uint64_t wide = std::uint64_t{1} << 40;
  for (const std::size_t count : {std::size_t{1000}, std::size_t{4000}, std::size_t{16000}}) {
    CAPTURE(count);
    CHECK(units_of(count, 16, wide) < 80);
    CHECK(units_of(count, count, wide) < 1000);
    CHECK(units_of(count, count, 1 << 20) < 200);
  }
}

TEST_CASE("around a cache that has its place, a graph is planned as without it") {
  std::vector<Lifetime> lifetimes = test::packing_boxes(50, 3);
  lifetimes.push_back({1 << 20, 0, 100, 256});
  lifetimes.back().fixed_offset = 0;
  const OffsetPlan plan = plan_offsets(lifetimes, {.work = 200'000'000});
  test::require_right(lifetimes, plan);
  CHECK(plan.bytes == (std::uint64_t{2} << 20));
  CHECK(!plan.is_cut_short);
}

TEST_CASE("a search says how far it is, and ends when it is asked to") {
  std::mt19937_64 random{3};
  std::vector<Lifetime> all;
  for (int i = 0; i < 200; ++i) {
    const std::uint64_t first = random() % 100;
    all.push_back({1000 + random() % 1000, first, first + random() % 60, 1});
  }
  for (const bool has_rules : {false, true}) {
    if (has_rules) all[0].fixed_offset = 0;
    StopSource source;
    std::vector<OffsetProgress> seen;
    const OffsetPlan plan = plan_offsets(all, {.work = 20'000'000,
                                               .stop = source.get_token(),
                                               .progress = [&](const OffsetProgress& progress) {
                                                 seen.push_back(progress);
                                                 if (seen.size() == 3) source.request_stop();
                                               }});
    CHECK(plan.is_cut_short);
    REQUIRE(seen.size() == 3);
    for (std::size_t i = 1; i < seen.size(); ++i) {
      CHECK(seen[i].work > seen[i - 1].work);
      CHECK(seen[i].bytes <= seen[i - 1].bytes);
    }
    CHECK(seen.back().total_work == 20'000'000);
    CHECK(plan.bytes <= seen.back().bytes);
  }
}
