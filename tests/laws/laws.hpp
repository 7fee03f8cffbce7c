// SPDX-License-Identifier: MIT
/// \file
/// The laws that every arena obeys, whatever its policies: a test case for each law and type. A new
/// policy is one more type in the list of its file:
///
///     ALLOT_TEST_LAWS(Arena<MyStrategy>, Arena<MyStrategy, AlignTo<1>>);
///
/// A law about an optional capability has no case for strategies without it.
#pragma once

#include <allot/arena.hpp>
#include <allot/memory/host_memory.hpp>
#include <allot/observer/ledger.hpp>
#include <allot/observer/observers.hpp>
#include <allot/sharded_arena.hpp>
#include <allot/strategy/strategy.hpp>
#include <allot/strategy/wide.hpp>
#include <allot/synchronization/locked.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <limits>
#include <random>
#include <tuple>
#include <type_traits>
#include <vector>

#include "../support/naive_models.hpp"
#include "../support/random.hpp"
#include "system_allocations.hpp"

namespace allot::test {

/// Whether a block freed below the top is only used again once all above it is free, too.
template <class A>
inline constexpr bool is_stack = Markable<typename A::strategy_type>;

/// Whether all blocks have one size.
template <class A>
inline constexpr bool has_one_size = OneSized<typename A::strategy_type>;

/// The fewest units of an arena: the strategy's granularity, for each of its shards.
template <class A>
inline constexpr std::uint64_t least_units = granularity_of<typename A::strategy_type>;
template <class A, std::uint32_t Count>
inline constexpr std::uint64_t least_units<ShardedArena<A, Count>> = Count* least_units<A>;

/// The alignment up to which a large enough free block suffices, in bytes: shards begin at units.
template <class A>
inline constexpr std::uint64_t sure_alignment = std::numeric_limits<std::uint64_t>::max();
template <class A, std::uint32_t Count>
inline constexpr std::uint64_t sure_alignment<ShardedArena<A, Count>> = A::alignment_type::value;

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
  bool is_contiguous = true;  // one CHECK for each block would take most of the suite's time
  arena.for_each([&](std::uint64_t offset, std::uint64_t size, bool is_used) {
    is_contiguous = is_contiguous && offset == end;
    end += size;
    if (is_used) {
      used += size;
    } else {
      largest = std::max(largest, size);
      ++free_blocks;
    }
  });
  CHECK(is_contiguous);
  CHECK(end == usage.capacity);
  CHECK(used == usage.used);
  if constexpr (is_stack<A>) {
    CHECK(largest >= usage.largest_free);
  } else {
    CHECK(largest == usage.largest_free);
  }
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

/// Whether `deallocate` throws `InvalidBlock` for the block.
template <class A>
[[nodiscard]] bool refuses(A& arena, const Block& block) {
  try {
    arena.deallocate(block);
    return false;
  } catch (const InvalidBlock&) {
    return true;
  }
}

/// Whether `allocate` and `try_allocate` throw `std::invalid_argument` for these arguments.
template <class A, class... Arguments>
[[nodiscard]] bool rejects(A& arena, Arguments... arguments) {
  try {
    static_cast<void>(arena.allocate(arguments...));
    return false;
  } catch (const std::invalid_argument&) {
  }
  try {
    static_cast<void>(arena.try_allocate(arguments...));
    return false;
  } catch (const std::invalid_argument&) {
    return true;
  }
}

/// Capacities in units: powers of two, odd, neither, one.
inline constexpr std::uint64_t capacities[] = {1, 2, 7, 64, 1000, 1023, 4096, 4097};

template <class A>
void law_what_fits_succeeds_and_nothing_overlaps() {
  constexpr std::uint64_t unit = A::alignment_type::value;
  for (const std::uint64_t capacity : capacities) {
    if (capacity < least_units<A>) continue;
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
            alignment <= sure_alignment<A> &&
            bytes + std::max(unit, alignment) - 1 <= arena.usage().largest_free / 2;
        const auto block = arena.try_allocate({.bytes = bytes, .alignment = alignment});
        if (must_fit) CHECK(block.has_value());
        if (!block) continue;
        CHECK(block->size >= bytes);
        CHECK(block->offset % alignment == 0);
        CHECK(block->offset % unit == 0);
        CHECK(block->offset + block->size <= arena.capacity());
        bool overlaps = false;
        for (const Block& other : live) {
          overlaps = overlaps || !(block->offset + block->size <= other.offset ||
                                   other.offset + other.size <= block->offset);
        }
        CHECK(!overlaps);
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
    if (capacity < least_units<A>) continue;
    A arena{capacity * unit};
    while (const std::uint64_t largest = arena.usage().largest_free) {
      const Block block = arena.allocate(largest);
      CHECK(block.size == largest);
      check_identities(arena);
    }
    CHECK(arena.usage().free == 0);
    if constexpr (!has_one_size<A>) CHECK(arena.fragmentation() == 0);
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
  for (const Block& block : stale) CHECK(refuses(arena, block));
  CHECK(refuses(arena, of_twin));

  Block elsewhere = live;
  elsewhere.offset += unit;
  CHECK(refuses(arena, elsewhere));
  Block larger = live;
  larger.size += unit;
  CHECK(refuses(arena, larger));
  Block invented = live;
  invented.handle.index = 123'456;
  CHECK(refuses(arena, invented));
  CHECK(refuses(arena, Block{}));

  CHECK(arena.owns(live));
  check_unchanged(arena, usage, map);
  arena.deallocate(live);
  check_fresh(arena);
}

/// Whether no block of one arena passes for the block that another has in the same place.
template <class A>
[[nodiscard]] bool tells_arenas_apart() {
  constexpr std::uint64_t unit = A::alignment_type::value;
  A arena{64 * unit};
  A twin{64 * unit};
  bool are_apart = true;
  while (const auto own = arena.try_allocate(unit)) {
    const Block of_twin = twin.allocate(unit);
    are_apart = are_apart && of_twin.offset == own->offset && !arena.owns(of_twin) &&
                refuses(arena, of_twin) && arena.owns(*own);
  }
  return are_apart;
}

template <class A>
void law_a_block_of_another_arena_is_foreign_whatever_its_place() {
  CHECK(tells_arenas_apart<A>());
}

/// Whether no block from before a `reset` passes for the block that is there now.
template <class A>
[[nodiscard]] bool tells_what_was_before_reset() {
  constexpr std::uint64_t unit = A::alignment_type::value;
  A arena{64 * unit};
  std::vector<Block> before;
  bool are_refused = true;
  for (int round = 0; round < 3; ++round) {
    std::vector<Block> blocks;
    while (const auto block = arena.try_allocate(unit)) blocks.push_back(*block);
    for (const Block& block : before)
      are_refused = are_refused && !arena.owns(block) && refuses(arena, block);
    for (const Block& block : blocks) are_refused = are_refused && arena.owns(block);
    before.insert(before.end(), blocks.begin(), blocks.end());
    arena.reset();
  }
  return are_refused;
}

template <class A>
void law_a_block_from_before_reset_is_foreign_whatever_its_place() {
  CHECK(tells_what_was_before_reset<A>());
}

template <class A>
void law_invalid_arguments_are_reported_and_change_nothing() {
  constexpr std::uint64_t unit = A::alignment_type::value;
  constexpr std::uint64_t highest = std::numeric_limits<std::uint64_t>::max();
  CHECK_THROWS_AS(A{0}, std::invalid_argument);
  if constexpr (unit > 1) CHECK_THROWS_AS(A{unit - 1}, std::invalid_argument);

  A arena{16 * unit};
  CHECK(A{16 * unit + unit / 2}.capacity() == 16 * unit);
  static_cast<void>(arena.allocate(unit));
  const Usage usage = arena.usage();
  const Map map = map_of(arena);
  CHECK(rejects(arena, std::uint64_t{0}));
  for (const std::uint64_t alignment : {std::uint64_t{0}, std::uint64_t{3}, std::uint64_t{48}})
    CHECK(rejects(arena, std::uint64_t{1}, alignment));
  CHECK(rejects(arena, Request{.bytes = 1, .alignment = highest}));
  if constexpr (unit > 1) {
    CHECK(rejects(arena, highest));
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
  CHECK(arena.fragmentation() == doctest::Approx(is_stack<A> ? 1 : 0.75));

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
    return RefusalReason::source;
  };
  CHECK(reason_of(5 * unit, unit) == RefusalReason::too_large);
  CHECK(reason_of(2 * unit, unit) == RefusalReason::fragmented);
  CHECK(!arena.try_allocate(5 * unit));
  check_unchanged(arena, usage, map);

  arena.deallocate(blocks[is_stack<A> ? 7 : 1]);
  static_cast<void>(arena.allocate(unit));
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
  for (const Block& block : blocks) arena.deallocate(block);
  CHECK(system_allocator_calls() == before);
  check_fresh(arena);
}

template <class A>
void law_after_reserve_nothing_calls_the_system_allocator() {
  // An index of blocks is not the arena's bookkeeping: it grows with them.
  if constexpr (requires { requires IndexesBlocks<typename A::observer_type>; }) return;
  constexpr std::uint64_t unit = A::alignment_type::value;
  constexpr std::size_t most = 300;
  const std::uint64_t long_range =
      std::min(std::uint64_t{1} << 40, largest_capacity_of<typename A::strategy_type>);
  for (const std::uint64_t capacity : {4096 * unit, long_range * unit}) {
    if (capacity / unit > std::uint64_t{1} << 30) {
      if (has_one_size<A> || !std::same_as<typename A::memory_type, OffsetsOnly>) continue;
    }
    A arena{capacity};
    std::vector<Block> live;
    live.reserve(most);
    arena.reserve(most);
    std::mt19937_64 random{first_seed()};
    INFO("ALLOT_SEED=" << first_seed());
    const std::uint64_t before = system_allocator_calls();
    for (int step = 0; step < 3000; ++step) {
      if (live.size() < most && random() % 16 < 9) {
        const std::uint64_t bytes = 1 + random() % ((capacity >> random() % 32) + 1);
        const std::uint64_t alignment = std::uint64_t{1} << random() % 16;
        if (const auto block = arena.try_allocate({.bytes = bytes, .alignment = alignment}))
          live.push_back(*block);
      } else if (!live.empty()) {
        const std::size_t i = random() % live.size();
        if constexpr (Resizable<typename A::strategy_type>) {
          if (random() % 4 == 0) live[i] = arena.shrink(live[i], 1 + live[i].size / 2);
          if (const auto more = arena.try_expand(live[i], live[i].size + unit)) live[i] = *more;
        }
        if (random() % 2 == 0) {
          arena.deallocate(live[i]);
          live[i] = live.back();
          live.pop_back();
        }
      }
      if constexpr (Resettable<typename A::strategy_type>) {
        if (step % 1000 == 999) {
          arena.reset();
          live.clear();
        }
      }
    }
    CHECK(system_allocator_calls() == before);
    CHECK(arena.validate());
  }
}

template <class A>
void law_a_block_that_changes_size_keeps_its_place() {
  constexpr std::uint64_t unit = A::alignment_type::value;
  A arena{4096 * unit};
  std::mt19937_64 random{first_seed()};
  INFO("ALLOT_SEED=" << first_seed());
  std::vector<Block> live;
  for (int step = 0; step < 600; ++step) {
    if (live.empty() || random() % 3 == 0) {
      if (const auto block = arena.try_allocate(1 + random() % (40 * unit))) live.push_back(*block);
      continue;
    }
    const std::size_t i = random() % live.size();
    const Block old = live[i];
    const std::uint64_t bytes = 1 + random() % (2 * old.size);
    const Usage usage = arena.usage();
    const Map map = map_of(arena);
    if (bytes <= old.size) {
      live[i] = arena.shrink(old, bytes);
      CHECK(live[i].size >= bytes);
      CHECK(live[i].size <= old.size);
    } else if (const auto more = arena.try_expand(old, bytes)) {
      CHECK(more->size >= bytes);
      live[i] = *more;
    } else {
      check_unchanged(arena, usage, map);
      continue;
    }
    CHECK(live[i].offset == old.offset);
    CHECK(live[i].handle == old.handle);
    CHECK(arena.owns(live[i]));
    CHECK(arena.owns(old) == (old == live[i]));
    check_identities(arena);
  }
  const Block block = live.front();
  const Usage usage = arena.usage();
  const Map map = map_of(arena);
  CHECK_THROWS_AS(static_cast<void>(arena.shrink(block, block.size + 1)), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(arena.shrink(block, 0)), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(arena.try_expand(block, 0)), std::invalid_argument);
  CHECK(!arena.try_expand(block, std::uint64_t{1} << 62));
  check_unchanged(arena, usage, map);
  arena.deallocate(block);
  CHECK_THROWS_AS(static_cast<void>(arena.shrink(block, 1)), InvalidBlock);
  CHECK_THROWS_AS(static_cast<void>(arena.try_expand(block, 1)), InvalidBlock);
  for (std::size_t i = 1; i < live.size(); ++i) arena.deallocate(live[i]);
  check_fresh(arena);
}

/// About two thirds of what is allocated stays.
template <class A>
[[nodiscard]] std::vector<Block> scatter(A& arena) {
  std::mt19937_64 random{first_seed()};
  std::vector<Block> live;
  for (int i = 0; i < 200; ++i) {
    const auto block = arena.try_allocate(1 + random() % (30 * A::alignment_type::value));
    if (!block) continue;
    if (i % 3 == 0) {
      arena.deallocate(*block);
    } else {
      live.push_back(*block);
    }
  }
  return live;
}

template <class A>
void law_reset_frees_every_block() {
  constexpr std::uint64_t unit = A::alignment_type::value;
  A arena{2048 * unit};
  for (int round = 0; round < 3; ++round) {
    const std::vector<Block> live = scatter(arena);
    arena.reset();
    check_fresh(arena);
    check_identities(arena);
    for (const Block& block : live) CHECK(refuses(arena, block));
  }
}

template <class A>
void law_an_arena_that_grew_is_like_one_made_so() {
  constexpr std::uint64_t unit = A::alignment_type::value;
  A arena{1024 * unit};
  const std::vector<Block> live = scatter(arena);
  CHECK_THROWS_AS(arena.grow(1023 * unit), std::invalid_argument);
  for (const std::uint64_t capacity : {1024U, 1041U, 4096U, 100'000U}) {
    arena.grow(capacity * unit);
    CHECK(arena.capacity() == A{capacity * unit}.capacity());
    check_identities(arena);
  }
  for (const Block& block : live) arena.deallocate(block);
  check_fresh(arena);
}

/// Exists while a law is checked: sets up what a memory needs. Specialize it for a memory.
template <class MemoryType>
struct LawFixture {};

/// The types of those arenas for which `Condition` holds.
template <template <class> class Condition, class... As>
struct Those {
  using type = std::tuple<>;
};
template <class A, class Tuple>
struct Prepended;
template <class A, class... As>
struct Prepended<A, std::tuple<As...>> {
  using type = std::tuple<A, As...>;
};
template <template <class> class Condition, class A, class... As>
struct Those<Condition, A, As...> {
  using rest = typename Those<Condition, As...>::type;
  using type = typename std::conditional_t<Condition<A>::value, Prepended<A, rest>,
                                           std::type_identity<rest>>::type;
};

template <class A>
using HasManySizes = std::bool_constant<!has_one_size<A>>;
template <class A>
using CanReserve = std::bool_constant<Reservable<typename A::strategy_type>>;
template <class A>
using CanResize = std::bool_constant<Resizable<typename A::strategy_type>>;
template <class A>
using CanReset = std::bool_constant<Resettable<typename A::strategy_type>>;
template <class A>
using CanGrow = std::bool_constant < requires(A& arena) {
  arena.grow(std::uint64_t{1});
}
> ;

/// While the arena fills, and then changes: the bookkeeping is at most `bytes_a_block` for each used
/// block, 24 more for each free one, as many as there ever were, and 64 KiB.
template <class S>
void check_bookkeeping(std::uint64_t bytes_a_block) {
  Arena<S> arena{1 * GiB};
  std::mt19937_64 random{first_seed()};
  INFO("ALLOT_SEED=" << first_seed());
  std::vector<Block> live;
  std::uint64_t allowed = 0;
  for (int step = 0; step < 400'000; ++step) {
    if (step < 100'000 || random() % 2 == 0) {
      const std::uint64_t bytes = step < 100'000 ? 256 : 1 + random() % 20'000;
      if (const auto block = arena.try_allocate(bytes)) live.push_back(*block);
    } else {
      std::swap(live[random() % live.size()], live.back());
      arena.deallocate(live.back());
      live.pop_back();
    }
    const Usage usage = arena.usage();
    allowed = std::max(allowed, bytes_a_block * usage.live_blocks +
                                    (bytes_a_block + 24) * usage.free_blocks + 64 * KiB);
    REQUIRE(arena.bookkeeping_bytes() <= allowed);
  }
}

/// A strategy beside its naive model: every block in the same place, every refusal the same.
template <class S, class Naive>
class Comparison {
 public:
  explicit Comparison(std::uint64_t capacity) : strategy_{capacity}, naive_{capacity} {}

  /// Takes the start of the range, for good.
  void take_first(std::uint64_t size) {
    static_cast<void>(strategy_.allocate(size, 1).value());
    static_cast<void>(naive_.allocate(size, 1).value());
  }

  void allocate(std::uint64_t size, std::uint64_t alignment, bool is_upper) {
    if constexpr (requires { strategy_.allocate_upper(size, alignment); }) {
      if (is_upper) {
        keep(strategy_.allocate_upper(size, alignment), naive_.allocate_upper(size, alignment));
        return;
      }
    }
    keep(strategy_.allocate(size, alignment), naive_.allocate(size, alignment));
  }

  void deallocate(std::size_t i) {
    const Live block = live_[i];
    REQUIRE(strategy_.deallocate(block.handle, block.extent.offset));
    REQUIRE(!strategy_.deallocate(block.handle, block.extent.offset));
    naive_.deallocate(block.extent);
    live_[i] = live_.back();
    live_.pop_back();
  }

  /// Grows the block to as much more, or shrinks it to as much.
  void resize(std::size_t i, std::uint64_t size) {
    if constexpr (requires { strategy_.shrink(Handle{}, size); }) {
      Live& block = live_[i];
      if (size < block.extent.size) {
        strategy_.shrink(block.handle, size);
        naive_.shrink(block.extent, size);
      } else {
        const std::uint64_t all = block.extent.size + size;
        REQUIRE(strategy_.try_expand(block.handle, all) == naive_.expand(block.extent, all));
      }
      REQUIRE(strategy_.block_size(block.handle) == block.extent.size);
      REQUIRE(strategy_.is_live(block.handle, block.extent.offset));
    }
  }

  void grow(std::uint64_t units) {
    const std::uint64_t capacity = strategy_.capacity() + units;
    strategy_.grow(capacity);
    naive_.grow(capacity);
  }

  void reset() {
    strategy_.reset();
    naive_.reset();
    for (const Live& block : live_) REQUIRE(!strategy_.is_live(block.handle, block.extent.offset));
    live_.clear();
  }

  [[nodiscard]] std::size_t live() const { return live_.size(); }

  void check() const {
    REQUIRE(strategy_.validate());
    REQUIRE(strategy_.largest_free() == naive_.largest());
  }

 private:
  struct Live {
    Handle handle;
    Extent extent;
  };

  void keep(const std::optional<Placement>& placed, const std::optional<Extent>& expected) {
    REQUIRE(placed.has_value() == expected.has_value());
    if (!placed) return;
    REQUIRE(placed->offset == expected->offset);
    REQUIRE(placed->size == expected->size);
    live_.push_back({placed->handle, *expected});
  }

  S strategy_;
  Naive naive_;
  std::vector<Live> live_;
};

/// \param taken  units before the range that is compared, which one block takes first
template <class S, class Naive>
void check_against_model(std::uint64_t seed, std::uint64_t steps, std::uint64_t taken) {
  std::mt19937_64 random{seed};
  const std::uint64_t capacity = 16 + random() % (random() % 2 == 0 ? 300 : 6000);
  INFO("ALLOT_SEED=" << seed << ", capacity " << taken + capacity << " units");
  Comparison<S, Naive> comparison{taken + capacity};
  if (taken != 0) comparison.take_first(taken);
  const auto random_size = [&] {
    return 1 + (random() % 4 == 0 ? random() % (capacity / 4 + 1) : random() % 9);
  };
  for (std::uint64_t step = 0; step < steps; ++step) {
    const std::uint64_t kind = random() % 1000;
    if (kind < 550 || comparison.live() == 0) {
      const std::uint64_t alignment = random() % 2 == 0 ? 1 : std::uint64_t{1} << random() % 8;
      comparison.allocate(random_size(), alignment, random() % 3 == 0);
    } else if (kind < 900) {
      comparison.deallocate(random() % comparison.live());
    } else if (kind < 996) {
      comparison.resize(random() % comparison.live(), random_size());
    } else if (kind < 999) {
      comparison.grow(random() % 100);
    } else if (taken == 0) {
      comparison.reset();
    }
    comparison.check();
  }
}

/// Every fourth range is longer than 32-bit keys count; there it is the strategy's wide form, if any.
template <class S, class Naive>
void check_against_model() {
  const std::uint64_t total = operations(60'000);
  constexpr std::uint64_t steps = 1000;
  for (std::uint64_t run = 0; run * steps < total; ++run) {
    const std::uint64_t seed = first_seed() + run;
    if constexpr (!requires { S::largest_size; }) {
      if (seed % 4 == 3) {
        check_against_model<WideOf<S>, Naive>(seed, steps, std::uint64_t{1} << 40);
        continue;
      }
    }
    check_against_model<S, Naive>(seed, steps, 0);
  }
}

}  // namespace allot::test

// The name of a case is the law's; doctest adds the type.
#define ALLOT_LAW(name, law)                                                         \
  TEST_CASE_TEMPLATE_DEFINE(name, A, law) {                                          \
    [[maybe_unused]] const allot::test::LawFixture<typename A::memory_type> fixture; \
    allot::test::law_##law<A>();                                                     \
  }

ALLOT_LAW("what fits succeeds, and nothing overlaps", what_fits_succeeds_and_nothing_overlaps)
ALLOT_LAW("the largest free block can be allocated", the_largest_free_block_can_be_allocated)
ALLOT_LAW("stale and foreign blocks are refused", stale_and_foreign_blocks_are_refused)
ALLOT_LAW("a block of another arena is foreign, whatever its place",
          a_block_of_another_arena_is_foreign_whatever_its_place)
ALLOT_LAW("invalid arguments are reported, and change nothing",
          invalid_arguments_are_reported_and_change_nothing)
ALLOT_LAW("a refusal says why, and changes nothing", a_refusal_says_why_and_changes_nothing)
ALLOT_LAW("freeing calls no system allocator", freeing_calls_no_system_allocator)
ALLOT_LAW("after reserve nothing calls the system allocator",
          after_reserve_nothing_calls_the_system_allocator)
ALLOT_LAW("a block that changes its size keeps its place",
          a_block_that_changes_size_keeps_its_place)
ALLOT_LAW("reset frees every block", reset_frees_every_block)
ALLOT_LAW("a block from before reset is foreign, whatever its place",
          a_block_from_before_reset_is_foreign_whatever_its_place)
ALLOT_LAW("an arena that grew is like one made so", an_arena_that_grew_is_like_one_made_so)

/// Checks every law that applies to the arenas of these types.
#define ALLOT_TEST_LAWS(...)                                                                      \
  TEST_CASE_TEMPLATE_INVOKE(what_fits_succeeds_and_nothing_overlaps, __VA_ARGS__);                \
  TEST_CASE_TEMPLATE_INVOKE(the_largest_free_block_can_be_allocated, __VA_ARGS__);                \
  TEST_CASE_TEMPLATE_INVOKE(stale_and_foreign_blocks_are_refused, __VA_ARGS__);                   \
  TEST_CASE_TEMPLATE_INVOKE(a_block_of_another_arena_is_foreign_whatever_its_place, __VA_ARGS__); \
  TEST_CASE_TEMPLATE_INVOKE(invalid_arguments_are_reported_and_change_nothing, __VA_ARGS__);      \
  TEST_CASE_TEMPLATE_APPLY(a_refusal_says_why_and_changes_nothing,                                \
                           allot::test::Those<allot::test::HasManySizes, __VA_ARGS__>::type);     \
  TEST_CASE_TEMPLATE_INVOKE(freeing_calls_no_system_allocator, __VA_ARGS__);                      \
  TEST_CASE_TEMPLATE_APPLY(after_reserve_nothing_calls_the_system_allocator,                      \
                           allot::test::Those<allot::test::CanReserve, __VA_ARGS__>::type);       \
  TEST_CASE_TEMPLATE_APPLY(a_block_that_changes_size_keeps_its_place,                             \
                           allot::test::Those<allot::test::CanResize, __VA_ARGS__>::type);        \
  TEST_CASE_TEMPLATE_APPLY(reset_frees_every_block,                                               \
                           allot::test::Those<allot::test::CanReset, __VA_ARGS__>::type);         \
  TEST_CASE_TEMPLATE_APPLY(a_block_from_before_reset_is_foreign_whatever_its_place,               \
                           allot::test::Those<allot::test::CanReset, __VA_ARGS__>::type);         \
  TEST_CASE_TEMPLATE_APPLY(an_arena_that_grew_is_like_one_made_so,                                \
                           allot::test::Those<allot::test::CanGrow, __VA_ARGS__>::type)
