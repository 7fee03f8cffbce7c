// SPDX-License-Identifier: MIT
#include <allot/device/host_device.hpp>
#include <allot/pool/kv/append_all.hpp>
#include <allot/pool/kv/kv_cache.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "pool/kv/kv_engine.hpp"
#include "support/random.hpp"

namespace {

using namespace allot;
using test::small_cache;
using test::Tokens;
using Cache = KvCache<HostDevice>;

/// Starts a sequence, publishes it, ends it, and returns how many of its tokens were there.
std::uint64_t run(Cache& cache, const Tokens& prompt, const KvPromptKeys& keys = {}) {
  auto started = cache.start(prompt, keys);
  started.sequence.publish();
  return started.cached;
}

const Tokens same_tokens(13, 7);  // three full blocks of 4

}  // namespace

TEST_CASE("equal tokens of two adapters share no block, and those of one do") {
  Cache cache{HostDevice{}, small_cache(40)};
  CHECK(run(cache, same_tokens, {.keys = {KvAdapter{1}}}) == 0);
  CHECK(run(cache, same_tokens, {.keys = {KvAdapter{2}}}) == 0);
  CHECK(run(cache, same_tokens) == 0);  // the model without an adapter
  CHECK(run(cache, same_tokens, {.keys = {KvAdapter{1}}}) == 12);
  CHECK(run(cache, same_tokens, {.keys = {KvAdapter{2}}}) == 12);
  CHECK(run(cache, same_tokens) == 12);
  CHECK(cache.validate());
}

TEST_CASE("kinds of keys are apart, and so are numbers and bytes") {
  Cache cache{HostDevice{}, small_cache(100)};
  struct MyKind;
  const std::array<std::byte, 8> seven{std::byte{7}};
  const std::vector<KvPromptKeys> different{
      {.keys = {KvAdapter{7}}},
      {.keys = {KvTenant{7}}},
      {.keys = {KvKey<MyKind>{7}}},
      {.keys = {KvAdapter{seven}}},
      {.keys = {KvAdapter{"7"}}},
      {.keys = {KvAdapter{""}}},
      {.keys = {KvAdapter{7}, KvTenant{7}}},
      {.keys = {KvAdapter{"ab"}, KvAdapter{"c"}}},
      {.keys = {KvAdapter{"a"}, KvAdapter{"bc"}}},
      {.positions = {{.first = 0, .count = 13, .key = KvAdapter{7}}}},
      {.keys = {KvTenant{7}}, .positions = {{.first = 0, .count = 13, .key = KvAdapter{7}}}},
  };
  for (const KvPromptKeys& keys : different) CHECK(run(cache, same_tokens, keys) == 0);
  for (const KvPromptKeys& keys : different) CHECK(run(cache, same_tokens, keys) == 12);
}

TEST_CASE("the keys of a sequence are a set: their order and repetitions do not matter") {
  Cache cache{HostDevice{}, small_cache(40)};
  CHECK(run(cache, same_tokens, {.keys = {KvAdapter{1}, KvTenant{"a"}}}) == 0);
  CHECK(run(cache, same_tokens, {.keys = {KvTenant{"a"}, KvAdapter{1}}}) == 12);
  CHECK(run(cache, same_tokens, {.keys = {KvTenant{"a"}, KvAdapter{1}, KvTenant{"a"}}}) == 12);
}

TEST_CASE("placeholders of other images share the blocks before them alone") {
  Cache cache{HostDevice{}, small_cache(60)};
  const auto image = [](std::uint64_t number, std::uint64_t first, std::uint64_t count) {
    return KvPromptKeys{.positions = {{.first = first, .count = count, .key = KvContent{number}}}};
  };
  CHECK(run(cache, same_tokens, image(1, 5, 2)) == 0);
  CHECK(run(cache, same_tokens, image(1, 5, 2)) == 12);
  CHECK(run(cache, same_tokens, image(2, 5, 2)) ==
        4);  // and not the third block, which comes after
  CHECK(run(cache, same_tokens, image(2, 5, 2)) == 12);
  CHECK(run(cache, same_tokens, image(1, 6, 2)) == 4);  // the same image, elsewhere
  CHECK(run(cache, same_tokens, image(1, 5, 1)) == 4);
  CHECK(run(cache, same_tokens) == 4);
  CHECK(run(cache, same_tokens, image(1, 12, 1)) == 12);  // in no full block
  CHECK(cache.validate());
}

TEST_CASE("one image twice is not an image of twice the length") {
  Cache cache{HostDevice{}, small_cache(60)};
  const auto part = [](std::uint64_t first, std::uint64_t count, std::uint64_t offset = 0) {
    return KvPositions{first, count, KvContent{1}, offset};
  };
  CHECK(run(cache, same_tokens, {.positions = {part(0, 8)}}) == 0);
  CHECK(run(cache, same_tokens, {.positions = {part(0, 4), part(4, 4)}}) == 4);
  // Said in parts, in any order, it is the same.
  CHECK(run(cache, same_tokens, {.positions = {part(0, 3), part(3, 5, 3)}}) == 12);
  CHECK(run(cache, same_tokens, {.positions = {part(3, 5, 3), part(0, 3)}}) == 12);
  CHECK(run(cache, same_tokens, {.positions = {part(4, 4), part(0, 4)}}) == 12);
}

TEST_CASE("positions may lie over each other") {
  Cache cache{HostDevice{}, small_cache(60)};
  const KvPositions adapter{.first = 2, .count = 11, .key = KvAdapter{1}};
  const KvPositions image{.first = 5, .count = 2, .key = KvContent{1}};
  CHECK(run(cache, same_tokens, {.positions = {adapter, image}}) == 0);
  CHECK(run(cache, same_tokens, {.positions = {image, adapter}}) == 12);
  CHECK(run(cache, same_tokens, {.positions = {adapter}}) == 4);
  CHECK(run(cache, same_tokens, {.positions = {image}}) == 0);
}

TEST_CASE("forks, later tokens and shortened sequences keep their keys") {
  Cache cache{HostDevice{}, small_cache(60)};
  const KvPromptKeys keys{.keys = {KvAdapter{1}},
                          .positions = {{.first = 2, .count = 4, .key = KvContent{1}}}};
  Tokens tokens(6, 7);
  auto sequence = cache.start(tokens, keys).sequence;
  auto fork = sequence.fork();
  // An image that comes in two parts, each with some of its placeholders.
  const Tokens three(3, 7);
  fork.append(three, {{.first = 1, .count = 2, .key = KvContent{2}}});
  fork.append(three, {{.first = 0, .count = 2, .key = KvContent{2}, .offset = 2}});
  fork.publish();
  sequence.append(Tokens(6, 7), {{.first = 1, .count = 4, .key = KvContent{3}}});
  sequence.publish();

  const Tokens prompt(13, 7);
  const auto with = [&](std::uint64_t adapter, std::uint64_t second, std::uint64_t first = 2) {
    const auto started = cache.start(
        prompt, {.keys = {KvAdapter{adapter}},
                 .positions = {{.first = first, .count = 4, .key = KvContent{1}},
                               {.first = first + 5, .count = 4, .key = KvContent{second}}}});
    return started.cached;
  };
  CHECK(with(1, 2) == 12);
  CHECK(with(1, 3) == 12);
  CHECK(with(1, 4) == 4);
  CHECK(with(2, 2) == 0);
  CHECK(with(1, 2, 1) == 0);

  // Shortened within an image, and gone on with without one.
  fork.truncate(5);
  fork.append(Tokens(8, 7));
  fork.publish();
  const auto shorter = [&](std::uint64_t count) {
    return cache
        .start(prompt, {.keys = {KvAdapter{1}},
                        .positions = {{.first = 2, .count = count, .key = KvContent{1}}}})
        .cached;
  };
  CHECK(shorter(3) == 12);
  CHECK(shorter(4) == 4);
  CHECK(cache.validate());
}

TEST_CASE("positions outside of the tokens that they come with are refused, and nothing changed") {
  Cache cache{HostDevice{}, small_cache(8)};
  CHECK_THROWS_WITH_AS(
      static_cast<void>(cache.start(
          same_tokens, {.positions = {{.first = 10, .count = 4, .key = KvContent{1}}}})),
      "a key for 4 positions from 10 on does not lie within the 13 tokens that it comes with; "
      "count "
      "positions from the first of these, and give at least one",
      std::invalid_argument);
  const std::uint64_t most = ~std::uint64_t{0};
  auto sequence = cache.start(same_tokens, {.keys = {KvAdapter{1}}}).sequence;
  for (const auto& [first, count] : std::vector<std::pair<std::uint64_t, std::uint64_t>>{
           {0, 0}, {2, 1}, {most, 1}, {1, most}, {most, most}}) {
    CHECK_THROWS_AS(
        sequence.append(Tokens(2, 7), {{.first = first, .count = count, .key = KvContent{1}}}),
        std::invalid_argument);
  }
  CHECK_THROWS_AS(sequence.append(Tokens{}, {{.first = 0, .count = 1, .key = KvContent{1}}}),
                  std::invalid_argument);
  // One good key before a bad one, and a good one for tokens that find no room.
  CHECK_THROWS_AS(sequence.append(Tokens(2, 7), {{.first = 0, .count = 1, .key = KvContent{1}},
                                                 {.first = 0, .count = 3, .key = KvContent{1}}}),
                  std::invalid_argument);
  CHECK(!sequence.try_append(Tokens(40, 7), {{.first = 0, .count = 40, .key = KvContent{1}}}));
  CHECK(cache.stats(KvContent{1}).sequences == 0);
  CHECK(sequence.tokens() == 13);
  CHECK(cache.stats().sequences == 1);
  sequence.append(Tokens(4, 7));
  sequence.publish();
  CHECK(cache.start(Tokens(17, 7), {.keys = {KvAdapter{1}}}).cached == 16);
  CHECK(cache.validate());
}

TEST_CASE(
    "an append that finds no room leaves all keys: of what is there and of what is to follow") {
  Cache cache{HostDevice{}, small_cache(8)};
  const KvPositions image{.first = 2, .count = 8, .key = KvContent{1}};
  auto sequence = cache.start_shared(same_tokens, {.positions = {image}}).sequence;
  sequence.append(Tokens(4, 7));
  const KvPositions other{.first = 0, .count = 40, .key = KvContent{2}};
  CHECK(!sequence.try_append(Tokens(40, 7), {other}));
  CHECK(!sequence.try_append(Tokens(40, 7)));
  CHECK_THROWS_AS(sequence.append(Tokens(40, 7), {other}), OutOfBlocks);
  CHECK(sequence.tokens() == 4);
  CHECK(cache.stats(KvContent{1}).sequences == 1);
  CHECK(cache.stats(KvContent{2}).sequences == 0);
  CHECK(sequence.try_append(Tokens(9, 7)));
  sequence.publish();
  CHECK(run(cache, same_tokens) == 0);
  CHECK(run(cache, same_tokens, {.positions = {image}}) == 12);
  CHECK(cache.validate());
}

TEST_CASE("a batch that finds no room leaves all keys, as each of its appends does") {
  Cache cache{HostDevice{}, small_cache(4)};
  const KvPositions image{.first = 2, .count = 8, .key = KvContent{1}};
  auto sequence = cache.start_shared(same_tokens, {.positions = {image}}).sequence;
  struct Entry {
    Tokens tokens;
  };
  const std::vector<Entry> batch{{Tokens(3, 7)}, {Tokens(13, 7)}, {Tokens(1, 7)}};
  CHECK_THROWS_AS(append_all(
                      batch, [&](const Entry&) -> auto& { return sequence; }),
                  OutOfBlocks);
  CHECK(sequence.tokens() == 0);
  CHECK(cache.stats(KvContent{1}).sequences == 1);
  sequence.append(same_tokens);
  sequence.publish();
  { const auto ended = std::move(sequence); }
  CHECK(cache.start_shared(same_tokens).cached == 0);
  CHECK(cache.start_shared(same_tokens, {.positions = {image}}).cached == 12);
  CHECK(cache.validate());
}

TEST_CASE("statistics by key count what has it, and end with the last of it") {
  Cache cache{HostDevice{}, small_cache(12)};
  const KvPromptKeys first{.keys = {KvAdapter{1}, KvTenant{"a"}},
                           .positions = {{.first = 1, .count = 2, .key = KvContent{1}},
                                         {.first = 3, .count = 1, .key = KvContent{1}}}};
  CHECK(cache.stats(KvAdapter{1}).misses == 0);
  {
    auto sequence = cache.start(same_tokens, first).sequence;
    CHECK(cache.stats(KvAdapter{1}).sequences == 1);
    CHECK(cache.stats(KvContent{1}).sequences == 1);
    CHECK(cache.stats(KvAdapter{1}).misses == 3);
    CHECK(cache.stats(KvContent{1}).misses == 1);
    CHECK(cache.stats(KvAdapter{1}).published == 0);
    sequence.publish();
    const auto fork = sequence.fork();
    CHECK(cache.stats(KvAdapter{1}).sequences == 2);
    CHECK(cache.stats(KvContent{1}).sequences == 2);
    CHECK(cache.stats(KvTenant{"a"}).published == 3);
    CHECK(cache.stats(KvContent{1}).published == 1);
    CHECK(cache.stats(KvTenant{"a"}).cached == 0);
    sequence.truncate(1);
    CHECK(cache.stats(KvContent{1}).sequences == 1);
  }
  CHECK(cache.stats(KvTenant{"a"}).sequences == 0);
  CHECK(cache.stats(KvTenant{"a"}).cached == 3);
  CHECK(run(cache, same_tokens, first) == 12);
  CHECK(cache.stats(KvTenant{"a"}).hits == 3);
  CHECK(cache.stats(KvContent{1}).hits == 1);
  CHECK(cache.stats(KvAdapter{2}).hits == 0);
  CHECK(run(cache, Tokens(36, 8), {.keys = {KvAdapter{2}, KvTenant{"a"}}}) == 0);
  CHECK(cache.stats(KvTenant{"a"}).published == 12);
  CHECK(cache.stats(KvTenant{"a"}).misses == 12);
  CHECK(run(cache, Tokens(4, 9)) ==
        0);  // the longest unused makes room: the end of the first prompt
  CHECK(cache.stats(KvAdapter{1}).evicted == 1);
  CHECK(cache.stats(KvAdapter{1}).published == 2);
  CHECK(cache.stats(KvContent{1}).evicted == 0);
  cache.evict(2);
  CHECK(cache.stats(KvAdapter{1}).hits == 0);  // nothing has it any more
  CHECK(cache.stats(KvAdapter{2}).misses == 9);
  CHECK(cache.stats(KvTenant{"a"}).evicted == 3);
  CHECK(cache.validate());
  cache.evict(100);
  CHECK(cache.stats().free == 12);
  CHECK(cache.validate());
}

TEST_CASE("each key counts the sequences that have it, however they came to it and lose it") {
  struct Model {
    Cache::Sequence sequence;
    std::uint32_t adapter;
    std::vector<std::pair<std::uint64_t, std::uint32_t>> spans{};  // where each key begins
  };
  std::mt19937 random{test::first_seed()};
  const auto below = [&](std::uint64_t count) {
    return static_cast<std::uint32_t>(random() % count);
  };
  Cache cache{HostDevice{}, small_cache(300)};
  std::vector<Model> models;
  for (int step = 0; step < 2000; ++step) {
    const std::uint32_t choice = below(8);
    if (models.size() < 3 || (choice == 0 && models.size() < 8)) {
      const std::uint32_t adapter = below(3);
      models.push_back({cache.start({}, {.keys = {KvContent{adapter}}}).sequence, adapter});
    } else if (Model& one = models[below(models.size())]; choice == 1 && models.size() < 8) {
      Model fork{one.sequence.fork(), one.adapter, one.spans};
      models.push_back(std::move(fork));
    } else if (choice == 2) {
      std::swap(one, models.back());
      models.pop_back();
    } else if (choice == 3 || one.sequence.tokens() > 30) {
      const std::uint64_t tokens = below(one.sequence.tokens() + 1);
      one.sequence.truncate(tokens);
      std::erase_if(one.spans, [&](const auto& span) { return span.first >= tokens; });
    } else {
      std::vector<KvPositions> positions;
      for (std::uint32_t i = below(4); i != 0; --i) {
        const std::uint64_t first = below(5);
        const std::uint32_t key = below(6);
        positions.push_back({.first = first, .count = 1, .key = KvContent{key}});
        one.spans.emplace_back(one.sequence.tokens() + first, key);
      }
      one.sequence.append(Tokens(5, 1), positions);
    }
    for (std::uint32_t key = 0; key < 6; ++key) {
      std::uint64_t expected = 0;
      for (const Model& one : models) {
        bool has = one.adapter == key;
        for (const auto& span : one.spans) has = has || span.second == key;
        expected += has;
      }
      REQUIRE(cache.stats(KvContent{key}).sequences == expected);
    }
  }
  CHECK(cache.validate());
}

TEST_CASE("what was computed with a key that is forgotten is not found again") {
  Cache cache{HostDevice{}, small_cache(40)};
  const KvPromptKeys one{.keys = {KvAdapter{1}}};
  const KvPromptKeys two{.keys = {KvAdapter{2}}};
  CHECK(run(cache, same_tokens, one) == 0);
  CHECK(run(cache, same_tokens, two) == 0);
  auto sequence = cache.start(Tokens(9, 5), one).sequence;
  sequence.publish();
  CHECK(cache.forget(KvAdapter{1}) == 3);  // and two that the sequence uses
  CHECK(cache.forget(KvAdapter{3}) == 0);
  CHECK(cache.stats(KvAdapter{1}).published == 0);
  CHECK(cache.stats().cached == 3);
  CHECK(run(cache, same_tokens, two) == 12);
  CHECK(run(cache, Tokens(9, 5), one) == 0);
  CHECK(run(cache, same_tokens, one) == 0);
  CHECK(run(cache, same_tokens, one) == 12);
  sequence.append(Tokens(8, 5));
  sequence.publish();
  CHECK(run(cache, Tokens(17, 5), one) ==
        8);  // what was published after, not what the sequence has
  CHECK(cache.validate());
}

TEST_CASE("a cache without prefixes takes keys and shares nothing") {
  KvCacheConfig config = small_cache(20);
  config.prefix_sharing = false;
  Cache cache{HostDevice{}, config};
  const KvPromptKeys keys{.keys = {KvAdapter{1}},
                          .positions = {{.first = 0, .count = 3, .key = KvContent{1}}}};
  CHECK(run(cache, same_tokens, keys) == 0);
  CHECK(run(cache, same_tokens, keys) == 0);
  CHECK(cache.stats(KvAdapter{1}).sequences == 0);
  CHECK(cache.forget(KvAdapter{1}) == 0);
  CHECK(cache.validate());
}

TEST_CASE("a random serving loop with keys finds what its own keys computed") {
  for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 4; ++seed) {
    INFO("ALLOT_SEED=" << seed);
    std::mt19937_64 random{seed};
    Cache cache{HostDevice{}, small_cache(40)};
    test::KvEngine engine{cache};
    // What the model computes from: every token, its sequence's key and its image's with the place.
    struct Modelled {
      Cache::Sequence sequence;
      Tokens tokens;  // as the model sees them
    };
    std::vector<Modelled> live;
    struct Part {
      Tokens given;
      Tokens seen;
      std::vector<KvPositions> positions;
    };
    const auto some_tokens = [&](std::size_t most, std::uint32_t adapter) {
      Part part{Tokens(random() % most), {}, {}};
      for (std::uint32_t& token : part.given) token = random() % 8 == 0 ? 1 : 0;
      part.seen = part.given;
      for (std::uint32_t& token : part.seen) token += 1000 * adapter;
      if (random() % 2 == 0) return part;
      for (std::size_t first = 0; first < part.given.size(); first += 1 + random() % 8) {
        const std::size_t count = 1 + random() % (part.given.size() - first);
        const std::uint32_t image = static_cast<std::uint32_t>(random() % 2);
        const std::uint32_t offset = static_cast<std::uint32_t>(random() % 2);
        part.positions.push_back({first, count, KvContent{image}, offset});
        for (std::size_t i = 0; i < count; ++i)
          part.seen[first + i] +=
              100'000 * (image + 1) + 10'000'000 * static_cast<std::uint32_t>(i + 1 + offset);
        if (random() % 2 == 0) first += count;
        if (first + 1 < part.given.size() && random() % 2 == 0) break;
      }
      return part;
    };
    for (std::uint64_t i = 0; i < test::operations(2000); ++i) {
      Modelled* const one = live.empty() ? nullptr : &live[random() % live.size()];
      try {
        const std::uint64_t choice = random() % 16;
        if (one == nullptr || choice < 5) {
          const std::uint32_t adapter = static_cast<std::uint32_t>(random() % 3);
          const Part prompt = some_tokens(24, adapter);
          KvPromptKeys keys{.keys = {}, .positions = prompt.positions};
          if (adapter != 0) keys.keys = {KvAdapter{adapter}, KvTenant{1}};
          auto [sequence, cached] = cache.start(prompt.given, keys);
          engine.write(sequence, prompt.seen, cached);
          live.push_back({std::move(sequence), prompt.seen});
        } else if (choice < 8) {
          const std::uint32_t adapter = one->tokens.empty() ? 0 : one->tokens[0] % 100'000 / 1000;
          if (one->tokens.empty()) continue;
          const Part more = some_tokens(6, adapter);
          one->sequence.append(more.given, more.positions);
          const std::size_t from = one->tokens.size();
          one->tokens.insert(one->tokens.end(), more.seen.begin(), more.seen.end());
          engine.write(one->sequence, one->tokens, from);
        } else if (choice == 8) {
          live.push_back({one->sequence.fork(), one->tokens});
        } else if (choice == 9) {
          if (one->tokens.empty()) continue;
          one->tokens.resize(1 + random() % one->tokens.size());
          one->sequence.truncate(one->tokens.size());
        } else if (choice < 13) {
          one->sequence.publish();
        } else if (choice == 13) {
          static_cast<void>(cache.compact(random() % 4));
        } else if (choice == 14) {
          if (random() % 4 == 0) cache.forget(KvContent{random() % 2});
        } else {
          std::swap(*one, live.back());
          live.pop_back();
        }
      } catch (const OutOfBlocks&) {
        std::swap(live[random() % live.size()], live.back());
        live.pop_back();
      }
      if (i % 16 == 0) REQUIRE(cache.validate());
      if (i % 64 == 0) {
        for (Modelled& modelled : live) engine.check(modelled.sequence, modelled.tokens);
      }
    }
    for (Modelled& modelled : live) engine.check(modelled.sequence, modelled.tokens);
    CHECK(cache.stats().hits > 0);
    CHECK(cache.stats().copied > 0);
    live.clear();
    cache.evict(40);
    CHECK(cache.stats().free == 40);
    CHECK(cache.validate());
  }
}
