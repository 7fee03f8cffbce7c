// SPDX-License-Identifier: MIT
/// \file
/// What a `ChunkedArena` is made with.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/errors.hpp>
#include <allot/core/needed_block.hpp>
#include <allot/core/units.hpp>
#include <allot/core/version.hpp>

#include <bit>
#include <cstdint>

namespace allot {

/// All in bytes.
struct ChunkedOptions {
  std::uint64_t chunk_bytes;                            ///< of a chunk
  std::uint64_t budget_bytes = OutOfMemory::unlimited;  ///< the most in all chunks together
  /// A larger request gets a separate chunk of its size, as long as the budget has room for one.
  std::uint64_t own_chunk_above = OutOfMemory::unlimited;
};

/// The word of a `ChunkedArena` whose caller wants none. Takes no space.
struct NoWord {};

namespace detail {

/// Returns a power of two above any chunk: the budget, or a tebibyte if there is none.
[[nodiscard]] constexpr std::uint64_t chunk_span(const ChunkedOptions& options,
                                                 std::uint64_t unit) noexcept {
  const bool is_limited = options.budget_bytes != OutOfMemory::unlimited;
  const std::uint64_t budget = is_limited ? options.budget_bytes : std::uint64_t{1} << 40;
  const std::uint64_t largest = larger(larger(budget, options.chunk_bytes), unit);
  return largest > std::uint64_t{1} << 62 ? std::uint64_t{1} << 63 : std::bit_ceil(largest);
}

inline void reject_budget(std::uint64_t budget, std::uint64_t chunk) {
  reject(
      "a budget of # bytes is less than one chunk of # bytes; give at least one chunk: the first "
      "stays",
      {budget, chunk});
}

/// Returns the error for a request that chunks refuse. All in bytes.
/// \param room  the most that a new chunk may have: together with `all.capacity` within the budget
[[nodiscard]] inline OutOfMemory chunk_refusal(const Usage& all, const NeededBlock& needed,
                                               std::uint64_t room, std::uint64_t budget) {
  const std::uint64_t free = all.free + room;  // which is within the budget
  const std::uint64_t longest = larger(all.largest_free, room);
  const bool is_too_large = needed.least == 0 || needed.least > free;
  const RefusalReason reason = is_too_large             ? RefusalReason::too_large
                               : needed.least > longest ? RefusalReason::fragmented
                                                        : RefusalReason::alignment;
  return {reason,
          needed.requested,
          needed.alignment,
          all.free,
          all.largest_free,
          all.capacity,
          budget,
          0,
          refused_rounding(needed.asked, needed.least, free, longest)};
}

}  // namespace detail

}  // namespace allot
