// SPDX-License-Identifier: MIT
/// \file
/// `DecayedHits<HalfLife>`: evicts the block with the fewest hits, older ones counting less. Between
/// least frequently and least recently used: what was hit often stays, but not for ever.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/os/logarithm.hpp>
#include <allot/pool/kv/eviction/detail/ranked_blocks.hpp>
#include <allot/pool/kv/eviction/eviction.hpp>

#include <cstdint>

namespace allot {

/// A use (becoming kept, or a hit) counts half after `HalfLife` uses of others for each block of the
/// cache. A block's rank is the logarithm of the sum of 2^(time of use / half-life), whose order does
/// not change as time goes on; of equal ones, that unused for longest goes first. 28 bytes a block.
/// Complexity: `add` and `remove` are logarithmic in the unused blocks, all else is constant.
///
/// \tparam HalfLife  1: nearly by recency; larger: more by frequency
template <std::uint64_t HalfLife = 2>
requires(HalfLife != 0) class DecayedHits : public detail::RankedEviction<> {
 public:
  using Number = std::uint32_t;  ///< of a block

  /// Throws: `std::bad_alloc`.
  explicit DecayedHits(std::uint64_t blocks)
      : RankedEviction<>{blocks},
        half_life_{static_cast<double>(HalfLife) *
                   static_cast<double>(larger<std::uint64_t>(blocks, 1))} {
    static_assert(Eviction<DecayedHits>);
  }

  /// Counts a block's first use.
  void note_kept(Number block) noexcept { unused_.set_rank(block, next_use()); }
  /// Counts a hit.
  void note_hit(Number block) noexcept {
    const double use = next_use();
    const double before = unused_.rank(block);
    const double most = larger(before, use);
    unused_.set_rank(block, most + os::log2(1 + os::exp2(smaller(before, use) - most)));
  }

 private:
  /// Returns the time of a use, in half-lives.
  [[nodiscard]] double next_use() noexcept { return static_cast<double>(++uses_) / half_life_; }

  double half_life_;
  std::uint64_t uses_ = 0;
};

}  // namespace allot
