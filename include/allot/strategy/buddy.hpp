// SPDX-License-Identifier: MIT
/// \file
/// `Buddy`: blocks of 2^k units, split in halves and merged with their buddies (Knowlton, 1965).
/// Every block is aligned to its own size; what a request loses to rounding is reported as padding.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/checked.hpp>
#include <allot/strategy/detail/block_sequence.hpp>
#include <allot/strategy/detail/order_trees.hpp>
#include <allot/strategy/detail/records.hpp>
#include <allot/strategy/strategy.hpp>

#include <bit>
#include <cstdint>
#include <new>
#include <optional>
#include <utility>

namespace allot {

namespace detail {

/// `Buddy` and `WideBuddy`.
/// \tparam KeyType  of the free index: unsigned, its highest value above the capacity
template <class KeyType>
class BuddyRange : public BlockSequence {
 public:
  /// \param capacity  units, at least one
  /// Throws: `std::bad_alloc`.
  explicit BuddyRange(std::uint64_t capacity) : BuddyRange{capacity, std::nothrow} {
    require_bookkeeping(capacity_ != 0);
  }
  /// The same, but the capacity is 0, and there is nothing else to call, if the host has no memory.
  BuddyRange(std::uint64_t capacity, std::nothrow_t) noexcept
      : BlockSequence{capacity}, index_{records_, capacity} {
    if (!records_.try_ensure(most_pieces) || !index_.try_ensure(records_.capacity())) capacity_ = 0;
    if (capacity_ != 0) append(index_, 0, capacity);
  }

  /// Returns the size of the block that a request takes: a power of two.
  [[nodiscard]] static constexpr std::uint64_t rounded(std::uint64_t size) noexcept {
    return size > std::uint64_t{1} << 63 ? 0 : std::bit_ceil(size);
  }

  /// Grants the size rounded up to a power of two.
  /// Throws: `std::bad_alloc` for the bookkeeping; nothing has changed.
  [[nodiscard]] std::optional<Placement> allocate(std::uint64_t size, std::uint64_t alignment) {
    if (size > (std::uint64_t{1} << 63)) return std::nullopt;
    const std::uint64_t granted = std::bit_ceil(size);
    const std::uint64_t orders = free_orders() & (0 - larger(granted, alignment));
    if (orders == 0) return std::nullopt;
    const int order = std::countr_zero(orders);
    require_bookkeeping(try_ensure(index_, static_cast<std::uint64_t>(order) + spare_records));
    const std::uint32_t chosen = index_.take_lowest(static_cast<std::uint32_t>(order));
    --free_blocks_;
    split(chosen, std::uint64_t{1} << order, granted);
    return make_used(chosen, granted);
  }

  /// Returns false, and changes nothing, if no such block is live.
  bool deallocate(Handle handle, std::uint64_t offset) noexcept {
    if (!is_live(handle, offset)) return false;
    const std::uint64_t size = size_of(records_, records_[handle.index]);
    end_use(size);
    merge(index_, handle.index, size);
    return true;
  }

  /// Grows a live block at its end to `size` units, rounded up to a power of two, if at each order
  /// on the way it is the lower half and its buddy is free. Its offset and handle stay. Returns
  /// false, and changes nothing, if it cannot.
  /// Requires: `handle` is live. Complexity: O(log n) for each order between.
  bool try_expand(Handle handle, std::uint64_t size) noexcept {
    if (size > (std::uint64_t{1} << 63)) return false;
    const std::uint64_t held = block_size(handle);
    const std::uint64_t granted = std::bit_ceil(size);
    if (granted <= held) return true;
    const Record& block = records_[handle.index];
    if ((block.offset & (granted - 1)) != 0) return false;
    std::uint32_t buddy = block.next;
    for (std::uint64_t half = held; half < granted; half *= 2) {
      if (!is_free(buddy) || size_of(records_, records_[buddy]) != half) return false;
      buddy = records_[buddy].next;
    }
    for (std::uint64_t half = held; half < granted; half *= 2) {
      const std::uint32_t next = records_[handle.index].next;
      index_.erase(next);
      --free_blocks_;
      remove(next);
    }
    used_ += granted - held;
    return true;
  }

  /// Frees the end of a live block, from `size` units, rounded up to a power of two, on. Its offset
  /// and handle stay.
  /// Requires: `handle` is live and holds more than `size`, which is at least one.
  /// Throws: `std::bad_alloc` for the bookkeeping; nothing has changed.
  void shrink(Handle handle, std::uint64_t size) {
    const std::uint64_t held = block_size(handle);
    const std::uint64_t granted = std::bit_ceil(size);
    require_bookkeeping(try_ensure(index_, most_pieces));
    split(handle.index, held, granted);
    used_ -= held - granted;
  }

  /// Frees every block. Complexity: linear in the blocks.
  /// Throws: `std::bad_alloc` for the bookkeeping; nothing has changed.
  void reset() {
    // The records of all blocks become vacant, so that this needs memory only if some were retired.
    require_bookkeeping(
        try_ensure(index_, most_pieces - smaller(most_pieces, live_blocks_ + free_blocks_)));
    index_.clear();
    remove(make_one());
    free_blocks_ = 0;
    append(index_, 0, capacity_);
  }

  /// Extends the range at its end. Requires: `capacity` is not below the present one.
  /// Throws: `std::bad_alloc`; nothing has changed. Complexity: O(n log n), n being the free
  /// blocks, whose index is rebuilt.
  void grow(std::uint64_t capacity) { require_bookkeeping(try_grow(capacity)); }
  /// Like `grow`, but returns false on failure.
  [[nodiscard]] bool try_grow(std::uint64_t capacity) noexcept {
    if (capacity == capacity_) return true;
    Index grown{records_, capacity};
    if (!try_ensure(index_, most_pieces) || !try_fill(grown, no_record)) return false;
    append(grown, capacity_, capacity);
    index_ = std::move(grown);
    capacity_ = capacity;
    return true;
  }

  /// Reserves bookkeeping for `blocks` live blocks: up to that many, only `grow` calls the system
  /// allocator.
  /// Throws: `std::bad_alloc`; nothing has changed.
  void reserve(std::uint64_t blocks) { require_bookkeeping(try_reserve(blocks)); }

  /// Like `reserve`, but returns false on failure.
  [[nodiscard]] bool try_reserve(std::uint64_t blocks) noexcept {
    // A free block is the buddy of one that contains a live block, at one of the orders: the upper
    // orders have fewer blocks than `blocks`, the lower ones at most that many.
    const std::uint64_t most = smaller(blocks, most_blocks);
    const auto orders = static_cast<std::uint64_t>(std::bit_width(capacity_));
    const auto upper = static_cast<std::uint64_t>(std::bit_width(most));
    const std::uint64_t lower = orders - smaller(orders, upper);
    const std::uint64_t free = (std::uint64_t{1} << upper) + lower * most + orders;
    const std::uint64_t all = smaller(most + free, capacity_) + most_pieces;
    return try_ensure(index_, all - smaller(all, live_blocks_ + free_blocks_));
  }

  /// Complexity: constant.
  [[nodiscard]] std::uint64_t largest_free() const noexcept {
    return std::bit_floor(free_orders());
  }

  /// Complexity: linear.
  [[nodiscard]] bool validate() const noexcept {
    if (!sequence_is_valid()) return false;
    for (std::uint32_t i = records_[list_head].next; i != list_head; i = records_[i].next) {
      const Record& record = records_[i];
      const std::uint64_t size = size_of(records_, record);
      if (!std::has_single_bit(size) || (record.offset & (size - 1)) != 0) return false;
      if (!is_free(i)) continue;
      const Record& after = records_[record.next];
      const bool is_lower = (record.offset & size) == 0;
      if (is_lower && is_free(record.next) && size_of(records_, after) == size) return false;
    }
    return index_.is_valid(free_blocks_);
  }

  /// Returns the bytes of bookkeeping on the heap.
  [[nodiscard]] std::uint64_t bookkeeping_bytes() const noexcept {
    return records_.bytes() + index_.bytes();
  }

 private:
  using Index = OrderTrees<KeyType>;

  [[nodiscard]] std::uint64_t free_orders() const noexcept { return index_.orders(); }

  /// Splits off the upper half of a block until it has `granted` units.
  void split(std::uint32_t block, std::uint64_t size, std::uint64_t granted) noexcept {
    while (size > granted) {
      size /= 2;
      const std::uint32_t upper = insert_after(block, records_[block].offset + size);
      add_free(index_, upper, size);
    }
  }

  /// Appends free blocks at `offset`, the end of the range, up to `end`; each as large as its
  /// offset allows. Requires: `most_pieces` records.
  void append(Index& index, std::uint64_t offset, std::uint64_t end) noexcept {
    while (offset != end) {
      const std::uint64_t natural = offset & (0 - offset);
      const std::uint64_t rest = std::bit_floor(end - offset);
      const std::uint64_t size = natural == 0 ? rest : smaller(natural, rest);
      const std::uint32_t piece = insert_after(records_[list_head].previous, offset);
      offset += size;
      records_[list_head].offset = offset;
      merge(index, piece, size);
    }
  }

  void add_free(Index& index, std::uint32_t block, std::uint64_t size) noexcept {
    make_free(block);
    index.insert(block, records_[block].offset, size);
  }

  /// Merges a block that is neither used nor free with its buddies, as long as they are free.
  void merge(Index& index, std::uint32_t block, std::uint64_t size) noexcept {
    for (;; size *= 2) {
      const Record& merged = records_[block];
      const bool is_upper = (merged.offset & size) != 0;
      const std::uint32_t buddy = is_upper ? merged.previous : merged.next;
      if (!is_free(buddy) || records_[buddy].free_size != size) break;
      if (records_[buddy].offset != (merged.offset ^ size)) break;
      index.erase(buddy);
      --free_blocks_;
      const std::uint32_t lower = is_upper ? buddy : block;
      remove(is_upper ? block : buddy);
      block = lower;
    }
    add_free(index, block, size);
  }

  static constexpr std::uint64_t most_pieces = 2 * 64 + spare_records;  // of `append`, or a split

  Index index_;
};

}  // namespace detail

/// The same for a range of any length: 64-bit keys, 32 bytes a block for the index.
using WideBuddy = detail::BuddyRange<std::uint64_t>;

/// Takes the smallest free order that is at least the request's and its alignment's, there the
/// block with the lowest offset, and keeps its lower half until the size is right. A capacity that
/// is not a power of two starts as its binary decomposition, largest block first.
///
/// Complexity: O(log n) for allocate and deallocate, and one split or merge for each order between.
/// 32 bytes a block, 22 more for the index.
class Buddy : public detail::BuddyRange<std::uint32_t> {
 public:
  using BuddyRange::BuddyRange;

  /// 2^32 - 2 units: offsets are 32-bit keys.
  static constexpr std::uint64_t largest_capacity = 0xffff'fffe;
  using Wide = WideBuddy;
  static constexpr const char* wide_name = "WideBuddy";
};

static_assert(Strategy<Buddy>);

/// It refuses only if no free block has the order of the request or a higher one.
template <>
inline constexpr bool keeps_refusing<Buddy> = true;
/// Like `Buddy`.
template <>
inline constexpr bool keeps_refusing<WideBuddy> = true;

}  // namespace allot
