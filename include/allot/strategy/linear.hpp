// SPDX-License-Identifier: MIT
/// \file
/// `Linear`: a bump pointer from each end of the range. The cheapest strategy, for memory that is
/// freed all at once or in reverse order of allocation: per frame, per layer, per request.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/checked.hpp>
#include <allot/strategy/detail/block_sequence.hpp>
#include <allot/strategy/detail/records.hpp>
#include <allot/strategy/strategy.hpp>

#include <cstdint>
#include <new>
#include <optional>

namespace allot {

/// Puts each block behind the last one, or on request before the first one at the upper end: a
/// double-ended stack with one gap in between.
///
/// Blocks may be freed in any order. Their space counts as free at once, but is used again only
/// when it touches the gap, that is when all above it (at the upper end: all below it) is free,
/// too. `largest_free` is the gap.
///
/// Complexity: O(1); `reset` and `release_to`: O(1) for each block that they free. 32 bytes a
/// block.
class Linear : public detail::BlockSequence {
 public:
  /// A snapshot of both stack tops.
  struct Mark {
    std::uint64_t lower_end;    ///< units
    std::uint64_t upper_begin;  ///< units
    std::uint32_t range;        ///< the range that it belongs to
  };

  /// \param capacity  units, at least one
  /// Throws: `std::bad_alloc`.
  explicit Linear(std::uint64_t capacity) : Linear{capacity, std::nothrow} {
    detail::require_bookkeeping(capacity_ != 0);
  }
  /// The same, but the capacity is 0, and there is nothing else to call, if the host has no memory.
  Linear(std::uint64_t capacity, std::nothrow_t) noexcept : BlockSequence{capacity} {
    if (capacity_ == 0) return;
    gap_ = insert_after(list_head, 0);
    records_[gap_].state = 0;
  }

  /// Allocates a block at the lowest aligned offset behind the lower stack.
  /// Throws: `std::bad_alloc` for the bookkeeping; nothing has changed.
  [[nodiscard]] std::optional<Placement> allocate(std::uint64_t size, std::uint64_t alignment) {
    const std::uint64_t start = records_[gap_].offset;
    if (!detail::fits(start, gap(), size, alignment)) return std::nullopt;
    detail::require_bookkeeping(records_.try_ensure(spare_records));
    const std::uint64_t offset = start + ((0 - start) & (alignment - 1));
    if (offset != start) make_free(insert_after(records_[gap_].previous, start));
    records_[gap_].offset = offset + size;
    return make_used(insert_after(records_[gap_].previous, offset), size);
  }

  /// Allocates a block at the highest aligned offset in front of the upper stack.
  /// Throws: `std::bad_alloc` for the bookkeeping; nothing has changed.
  [[nodiscard]] std::optional<Placement> allocate_upper(std::uint64_t size,
                                                        std::uint64_t alignment) {
    const std::uint64_t start = records_[gap_].offset;
    const std::uint64_t end = start + gap();
    if (size > gap()) return std::nullopt;
    const std::uint64_t offset = align_down(end - size, alignment);
    if (offset < start) return std::nullopt;
    detail::require_bookkeeping(records_.try_ensure(spare_records));
    if (offset + size != end) make_free(insert_after(gap_, offset + size));
    return make_used(insert_after(gap_, offset), size);
  }

  /// Returns false, and changes nothing, if no such block is live.
  bool deallocate(Handle handle, std::uint64_t offset) noexcept {
    if (!is_live(handle, offset)) return false;
    const detail::Record& block = records_[handle.index];
    end_use(size_of(records_, block));
    const std::uint32_t previous = block.previous;
    const std::uint32_t next = block.next;
    if (next == gap_) {
      remove(handle.index);
      lower_gap(offset);
    } else if (previous == gap_) {
      remove(handle.index);
      if (is_free(next)) drop(next);
    } else {
      if (is_free(next)) drop(next);
      if (is_free(previous)) {
        remove(handle.index);
      } else {
        make_free(handle.index);
      }
    }
    return true;
  }

  /// Grows a live block at its end to `size` units, if only the gap follows it. Its offset and
  /// handle stay. Returns false, and changes nothing, if it cannot.
  /// Requires: `handle` is live.
  bool try_expand(Handle handle, std::uint64_t size) noexcept {
    const std::uint64_t held = block_size(handle);
    if (size <= held) return true;
    if (records_[handle.index].next != gap_ || size - held > gap()) return false;
    records_[gap_].offset += size - held;
    used_ += size - held;
    return true;
  }

  /// Frees the end of a live block, from `size` units on. Its offset and handle stay.
  /// Requires: `handle` is live and holds more than `size`, which is at least one.
  /// Throws: `std::bad_alloc` for the bookkeeping; nothing has changed.
  void shrink(Handle handle, std::uint64_t size) {
    detail::require_bookkeeping(records_.try_ensure(1));
    const std::uint32_t next = records_[handle.index].next;
    const std::uint64_t end = records_[handle.index].offset + size;
    used_ -= block_size(handle) - size;
    if (next == gap_ || is_free(next)) {
      records_[next].offset = end;
    } else {
      make_free(insert_after(handle.index, end));
    }
  }

  /// Frees every block. Complexity: linear in the blocks.
  void reset() noexcept {
    gap_ = make_one();
    free_blocks_ = 0;
  }

  /// Extends the range at its end. If there are blocks at the upper end, the new space is a free
  /// block behind them. Requires: `capacity` is not below the present one.
  /// Throws: `std::bad_alloc`; nothing has changed.
  void grow(std::uint64_t capacity) { detail::require_bookkeeping(try_grow(capacity)); }
  /// Like `grow`, but returns false on failure.
  [[nodiscard]] bool try_grow(std::uint64_t capacity) noexcept {
    if (capacity == capacity_) return true;
    if (!records_.try_ensure(1)) return false;
    const std::uint32_t last = records_[list_head].previous;
    if (last != gap_ && !is_free(last)) make_free(insert_after(last, capacity_));
    set_capacity(capacity);
    return true;
  }

  /// Reserves bookkeeping for `blocks` live blocks: up to that many, only `grow` calls the system
  /// allocator.
  /// Throws: `std::bad_alloc`; nothing has changed.
  void reserve(std::uint64_t blocks) {
    detail::require_bookkeeping(records_.try_ensure(records_for(blocks)));
  }

  /// Like `reserve`, but returns false on failure.
  [[nodiscard]] bool try_reserve(std::uint64_t blocks) noexcept {
    return records_.try_ensure(records_for(blocks));
  }

  /// Complexity: constant.
  [[nodiscard]] Mark mark() const noexcept {
    const std::uint64_t start = records_[gap_].offset;
    return {start, start + gap(), records_.first_generation()};
  }

  /// Frees the blocks that lie beyond the mark on either stack; none of them is older than the
  /// mark. (If a stack was below the mark in the meantime, a block across the mark stays.)
  /// `visitor(placement, word)` is called for each before it is freed.
  /// Returns false, and changes nothing, for a mark of another range.
  /// Complexity: linear in the blocks that are freed.
  template <class Visitor>
  bool release_to(const Mark& mark, Visitor&& visitor) {
    if (mark.range != records_.first_generation()) return false;
    for (;;) {
      const std::uint32_t last = records_[gap_].previous;
      if (last == list_head || records_[last].offset < mark.lower_end) break;
      release(last, visitor);
    }
    for (;;) {
      const std::uint32_t first = records_[gap_].next;
      if (first == list_head || records_[records_[first].next].offset > mark.upper_begin) break;
      release(first, visitor);
    }
    return true;
  }
  bool release_to(const Mark& mark) {
    return release_to(mark, [](const Placement&, std::uint64_t) {});
  }

  /// Returns the number of free blocks: the gap, if it is not empty, and those waiting to join it.
  [[nodiscard]] std::uint64_t free_blocks() const noexcept {
    return free_blocks_ + (gap() != 0 ? 1 : 0);
  }

  /// Returns the size of the gap. Complexity: constant.
  [[nodiscard]] std::uint64_t largest_free() const noexcept { return gap(); }

  /// Calls `visitor(offset, size, used)` for every block in address order. The visitor must not
  /// call the strategy. Complexity: linear in the blocks.
  template <class Visitor>
  void for_each(Visitor&& visitor) const {
    BlockSequence::for_each([&](std::uint64_t offset, std::uint64_t size, bool used) {
      if (size != 0) visitor(offset, size, used);
    });
  }

  /// Complexity: linear.
  [[nodiscard]] bool validate() const noexcept {
    std::uint64_t end = 0;
    std::uint64_t used = 0;
    std::uint64_t live = 0;
    std::uint64_t free = 0;
    bool last_was_free = false;
    bool has_gap = false;
    for (std::uint32_t i = records_[list_head].next; i != list_head; i = records_[i].next) {
      const detail::Record& record = records_[i];
      const std::uint64_t size = size_of(records_, record);
      if (record.offset != end || size > capacity_ - end) return false;
      if (records_[record.next].previous != i) return false;
      const bool is_gap = i == gap_;
      const bool is_used = record.state == detail::used_state;
      if ((size == 0 && !is_gap) || (is_gap && has_gap)) return false;
      if ((is_gap || !is_used) && last_was_free) return false;
      end += size;
      last_was_free = !is_used;
      has_gap = has_gap || is_gap;
      used += is_used ? size : 0;
      live += is_used ? 1 : 0;
      free += is_used || is_gap ? 0 : 1;
    }
    return has_gap && end == capacity_ && used == used_ && live == live_blocks_ &&
           free == free_blocks_;
  }

  /// Returns the bytes of bookkeeping on the heap.
  [[nodiscard]] std::uint64_t bookkeeping_bytes() const noexcept { return records_.bytes(); }

 private:
  [[nodiscard]] std::uint64_t gap() const noexcept { return size_of(records_, records_[gap_]); }

  [[nodiscard]] bool is_free(std::uint32_t block) const noexcept {
    return block != gap_ && BlockSequence::is_free(block);
  }

  /// Begins the gap at `start`, or at the free block before it.
  void lower_gap(std::uint64_t start) noexcept {
    records_[gap_].offset = start;
    const std::uint32_t previous = records_[gap_].previous;
    if (!is_free(previous)) return;
    records_[gap_].offset = records_[previous].offset;
    drop(previous);
  }

  /// Removes a free block and its count: the block before it becomes longer.
  void drop(std::uint32_t block) noexcept {
    --free_blocks_;
    remove(block);
  }

  template <class Visitor>
  void release(std::uint32_t block, Visitor& visitor) {
    const detail::Record& record = records_[block];
    const Handle handle{block, record.generation};
    visitor(Placement{record.offset, size_of(records_, record), handle}, record.word);
    deallocate(handle, record.offset);
  }

  std::uint32_t gap_ = detail::no_record;
};

static_assert(Strategy<Linear>);

/// It refuses only what the gap cannot hold.
template <>
inline constexpr bool keeps_refusing<Linear> = true;

}  // namespace allot
