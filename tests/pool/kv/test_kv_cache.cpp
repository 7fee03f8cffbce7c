// SPDX-License-Identifier: MIT
#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/pool/kv/append_all.hpp>
#include <allot/pool/kv/kv_cache.hpp>
#include <allot/pool/kv/kv_view.hpp>
#include <allot/synchronization/locked.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "pool/kv/kv_engine.hpp"
#include "support/random.hpp"
#include "support/sanitizers.hpp"

namespace {

using namespace allot;
using test::small_cache;
using test::Tokens;
using Cache = KvCache<HostDevice>;

Tokens counted(std::uint32_t first, std::size_t count) {
  Tokens tokens(count);
  for (std::uint32_t& token : tokens) token = first++;
  return tokens;
}

// A block's or a token's number does not pass for a layer's.
static_assert(!std::is_convertible_v<std::uint32_t, KvLayer> &&
              std::is_constructible_v<KvLayer, std::uint32_t>);
static_assert(
    std::is_invocable_v<decltype(&KvLayout::key_offset), KvLayout, KvLayer, std::uint64_t>);
static_assert(
    !std::is_invocable_v<decltype(&KvLayout::key_offset), KvLayout, std::uint32_t, std::uint64_t>);
static_assert(!std::is_invocable_v<decltype(&Cache::keys), Cache, std::uint32_t, std::uint32_t>);

}  // namespace

TEST_CASE("a layout counts KV heads, both dimensions, element blocks and alignment") {
  // Llama 3.1 8B with 16-bit floats: 128 KiB a token.
  const KvLayout llama{{.layers = 32, .kv_heads = 8, .key_dimension = 128, .value_dimension = 128},
                       16};
  CHECK(llama.token_bytes() == 128 * KiB);
  CHECK(llama.block_bytes() == 2 * MiB);
  CHECK(llama.blocks_in(1 * GiB) == 512);
  CHECK(llama.blocks_for(0) == 0);
  CHECK(llama.blocks_for(16) == 1);
  CHECK(llama.blocks_for(17) == 2);
  const KvLayout quantized{{.layers = 2,
                            .kv_heads = 2,
                            .key_dimension = 192,
                            .value_dimension = 128,
                            .key_element = {34, 32},
                            .value_element = {18, 32}},
                           3};
  CHECK(quantized.key_bytes() == 2 * 6 * 34);
  CHECK(quantized.value_bytes() == 2 * 4 * 18);
  CHECK(quantized.layer_bytes() == 1280 + 512);
  CHECK(quantized.key_offset(KvLayer{1}, 2) == 1792 + 2 * 408);
  CHECK(quantized.value_offset(KvLayer{1}, 2) == 1792 + 1280 + 2 * 144);
  CHECK(quantized.bytes_for(5) == 5 * 2 * 1792);
  CHECK_THROWS_AS(static_cast<void>(quantized.bytes_for(~std::uint64_t{0})), std::length_error);
}

TEST_CASE("a shape or a budget that holds nothing is refused, with its numbers") {
  const auto refused = [](const KvShape& shape, std::uint64_t tokens, const char* text) {
    CHECK_THROWS_WITH_AS((KvLayout{shape, tokens}), text, std::invalid_argument);
  };
  refused({0, 8, 128, 128}, 16,
          "a KV cache of 0 layers, 8 KV heads and blocks of 16 tokens holds nothing; give at least "
          "one of each");
  refused({1, 1, 80, 128, {34, 32}}, 16,
          "a key head of 80 elements of 34 bytes for 32 is not a whole number of element blocks; "
          "choose another element type");
  refused({1, 1, 128, 0}, 16,
          "a value head of 0 elements of 2 bytes for 1 is not a whole number of element blocks; "
          "choose another element type");
  const std::uint64_t large = std::uint64_t{1} << 40;
  refused({large, large / 128, 128, 128}, 16, "a KV block exceeds 2^64 bytes; check the shape");
  refused({1, large, large, 128}, 1, "a KV block exceeds 2^64 bytes; check the shape");
  refused({1, 1, 1, 1, {1, 1}, {1, 1}}, std::uint64_t{1} << 32,
          "a KV block of 4294967296 tokens is too large; use at most 2^32 - 1, such as 16");
  KvCacheConfig config = small_cache(1);
  --config.budget_bytes;
  CHECK_THROWS_WITH_AS((Cache{HostDevice{}, config}),
                       "a KV cache of 1023 B is less than one block of 4 tokens, 1 KiB (1024 "
                       "bytes); give it more, or blocks of fewer tokens",
                       std::invalid_argument);
  CHECK_THROWS_AS((Cache{HostDevice{}, small_cache(1, 0)}), std::invalid_argument);
  CHECK_THROWS_AS((Cache{HostDevice{}, small_cache(1, 33)}), std::invalid_argument);
}

TEST_CASE("a pool allocates the lowest block, counts references, and finds misuse") {
  BlockPool<HostDevice> pool{HostDevice{}, {.blocks = 3, .block_bytes = 100}};
  CHECK(pool.allocate() == 0);
  CHECK(pool.allocate() == 1);
  CHECK(pool.allocate() == 2);
  CHECK(!pool.try_allocate());
  CHECK_THROWS_WITH_AS(static_cast<void>(pool.allocate()),
                       "out of blocks: 1 needed, 0 of 3 free or in a cache of prefixes; end or "
                       "shorten sequences, or give the pool 100 B more",
                       OutOfBlocks);
  pool.retain(1);
  CHECK(pool.ref_count(1) == 2);
  CHECK(!pool.release(1));
  CHECK(pool.release(1));
  CHECK_THROWS_WITH_AS(
      static_cast<void>(pool.release(1)),
      "block 1 is free; release it once for each reference, and do not use it afterwards",
      std::invalid_argument);
  CHECK_THROWS_AS(pool.retain(1), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(pool.release(3)), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(pool.allocate(1)), std::out_of_range);
  CHECK(pool.allocate() == 1);
  CHECK(static_cast<std::byte*>(pool.address(2)) - static_cast<std::byte*>(pool.address(0)) == 200);
  CHECK(pool.validate());
  CHECK_THROWS_AS((BlockPool<HostDevice>{HostDevice{}, {.blocks = 0, .block_bytes = 1}}),
                  std::invalid_argument);
  CHECK_THROWS_AS(
      (BlockPool<HostDevice>{HostDevice{}, {.blocks = ~std::uint64_t{0} / 2, .block_bytes = 4}}),
      std::invalid_argument);
}

TEST_CASE_TEMPLATE("copy on write copies: who writes a shared block gets one of its own", D,
                   HostDevice, StagedHostDevice) {
  D device;
  BlockPool<D> pool{device, {.blocks = 4, .block_bytes = 4096, .lanes = 2}};
  const auto block = pool.allocate(0);
  std::vector<char> ones(4096, '1');
  std::vector<char> twos(4096, '2');
  std::vector<char> read(4096);
  device.copy_to_device(pool.address(block), ones.data(), 4096, pool.stream(0));
  CHECK(pool.writable(block, 0) == block);
  pool.retain(block);
  const auto copy = pool.writable(block, 1);  // waits for lane 0
  CHECK(copy != block);
  CHECK(pool.ref_count(block) == 1);
  CHECK(pool.writable(block, 0) == block);  // and lane 0 waits for the copy
  device.copy_to_device(pool.address(block), twos.data(), 4096, pool.stream(0));
  device.copy_to_host(read.data(), pool.address(copy), 4096, pool.stream(1));
  device.synchronize(pool.stream(1));
  CHECK(read == ones);
  device.synchronize(pool.stream(0));
}

TEST_CASE("a million blocks are allocated and released, the lowest always first") {
  constexpr std::uint32_t count = test::has_thread_sanitizer ? 100'000 : 1'000'000;
  BlockPool<HostDevice> pool{HostDevice{}, {.blocks = count, .block_bytes = 256}};
  for (std::uint32_t i = 0; i < count; ++i) REQUIRE(pool.allocate() == i);
  CHECK(!pool.try_allocate());
  for (std::uint32_t i = 0; i < count; i += 2) REQUIRE(pool.release(i));
  for (std::uint32_t i = 0; i < count; i += 2) REQUIRE(pool.allocate() == i);
  CHECK(pool.used() == count);
  CHECK(pool.validate());
}

TEST_CASE("prompts that begin alike share the full blocks, but never their last token") {
  Cache cache{HostDevice{}, small_cache(20)};
  const Tokens prompt = counted(0, 12);
  auto first = cache.start(prompt);
  CHECK(first.cached == 0);
  CHECK(cache.start(prompt).cached == 0);  // not published yet
  first.sequence.publish();
  const auto second = cache.start(prompt);
  CHECK(second.cached == 8);
  Tokens longer = prompt;
  longer.push_back(99);
  CHECK(cache.start(longer).cached == 12);
  longer[5] = 77;
  CHECK(cache.start(longer).cached == 4);
  longer[0] = 77;
  CHECK(cache.start(longer).cached == 0);
  CHECK(first.sequence.block_table()[1] == second.sequence.block_table()[1]);
  CHECK(first.sequence.block_table()[2] != second.sequence.block_table()[2]);
  CHECK(cache.stats().hits == 2 + 3 + 1);
  CHECK(cache.validate());
}

TEST_CASE("a block table is copied into memory of the caller's, and has room for tokens to come") {
  Cache cache{HostDevice{}, small_cache(20)};
  auto sequence = cache.start(counted(0, 9)).sequence;
  std::vector<std::uint32_t> blocks(4, 99);
  CHECK(sequence.block_table(blocks) == 3);
  CHECK(std::equal(blocks.begin(), blocks.begin() + 3, sequence.block_table().begin()));
  CHECK(blocks[3] == 99);
  CHECK(cache.start().sequence.block_table(std::span<std::uint32_t>{}) == 0);
  CHECK_THROWS_AS(sequence.block_table(std::span{blocks}.first(2)), std::length_error);
  CHECK(blocks[0] == sequence.block_table()[0]);

  sequence.reserve(40);
  sequence.reserve(~std::uint64_t{0});  // no more than the cache has
  for (std::uint32_t token = 0; token < 31; ++token) sequence.append(token);
  CHECK(sequence.tokens() == 40);
  CHECK(cache.validate());
}

TEST_CASE("prompts cannot be chosen so that all are found in one bucket") {
  detail::PrefixIndex index{4096, 2};
  std::uint32_t block = 0;
  for (std::uint32_t token = 0; block < 1000; ++token) {
    std::uint64_t hash = 0;  // a well-known one, without a key
    for (const std::uint32_t one : {token, 5U}) {
      hash = (hash ^ one) * 0xFF51AFD7ED558CCD;
      hash ^= hash >> 33;
    }
    if ((hash & 4095) != 0) continue;
    index.tokens(block)[0] = token;
    index.tokens(block)[1] = 5;
    REQUIRE(!index.find(0, index.tokens(block)));
    index.insert(block, 0);
    REQUIRE(index.find(0, index.tokens(block)) == block);
    ++block;
  }
  CHECK(index.longest_bucket() < 50);
}

TEST_CASE("prefixes outlive their sequences, and the longest unused make room first") {
  Cache cache{HostDevice{}, small_cache(6)};
  const auto run = [&](std::uint32_t first, std::size_t count) {
    auto started = cache.start(counted(first, count));
    started.sequence.publish();
    return started.cached;
  };
  CHECK(run(0, 8) == 0);
  CHECK(run(100, 8) == 0);
  CHECK(cache.stats().cached == 4);
  CHECK(cache.stats().in_use == 0);
  CHECK(run(0, 9) == 8);  // used again: now the younger one
  CHECK(run(200, 16) == 0);
  CHECK(cache.stats().evicted == 2);
  CHECK(run(100, 9) == 0);
  CHECK(cache.stats().free + cache.stats().cached == 6);
  CHECK(cache.evict(100) + cache.stats().free > 0);
  CHECK(cache.stats().free == 6);
  CHECK(cache.stats().filled == 0);
  CHECK(cache.validate());
}

TEST_CASE("a sequence that was shortened after it was published is published on") {
  Cache cache{HostDevice{}, small_cache(20)};
  const Tokens prompt = counted(0, 13);
  auto first = cache.start(prompt).sequence;
  first.publish();
  auto twin = cache.start(counted(50, 1)).sequence;
  twin.truncate(0);
  twin.append(prompt);  // the same tokens, in blocks of its own
  twin.publish();
  for (auto* const sequence : {&first, &twin}) {
    for (const std::uint32_t kept : {9U, 5U, 2U}) {
      sequence->truncate(kept);
      const std::uint32_t own = (sequence == &first ? 500 : 700) + kept;
      sequence->append(counted(own, 9));
      sequence->publish();
      Tokens tokens = counted(0, kept);
      for (const std::uint32_t token : counted(own, 9)) tokens.push_back(token);
      CHECK(cache.start(tokens).cached == (tokens.size() - 1) / 4 * 4);
      CHECK(cache.validate());
    }
  }
}

TEST_CASE("a full cache says how many blocks are missing, and nothing has changed") {
  Cache cache{HostDevice{}, small_cache(4)};
  auto sequence = cache.start(counted(0, 10)).sequence;
  CHECK_THROWS_WITH_AS(sequence.append(counted(0, 20)),
                       "out of blocks: 5 needed, 1 of 4 free or in a cache of prefixes; end or "
                       "shorten sequences, or give the pool 4 KiB more",
                       OutOfBlocks);
  CHECK(sequence.tokens() == 10);
  CHECK(!sequence.try_append(counted(0, 7)));
  CHECK_THROWS_AS(static_cast<void>(cache.start(counted(50, 8))), OutOfBlocks);
  CHECK(cache.stats().misses == 2);  // of the first prompt alone
  CHECK(cache.stats().sequences == 1);
  CHECK(cache.stats().free == 1);
  CHECK(sequence.try_append(counted(0, 6)));
  CHECK(cache.stats().free == 0);
  CHECK_THROWS_AS(static_cast<void>(sequence.slot(16)), std::out_of_range);
  CHECK_THROWS_AS(static_cast<void>(sequence.slot(~std::uint64_t{0})), std::out_of_range);
  CHECK_THROWS_AS(sequence.truncate(17), std::out_of_range);
  CHECK_THROWS_AS(static_cast<void>(cache.keys(4, KvLayer{0})), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(cache.keys(0, KvLayer{2})), std::out_of_range);
  CHECK_THROWS_AS(static_cast<void>(cache.start({}, 1)), std::out_of_range);
  sequence.truncate(0);
  CHECK(cache.stats().free == 4);
  CHECK(cache.validate());
}

TEST_CASE("fragmentation is the unfilled slots of all slots") {
  Cache cache{HostDevice{}, small_cache(8)};
  CHECK(cache.stats().fragmentation() == 0);
  auto sequence = cache.start(counted(0, 5)).sequence;
  CHECK(cache.stats().fragmentation() == 3.0 / 8);
  CHECK(cache.stats().shared == 0);
  const auto fork = sequence.fork();
  CHECK(cache.stats().shared == 2);
  CHECK(cache.stats().fragmentation() == 3.0 / 8);
  sequence.append(counted(0, 3));
  CHECK(cache.stats().copied == 1);
  CHECK(cache.stats().fragmentation() == 3.0 / 12);
}

TEST_CASE("compaction moves at most as many blocks as it may, and says what it did") {
  Cache cache{HostDevice{}, small_cache(20)};
  test::KvEngine engine{cache};
  std::vector<std::optional<Cache::Sequence>> sequences;
  std::vector<Tokens> tokens;
  for (std::uint32_t i = 0; i < 6; ++i) {
    tokens.push_back(counted(100 * i, 10));
    sequences.emplace_back(cache.start(tokens.back()).sequence);
    engine.write(*sequences.back(), tokens.back(), 0);
    sequences.back()->publish();
  }
  auto fork = sequences[5]->fork();
  for (const std::size_t gone : {0U, 2U, 3U}) sequences[gone].reset();
  cache.evict(2);
  const auto step = cache.compact(2);
  CHECK(step.moved == 2);
  CHECK(step.bytes == 2048);
  CHECK(step.end_before == 18);
  CHECK(step.end_after == 16);
  CHECK(step.updated == 4);  // the fork's entries as well
  CHECK(!step.is_done);
  CHECK(cache.version() == 1);
  const auto rest = cache.compact(100);
  CHECK(rest.is_done);
  CHECK(rest.end_after == cache.stats().capacity - cache.stats().free);
  CHECK(cache.compact(100).moved == 0);
  CHECK(cache.version() == 2);
  CHECK(cache.validate());
  for (const std::size_t kept : {1U, 4U, 5U}) engine.check(*sequences[kept], tokens[kept]);
  engine.check(fork, tokens[5]);
  Tokens prompt = tokens[4];
  prompt.resize(9);
  CHECK(cache.start(prompt).cached == 8);  // what was moved is found
}

TEST_CASE_TEMPLATE("a random serving loop holds what a naive model holds", D, HostDevice,
                   StagedHostDevice) {
  for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 6; ++seed) {
    INFO("ALLOT_SEED=" << seed);
    std::mt19937_64 random{seed};
    constexpr std::size_t lanes = 3;
    KvCacheConfig config = small_cache(40, lanes);
    config.prefix_sharing = seed % 3 != 0;
    KvCache<D> cache{D{}, config};
    test::KvEngine engine{cache, lanes};
    struct Modelled {
      typename KvCache<D>::Sequence sequence;
      Tokens tokens;
    };
    std::vector<Modelled> live;
    const auto some_tokens = [&](std::size_t most) {
      Tokens tokens(random() % most);
      for (std::uint32_t& token : tokens) token = static_cast<std::uint32_t>(random() % 2);
      return tokens;
    };
    std::uint64_t refused = 0;
    for (std::uint64_t i = 0; i < test::operations(1500); ++i) {
      const std::size_t lane = random() % lanes;
      Modelled* const one = live.empty() ? nullptr : &live[random() % live.size()];
      try {
        const std::uint64_t choice = random() % 16;
        if (one == nullptr || choice < 3) {
          const Tokens prompt = some_tokens(24);
          auto [sequence, cached] = cache.start(prompt, lane);
          REQUIRE(cached % 4 == 0);
          REQUIRE((prompt.empty() ? cached == 0 : cached < prompt.size()));
          engine.write(sequence, prompt, cached);
          live.push_back({std::move(sequence), prompt});
        } else if (choice < 9) {
          const Tokens more = some_tokens(6);
          one->sequence.append(more);
          const std::size_t from = one->tokens.size();
          one->tokens.insert(one->tokens.end(), more.begin(), more.end());
          engine.write(one->sequence, one->tokens, from);
        } else if (choice == 9) {
          live.push_back({one->sequence.fork(lane), one->tokens});
        } else if (choice == 10) {
          one->tokens.resize(random() % (one->tokens.size() + 1));
          one->sequence.truncate(one->tokens.size());
        } else if (choice == 11) {
          one->sequence.publish();
        } else if (choice == 12) {
          one->sequence.use_lane(lane);
        } else if (choice == 13) {
          const auto step = cache.compact(random() % 4, lane);
          REQUIRE(step.end_after <= step.end_before);
        } else if (choice == 14) {
          cache.evict(random() % 3);
        } else {
          std::swap(*one, live.back());
          live.pop_back();
        }
      } catch (const OutOfBlocks&) {
        ++refused;
        std::swap(live[random() % live.size()], live.back());
        live.pop_back();
      }
      if (i % 16 == 0) REQUIRE(cache.validate());
      if (i % 64 == 0) {
        for (Modelled& modelled : live) engine.check(modelled.sequence, modelled.tokens);
      }
    }
    for (Modelled& modelled : live) engine.check(modelled.sequence, modelled.tokens);
    CHECK(refused > 0);
    CHECK(cache.stats().copied > 0);
    CHECK((cache.stats().hits > 0) == config.prefix_sharing);
    live.clear();
    cache.evict(40);
    CHECK(cache.stats().free == 40);
    CHECK(cache.stats().sequences == 0);
    CHECK(cache.validate());
  }
}

TEST_CASE_TEMPLATE("a cache, its sequences and its memory are destroyed in any order", D,
                   HostDevice, StagedHostDevice) {
  std::vector<int> order{0, 1, 2, 3};
  do {
    D device;
    auto cache = std::optional{KvCache<D>{device, small_cache(4)}};
    auto storage = std::optional{cache->storage()};
    auto sequence = std::optional{cache->start(counted(0, 6)).sequence};
    auto fork = std::optional{sequence->fork()};
    std::vector<char> bytes(1024, 'x');
    device.copy_to_device(storage->address(), bytes.data(), 1024, cache->stream());
    for (const int what : order) {
      if (what == 0) cache.reset();
      if (what == 1) storage.reset();
      if (what == 2) sequence.reset();
      if (what == 3) fork.reset();
      if (sequence) sequence->append(1);
      if (fork) CHECK(fork->block_table().size() == 2);
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("a cache lies in a slice of any arena, and on streams that others have") {
  Shared<Arena<Linear, AlignTo<256>, Locked<>, HostMemory>> arena{64 * KiB};
  static_cast<void>(arena.allocate(1000));
  std::optional<Cache> cache{std::in_place, HostDevice{}, small_cache(0), arena.allocate(9 * KiB)};
  CHECK(cache->stats().capacity == 9);
  auto sequence = cache->start(counted(0, 5)).sequence;
  cache.reset();
  CHECK(sequence.tokens() == 5);
  const auto stream =
      std::make_shared<StagedHostDevice::stream_type>(StagedHostDevice{}.make_stream());
  KvCache<StagedHostDevice> shared{StagedHostDevice{}, small_cache(4), {stream}};
  CHECK(&shared.stream() == stream.get());
}

TEST_CASE("a slice that cannot hold the blocks, or not aligned, is refused") {
  Shared<Arena<Linear, AlignTo<16>, Locked<>, HostMemory>> arena{64 * KiB};
  auto keep = arena.allocate(16);
  const BlockPoolOptions options{.blocks = 4, .block_bytes = 256};
  const auto pool = [&](const BlockPoolOptions& chosen, Slice<HostAccessible> slice) {
    BlockPool<HostDevice>{
        HostDevice{}, chosen, {std::make_shared<HostDevice::stream_type>()}, std::move(slice)};
  };
  pool(options, arena.allocate(1024, 256));
  CHECK_THROWS_WITH_AS(pool(options, arena.allocate(768, 256)),
                       "4 blocks of 256 bytes do not fit in a slice of 768 bytes; give it 1024",
                       std::invalid_argument);
  auto unaligned = arena.allocate(16, 256);
  CHECK_THROWS_WITH_AS(pool(options, arena.allocate(1024)),
                       "the slice does not begin at a multiple of 256 bytes; "
                       "allocate it with that alignment",
                       std::invalid_argument);
  CHECK_THROWS_AS(pool({.blocks = ~std::uint64_t{0} / 2, .block_bytes = 1}, arena.allocate(256)),
                  std::invalid_argument);
  CHECK_THROWS_AS((BlockPool<HostDevice>{HostDevice{}, options, {nullptr}}), std::invalid_argument);
}

TEST_CASE("threads share a locked cache, each with a lane of its own") {
  KvCache<StagedHostDevice, Locked<>> cache{StagedHostDevice{}, small_cache(64, 2)};
  std::vector<std::thread> threads;
  for (std::size_t lane = 0; lane < 2; ++lane) {
    threads.emplace_back([&cache, lane] {
      test::KvEngine engine{cache, 2};
      std::mt19937_64 random{lane};
      for (int i = 0; i < 100; ++i) {
        const Tokens prompt = counted(static_cast<std::uint32_t>(random() % 2), 1 + random() % 20);
        auto [sequence, cached] = cache.start(prompt, lane);
        engine.write(sequence, prompt, cached);
        sequence.publish();
        auto fork = sequence.fork();
        Tokens forked = prompt;
        forked.push_back(7);
        fork.append(7);
        engine.write(fork, forked, prompt.size());
        engine.check(fork, forked);
        static_cast<void>(fork.block_table());
        static_cast<void>(cache.stats());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  cache.evict(64);
  CHECK(cache.stats().free == 64);
  CHECK(cache.validate());
}

TEST_CASE("a view finds each token's key and value where the cache says that they are") {
  Cache cache{HostDevice{}, small_cache(8)};
  const auto other = cache.start(counted(100, 5));  // so that blocks are not in order from 0 on
  auto [sequence, cached] = cache.start(counted(0, 11));
  const auto table = sequence.block_table();
  const KvView view{static_cast<std::byte*>(cache.storage().address()), cache.layout(),
                    table.data()};
  for (std::uint64_t position = 0; position < 11; ++position) {
    for (const std::uint64_t layer : {0U, 1U}) {
      const KvSlot slot = sequence.slot(position);
      CHECK(view.key(KvLayer{layer}, position) == cache.key(slot, KvLayer{layer}));
      CHECK(view.value(KvLayer{layer}, position) == cache.value(slot, KvLayer{layer}));
    }
  }
}

TEST_CASE("a batch gets room for all of its tokens, or every sequence is as it was") {
  Cache cache{HostDevice{}, small_cache(4)};
  std::vector<Cache::Sequence> sequences;
  sequences.push_back(cache.start(counted(0, 3)).sequence);
  sequences.push_back(sequences[0].fork());
  struct Entry {
    std::size_t number;
    Tokens tokens;
  };
  const auto sequence_of = [&](const Entry& entry) -> auto& { return sequences[entry.number]; };
  const std::vector<Entry> batch{{0, {7, 8}}, {1, {7}}, {1, {9}}};
  append_all(batch, sequence_of);
  CHECK(sequences[0].tokens() == 5);
  CHECK(sequences[1].tokens() == 5);
  const auto table = sequences[0].block_table();
  CHECK(sequences[1].block_table() != table);
  CHECK(cache.stats().free == 0);
  // Room for three more each: the last entry is refused.
  const std::vector<Entry> large{{0, {1, 2}}, {1, {1, 2, 3}}, {0, {3}}, {1, {4, 5}}};
  CHECK_THROWS_AS(append_all(large, sequence_of), OutOfBlocks);
  CHECK(sequences[0].tokens() == 5);
  CHECK(sequences[1].tokens() == 5);
  CHECK(sequences[0].block_table() == table);
  CHECK(cache.validate());
  append_all(std::span{large}.first(3), sequence_of);
  CHECK(sequences[0].tokens() == 8);
  CHECK(sequences[1].tokens() == 8);
  append_all(std::vector<Entry>{}, sequence_of);
}
