// SPDX-License-Identifier: MIT
/// \file
/// A range whose free neighbours merge at once, over a free index that says which free block a
/// request takes. `BestFit`, `FirstFit` and `GoodFit` are this with an index each.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/checked.hpp>
#include <allot/strategy/detail/block_sequence.hpp>
#include <allot/strategy/detail/record_slab.hpp>

#include <cstdint>
#include <optional>
#include <utility>

namespace allot::detail {

/// \tparam Index  a free index with the members of `SizeBins`
///
/// The free block at the end of the range, the tail, is kept out of the index: a range that only
/// grows never touches the index at all. `prefers` says whether it is the better choice.
template <class Index>
class CoalescingRange : public BlockSequence {
 public:
  /// \param capacity  units, at least one
  /// Throws: `std::bad_alloc`.
  explicit CoalescingRange(std::uint64_t capacity) : BlockSequence{capacity}, index_{capacity} {
    index_.ensure(records_.capacity());
    tail_ = insert_after(list_head, 0);
    make_free(tail_);
  }

  /// The block starts at the lowest multiple of `alignment` in the free block that the index chose;
  /// what is left over on either side stays free.
  /// Throws: `std::bad_alloc` where bookkeeping needs memory; nothing has changed.
  [[nodiscard]] std::optional<Placement> allocate(std::uint64_t size, std::uint64_t alignment) {
    if (records_.vacant() < spare_records) [[unlikely]]
      ensure(spare_records);
    if (alignment != 1) [[unlikely]]
      return place_aligned(size, alignment);
    const std::uint32_t chosen = index_.find(records_, size, 1);
    if (tail_ != no_record) {
      const std::uint64_t available = capacity_ - records_[tail_].offset;
      if (available >= size && (chosen == no_record || index_.prefers(records_, available, chosen)))
        return carve_tail(available, size);
    }
    if (chosen == no_record) return std::nullopt;
    return carve(chosen, size);
  }

  /// Returns false, and changes nothing, where no such block is live.
  bool deallocate(Handle handle, std::uint64_t offset) noexcept {
    if (!is_live(handle, offset)) return false;
    const Record& freed = records_[handle.index];
    end_use(size_of(records_, freed));
    if (freed.next == list_head || freed.next == tail_) {
      join_tail(handle.index);
    } else {
      join_neighbours(handle.index);
    }
    return true;
  }

  /// Grows a live block at its end to `size` units, where what follows is free and large enough.
  /// Its offset and handle stay. Returns false, and changes nothing, where it cannot.
  /// Requires: `handle` is live. Complexity: as `deallocate`.
  bool try_expand(Handle handle, std::uint64_t size) noexcept {
    const std::uint64_t held = block_size(handle);
    if (size <= held) return true;
    const std::uint64_t extra = size - held;
    const std::uint32_t next = records_[handle.index].next;
    if (!is_free(next)) return false;
    const std::uint64_t available = size_of(records_, records_[next]);
    if (available < extra) return false;
    if (available == extra) {
      take_out(next);
      --free_blocks_;
      remove(next);
    } else {
      move_start(next, records_[next].offset + extra, available - extra);
    }
    used_ += extra;
    return true;
  }

  /// Frees the end of a live block, from `size` units on. Its offset and handle stay.
  /// Requires: `handle` is live and holds more than `size`, which is at least one.
  /// Throws: `std::bad_alloc` where bookkeeping needs memory; nothing has changed.
  void shrink(Handle handle, std::uint64_t size) {
    const std::uint64_t freed = block_size(handle) - size;
    const std::uint32_t next = records_[handle.index].next;
    if (is_free(next)) {
      move_start(next, records_[next].offset - freed, size_of(records_, records_[next]) + freed);
    } else {
      ensure(1);
      const std::uint64_t start = records_[handle.index].offset + size;
      const std::uint32_t rest = insert_after(handle.index, start);
      make_free(rest);
      if (next == list_head) {
        tail_ = rest;
      } else {
        index_.insert(records_, rest, start, freed);
      }
    }
    used_ -= freed;
  }

  /// Frees every block. Complexity: linear in the blocks.
  void reset() noexcept {
    index_.clear();
    tail_ = make_one();
  }

  /// Makes the range longer, at its end. Requires: `capacity` is not below what it is.
  /// Throws: `std::bad_alloc`; nothing has changed. Complexity: O(n log n), n being the free
  /// blocks: they are indexed anew.
  void grow(std::uint64_t capacity) {
    if (capacity == capacity_) return;
    ensure(1 + spare_records);
    Index grown{capacity};
    grown.ensure(records_.capacity());
    for (std::uint32_t i = records_[list_head].next; i != list_head; i = records_[i].next) {
      if (!is_free(i) || i == tail_) continue;
      grown.insert(records_, i, records_[i].offset, size_of(records_, records_[i]));
    }
    index_ = std::move(grown);
    if (tail_ == no_record) {
      tail_ = insert_after(records_[list_head].previous, capacity_);
      make_free(tail_);
    }
    set_capacity(capacity);
  }

  /// Takes memory for the bookkeeping of `blocks` live blocks: while there are no more, only `grow`
  /// calls the system allocator.
  /// Throws: `std::bad_alloc`; nothing has changed.
  void reserve(std::uint64_t blocks) { ensure(records_for(blocks)); }

  /// Complexity: the index's: O(log n), for lists linear in the highest bin.
  [[nodiscard]] std::uint64_t largest_free() const noexcept {
    const std::uint64_t last = tail_ == no_record ? 0 : size_of(records_, records_[tail_]);
    return larger(last, index_.largest(records_));
  }

  /// Complexity: linear.
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
    const std::uint64_t indexed = free_blocks_ - (last_was_free ? 1 : 0);
    return index_.is_valid(records_, indexed);
  }

  /// Bytes of bookkeeping on the heap.
  [[nodiscard]] std::uint64_t bookkeeping_bytes() const noexcept {
    return records_.bytes() + index_.bytes();
  }

 private:
  /// Makes room for `count` records, and for all the free blocks that there can come to be.
  void ensure(std::uint64_t count) {
    if (records_.vacant() >= count) return;
    index_.ensure(records_.capacity_for(count));
    records_.ensure(count);
  }

  /// Takes a free block out of the index.
  void take_out(std::uint32_t block) noexcept {
    if (block == tail_) {
      tail_ = no_record;
    } else {
      index_.erase(records_, block);
    }
  }

  /// Lets a free block begin at `start`, where it has `size` units.
  void move_start(std::uint32_t block, std::uint64_t start, std::uint64_t size) noexcept {
    if (block != tail_) index_.rekey(records_, block, start, size);
    records_[block].offset = start;
  }

  [[gnu::noinline]] std::optional<Placement> place_aligned(std::uint64_t size,
                                                           std::uint64_t alignment) noexcept {
    std::uint32_t chosen = index_.find(records_, size, alignment);
    if (tail_ != no_record) {
      const std::uint64_t start = records_[tail_].offset;
      const std::uint64_t available = capacity_ - start;
      if (fits(start, available, size, alignment) &&
          (chosen == no_record || index_.prefers(records_, available, chosen)))
        chosen = tail_;
    }
    if (chosen == no_record) return std::nullopt;
    const std::uint64_t start = records_[chosen].offset;
    const std::uint64_t front = (0 - start) & (alignment - 1);
    if (front != 0) return carve_behind(chosen, front, size);
    return chosen == tail_ ? carve_tail(capacity_ - start, size) : carve(chosen, size);
  }

  /// Takes the first `size` units of what the index found; its record becomes the new block's.
  [[gnu::always_inline]] Placement carve(std::uint32_t chosen, std::uint64_t size) noexcept {
    const std::uint64_t back = index_.found_size(records_, chosen) - size;
    if (back != 0) {
      const std::uint64_t start = records_[chosen].offset + size;
      const std::uint32_t rest = insert_after(chosen, start);
      records_[rest].state = 0;
      index_.replace_found(records_, rest, start, back);
    } else {
      index_.erase_found(records_);
      --free_blocks_;
    }
    return make_used(chosen, size);
  }

  /// The same with the tail, which has `available` units.
  Placement carve_tail(std::uint64_t available, std::uint64_t size) noexcept {
    const std::uint32_t chosen = tail_;
    if (available != size) {
      tail_ = insert_after(chosen, records_[chosen].offset + size);
      records_[tail_].state = 0;
    } else {
      tail_ = no_record;
      --free_blocks_;
    }
    return make_used(chosen, size);
  }

  /// Takes `size` units behind the first `front` of the free block `chosen`; its record stays with
  /// what is left in front.
  Placement carve_behind(std::uint32_t chosen, std::uint64_t front, std::uint64_t size) noexcept {
    const std::uint64_t start = records_[chosen].offset;
    const std::uint64_t back = size_of(records_, records_[chosen]) - front - size;
    const bool was_tail = chosen == tail_;
    const std::uint32_t taken = insert_after(chosen, start + front);
    if (was_tail) {
      tail_ = no_record;
      index_.insert(records_, chosen, start, front);
    } else {
      index_.replace_found(records_, chosen, start, front);
    }
    if (back != 0) {
      const std::uint32_t rest = insert_after(taken, start + front + size);
      make_free(rest);
      if (was_tail) {
        tail_ = rest;
      } else {
        index_.insert(records_, rest, start + front + size, back);
      }
    }
    return make_used(taken, size);
  }

  /// The freed block becomes the tail, with the free blocks on either side of it.
  void join_tail(std::uint32_t freed) noexcept {
    if (tail_ != no_record) {
      --free_blocks_;
      remove(tail_);
    }
    tail_ = freed;
    if (const std::uint32_t before = records_[freed].previous; is_free(before)) {
      index_.erase(records_, before);
      remove(freed);
      tail_ = before;
      --free_blocks_;
    }
    make_free(tail_);
  }

  [[gnu::always_inline]] void join_neighbours(std::uint32_t freed) noexcept {
    const Record& block = records_[freed];
    const std::uint32_t previous = block.previous;
    const std::uint32_t next = block.next;
    const Record& before = records_[previous];
    Record& after = records_[next];
    const std::uint64_t start = block.offset;
    if (before.state <= highest_free_state) {
      std::uint64_t end = after.offset;
      if (after.state <= highest_free_state) {
        end += index_.size(records_, next);
        index_.erase(records_, next);
        --free_blocks_;
        remove(next);
      }
      index_.rekey(records_, previous, before.offset, end - before.offset);
      remove(freed);
    } else if (after.state <= highest_free_state) {
      index_.rekey(records_, next, start, index_.size(records_, next) + after.offset - start);
      after.offset = start;
      remove(freed);
    } else {
      make_free(freed);
      index_.insert(records_, freed, start, after.offset - start);
    }
  }

  Index index_;
  std::uint32_t tail_ = no_record;
};

}  // namespace allot::detail
