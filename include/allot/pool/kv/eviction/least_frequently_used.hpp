// SPDX-License-Identifier: MIT
/// \file
/// `LeastFrequentlyUsed`: evicts the block with the fewest hits. For prompts whose beginnings stay
/// the same for as long as the cache lives: what was hit often once is not evicted later.
#pragma once

#include <allot/pool/kv/eviction/detail/ranked_blocks.hpp>
#include <allot/pool/kv/eviction/eviction.hpp>

#include <cstdint>

namespace allot {

/// Counts the hits of each block for as long as it is kept; of equal ones, that unused for longest
/// goes first. 28 bytes a block. Complexity: `add` and `remove` are logarithmic in the unused blocks,
/// all else is constant.
class LeastFrequentlyUsed : public detail::RankedEviction {
 public:
  /// Throws: `std::bad_alloc`.
  explicit LeastFrequentlyUsed(std::uint64_t blocks) : RankedEviction{blocks} {}

  /// Begins to count a block's hits.
  void note_kept(Number block) noexcept { unused_.set_rank(block, 0); }
  /// Counts a hit.
  void note_hit(Number block) noexcept { unused_.set_rank(block, unused_.rank(block) + 1); }
};

static_assert(Eviction<LeastFrequentlyUsed>);

}  // namespace allot
