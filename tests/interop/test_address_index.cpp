// SPDX-License-Identifier: MIT
// Blocks found by their addresses and offsets.
#include <allot/arena.hpp>
#include <allot/core/block_table.hpp>
#include <allot/memory/host_memory.hpp>
#include <allot/observer/address_index.hpp>
#include <allot/observer/leak_tracker.hpp>
#include <allot/observer/ledger.hpp>
#include <allot/observer/observers.hpp>
#include <allot/sharded_arena.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/buddy.hpp>
#include <allot/strategy/fixed_blocks.hpp>
#include <allot/strategy/good_fit.hpp>
#include <allot/strategy/linear.hpp>
#include <allot/synchronization/locked.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <vector>

#include "support/random.hpp"

namespace {

using namespace allot;

template <class O, class M = HostMemory, class S = BestFit>
using With = Arena<S, AlignTo<64>, Unsynchronized, M, O>;

template <class ArenaType>
concept FindsBlocks = requires(const ArenaType arena, const void* address) {
  arena.block_at(address);
};
template <class ArenaType>
concept FindsOffsets = requires(const ArenaType arena, std::uint64_t offset) {
  arena.block_at_offset(offset);
};

static_assert(IndexesBlocks<AddressIndex> && IndexesBlocks<Observers<Ledger, AddressIndex>>);
static_assert(!IndexesBlocks<Unobserved> && !IndexesBlocks<Observers<>> &&
              !IndexesBlocks<Observers<Ledger, LeakTracker>> && !IndexesBlocks<int>);
static_assert(FindsBlocks<With<AddressIndex>> && FindsOffsets<With<AddressIndex>>);
static_assert(!FindsBlocks<With<AddressIndex, OffsetsOnly>> &&
              FindsOffsets<With<AddressIndex, OffsetsOnly>>);
static_assert(!FindsBlocks<With<Unobserved>> && !FindsOffsets<With<Ledger>>);

/// Finds nothing, as an index does that had no memory for any block.
struct Forgetful {
  std::size_t live = 0;
  void allocated(const Block&, const Request&) noexcept { ++live; }
  void deallocated(const Block&) noexcept { --live; }
  void refused(const Request&, RefusalReason) noexcept {}
  [[nodiscard]] static std::optional<Block> block_at_offset(std::uint64_t) noexcept { return {}; }
  [[nodiscard]] std::size_t untracked() const noexcept { return live; }
};
static_assert(IndexesBlocks<Forgetful>);

}  // namespace

TEST_CASE("a table of blocks holds what a map holds, whatever is inserted and removed") {
  INFO("ALLOT_SEED=" << test::first_seed());
  std::mt19937_64 random{test::first_seed()};
  detail::BlockTable table;
  std::map<std::uint64_t, Block> model;
  // Few keys far apart, so that they are found again, and share places.
  const auto key = [&] { return random() % 500 << (random() % 3 * 20); };
  for (int step = 0; step < 20'000; ++step) {
    const std::uint64_t chosen = key();
    const auto expected = model.find(chosen);
    const auto found = table.find(chosen);
    REQUIRE(found.has_value() == (expected != model.end()));
    if (found) REQUIRE(*found == expected->second);
    if (random() % 2 == 0) {
      const auto taken = table.take(chosen);
      REQUIRE(taken == found);
      model.erase(chosen);
    } else if (!found) {
      const Block block{chosen, 1 + random() % 1000, {static_cast<std::uint32_t>(step), 1}};
      table.make_room();
      table.insert(chosen, block);
      model[chosen] = block;
    }
    REQUIRE(table.size() == model.size());
  }
  for (const auto& [at, block] : model) REQUIRE(table.find(at) == block);
}

TEST_CASE("an empty table finds nothing") {
  detail::BlockTable table;
  CHECK(!table.find(0));
  CHECK(!table.take(0));
  CHECK(table.bytes() == 0);
}

TEST_CASE_TEMPLATE("every live block is found by its start, and nothing else is", ArenaType,
                   With<AddressIndex>, With<Observers<Ledger, AddressIndex>>,
                   With<AddressIndex, HostMemory, Buddy>, With<AddressIndex, HostMemory, GoodFit>,
                   With<AddressIndex, HostMemory, Linear>,
                   With<AddressIndex, HostMemory, FixedBlocks<4>>, With<Forgetful>) {
  INFO("ALLOT_SEED=" << test::first_seed());
  std::mt19937_64 random{test::first_seed()};
  ArenaType arena{256 * KiB};
  std::vector<Block> live;
  for (int step = 0; step < 2000; ++step) {
    if (live.empty() || random() % 5 < 3) {
      if (const auto block = arena.try_allocate(1 + random() % 256)) live.push_back(*block);
    } else {
      std::swap(live[random() % live.size()], live.back());
      arena.deallocate(live.back());
      REQUIRE(!arena.block_at_offset(live.back().offset));
      live.pop_back();
    }
    if (live.empty()) continue;
    const Block& block = live[random() % live.size()];
    REQUIRE(arena.block_at_offset(block.offset) == block);
    REQUIRE(arena.block_at(arena.address(block)) == block);
    REQUIRE(!arena.block_at_offset(block.offset + 1));
  }
  CHECK(!arena.block_at(nullptr));
  CHECK(!arena.block_at(&arena));
  CHECK(!arena.block_at(static_cast<const char*>(arena.base_address()) - 64));
  CHECK(!arena.block_at(static_cast<const char*>(arena.base_address()) + arena.capacity()));
  arena.reset();
  for (const Block& block : live) REQUIRE(!arena.block_at_offset(block.offset));
}

TEST_CASE("an arena in shards asks the shard that an address is in") {
  ShardedArena<Arena<GoodFit, AlignTo<64>, Locked<>, HostMemory, AddressIndex>, 3> arena{192 * KiB};
  std::vector<Block> live;
  while (const auto block = arena.try_allocate(1000)) live.push_back(*block);
  CHECK(arena.shard_of(live.front()) != arena.shard_of(live.back()));
  for (const Block& block : live) {
    REQUIRE(arena.block_at(arena.address(block)) == block);
    REQUIRE(arena.block_at_offset(block.offset) == block);
    REQUIRE(!arena.block_at_offset(block.offset + 64));
  }
  CHECK(!arena.block_at(nullptr));
  CHECK(!arena.block_at(&arena));
  CHECK(!arena.block_at_offset(arena.capacity()));
  CHECK(!arena.block_at_offset(~std::uint64_t{0}));
  arena.deallocate(live.back());
  CHECK(!arena.block_at(static_cast<char*>(arena.base_address()) + live.back().offset));
}

TEST_CASE("a block that was resized in place is found as it is now") {
  With<AddressIndex, OffsetsOnly> arena{1 * MiB};
  const Block block = arena.allocate(100);
  const auto larger = arena.try_expand(block, 1000);
  REQUIRE(larger);
  CHECK(arena.block_at_offset(block.offset) == larger);
  const Block smaller = arena.shrink(*larger, 10);
  CHECK(arena.block_at_offset(block.offset) == smaller);
}

TEST_CASE("what a mark releases is not found") {
  With<AddressIndex, OffsetsOnly, Linear> arena{1 * MiB};
  const Block kept = arena.allocate(100);
  const auto mark = arena.mark();
  const Block released = arena.allocate(100);
  arena.release_to(mark);
  CHECK(arena.block_at_offset(kept.offset) == kept);
  CHECK(!arena.block_at_offset(released.offset));
}
