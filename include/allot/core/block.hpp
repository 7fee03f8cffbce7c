// SPDX-License-Identifier: MIT
/// \file
/// The values that an arena and its callers exchange.
///
/// | type        | what it is                                                     |
/// |-------------|----------------------------------------------------------------|
/// | `Block`     | what an allocation returns: a place in the arena, in bytes     |
/// | `Handle`    | which record, and which use of it, a block stands for          |
/// | `Placement` | what a strategy returns: a place in its range, in units        |
/// | `Request`   | what an allocation asks for                                    |
/// | `Usage`     | how full an arena is                                           |
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

namespace allot {

/// Names one use of one bookkeeping record. The generation changes whenever the record is used
/// again, so a handle that outlived its block matches nothing.
struct Handle {
  std::uint32_t index;
  std::uint32_t generation;

  friend constexpr bool operator==(const Handle&, const Handle&) noexcept = default;
};

/// An allocated range of an arena. Like a pointer from `malloc`: whoever holds it keeps the order
/// of release; `Slice` does that for you.
struct Block {
  std::uint64_t offset;  ///< bytes from the start of the arena's memory
  std::uint64_t size;    ///< bytes granted: the request, rounded up to whole units
  Handle handle;

  friend constexpr bool operator==(const Block&, const Block&) noexcept = default;
};

static_assert(sizeof(Block) == 24 && std::is_trivial_v<Block>);

/// Where a strategy put a request. All in units.
struct Placement {
  std::uint64_t offset;
  std::uint64_t size;
  Handle handle;
};

/// What a caller asks an arena for.
struct Request {
  std::uint64_t bytes;          ///< at least one
  std::uint64_t alignment = 0;  ///< bytes, a power of two; 0: the arena's own
  std::string_view name = {};   ///< for observers and messages; not kept by the arena
};

/// A snapshot of an arena, in bytes and counts. `used + free == capacity` and
/// `requested + padding == used`, always.
struct Usage {
  std::uint64_t capacity;
  std::uint64_t used;
  std::uint64_t requested;
  std::uint64_t padding;
  std::uint64_t free;
  std::uint64_t largest_free;
  std::uint64_t free_blocks;
  std::uint64_t live_blocks;
  std::uint64_t peak_used;

  friend constexpr bool operator==(const Usage&, const Usage&) noexcept = default;
};

}  // namespace allot
