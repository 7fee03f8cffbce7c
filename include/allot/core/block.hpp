// SPDX-License-Identifier: MIT
/// \file
/// The values that an arena exchanges with its callers, and with its strategy.
#pragma once

#include <allot/core/version.hpp>

#include <cstdint>
#include <string_view>
#include <type_traits>

namespace allot {

/// Names one use of one bookkeeping record. The generation changes whenever the record is used
/// again, so a handle that outlived its block matches nothing.
/// Within an arena the pair of both is unique: it may be printed, hashed and compared.
struct Handle {
  std::uint32_t index;       ///< of the record
  std::uint32_t generation;  ///< which use of the record

  friend constexpr bool operator==(const Handle&, const Handle&) noexcept = default;
};

/// An allocated range of an arena. Like a pointer from `malloc`, it must be freed by the caller,
/// once; a `Slice` frees itself.
struct Block {
  std::uint64_t offset;  ///< bytes from the start of the arena's memory
  std::uint64_t size;    ///< bytes granted: the request, rounded up to whole units
  Handle handle;         ///< of its record

  friend constexpr bool operator==(const Block&, const Block&) noexcept = default;
};

static_assert(sizeof(Block) == 24 && std::is_trivial_v<Block>);

/// Where a strategy put a request, in units.
struct Placement {
  std::uint64_t offset;  ///< from the start of the range
  std::uint64_t size;    ///< granted: the request, rounded up as the strategy must
  Handle handle;         ///< of its record
};

/// What a caller asks an arena for.
struct Request {
  std::uint64_t bytes;          ///< at least one
  std::uint64_t alignment = 0;  ///< bytes, a power of two; 0: the arena's own
  std::string_view name = {};   ///< for observers and messages; not kept by the arena
};

/// A snapshot of an arena, or the sum of several. `used + free == capacity` and
/// `requested + padding == used`, always.
struct Usage {
  std::uint64_t capacity;      ///< bytes in the arena
  std::uint64_t used;          ///< bytes in live blocks, as granted
  std::uint64_t requested;     ///< bytes that callers asked for, of those in use
  std::uint64_t padding;       ///< internal fragmentation: bytes granted beyond those requested
  std::uint64_t free;          ///< bytes that are not in live blocks
  std::uint64_t largest_free;  ///< bytes of the largest block that can be allocated now
  std::uint64_t free_blocks;   ///< number of free blocks
  std::uint64_t live_blocks;   ///< number of live blocks
  std::uint64_t peak_used;     ///< the most bytes that were in use at any time

  friend constexpr bool operator==(const Usage&, const Usage&) noexcept = default;

  /// External fragmentation: 0 if all free bytes are one block (or nothing is free), approaching 1
  /// the more they are scattered. Meaningless for an arena whose blocks all have one size.
  [[nodiscard]] constexpr double fragmentation() const noexcept {
    if (free == 0) return 0;
    return 1 - static_cast<double>(largest_free) / static_cast<double>(free);
  }

  /// Adds another arena's usage. `largest_free` becomes the larger of the two, as a block cannot
  /// span arenas; `peak_used` is the sum of the peaks, which may have been at different times.
  constexpr Usage& operator+=(const Usage& other) noexcept {
    capacity += other.capacity;
    used += other.used;
    requested += other.requested;
    padding += other.padding;
    free += other.free;
    largest_free = largest_free < other.largest_free ? other.largest_free : largest_free;
    free_blocks += other.free_blocks;
    live_blocks += other.live_blocks;
    peak_used += other.peak_used;
    return *this;
  }
};

}  // namespace allot
