// SPDX-License-Identifier: MIT
// Arenas of arenas: `ShardedArena`, whose capacity is fixed, obeys the laws as they are. Those of a
// `ChunkedArena` that need one range are those of one chunk; with several chunks, each has the form
// that is written out here.
#include <allot/chunked_arena.hpp>
#include <allot/sharded_arena.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/buddy.hpp>
#include <allot/strategy/good_fit.hpp>

#include "laws.hpp"

using namespace allot;

namespace {

/// Its budget is one chunk, so it is one range.
template <class ArenaType, class WordType = NoWord>
struct OneChunk : ChunkedArena<ArenaType, WordType> {
  explicit OneChunk(std::uint64_t capacity)
      : ChunkedArena<ArenaType, WordType>{capacity, capacity} {}
};

template <class S, std::uint64_t Units, class M = OffsetsOnly>
using Shards = ShardedArena<Arena<S, AlignTo<Units>, Locked<>, M>, 4>;

using Plain = ChunkedArena<Arena<BestFit, AlignTo<1>>>;
using OnHost = ChunkedArena<Arena<GoodFit, AlignTo<256>, Locked<>, HostMemory>>;
using Observed = ChunkedArena<Arena<Buddy, AlignTo<64>, Unsynchronized, OffsetsOnly, Ledger>>;
using WithWords = ChunkedArena<Arena<BestFit, AlignTo<256>>, std::uint64_t>;

/// Both ledger identities; each chunk's blocks cover it, one after the other, from its start.
template <class A>
void check_chunks(const A& arena) {
  const Usage usage = arena.usage();
  CHECK(usage.used + usage.free == usage.capacity);
  CHECK(usage.requested + usage.padding == usage.used);
  CHECK(usage.capacity == arena.capacity());
  CHECK(usage.capacity <= arena.budget());
  CHECK(arena.validate());
  std::uint64_t end = 0;
  std::uint64_t used = 0;
  std::uint64_t total = 0;
  std::uint64_t largest = 0;
  std::uint64_t chunks = 0;
  bool is_contiguous = true;
  for (const auto& [offset, size, is_used] : test::map_of(arena)) {
    const bool begins = offset % arena.span() == 0;
    chunks += begins ? 1 : 0;
    is_contiguous = is_contiguous && (begins ? offset >= end : offset == end);
    end = offset + size;
    total += size;
    (is_used ? used : largest) = is_used ? used + size : std::max(largest, size);
  }
  CHECK(is_contiguous);
  CHECK(chunks == arena.chunk_count());
  CHECK(total == usage.capacity);
  CHECK(used == usage.used);
  CHECK(largest == usage.largest_free);
}

/// Nothing is live: the first chunk is as one just made, and there is no other.
template <class A>
void check_only_first(const A& arena, std::uint64_t chunk, std::uint64_t budget) {
  const A fresh{chunk, budget};
  Usage usage = arena.usage();
  usage.peak_used = 0;
  CHECK(usage == fresh.usage());
  CHECK(test::map_of(arena) == test::map_of(fresh));
}

}  // namespace

ALLOT_TEST_LAWS(Shards<BestFit, 1>, Shards<GoodFit, 256>, Shards<BestFit, 256, HostMemory>,
                OneChunk<Arena<BestFit, AlignTo<1>>>, OneChunk<Arena<GoodFit>, std::uint64_t>,
                OneChunk<Arena<BestFit, AlignTo<256>, Locked<>, HostMemory>>);

TEST_CASE_TEMPLATE("in chunks: what fits the budget succeeds, and nothing overlaps", A, Plain,
                   OnHost, Observed, WithWords) {
  constexpr std::uint64_t unit = A::alignment_type::value;
  const std::uint64_t chunk = 2048 * unit;
  A arena{chunk, 10 * chunk};
  std::vector<Block> live;
  std::mt19937_64 random{test::first_seed()};
  INFO("ALLOT_SEED=" << test::first_seed());
  for (int step = 0; step < 600; ++step) {
    if (!live.empty() && random() % 5 < 2) {
      const std::size_t i = random() % live.size();
      arena.deallocate(live[i]);
      CHECK(!arena.owns(live[i]));
      live[i] = live.back();
      live.pop_back();
    } else {
      const std::uint64_t bytes = 1 + random() % (chunk * (step % 50 == 0 ? 2 : 1) / 2);
      const std::uint64_t alignment = std::uint64_t{1} << random() % 9;
      const std::uint64_t room = arena.budget() - arena.capacity();
      const bool must_fit = bytes + std::max(unit, alignment) - 1 <=
                            std::max(arena.usage().largest_free / 2, room / 2);
      const auto block = arena.try_allocate({.bytes = bytes, .alignment = alignment});
      if (must_fit) CHECK(block.has_value());
      if (!block) continue;
      CHECK(block->size >= bytes);
      CHECK(block->offset % alignment == 0);
      bool overlaps = false;
      for (const Block& other : live) {
        overlaps = overlaps || !(block->offset + block->size <= other.offset ||
                                 other.offset + other.size <= block->offset);
      }
      CHECK(!overlaps);
      CHECK(block->offset / arena.span() == arena.chunk_of(*block));
      live.push_back(*block);
    }
    check_chunks(arena);
  }
  for (const Block& block : live) arena.deallocate(block);
  check_only_first(arena, chunk, 10 * chunk);
}

TEST_CASE_TEMPLATE(
    "in chunks: the largest free block can be allocated, and then needs no new chunk", A, Plain,
    OnHost, Observed, WithWords) {
  constexpr std::uint64_t unit = A::alignment_type::value;
  A arena{1000 * unit, 5000 * unit};
  std::vector<Block> blocks;
  while (const auto block = arena.try_allocate(90 * unit)) blocks.push_back(*block);
  for (std::size_t i = 0; i < blocks.size(); i += 2) arena.deallocate(blocks[i]);
  while (const std::uint64_t largest = arena.usage().largest_free) {
    const std::uint64_t held = arena.capacity();
    CHECK(arena.allocate(largest).size == largest);
    CHECK(arena.capacity() == held);
  }
  CHECK(arena.usage().free == 0);
}

TEST_CASE_TEMPLATE(
    "in chunks: stale and foreign blocks are refused, also once a chunk is there again", A, Plain,
    OnHost, Observed, WithWords) {
  constexpr std::uint64_t unit = A::alignment_type::value;
  A arena{16 * unit, 160 * unit};
  A twin{16 * unit, 160 * unit};
  std::vector<Block> stale;
  for (int round = 0; round < 20; ++round) {
    std::vector<Block> blocks;
    for (int i = 0; i < 5; ++i) blocks.push_back(arena.allocate(10 * unit));
    for (const Block& block : stale) CHECK(test::refuses(arena, block));
    for (const Block& block : blocks) {
      CHECK(test::refuses(twin, block));
      Block elsewhere = block;
      elsewhere.offset += arena.span();
      CHECK(test::refuses(arena, elsewhere));
      arena.deallocate(block);
    }
    stale = blocks;
  }
  CHECK(test::refuses(arena, Block{~std::uint64_t{0}, unit, {0, 0}}));
  check_only_first(arena, 16 * unit, 160 * unit);
}

TEST_CASE_TEMPLATE("in chunks: a free that empties no chunk calls no system allocator", A, Plain,
                   OnHost, Observed, WithWords) {
  constexpr std::uint64_t unit = A::alignment_type::value;
  A arena{512 * unit, 4096 * unit};
  std::vector<Block> blocks;
  blocks.reserve(5000);
  while (const auto block = arena.try_allocate(unit * (1 + blocks.size() % 5)))
    blocks.push_back(*block);
  std::mt19937_64 random{test::first_seed()};
  std::shuffle(blocks.begin(), blocks.end(), random);
  for (const Block& block : blocks) {
    const std::uint64_t before = test::system_allocator_calls();
    const std::uint64_t chunks = arena.chunk_count();
    arena.deallocate(block);
    if (arena.chunk_count() == chunks) CHECK(test::system_allocator_calls() == before);
  }
  check_only_first(arena, 512 * unit, 4096 * unit);
}

TEST_CASE_TEMPLATE(
    "in chunks: after reserve nothing calls the system allocator while no chunk comes "
    "or goes",
    A, Plain, OnHost, WithWords) {
  constexpr std::uint64_t unit = A::alignment_type::value;
  A arena{4096 * unit, 4096 * unit};
  arena.reserve(300);
  std::vector<Block> live;
  live.reserve(300);
  std::mt19937_64 random{test::first_seed()};
  const std::uint64_t before = test::system_allocator_calls();
  for (int step = 0; step < 3000; ++step) {
    if (live.size() < 300 && random() % 16 < 9) {
      if (const auto block = arena.try_allocate(1 + random() % (20 * unit))) live.push_back(*block);
    } else if (!live.empty()) {
      std::swap(live[random() % live.size()], live.back());
      arena.deallocate(live.back());
      live.pop_back();
    }
  }
  CHECK(test::system_allocator_calls() == before);
  check_chunks(arena);
}

TEST_CASE_TEMPLATE("in chunks: reset frees every block, and leaves the first chunk", A, Plain,
                   OnHost, Observed, WithWords) {
  constexpr std::uint64_t unit = A::alignment_type::value;
  A arena{256 * unit, 2048 * unit};
  for (int round = 0; round < 3; ++round) {
    std::vector<Block> live;
    for (int i = 0; i < 20; ++i) live.push_back(arena.allocate(40 * unit));
    CHECK(arena.chunk_count() > 1);
    arena.reset();
    check_only_first(arena, 256 * unit, 2048 * unit);
    for (const Block& block : live) CHECK(test::refuses(arena, block));
  }
}
