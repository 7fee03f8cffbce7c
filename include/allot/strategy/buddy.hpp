// SPDX-License-Identifier: MIT
/// \file
/// `Buddy`: blocks of 2^k units, split in halves and merged with their other half (Knowlton, 1965).
/// Every block is aligned to its own size; what a request loses to rounding is reported as padding.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/checked.hpp>
#include <allot/strategy/detail/block_sequence.hpp>
#include <allot/strategy/detail/by_key_width.hpp>
#include <allot/strategy/detail/order_trees.hpp>
#include <allot/strategy/strategy.hpp>

#include <bit>
#include <cstdint>
#include <optional>

namespace allot {

/// Takes the smallest free order that is at least the request's and its alignment's, there the
/// block with the lowest offset, and keeps the lower half until the size is right. A capacity that
/// is no power of two starts as its binary decomposition, largest block first.
///
/// Complexity: O(log n) for allocate and deallocate, and one split or merge for each order between.
/// 32 bytes a block, 22 more for the index.
class Buddy : public detail::BlockSequence {
 public:
  /// \param capacity  units, at least one
  /// Throws: `std::bad_alloc`.
  explicit Buddy(std::uint64_t capacity) : BlockSequence{capacity}, index_{capacity} {
    records_.ensure(static_cast<std::uint64_t>(std::popcount(capacity)));
    index_.with([&](auto& index) {
      index.ensure(records_.capacity());
      std::uint64_t offset = 0;
      for (int order = 63; order >= 0; --order) {
        if ((capacity >> order & 1) == 0) continue;
        add_free(index, insert_after(records_[list_head].previous, offset), order);
        offset += std::uint64_t{1} << order;
      }
    });
  }

  /// Grants the size rounded up to a power of two.
  /// Throws: `std::bad_alloc` where bookkeeping needs memory; nothing has changed.
  [[nodiscard]] std::optional<Placement> allocate(std::uint64_t size, std::uint64_t alignment) {
    if (size > (std::uint64_t{1} << 63)) return std::nullopt;
    const std::uint64_t granted = std::bit_ceil(size);
    const std::uint64_t orders = free_orders() & (0 - larger(granted, alignment));
    if (orders == 0) return std::nullopt;
    const int order = std::countr_zero(orders);
    ensure(static_cast<std::uint64_t>(order) + spare_records);
    return index_.with([&](auto& index) {
      const std::uint32_t chosen = index.take_lowest(records_, order);
      --free_blocks_;
      for (int half = order; std::uint64_t{1} << half > granted;) {
        --half;
        const detail::Record& lower = records_[chosen];
        const std::uint64_t upper = lower.offset + (std::uint64_t{1} << half);
        add_free(index, insert_after(chosen, upper), half);
      }
      return make_used(chosen, granted);
    });
  }

  /// Returns false, and changes nothing, where no such block is live.
  bool deallocate(Handle handle, std::uint64_t offset) noexcept {
    if (!is_live(handle, offset)) return false;
    const std::uint64_t size = size_of(records_, records_[handle.index]);
    end_use(size);
    index_.with([&](auto& index) { merge(index, handle.index, std::countr_zero(size)); });
    return true;
  }

  /// Complexity: constant.
  [[nodiscard]] std::uint64_t largest_free() const noexcept {
    return std::bit_floor(free_orders());
  }

  /// Complexity: linear.
  [[nodiscard]] bool validate() const noexcept {
    if (!sequence_is_valid()) return false;
    for (std::uint32_t i = records_[list_head].next; i != list_head; i = records_[i].next) {
      const detail::Record& record = records_[i];
      const std::uint64_t size = size_of(records_, record);
      if (!std::has_single_bit(size) || (record.offset & (size - 1)) != 0) return false;
      if (!is_free(i)) continue;
      const detail::Record& after = records_[record.next];
      const bool is_lower = (record.offset & size) == 0;
      if (is_lower && is_free(record.next) && size_of(records_, after) == size) return false;
    }
    return index_.with([&](const auto& index) { return index.is_valid(records_, free_blocks_); });
  }

  /// Bytes of bookkeeping on the heap.
  [[nodiscard]] std::uint64_t bookkeeping_bytes() const noexcept {
    return records_.bytes() + index_.with([](const auto& index) { return index.bytes(); });
  }

 private:
  [[nodiscard]] std::uint64_t free_orders() const noexcept {
    return index_.with([](const auto& index) { return index.orders(); });
  }

  /// Makes room for `count` records, and for all the free blocks that there can come to be.
  void ensure(std::uint64_t count) {
    if (records_.vacant() >= count) [[likely]]
      return;
    index_.with([&](auto& index) { index.ensure(records_.capacity_for(count)); });
    records_.ensure(count);
  }

  template <class Index>
  void add_free(Index& index, std::uint32_t block, int order) noexcept {
    make_free(block);
    index.insert(records_, order, block);
  }

  /// Joins a block that is neither used nor free with its buddies, as far as they are free.
  template <class Index>
  void merge(Index& index, std::uint32_t block, int order) noexcept {
    for (;; ++order) {
      const detail::Record& merged = records_[block];
      const std::uint64_t size = std::uint64_t{1} << order;
      const bool is_upper = (merged.offset & size) != 0;
      const std::uint32_t buddy = is_upper ? merged.previous : merged.next;
      if (!is_free(buddy) || size_of(records_, records_[buddy]) != size) break;
      if (records_[buddy].offset != (merged.offset ^ size)) break;
      index.erase(records_, order, buddy);
      --free_blocks_;
      const std::uint32_t lower = is_upper ? buddy : block;
      remove(is_upper ? block : buddy);
      block = lower;
    }
    add_free(index, block, order);
  }

  detail::ByKeyWidth<detail::OrderTrees> index_;
};

static_assert(Strategy<Buddy>);

}  // namespace allot
