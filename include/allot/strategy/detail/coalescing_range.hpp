// SPDX-License-Identifier: MIT
/// \file
/// A range whose adjacent free blocks merge at once. `BestFit`, `FirstFit` and `GoodFit` are this
/// range, each with its own index, which decides which free block a request takes.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/units.hpp>
#include <allot/strategy/detail/block_sequence.hpp>
#include <allot/strategy/detail/records.hpp>

#include <cstdint>
#include <new>
#include <optional>

namespace allot::detail {

/// The free block at the end of the range, the tail, is not in the index: while blocks are only
/// allocated, the index is not touched at all. `prefers` says whether it is the better choice.
/// What a member does is said by `Strategy` and the concepts of the capabilities; if it needs
/// bookkeeping, it throws `std::bad_alloc` and nothing has changed.
/// \tparam Index  a `FreeIndex` (free_index.hpp, which an index is checked with)
template <class Index>
class CoalescingRange : public BlockSequence {
 public:
  /// \param capacity  units, at least one
  /// Throws: `std::bad_alloc`.
  explicit CoalescingRange(std::uint64_t capacity) : CoalescingRange{capacity, std::nothrow} {
    require_bookkeeping(capacity_ != 0);
  }
  /// The same, but the capacity is 0, and there is nothing else to call, if the host has no memory.
  CoalescingRange(std::uint64_t capacity, std::nothrow_t) noexcept
      : BlockSequence{capacity}, index_{records_, capacity} {
    if (!index_.try_ensure(records_.capacity())) capacity_ = 0;
    if (capacity_ != 0) add_free(insert_after(list_head, 0));
  }

  /// The block starts at the lowest multiple of `alignment` in the free block that the index chose;
  /// what is left over on either side stays free.
  [[nodiscard]] std::optional<Placement> allocate(std::uint64_t size, std::uint64_t alignment) {
    if (records_.vacant() < spare_records) [[unlikely]]
      require_bookkeeping(try_ensure(index_, spare_records));
    Found found = index_.find(size, alignment);
    if (tail_ != no_record) {
      const std::uint64_t start = records_[tail_].offset;
      const std::uint64_t available = capacity_ - start;
      if (fits(start, available, size, alignment) && (!found || index_.prefers(available, found))) {
        found.record = tail_;
        found.size = available;
      }
    }
    if (!found) return std::nullopt;
    const std::uint64_t front = (0 - records_[found.record].offset) & (alignment - 1);
    return front == 0 ? carve(found, size) : carve_behind(found.record, found.size, front, size);
  }

  bool deallocate(Handle handle, std::uint64_t offset) noexcept {
    if (!is_live(handle, offset)) return false;
    end_use(size_of(records_, records_[handle.index]));
    join(handle.index);
    return true;
  }

  /// Complexity: as `deallocate`.
  bool try_expand(Handle handle, std::uint64_t size) noexcept {
    const std::uint64_t held = block_size(handle);
    if (size <= held) return true;
    const std::uint64_t extra = size - held;
    const std::uint32_t next = records_[handle.index].next;
    if (!is_free(next)) return false;
    const std::uint64_t available = size_of(records_, records_[next]);
    if (available < extra) return false;
    if (available == extra) {
      drop(next);
    } else {
      move_start(next, records_[next].offset + extra);
    }
    used_ += extra;
    return true;
  }

  void shrink(Handle handle, std::uint64_t size) {
    const std::uint64_t freed = block_size(handle) - size;
    const std::uint32_t next = records_[handle.index].next;
    if (is_free(next)) {
      move_start(next, records_[next].offset - freed);
    } else {
      require_bookkeeping(try_ensure(index_, 1));
      add_free(insert_after(handle.index, records_[handle.index].offset + size));
    }
    used_ -= freed;
  }

  /// Complexity: linear in the blocks.
  void reset() noexcept {
    index_.clear();
    tail_ = make_one();
  }

  /// Complexity: O(n log n), n being the free blocks, whose index is rebuilt.
  void grow(std::uint64_t capacity) { require_bookkeeping(try_grow(capacity)); }
  [[nodiscard]] bool try_grow(std::uint64_t capacity) noexcept {
    if (capacity == capacity_) return true;
    Index grown{records_, capacity};
    if (!try_ensure(index_, 1 + spare_records) || !try_fill(grown, tail_)) return false;
    index_ = static_cast<Index&&>(grown);
    if (tail_ == no_record) add_free(insert_after(records_[list_head].previous, capacity_));
    set_capacity(capacity);
    return true;
  }

  void reserve(std::uint64_t blocks) { require_bookkeeping(try_reserve(blocks)); }
  [[nodiscard]] bool try_reserve(std::uint64_t blocks) noexcept {
    return try_ensure(index_, records_for(blocks));
  }

  /// Complexity: the index's: O(log n); for lists, linear in the highest bin.
  [[nodiscard]] std::uint64_t largest_free() const noexcept {
    const std::uint64_t last = tail_ == no_record ? 0 : size_of(records_, records_[tail_]);
    return larger(last, index_.largest());
  }

  [[nodiscard]] bool validate() const noexcept {
    for (std::uint32_t i = records_[list_head].next; i != list_head; i = records_[i].next) {
      if (is_free(i) && is_free(records_[i].next)) return false;  // not merged
    }
    const std::uint32_t last = records_[list_head].previous;
    return tail_ == (is_free(last) ? last : no_record) && sequence_is_valid() &&
           index_.is_valid(free_blocks_ - (tail_ != no_record ? 1 : 0));
  }

  [[nodiscard]] std::uint64_t bookkeeping_bytes() const noexcept {
    return records_.bytes() + index_.bytes();
  }

 private:
  using Found = typename Index::Found;

  /// Makes a block a free one. Requires: those on either side of it are not.
  ALLOT_ALWAYS_INLINE void add_free(std::uint32_t block) noexcept {
    const Record& record = records_[block];
    make_free(block);
    if (record.next == list_head) {
      tail_ = block;
    } else {
      index_.insert(block, record.offset, size_of(records_, record));
    }
  }

  /// Makes a free block begin at `start` instead.
  ALLOT_ALWAYS_INLINE void move_start(std::uint32_t block, std::uint64_t start) noexcept {
    Record& record = records_[block];
    if (block != tail_)
      index_.replace(block, block, start, index_.size(block) + record.offset - start);
    record.offset = start;
  }

  /// Removes a free block, whose units another one gets.
  ALLOT_ALWAYS_INLINE void drop(std::uint32_t block) noexcept {
    if (block == tail_) {
      tail_ = no_record;
    } else {
      index_.erase(block);
    }
    --free_blocks_;
    remove(block);
  }

  /// Takes the first `size` units of the tail or what the index found; its record becomes the new
  /// block's.
  ALLOT_ALWAYS_INLINE Placement carve(const Found& found, std::uint64_t size) noexcept {
    const std::uint64_t back = found.size - size;
    const std::uint64_t start = records_[found.record].offset + size;
    const std::uint32_t rest = back == 0 ? no_record : insert_after(found.record, start);
    if (back == 0) --free_blocks_;
    if (found.record == tail_) {
      tail_ = rest;
    } else if (back != 0) {
      index_.replace(found, rest, start, back);
    } else {
      index_.erase(found);
    }
    return make_used(found.record, size);
  }

  /// Takes `size` units behind the first `front` of a block, which has `available`; its record stays
  /// with the rest before them.
  Placement carve_behind(std::uint32_t block, std::uint64_t available, std::uint64_t front,
                         std::uint64_t size) noexcept {
    const std::uint64_t start = records_[block].offset;
    const std::uint64_t end = start + front + size;
    const std::uint64_t back = available - front - size;
    const std::uint32_t taken = insert_after(block, start + front);
    if (block == tail_) {
      tail_ = no_record;
      index_.insert(block, start, front);
    } else {
      index_.replace(block, block, start, front);
    }
    if (back != 0) add_free(insert_after(taken, end));
    return make_used(taken, size);
  }

  /// Makes a freed block a free one, together with the free blocks on either side of it.
  ALLOT_ALWAYS_INLINE void join(std::uint32_t freed) noexcept {
    const std::uint64_t start = records_[freed].offset;
    const std::uint32_t previous = records_[freed].previous;
    const std::uint32_t next = records_[freed].next;
    if (is_free(previous)) {
      if (is_free(next)) drop(next);
      remove(freed);
      const Record& joined = records_[previous];
      if (joined.next == list_head) {
        index_.erase(previous);
        tail_ = previous;
      } else {
        index_.replace(previous, previous, joined.offset, size_of(records_, joined));
      }
    } else if (is_free(next)) {
      move_start(next, start);
      remove(freed);
    } else {
      add_free(freed);
    }
  }

  Index index_;
  std::uint32_t tail_ = no_record;
};

}  // namespace allot::detail
