// SPDX-License-Identifier: MIT
// Eviction policies: what each promises, and that a KvCache keeps its own promises with each.
#include <allot/device/host_device.hpp>
#include <allot/pool/kv/kv_cache.hpp>
#include <allot/pool/kv/kv_group_cache.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "pool/kv/kv_engine.hpp"
#include "pool/kv/naive_eviction.hpp"
#include "support/random.hpp"

namespace {

using namespace allot;
using test::small_cache;
using test::Tokens;

struct NotAnEviction {};

struct MayThrowOnHit : NothingKept {
  using NothingKept::NothingKept;
  void note_hit(std::uint32_t) {}
};

struct FlagIsNoConstant : NothingKept {
  using NothingKept::NothingKept;
  bool keeps_blocks = false;
};

struct NextIsNoNumber : NothingKept {
  using NothingKept::NothingKept;
  static constexpr void next() noexcept {}
};

struct KnowsNoNumberOfBlocks : NothingKept {
  KnowsNoNumberOfBlocks() : NothingKept{0} {}
};

struct ExpectMayThrow : LeastRecentlyUsed {
  using LeastRecentlyUsed::LeastRecentlyUsed;
  void expect(std::span<const std::uint32_t>) {}
};

static_assert(!Eviction<NotAnEviction>);
static_assert(!Eviction<int>);
static_assert(!Eviction<MayThrowOnHit>);
static_assert(!Eviction<FlagIsNoConstant>);
static_assert(!Eviction<NextIsNoNumber>);
static_assert(!Eviction<KnowsNoNumberOfBlocks>);
static_assert(Eviction<ExpectMayThrow> && !QueueAwareEviction<ExpectMayThrow>);
static_assert(!QueueAwareEviction<LeastRecentlyUsed>);
static_assert(std::is_empty_v<NothingKept>, "the null policy must cost no storage");

template <class Policy>
using CacheOf = KvCache<HostDevice, Unsynchronized, Policy>;

template <class Cache>
concept CanExpect = requires(Cache& cache) {
  cache.expect({});
};
static_assert(CanExpect<CacheOf<WaitingKept<>>> && !CanExpect<CacheOf<LeastRecentlyUsed>>);

Tokens prompt_of(std::uint32_t first, std::size_t count) {
  Tokens tokens(count);
  for (std::uint32_t& token : tokens) token = first++;
  return tokens;
}

/// Computes a prompt for others. Returns how many of its tokens were there.
template <class Cache>
std::uint64_t run(Cache& cache, const Tokens& prompt) {
  auto started = cache.start(prompt);
  started.sequence.publish();
  return started.cached;
}

}  // namespace

TEST_CASE_TEMPLATE("a policy evicts what its definition says, whatever happens to the blocks",
                   Policy, LeastRecentlyUsed, LeastFrequentlyUsed, DecayedHits<>, DecayedHits<1>,
                   WaitingKept<>, WaitingKept<LeastFrequentlyUsed>) {
  for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 8; ++seed) {
    INFO("ALLOT_SEED=" << seed);
    std::mt19937_64 random{seed};
    const std::uint32_t blocks = 1 + static_cast<std::uint32_t>(random() % 24);
    Policy policy{blocks};
    test::NaiveEviction<Policy> naive{blocks};
    const auto both = [&](auto&& call) {
      call(policy);
      call(naive);
    };
    for (std::uint64_t i = 0; i < test::operations(2500); ++i) {
      const auto block = static_cast<std::uint32_t>(random() % blocks);
      const auto other = static_cast<std::uint32_t>(random() % blocks);
      const bool is_kept = naive[block].is_kept;
      const bool is_unused = naive[block].is_unused;
      switch (random() % 8) {
        case 0:
        case 1:
          if (!is_kept) both([&](auto& each) { each.note_kept(block); });
          break;
        case 2:
          if (is_unused) both([&](auto& each) { each.remove(block); });
          if (is_kept) both([&](auto& each) { each.note_hit(block); });
          break;
        case 3:
        case 4:
          if (is_kept && !is_unused) both([&](auto& each) { each.add(block); });
          break;
        case 5:
          if (is_kept && !naive[other].is_kept) both([&](auto& each) { each.move(block, other); });
          break;
        case 6:
          if constexpr (QueueAwareEviction<Policy>) {
            std::vector<std::uint32_t> queue;
            for (std::uint64_t n = random() % 16; n != 0; --n) {
              const auto wanted = static_cast<std::uint32_t>(random() % blocks);
              if (naive[wanted].is_kept) queue.push_back(wanted);
            }
            both([&](auto& each) { each.expect(queue); });
          }
          break;
        default:
          if (policy.size() == 0) break;
          const std::uint32_t next = policy.next();
          REQUIRE(naive.may_be_next(next));
          both([&](auto& each) { each.remove(next); });
          both([&](auto& each) { each.note_gone(next); });
      }
      REQUIRE(policy.size() == naive.size());
      REQUIRE(policy.contains(block) == naive[block].is_unused);
      if (policy.size() != 0) REQUIRE(naive.may_be_next(policy.next()));
    }
  }
}

TEST_CASE_TEMPLATE("no order of calls makes a policy take more than logarithmic time", Policy,
                   LeastRecentlyUsed, LeastFrequentlyUsed, DecayedHits<>, WaitingKept<>,
                   WaitingKept<LeastFrequentlyUsed>) {
  // A linear search for each of these would take hours.
  constexpr std::uint32_t blocks = 200'000;
  Policy policy{blocks};
  for (std::uint32_t i = 0; i < blocks; ++i) policy.note_kept(i);
  for (std::uint32_t i = 0; i < blocks; ++i) {  // later ones are hit more often, and added first
    for (std::uint32_t hits = i / (blocks / 4); hits != 0; --hits) policy.note_hit(i);
  }
  for (std::uint32_t i = blocks; i-- != 0;) policy.add(i);
  if constexpr (QueueAwareEviction<Policy>) {
    std::vector<std::uint32_t> queue;
    for (std::uint32_t i = 0; i < blocks; i += 2) queue.push_back(i);
    policy.expect(queue);
    policy.expect({});
    policy.expect(queue);
  }
  for (std::uint32_t i = 0; i < blocks; i += 3) {
    policy.remove(i);
    policy.note_hit(i);
    policy.add(i);
  }
  CHECK(policy.size() == blocks);
  std::vector<bool> is_gone(blocks);
  while (policy.size() != 0) {
    const std::uint32_t next = policy.next();
    if (is_gone[next]) break;
    is_gone[next] = true;
    policy.remove(next);
    policy.note_gone(next);
  }
  CHECK(policy.size() == 0);
}

TEST_CASE_TEMPLATE("a cache keeps its promises with any policy", Policy, NothingKept,
                   LeastFrequentlyUsed, DecayedHits<>, WaitingKept<>) {
  for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 3; ++seed) {
    INFO("ALLOT_SEED=" << seed);
    std::mt19937_64 random{seed};
    using Cache = CacheOf<Policy>;
    Cache cache{HostDevice{}, small_cache(40)};
    test::KvEngine engine{cache};
    std::vector<std::pair<typename Cache::Sequence, Tokens>> live;
    const auto some_tokens = [&](std::size_t most) {
      Tokens tokens(random() % most);
      for (std::uint32_t& token : tokens) token = static_cast<std::uint32_t>(random() % 2);
      return tokens;
    };
    std::uint64_t refused = 0;
    for (std::uint64_t i = 0; i < test::operations(1000); ++i) {
      const std::size_t one = live.empty() ? 0 : random() % live.size();
      try {
        const std::uint64_t choice = random() % 12;
        if (live.empty() || choice < 3) {
          const Tokens prompt = some_tokens(24);
          auto [sequence, cached] = cache.start(prompt);
          engine.write(sequence, prompt, cached);
          live.emplace_back(std::move(sequence), prompt);
        } else if (choice < 6) {
          auto& [sequence, tokens] = live[one];
          const Tokens more = some_tokens(6);
          const std::size_t from = tokens.size();
          sequence.append(more);
          tokens.insert(tokens.end(), more.begin(), more.end());
          engine.write(sequence, tokens, from);
        } else if (choice == 6) {
          live[one].first.publish();
        } else if (choice == 7) {
          auto& [sequence, tokens] = live[one];
          tokens.resize(random() % (tokens.size() + 1));
          sequence.truncate(tokens.size());
        } else if (choice == 8) {
          static_cast<void>(cache.compact(random() % 4));
        } else if (choice == 9) {
          if constexpr (CanExpect<Cache>) {
            const std::vector<Tokens> waiting{some_tokens(24), some_tokens(24)};
            const std::vector<KvWaiting> queue{{waiting[0]}, {waiting[1]}};
            cache.expect(queue);
          }
          live.emplace_back(live[one].first.fork(), live[one].second);
        } else {
          std::swap(live[one], live.back());
          live.pop_back();
        }
      } catch (const OutOfBlocks&) {
        ++refused;
        std::swap(live[random() % live.size()], live.back());
        live.pop_back();
      }
      if (i % 16 == 0) REQUIRE(cache.validate());
      if (!Policy::keeps_blocks) REQUIRE(cache.stats().cached == 0);
    }
    for (auto& [sequence, tokens] : live) engine.check(sequence, tokens);
    CHECK(refused > 0);
    CHECK(cache.stats().hits > 0);
    CHECK((cache.stats().evicted > 0) == Policy::keeps_blocks);
    live.clear();
    cache.evict(40);
    CHECK(cache.stats().free == 40);
    CHECK(cache.validate());
  }
}

TEST_CASE("a cache that keeps nothing shares blocks only while a sequence has them") {
  CacheOf<NothingKept> cache{HostDevice{}, small_cache(6)};
  const Tokens prompt = prompt_of(0, 9);
  {
    auto first = cache.start(prompt).sequence;
    first.publish();
    CHECK(cache.start(prompt).cached == 8);
    CHECK(cache.stats().in_use == 3);
  }
  CHECK(cache.stats().free == 6);
  CHECK(cache.stats().cached == 0);
  CHECK(cache.start(prompt).cached == 0);
  CHECK(cache.evict(6) == 0);
  CHECK(cache.stats().evicted == 0);
}

TEST_CASE("what is hit often stays by frequency, and goes by recency") {
  const auto is_there_at_the_end = [](auto&& cache) {
    for (int i = 0; i < 5; ++i) run(cache, prompt_of(0, 9));
    for (std::uint32_t i = 1; i < 10; ++i) run(cache, prompt_of(100 * i, 9));
    return run(cache, prompt_of(0, 9)) == 8;
  };
  CHECK(is_there_at_the_end(CacheOf<LeastFrequentlyUsed>{HostDevice{}, small_cache(6)}));
  CHECK(!is_there_at_the_end(CacheOf<LeastRecentlyUsed>{HostDevice{}, small_cache(6)}));
}

TEST_CASE("a start that fails counts no hit") {
  CacheOf<LeastFrequentlyUsed> cache{HostDevice{}, small_cache(4)};
  run(cache, prompt_of(0, 4));
  run(cache, prompt_of(100, 4));
  run(cache, prompt_of(100, 5));  // a hit
  for (int i = 0; i < 3; ++i)
    CHECK_THROWS_AS(static_cast<void>(cache.start(prompt_of(0, 20))), OutOfBlocks);
  CHECK(cache.evict(1) == 1);
  CHECK(run(cache, prompt_of(100, 5)) == 4);
  CHECK(run(cache, prompt_of(0, 5)) == 0);
}

TEST_CASE(
    "blocks that waiting prompts will find are evicted after all others, the last one first") {
  CacheOf<WaitingKept<>> cache{HostDevice{}, small_cache(7)};
  const Tokens soon = prompt_of(0, 9);
  const Tokens later = prompt_of(100, 9);
  run(cache, later);
  run(cache, soon);
  run(cache, prompt_of(200, 9));
  const std::vector<KvWaiting> queue{{soon}, {later}};
  cache.expect(queue);
  CHECK(cache.stats().cached == 6);
  CHECK(cache.evict(2) == 2);
  run(cache, prompt_of(200, 8));  // nothing waits for these any more
  CHECK(cache.stats().evicted == 2);
  CHECK(cache.evict(2) == 2);
  CHECK(cache.evict(1) == 1);  // the end of what starts last
  CHECK(cache.start(soon).cached == 8);
  CHECK(cache.start(later).cached == 4);
  cache.expect({});
  CHECK(cache.evict(7) == 3);
  CHECK(cache.validate());
}

TEST_CASE("what waits with other keys keeps no block, and wrong positions change nothing") {
  CacheOf<WaitingKept<>> cache{HostDevice{}, small_cache(5)};
  const Tokens of_tenant = prompt_of(0, 9);
  const Tokens of_all = prompt_of(100, 9);
  const KvPromptKeys keys{.keys = {KvTenant{1}}};
  {
    auto sequence = cache.start(of_tenant, keys).sequence;
    sequence.publish();
  }
  run(cache, of_all);
  const std::vector<KvWaiting> queue{{of_tenant, keys}, {of_all, {.keys = {KvTenant{2}}}}};
  cache.expect(queue);
  const std::vector<KvWaiting> wrong{
      {of_all}, {of_all, {.positions = {{.first = 9, .count = 1, .key = KvContent{1}}}}}};
  CHECK_THROWS_AS(cache.expect(wrong), std::invalid_argument);
  CHECK(cache.stats(KvTenant{2}).sequences == 0);
  CHECK(cache.evict(2) == 2);
  CHECK(cache.start(of_tenant, keys).cached == 8);
  CHECK(cache.validate());
}
