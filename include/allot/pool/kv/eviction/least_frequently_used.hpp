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
///
/// \tparam Number  of a block: a parameter, so that only a cache that is used compiles this
template <class Number = std::uint32_t>
class BasicLeastFrequentlyUsed : public detail::RankedEviction<Number> {
  using detail::RankedEviction<Number>::unused_;

 public:
  /// Throws: `std::bad_alloc`.
  explicit BasicLeastFrequentlyUsed(std::uint64_t blocks) : detail::RankedEviction<Number>{blocks} {
    static_assert(Eviction<BasicLeastFrequentlyUsed>);
  }

  /// Begins to count a block's hits.
  void note_kept(Number block) noexcept { unused_.set_rank(block, 0); }
  /// Counts a hit.
  void note_hit(Number block) noexcept { unused_.set_rank(block, unused_.rank(block) + 1); }
};

using LeastFrequentlyUsed = BasicLeastFrequentlyUsed<>;  ///< of any cache

}  // namespace allot
