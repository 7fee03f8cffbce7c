// SPDX-License-Identifier: MIT
// Hits of caches of prefixes, beside every eviction there can be.
#include <allot/report/prefix_hits.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <list>
#include <random>
#include <vector>

#include "support/random.hpp"

namespace {

using namespace allot::report;

/// The most hits that any eviction has from a place on: every choice is tried.
std::uint64_t most_hits(const std::vector<std::uint64_t>& blocks, std::size_t from,
                        std::vector<std::uint64_t> cache, std::size_t capacity) {
  if (from == blocks.size()) return 0;
  if (std::find(cache.begin(), cache.end(), blocks[from]) != cache.end())
    return 1 + most_hits(blocks, from + 1, cache, capacity);
  std::uint64_t most = most_hits(blocks, from + 1, cache, capacity);  // not kept
  cache.push_back(blocks[from]);
  if (cache.size() <= capacity) return std::max(most, most_hits(blocks, from + 1, cache, capacity));
  for (std::size_t i = 0; i + 1 < cache.size(); ++i) {
    std::vector<std::uint64_t> left = cache;
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(i));
    most = std::max(most, most_hits(blocks, from + 1, left, capacity));
  }
  return most;
}

std::uint64_t naive_least_recent(const std::vector<std::uint64_t>& blocks, std::size_t capacity) {
  std::list<std::uint64_t> cache;  // the latest first
  std::uint64_t hits = 0;
  for (const std::uint64_t block : blocks) {
    const auto found = std::find(cache.begin(), cache.end(), block);
    if (found != cache.end()) {
      ++hits;
      cache.erase(found);
    } else if (cache.size() == capacity) {
      cache.pop_back();
    }
    cache.push_front(block);
  }
  return hits;
}

}  // namespace

TEST_CASE("the clairvoyant eviction has as many hits as any can have, and no other has more") {
  for (std::uint64_t seed = allot::test::first_seed(); seed < allot::test::first_seed() + 60;
       ++seed) {
    INFO("ALLOT_SEED=" << seed);
    std::mt19937_64 random{seed};
    PromptTrace trace;
    for (int i = 0; i < 11; ++i) trace.blocks.push_back(random() % 5);
    for (std::size_t capacity = 1; capacity < 4; ++capacity) {
      const std::uint64_t most = most_hits(trace.blocks, 0, {}, capacity);
      REQUIRE(prefix_hits<>(trace, Eviction::clairvoyant, capacity) == most);
      REQUIRE(prefix_hits<>(trace, Eviction::least_recent, capacity) ==
              naive_least_recent(trace.blocks, capacity));
      REQUIRE(prefix_hits<>(trace, Eviction::least_frequent, capacity) <= most);
      REQUIRE(prefix_hits<>(trace, Eviction::decayed_hits, capacity) <= most);
    }
    REQUIRE(prefix_hits<>(trace, Eviction::least_recent, 0) == 0);
  }
}

TEST_CASE("what was used often stays by frequency, and goes when its uses are old by decay") {
  PromptTrace trace;
  for (int i = 0; i < 8; ++i) trace.blocks.push_back(1);
  for (std::uint64_t i = 10; i < 40; ++i) trace.blocks.insert(trace.blocks.end(), {i, i});
  trace.blocks.push_back(1);
  // 7 of block 1, one of each of the others; block 1 at the end only by frequency.
  CHECK(prefix_hits<>(trace, Eviction::least_frequent, 2) == 7 + 30 + 1);
  CHECK(prefix_hits<>(trace, Eviction::decayed_hits, 2) == 7 + 30);
  CHECK(prefix_hits<>(trace, Eviction::least_recent, 2) == 7 + 30);
}
