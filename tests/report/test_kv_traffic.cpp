// SPDX-License-Identifier: MIT
// Requests as traffic of a KV cache.
#include <allot/report/kv_traffic.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <stdexcept>
#include <vector>

#include "support/random.hpp"

namespace {

using allot::report::kv_traffic;
using allot::report::KvRequest;
using allot::report::KvTraffic;
using allot::report::KvTrafficOptions;

}  // namespace

TEST_CASE("requests hold the blocks of their prompts and outputs for as long as outputs take") {
  // Steps of 10: the first runs from 0 to 40, the second from 20 on.
  const std::vector<KvRequest> requests{{0, 8, 4}, {15, 5, 1}, {1000, 1, 0}};
  const KvTraffic traffic = kv_traffic(requests, {.block_tokens = 4, .token_time = 10});
  CHECK(traffic.peak_blocks == 3 + 2);
  CHECK(traffic.peak_tokens == 10 + 5);
  CHECK(traffic.peak_sequences == 2);
  CHECK(traffic.waited == 0);
  CHECK(traffic.longest_wait == 5);
  CHECK(kv_traffic(std::vector<KvRequest>{}).peak_blocks == 0);
}

TEST_CASE("a full cache makes requests wait, sequences start again, and refuses what never fits") {
  // Both start with two blocks of four; the first needs two more, so that the second makes room.
  const std::vector<KvRequest> requests{{0, 8, 8}, {0, 8, 8}, {0, 17, 0}};
  const KvTraffic traffic =
      kv_traffic(requests, {.blocks = 4, .block_tokens = 4, .token_time = 10});
  CHECK(traffic.peak_blocks == 4);
  CHECK(traffic.restarted == 1);
  CHECK(traffic.refused == 1);
  CHECK(traffic.waited == 0);  // it had started at once
  const std::vector<KvRequest> late{{0, 16, 2}, {0, 4, 1}};
  const KvTraffic one = kv_traffic(late, {.blocks = 5, .block_tokens = 4, .token_time = 10});
  CHECK(one.restarted == 1);
  const KvTraffic waits = kv_traffic(std::vector<KvRequest>{{0, 16, 3}, {0, 8, 0}},
                                     {.blocks = 5, .block_tokens = 4, .token_time = 10});
  CHECK(waits.waited == 1);
  CHECK(waits.longest_wait == 40);
}

TEST_CASE("the peak without a limit is the smallest cache in which nothing waits") {
  for (std::uint64_t seed = allot::test::first_seed(); seed < allot::test::first_seed() + 20;
       ++seed) {
    INFO("ALLOT_SEED=" << seed);
    std::mt19937_64 random{seed};
    std::vector<KvRequest> requests;
    std::uint64_t arrival = 0;
    for (int i = 0; i < 60; ++i) {
      arrival += random() % 40;
      requests.push_back({arrival, 1 + random() % 50, random() % 12});
    }
    KvTrafficOptions options{.block_tokens = 1 + random() % 8, .token_time = 10};
    const KvTraffic unlimited = kv_traffic(requests, options);
    options.blocks = unlimited.peak_blocks;
    const KvTraffic enough = kv_traffic(requests, options);
    REQUIRE(enough.peak_blocks == unlimited.peak_blocks);
    REQUIRE(enough.peak_tokens == unlimited.peak_tokens);
    REQUIRE(enough.peak_sequences == unlimited.peak_sequences);
    REQUIRE(enough.waited + enough.restarted + enough.refused == 0);
    --options.blocks;
    const KvTraffic too_few = kv_traffic(requests, options);
    REQUIRE(too_few.waited + too_few.restarted + too_few.refused != 0);
  }
}

TEST_CASE("requests out of order, and times and blocks of nothing, are refused") {
  const std::vector<KvRequest> requests{{10, 1, 1}, {9, 1, 1}};
  CHECK_THROWS_AS(static_cast<void>(kv_traffic(requests)), std::invalid_argument);
  const std::vector<KvRequest> one{{10, 1, 1}};
  CHECK_THROWS_AS(static_cast<void>(kv_traffic(one, {.token_time = 0})), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(kv_traffic(one, {.block_tokens = 0})), std::invalid_argument);
}
