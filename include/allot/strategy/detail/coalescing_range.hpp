// SPDX-License-Identifier: MIT
/// \file
/// A range whose free neighbours merge at once, over a free index that says which free block a
/// request takes. `BestFit` and `FirstFit` are this with one index or the other.
#pragma once

#include <allot/core/block.hpp>
#include <allot/strategy/detail/block_sequence.hpp>
#include <allot/strategy/detail/record_slab.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>

namespace allot::detail {

/// \tparam Index  `insert`, `erase`, `rekey`, `find`, `largest`, `is_valid` as in `SizeBins`
///
/// The free block at the end of the range, the tail, is kept out of the index: a range that only
/// grows never touches the index at all. The index's `find` is told of it.
template <class Index>
class CoalescingRange : public BlockSequence {
 public:
  /// \param capacity  units, at least one
  /// Throws: `std::bad_alloc`.
  explicit CoalescingRange(std::uint64_t capacity) : BlockSequence{capacity} {
    tail_ = insert_before(list_head, 0, capacity);
    make_free(tail_);
  }

  /// The block starts at the lowest multiple of `alignment` in the free block that the index chose;
  /// what is left over on either side stays free.
  /// Throws: `std::bad_alloc` where bookkeeping needs memory; nothing has changed.
  [[nodiscard]] std::optional<Placement> allocate(std::uint64_t size, std::uint64_t alignment) {
    const std::uint32_t chosen = index_.find(records_, tail_, size, alignment);
    if (chosen == no_record) return std::nullopt;
    records_.ensure(spare_records);
    return carve(chosen, size, alignment);
  }

  /// Returns false, and changes nothing, where no such block is live.
  bool deallocate(Handle handle, std::uint64_t offset) noexcept {
    if (!is_live(handle, offset)) return false;
    const std::uint32_t index = handle.index;
    end_use(index);
    const std::uint32_t next = records_[index].next;
    if (next == list_head || next == tail_) {
      join_tail(index);
    } else {
      join_neighbours(index);
    }
    return true;
  }

  /// Complexity: O(log n).
  [[nodiscard]] std::uint64_t largest_free() const noexcept {
    const std::uint64_t last = tail_ == no_record ? 0 : records_[tail_].size;
    return std::max(last, index_.largest(records_));
  }

  /// Complexity: O(n log n).
  [[nodiscard]] bool validate() const noexcept {
    if (!sequence_is_valid()) return false;
    bool last_was_free = false;
    std::uint32_t last = list_head;
    for (std::uint32_t i = records_[list_head].next; i != list_head; i = records_[i].next) {
      const bool free = is_free(i);
      if (free && last_was_free) return false;
      last_was_free = free;
      last = i;
    }
    if (tail_ != (last_was_free ? last : no_record)) return false;
    return index_.is_valid(records_, free_blocks_ - (last_was_free ? 1 : 0));
  }

 private:
  /// Takes [aligned, aligned + size) out of the free block `chosen`, which stays on as what is
  /// left: behind the new block where something is left there, else in front of it.
  Placement carve(std::uint32_t chosen, std::uint64_t size, std::uint64_t alignment) noexcept {
    const Record whole = records_[chosen];
    const std::uint64_t front = (0 - whole.offset) & (alignment - 1);
    const std::uint64_t offset = whole.offset + front;
    const std::uint64_t back = whole.size - front - size;
    if (back != 0) {
      if (front != 0) {
        const std::uint32_t gap = insert_before(chosen, whole.offset, front);
        make_free(gap);
        resize(chosen, offset + size, back);
        index_.insert(records_, gap);
      } else {
        resize(chosen, offset + size, back);
      }
      return make_used(insert_before(chosen, offset, size));
    }
    if (front != 0) {
      const std::uint32_t taken = insert_before(whole.next, offset, size);
      if (chosen == tail_) {  // it is no longer the last block
        records_[chosen].size = front;
        index_.insert(records_, chosen);
        tail_ = no_record;
      } else {
        resize(chosen, whole.offset, front);
      }
      return make_used(taken);
    }
    return take_whole(chosen);
  }

  Placement take_whole(std::uint32_t chosen) noexcept {
    if (chosen == tail_) {
      tail_ = no_record;
    } else {
      index_.erase(records_, chosen);
    }
    --free_blocks_;
    if (records_.has_unused_generation(chosen)) [[likely]]
      return make_used(chosen);
    const std::uint32_t fresh =
        insert_before(chosen, records_[chosen].offset, records_[chosen].size);
    remove(chosen);
    return make_used(fresh);
  }

  /// The freed block becomes part of the tail, or the tail, with the free block in front of it.
  void join_tail(std::uint32_t index) noexcept {
    std::uint64_t offset = records_[index].offset;
    if (const std::uint32_t before = records_[index].previous; is_free(before)) {
      offset = records_[before].offset;
      index_.erase(records_, before);
      --free_blocks_;
      remove(before);
    }
    if (tail_ == no_record) {
      tail_ = index;
      make_free(index);
    } else {
      remove(index);
    }
    records_[tail_].offset = offset;
    records_[tail_].size = capacity_ - offset;
  }

  void join_neighbours(std::uint32_t index) noexcept {
    const Record freed = records_[index];
    const bool joins_before = is_free(freed.previous);
    const bool joins_after = is_free(freed.next);
    if (!joins_before && !joins_after) {
      make_free(index);
      index_.insert(records_, index);
      return;
    }
    std::uint64_t size = freed.size;
    if (joins_before && joins_after) {
      size += records_[freed.next].size;
      index_.erase(records_, freed.next);
      --free_blocks_;
      remove(freed.next);
    }
    remove(index);
    if (joins_before) {
      const Record& before = records_[freed.previous];
      index_.rekey(records_, freed.previous, before.offset, before.size + size);
    } else {
      index_.rekey(records_, freed.next, freed.offset, size + records_[freed.next].size);
    }
  }

  /// Gives a free block, the tail or an indexed one, another extent.
  void resize(std::uint32_t index, std::uint64_t offset, std::uint64_t size) noexcept {
    if (index == tail_) {
      records_[index].offset = offset;
      records_[index].size = size;
    } else {
      index_.rekey(records_, index, offset, size);
    }
  }

  Index index_;
  std::uint32_t tail_ = no_record;
};

}  // namespace allot::detail
