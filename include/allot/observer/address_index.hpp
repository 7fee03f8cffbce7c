// SPDX-License-Identifier: MIT
/// \file
/// `AddressIndex`: gives an arena `block_at`, which finds a block by its address or offset.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/block_table.hpp>
#include <allot/core/errors.hpp>
#include <allot/observer/observer.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>

namespace allot {

/// Keeps every live block by its offset, in host memory: 43 to 86 bytes for each of the most blocks
/// that were ever live at once. Complexity of each notice: constant in the mean.
///
/// If the host has no memory for a block, the arena gives it all the same; `block_at` then finds it
/// by a walk over all blocks.
///
/// \tparam Offset  a parameter, so that only an index that is used compiles this
template <class Offset = std::uint64_t>
class BasicAddressIndex {
 public:
  void allocated(const Block& block, const Request&) noexcept {
    if (detail::completes([this] { blocks_.make_room(); })) {
      blocks_.insert(block.offset, block);
    } else {
      ++untracked_;
    }
  }

  void deallocated(const Block& block) noexcept {
    if (!blocks_.take(block.offset)) --untracked_;
  }

  void refused(const Request&, RefusalReason) noexcept {}

  /// Returns the live block that starts at an offset, if it is tracked. Complexity: constant in the
  /// mean.
  [[nodiscard]] std::optional<Block> block_at_offset(Offset offset) const noexcept {
    return blocks_.find(offset);
  }

  /// Returns the number of live blocks that are not tracked because the host's memory ran out.
  [[nodiscard]] std::size_t untracked() const noexcept { return untracked_; }

  /// Returns the bytes that the index takes, all of them host memory.
  [[nodiscard]] std::size_t bookkeeping_bytes() const noexcept { return blocks_.bytes(); }

 private:
  detail::BlockTable<Offset> blocks_;
  std::size_t untracked_ = 0;
};

using AddressIndex = BasicAddressIndex<>;  ///< of any arena

static_assert(IndexesBlocks<AddressIndex>);

}  // namespace allot
