// SPDX-License-Identifier: MIT
#include <allot/offsets/plan_offsets.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <vector>

#include "offsets/check_plan.hpp"
#include "support/random.hpp"

namespace {

using namespace allot;
using Verdict = OffsetFit::Verdict;

std::vector<Lifetime> few_lifetimes(std::mt19937_64& random) {
  std::vector<Lifetime> lifetimes;
  for (std::uint64_t i = 0; i < 7; ++i) {
    const std::uint64_t first = random() % 8;
    lifetimes.push_back(
        {1 + random() % 12, first, first + random() % 5, std::uint64_t{1} << random() % 3});
  }
  return lifetimes;
}

}  // namespace

TEST_CASE("what fits a capacity gets a plan, and what does not a proof") {
  int beyond_the_bound = 0;
  for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 200; ++seed) {
    INFO("ALLOT_SEED=" << seed);
    std::mt19937_64 random{seed};
    const std::vector<Lifetime> lifetimes = few_lifetimes(random);
    const std::uint64_t fewest = test::fewest_bytes(lifetimes);
    const OffsetFit fit = fit_offsets(lifetimes, fewest);
    REQUIRE(fit.verdict == Verdict::fits);
    REQUIRE(fit.plan.bytes == fewest);
    test::require_right(lifetimes, fit.plan);
    const OffsetFit none = fit_offsets(lifetimes, fewest - 1);
    REQUIRE(none.verdict == Verdict::impossible);
    std::vector<Lifetime> proof;
    std::uint64_t alive = 0;
    for (const std::uint32_t buffer : none.buffers) {
      proof.push_back(lifetimes[buffer]);
      const Lifetime& lifetime = proof.back();
      if (lifetime.first <= none.step && none.step <= lifetime.last) alive += lifetime.bytes;
    }
    REQUIRE(alive == test::naive_lower_bound(proof));
    REQUIRE(test::fewest_bytes(proof) >= fewest);
    beyond_the_bound += alive < fewest ? 1 : 0;
  }
  CHECK(beyond_the_bound > 0);  // some proofs need the search
}

TEST_CASE(
    "a capacity between two multiples of what all sizes are multiples of is as the lower one") {
  for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 200; ++seed) {
    INFO("ALLOT_SEED=" << seed);
    std::mt19937_64 random{seed};
    std::vector<Lifetime> lifetimes = few_lifetimes(random);
    const std::uint64_t fewest = 8 * test::fewest_bytes(lifetimes);
    for (Lifetime& lifetime : lifetimes) {
      lifetime.bytes *= 8;
      lifetime.alignment *= 8;
    }
    const OffsetFit fit = fit_offsets(lifetimes, fewest + 3);
    REQUIRE(fit.verdict == Verdict::fits);
    REQUIRE(fit.plan.bytes == fewest);
    const OffsetFit none = fit_offsets(lifetimes, fewest - 5);
    REQUIRE(none.verdict == Verdict::impossible);
    REQUIRE(!none.buffers.empty());
  }
}

TEST_CASE("what is alive at one step beyond the capacity is named, with the step") {
  const std::vector<Lifetime> lifetimes{
      {100, 0, 9, 1}, {50, 2, 3, 1}, {60, 3, 5, 1}, {70, 7, 9, 1}};
  const OffsetFit fit = fit_offsets(lifetimes, 209);
  CHECK(fit.verdict == Verdict::impossible);
  CHECK(fit.step == 3);
  CHECK(fit.buffers == std::vector<std::uint32_t>{0, 1, 2});
  CHECK(fit.plan.offsets.empty());
  CHECK(fit_offsets(lifetimes, 210).verdict == Verdict::fits);
}

TEST_CASE("a search that the work ends says neither") {
  // Wide and alike: no greedy order reaches the bound.
  std::mt19937_64 random{3};
  std::vector<Lifetime> lifetimes;
  for (int i = 0; i < 200; ++i) {
    const std::uint64_t first = random() % 100;
    lifetimes.push_back({1000 + random() % 1000, first, first + random() % 60, 1});
  }
  const std::uint64_t bound = test::naive_lower_bound(lifetimes);
  const OffsetFit fit = fit_offsets(lifetimes, bound, {.work = 1000});
  CHECK(fit.verdict == Verdict::not_found);
  CHECK(fit.plan.is_cut_short);
  test::require_right(lifetimes, fit.plan);
  CHECK(fit.buffers.empty());
}

TEST_CASE("no buffers fit no bytes") {
  CHECK(fit_offsets({}, 0).verdict == Verdict::fits);
  const std::vector<Lifetime> lifetimes{{0, 0, 9, 4096}};
  CHECK(fit_offsets(lifetimes, 0).verdict == Verdict::fits);
}
