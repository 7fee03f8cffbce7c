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
class LeastFrequentlyUsed {
 public:
  using Number = std::uint32_t;  ///< of a block

  static constexpr bool keeps_blocks = true;  ///< blocks outlive their sequences

  /// Throws: `std::bad_alloc`.
  explicit LeastFrequentlyUsed(std::uint64_t blocks) : unused_{blocks} {}

  /// Begins to count a block's hits.
  void note_kept(Number block) noexcept { unused_.set_rank(block, 0); }
  /// Counts a hit.
  void note_hit(Number block) noexcept { unused_.set_rank(block, unused_.rank(block) + 1); }
  void note_gone(Number) noexcept {}  ///< the next block of that number begins again
  /// Notes that no sequence uses a block any more.
  void add(Number block) noexcept { unused_.add(block); }
  /// Notes that a block is used again, or gone.
  void remove(Number block) noexcept { unused_.remove(block); }
  /// Gives a block another number, which no block has.
  void move(Number from, Number to) noexcept { unused_.move(from, to); }
  /// Returns whether a block is unused.
  [[nodiscard]] bool contains(Number block) const noexcept { return unused_.contains(block); }
  /// Returns the number of unused blocks.
  [[nodiscard]] std::uint64_t size() const noexcept { return unused_.size(); }
  /// Returns the unused block with the fewest hits. Requires: there is one.
  [[nodiscard]] Number next() const noexcept { return unused_.next(); }

 private:
  detail::RankedBlocks unused_;
};

static_assert(Eviction<LeastFrequentlyUsed>);

}  // namespace allot
