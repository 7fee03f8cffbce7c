// SPDX-License-Identifier: MIT
/// \file
/// The laws that every arena obeys, whatever its policies. A new policy is one more type in the
/// list of its file.
#pragma once

#include <allot/arena.hpp>
#include <allot/memory/host_memory.hpp>
#include <allot/observer/ledger.hpp>
#include <allot/observer/observers.hpp>
#include <allot/synchronization/locked.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <tuple>
#include <vector>

#include "../support/naive_models.hpp"
#include "../support/random.hpp"
#include "system_allocations.hpp"

namespace allot::test {

using Map = std::vector<std::tuple<std::uint64_t, std::uint64_t, bool>>;

template <class A>
[[nodiscard]] Map map_of(const A& arena) {
  Map map;
  arena.for_each([&](std::uint64_t offset, std::uint64_t size, bool used) {
    map.emplace_back(offset, size, used);
  });
  return map;
}

/// Both ledger identities, and that the map covers the range without gap or overlap.
template <class A>
void check_identities(const A& arena) {
  const Usage usage = arena.usage();
  CHECK(usage.used + usage.free == usage.capacity);
  CHECK(usage.requested + usage.padding == usage.used);
  CHECK(arena.validate());
  std::uint64_t end = 0;
  std::uint64_t used = 0;
  std::uint64_t largest = 0;
  std::uint64_t free_blocks = 0;
  for (const auto& [offset, size, is_used] : map_of(arena)) {
    CHECK(offset == end);
    end += size;
    if (is_used) {
      used += size;
    } else {
      largest = std::max(largest, size);
      ++free_blocks;
    }
  }
  CHECK(end == usage.capacity);
  CHECK(used == usage.used);
  CHECK(largest == usage.largest_free);
  CHECK(free_blocks == usage.free_blocks);
}

template <class A>
void check_unchanged(const A& arena, const Usage& usage, const Map& map) {
  CHECK(arena.usage() == usage);
  CHECK(map_of(arena) == map);
}

/// Everything is free, as in an arena just made.
template <class A>
void check_fresh(const A& arena) {
  const A fresh{arena.capacity()};
  Usage usage = arena.usage();
  usage.peak_used = 0;
  CHECK(usage == fresh.usage());
  CHECK(map_of(arena) == map_of(fresh));
}

/// Capacities in units: powers of two, odd, neither, one.
inline constexpr std::uint64_t capacities[] = {1, 2, 7, 64, 1000, 1023, 4096, 4097};

template <class A>
void law_what_fits_succeeds_and_nothing_overlaps() {
  constexpr std::uint64_t unit = A::alignment_type::value;
  for (const std::uint64_t capacity : capacities) {
    A arena{capacity * unit};
    std::vector<Block> live;
    std::mt19937_64 random{first_seed() + capacity};
    INFO("seed " << first_seed() << ", capacity " << capacity << " units");
    for (int step = 0; step < 400; ++step) {
      const bool frees = !live.empty() && random() % 5 < 2;
      if (frees) {
        const std::size_t i = random() % live.size();
        arena.deallocate(live[i]);
        CHECK(!arena.owns(live[i]));
        live[i] = live.back();
        live.pop_back();
      } else {
        const std::uint64_t bytes = 1 + random() % (capacity * unit / 8 + 1);
        const std::uint64_t alignment = std::uint64_t{1} << random() % 12;
        const bool must_fit =
            bytes + std::max(unit, alignment) - 1 <= arena.usage().largest_free / 2;
        const auto block = arena.try_allocate({.bytes = bytes, .alignment = alignment});
        if (must_fit) CHECK(block.has_value());
        if (!block) continue;
        CHECK(block->size >= bytes);
        CHECK(block->offset % alignment == 0);
        CHECK(block->offset % unit == 0);
        CHECK(block->offset + block->size <= arena.capacity());
        for (const Block& other : live) {
          CHECK((block->offset + block->size <= other.offset ||
                 other.offset + other.size <= block->offset));
        }
        live.push_back(*block);
      }
      check_identities(arena);
    }
    for (const Block& block : live) arena.deallocate(block);
    check_fresh(arena);
  }
}

template <class A>
void law_the_largest_free_block_can_be_allocated() {
  constexpr std::uint64_t unit = A::alignment_type::value;
  for (const std::uint64_t capacity : capacities) {
    A arena{capacity * unit};
    while (const std::uint64_t largest = arena.usage().largest_free) {
      const Block block = arena.allocate(largest);
      CHECK(block.size == largest);
      check_identities(arena);
    }
    CHECK(arena.usage().free == 0);
    CHECK(arena.fragmentation() == 0);
  }
}

template <class A>
void law_stale_and_foreign_blocks_are_refused() {
  constexpr std::uint64_t unit = A::alignment_type::value;
  A arena{64 * unit};
  A twin{64 * unit};
  const Block first = arena.allocate(unit);
  const Block of_twin = twin.allocate(unit);
  arena.deallocate(first);
  std::vector<Block> stale{first};
  for (int use = 0; use < 1000; ++use) {  // the slot is used again and again
    const Block again = arena.allocate(unit);
    arena.deallocate(again);
    stale.push_back(again);
  }
  const Block live = arena.allocate(unit);
  const Usage usage = arena.usage();
  const Map map = map_of(arena);
  for (const Block& block : stale) CHECK_THROWS_AS(arena.deallocate(block), InvalidBlock);
  CHECK_THROWS_AS(arena.deallocate(of_twin), InvalidBlock);

  Block elsewhere = live;
  elsewhere.offset += unit;
  CHECK_THROWS_AS(arena.deallocate(elsewhere), InvalidBlock);
  Block larger = live;
  larger.size += unit;
  CHECK_THROWS_AS(arena.deallocate(larger), InvalidBlock);
  Block invented = live;
  invented.handle.index = 123'456;
  CHECK_THROWS_AS(arena.deallocate(invented), InvalidBlock);
  CHECK_THROWS_AS(arena.deallocate(Block{}), InvalidBlock);

  CHECK(arena.owns(live));
  check_unchanged(arena, usage, map);
  arena.deallocate(live);
  check_fresh(arena);
}

template <class A>
void law_invalid_arguments_are_told_and_change_nothing() {
  constexpr std::uint64_t unit = A::alignment_type::value;
  constexpr std::uint64_t highest = std::numeric_limits<std::uint64_t>::max();
  CHECK_THROWS_AS(A{0}, std::invalid_argument);
  if constexpr (unit > 1) CHECK_THROWS_AS(A{unit - 1}, std::invalid_argument);

  A arena{16 * unit};
  CHECK(A{16 * unit + unit / 2}.capacity() == 16 * unit);
  static_cast<void>(arena.allocate(unit));
  const Usage usage = arena.usage();
  const Map map = map_of(arena);
  CHECK_THROWS_AS(static_cast<void>(arena.allocate(0)), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(arena.try_allocate(0)), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(arena.allocate(1, 0)), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(arena.try_allocate(1, 0)), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(arena.allocate(1, 3)), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(arena.try_allocate(1, 48)), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(arena.allocate({.bytes = 1, .alignment = highest})),
                  std::invalid_argument);
  if constexpr (unit > 1) {
    CHECK_THROWS_AS(static_cast<void>(arena.allocate(highest)), std::invalid_argument);
    CHECK_THROWS_AS(static_cast<void>(arena.try_allocate(highest)), std::invalid_argument);
  } else {
    CHECK(!arena.try_allocate(highest));
  }
  CHECK(!arena.try_allocate(highest / 2));
  CHECK(!arena.try_allocate(unit, std::uint64_t{1} << 63));
  check_unchanged(arena, usage, map);
}

template <class A>
void law_a_refusal_says_why_and_changes_nothing() {
  constexpr std::uint64_t unit = A::alignment_type::value;
  A arena{8 * unit};
  std::vector<Block> blocks;
  for (int i = 0; i < 8; ++i) blocks.push_back(arena.allocate(unit));
  for (std::size_t i = 0; i < 8; i += 2) arena.deallocate(blocks[i]);  // four holes of one unit
  const Usage usage = arena.usage();
  const Map map = map_of(arena);
  CHECK(arena.fragmentation() == doctest::Approx(0.75));

  const auto reason_of = [&](std::uint64_t bytes, std::uint64_t alignment) {
    try {
      static_cast<void>(arena.allocate(bytes, alignment));
    } catch (const OutOfMemory& error) {
      CHECK(error.requested() == bytes);
      CHECK(error.free() == usage.free);
      CHECK(error.largest() == usage.largest_free);
      CHECK(error.capacity() == usage.capacity);
      return error.reason();
    }
    FAIL("it was granted");
    return Reason::source;
  };
  CHECK(reason_of(5 * unit, unit) == Reason::too_large);
  CHECK(reason_of(2 * unit, unit) == Reason::fragmented);
  CHECK(!arena.try_allocate(5 * unit));
  check_unchanged(arena, usage, map);

  arena.deallocate(blocks[1]);
  static_cast<void>(arena.allocate(unit));  // the holes at 0 to 2 are no longer all free
}

template <class A>
void law_freeing_calls_no_system_allocator() {
  constexpr std::uint64_t unit = A::alignment_type::value;
  A arena{4096 * unit};
  std::vector<Block> blocks;
  blocks.reserve(5000);
  while (const auto block = arena.try_allocate(unit * (1 + blocks.size() % 5))) {
    blocks.push_back(*block);
  }
  std::mt19937_64 random{first_seed()};
  std::shuffle(blocks.begin(), blocks.end(), random);
  const std::uint64_t before = system_allocator_calls();
  const std::uint64_t bytes = arena.bookkeeping_bytes();  // grows by realloc, which is not counted
  for (const Block& block : blocks) {
    arena.deallocate(block);
    REQUIRE(arena.bookkeeping_bytes() == bytes);
  }
  CHECK(system_allocator_calls() == before);
  check_fresh(arena);
}

template <class A>
void check_all_laws() {
  law_what_fits_succeeds_and_nothing_overlaps<A>();
  law_the_largest_free_block_can_be_allocated<A>();
  law_stale_and_foreign_blocks_are_refused<A>();
  law_invalid_arguments_are_told_and_change_nothing<A>();
  law_a_refusal_says_why_and_changes_nothing<A>();
  law_freeing_calls_no_system_allocator<A>();
}

/// Runs a strategy beside its naive model: every block in the same place, every refusal the same.
template <class S, class Naive>
void check_against_model(std::uint64_t seed, std::uint64_t steps, std::uint64_t validate_every) {
  std::mt19937_64 random{seed};
  std::uint64_t capacity = 1 + random() % (random() % 2 == 0 ? 300 : 6000);
  const std::uint64_t taken = seed % 4 == 3 ? std::uint64_t{1} << 40 : 0;  // 64-bit keys
  INFO("ALLOT_SEED=" << seed << ", capacity " << taken + capacity << " units");
  S strategy{taken + capacity};
  Naive naive{taken + capacity};
  std::vector<Placement> live;
  if (taken != 0) {
    live.push_back(strategy.allocate(taken, 1).value());
    REQUIRE(live.back().offset == naive.allocate(taken, 1).value().offset);
  }
  for (std::uint64_t step = 0; step < steps; ++step) {
    if (random() % 100 < 55 || live.empty()) {
      const std::uint64_t size =
          1 + (random() % 4 == 0 ? random() % (capacity / 4 + 1) : random() % 9);
      const std::uint64_t alignment = random() % 2 == 0 ? 1 : std::uint64_t{1} << random() % 8;
      const auto placed = strategy.allocate(size, alignment);
      const auto expected = naive.allocate(size, alignment);
      REQUIRE(placed.has_value() == expected.has_value());
      if (!placed) continue;
      REQUIRE(placed->offset == expected->offset);
      REQUIRE(placed->size == expected->size);
      live.push_back(*placed);
    } else {
      const std::size_t i = random() % live.size();
      if (live[i].size == taken) continue;
      REQUIRE(strategy.deallocate(live[i].handle, live[i].offset));
      REQUIRE(!strategy.deallocate(live[i].handle, live[i].offset));
      naive.deallocate({live[i].offset, live[i].size});
      live[i] = live.back();
      live.pop_back();
    }
    if (step % validate_every == 0) REQUIRE(strategy.validate());
  }
  for (const Placement& block : live) REQUIRE(strategy.deallocate(block.handle, block.offset));
  REQUIRE(strategy.validate());
  REQUIRE(strategy.used() == 0);
}

template <class S, class Naive>
void check_against_model() {
  const std::uint64_t total = operations(60'000);
  constexpr std::uint64_t steps = 1000;
  for (std::uint64_t run = 0; run * steps < total; ++run) {
    check_against_model<S, Naive>(first_seed() + run, steps, 1);
  }
}

}  // namespace allot::test
