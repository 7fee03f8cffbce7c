// SPDX-License-Identifier: MIT
// Hits of caches of prefixes, beside every eviction there can be.
#include <allot/device/host_device.hpp>
#include <allot/pool/kv/eviction/decayed_hits.hpp>
#include <allot/pool/kv/eviction/least_frequently_used.hpp>
#include <allot/pool/kv/eviction/least_recently_used.hpp>
#include <allot/pool/kv/eviction/waiting_kept.hpp>
#include <allot/pool/kv/kv_cache.hpp>
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
using allot::DecayedHits;
using allot::LeastFrequentlyUsed;
using allot::LeastRecentlyUsed;
using allot::NothingKept;
using allot::WaitingKept;

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

TEST_CASE("the clairvoyant eviction has as many hits as any can have, and no policy has more") {
  for (std::uint64_t seed = allot::test::first_seed(); seed < allot::test::first_seed() + 60;
       ++seed) {
    INFO("ALLOT_SEED=" << seed);
    std::mt19937_64 random{seed};
    std::vector<std::uint64_t> keys;
    PromptTrace trace;
    while (keys.size() < 11) {
      std::vector<std::uint64_t> request(1 + random() % 2);
      for (std::uint64_t& key : request) key = 1000 * (random() % 5);
      trace.add(request);
      keys.insert(keys.end(), request.begin(), request.end());
    }
    for (std::size_t capacity = 1; capacity < 4; ++capacity) {
      const std::uint64_t most = most_hits(keys, 0, {}, capacity);
      REQUIRE(clairvoyant_hits<>(trace, capacity) == most);
      REQUIRE(prefix_hits<LeastRecentlyUsed>(trace, capacity) ==
              naive_least_recent(keys, capacity));
      REQUIRE(prefix_hits<LeastFrequentlyUsed>(trace, capacity) <= most);
      REQUIRE(prefix_hits<DecayedHits<>>(trace, capacity) <= most);
      for (const std::size_t waiting : {0U, 1U, 3U, 100U})
        REQUIRE(prefix_hits<WaitingKept<>>(trace, capacity, waiting) <= most);
      REQUIRE(prefix_hits<WaitingKept<>>(trace, capacity) ==
              prefix_hits<LeastRecentlyUsed>(trace, capacity));
    }
    REQUIRE(prefix_hits<LeastRecentlyUsed>(trace, 0) == 0);
    REQUIRE(prefix_hits<NothingKept>(trace, 3) == 0);
    REQUIRE(clairvoyant_hits<>(trace, 0) == 0);
  }
}

TEST_CASE("blocks are numbered in the order in which they come, whatever their keys are") {
  for (const unsigned shift : {0U, 7U, 32U, 51U}) {
    std::vector<std::uint64_t> keys;
    for (std::uint64_t i = 0; i < 5000; ++i) keys.push_back(i << shift);
    PromptTrace trace;
    trace.add(keys);
    CHECK(trace.different() == keys.size());
    std::reverse(keys.begin(), keys.end());
    trace.add(keys);
    CHECK(trace.different() == keys.size());
    bool is_right = true;
    for (std::uint32_t i = 0; i < 5000; ++i)
      is_right = is_right && trace.blocks()[i] == i && trace.blocks()[9999 - i] == i;
    CHECK(is_right);
    CHECK(prefix_hits<WaitingKept<>>(trace, 5000) == 5000);  // a cache that has room for all
    CHECK(clairvoyant_hits<>(trace, 5000) == 5000);
    CHECK(clairvoyant_hits<>(trace, 4999) == 4999);
  }
}

TEST_CASE("what was used often stays by frequency, and goes when its uses are old by decay") {
  PromptTrace trace;
  std::vector<std::uint64_t> keys(8, 1);
  for (std::uint64_t i = 10; i < 60; ++i) keys.insert(keys.end(), {i, i});
  keys.push_back(1);
  trace.add(keys);
  // 7 of block 1, one of each of the others; block 1 at the end only by frequency.
  CHECK(prefix_hits<LeastFrequentlyUsed>(trace, 2) == 7 + 50 + 1);
  CHECK(prefix_hits<DecayedHits<>>(trace, 2) == 7 + 50);
  CHECK(prefix_hits<LeastRecentlyUsed>(trace, 2) == 7 + 50);
}

TEST_CASE("what a request that waits will use stays, if it is near enough in the queue") {
  PromptTrace trace;
  const std::vector<std::vector<std::uint64_t>> requests{{1, 2}, {3, 4}, {5, 6}, {7, 8}, {1, 2}};
  for (const std::vector<std::uint64_t>& keys : requests) trace.add(keys);
  CHECK(trace.requests() == 5);
  CHECK(trace.different() == 8);
  CHECK(trace.blocks_of(4).size() == 2);
  CHECK(trace.blocks_of(3, 9).size() == 4);
  CHECK(trace.blocks_of(5).empty());
  CHECK(PromptTrace{}.blocks_of(1, 1).empty());
  CHECK(prefix_hits<WaitingKept<>>(trace, 4, 1) == 0);
  CHECK(prefix_hits<WaitingKept<>>(trace, 4, 2) == 2);
  CHECK(prefix_hits<LeastRecentlyUsed>(trace, 4) == 0);
  CHECK(clairvoyant_hits<>(trace, 4) == 2);
}

TEST_CASE("a cache that takes the requests one after another has the hits of its policy") {
  // Unlike here, it holds a request's blocks while it is served, and never shares a last token.
  using Cache = allot::KvCache<allot::HostDevice>;
  allot::KvCacheConfig config{
      .shape = {.layers = 1, .kv_heads = 1, .key_dimension = 1, .value_dimension = 1},
      .block_tokens = 1};
  config.budget_bytes = 24 * allot::KvLayout{config.shape, config.block_tokens}.block_bytes();
  Cache cache{allot::HostDevice{}, config};
  PromptTrace trace;
  std::mt19937 random{7};
  for (int i = 0; i < 300; ++i) {
    // A beginning that many share, an end that few do, and a last token.
    const std::uint32_t topic = static_cast<std::uint32_t>(random() % 6);
    std::vector<std::uint32_t> tokens{topic, 10 + topic,
                                      100 + static_cast<std::uint32_t>(random() % 9)};
    trace.add(std::vector<std::uint64_t>{topic, 10 + topic, 1000 * topic + tokens.back()});
    tokens.push_back(7);
    auto started = cache.start(tokens);
    started.sequence.truncate(tokens.size() - 1);
    started.sequence.publish();
  }
  const auto hits = static_cast<double>(prefix_hits<LeastRecentlyUsed>(trace, 23));
  CHECK(static_cast<double>(cache.stats().hits) == doctest::Approx(hits).epsilon(0.05));
}
