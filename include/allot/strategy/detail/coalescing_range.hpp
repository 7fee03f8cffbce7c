// SPDX-License-Identifier: MIT
/// \file
/// A range whose adjacent free blocks merge at once. `BestFit`, `FirstFit` and `GoodFit` are this
/// range, each with an index of its own, which decides which free block a request takes.
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
    if (capacity_ == 0) return;
    tail_ = insert_after(list_head, 0);
    make_free(tail_);
  }

  /// The block starts at the lowest multiple of `alignment` in the free block that the index chose;
  /// what is left over on either side stays free.
  [[nodiscard]] std::optional<Placement> allocate(std::uint64_t size, std::uint64_t alignment) {
    if (records_.vacant() < spare_records) [[unlikely]]
      require_bookkeeping(try_ensure(index_, spare_records));
    if (alignment != 1) [[unlikely]]
      return allocate_aligned(size, alignment);
    const Found found = index_.find(size, 1);
    if (tail_ != no_record) {
      const std::uint64_t available = capacity_ - records_[tail_].offset;
      if (available >= size && (!found || index_.prefers(available, found)))
        return carve_tail(available, size);
    }
    if (!found) return std::nullopt;
    return carve(found, size);
  }

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

  /// Complexity: as `deallocate`.
  bool try_expand(Handle handle, std::uint64_t size) noexcept {
    const std::uint64_t held = block_size(handle);
    if (size <= held) return true;
    const std::uint64_t extra = size - held;
    const std::uint32_t next = records_[handle.index].next;
    if (!is_free(next)) return false;
    const std::uint64_t available = size_of(records_, records_[next]);
    if (available < extra) return false;
    if (available > extra) {
      move_start(next, records_[next].offset + extra, available - extra);
    } else {
      drop(next);
    }
    used_ += extra;
    return true;
  }

  void shrink(Handle handle, std::uint64_t size) {
    const std::uint64_t freed = block_size(handle) - size;
    const std::uint32_t next = records_[handle.index].next;
    if (is_free(next)) {
      move_start(next, records_[next].offset - freed, size_of(records_, records_[next]) + freed);
    } else {
      require_bookkeeping(try_ensure(index_, 1));
      const std::uint64_t start = records_[handle.index].offset + size;
      const std::uint32_t rest = insert_after(handle.index, start);
      make_free(rest);
      if (next == list_head) {
        tail_ = rest;
      } else {
        index_.insert(rest, start, freed);
      }
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
    if (tail_ == no_record) {
      tail_ = insert_after(records_[list_head].previous, capacity_);
      make_free(tail_);
    }
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
    bool last_was_free = false;
    bool are_merged = true;
    for_each([&](std::uint64_t, std::uint64_t, bool used) {
      are_merged = are_merged && (used || !last_was_free);
      last_was_free = !used;
    });
    const std::uint32_t tail = last_was_free ? records_[list_head].previous : no_record;
    return are_merged && tail == tail_ && sequence_is_valid() &&
           index_.is_valid(free_blocks_ - (last_was_free ? 1 : 0));
  }

  [[nodiscard]] std::uint64_t bookkeeping_bytes() const noexcept {
    return records_.bytes() + index_.bytes();
  }

 private:
  using Found = typename Index::Found;

  /// Makes a free block begin at `start` instead, with `size` units.
  void move_start(std::uint32_t block, std::uint64_t start, std::uint64_t size) noexcept {
    if (block != tail_) index_.replace(block, block, start, size);
    records_[block].offset = start;
  }

  [[gnu::noinline]] std::optional<Placement> allocate_aligned(std::uint64_t size,
                                                              std::uint64_t alignment) noexcept {
    const Found found = index_.find(size, alignment);
    if (tail_ != no_record) {
      const std::uint64_t start = records_[tail_].offset;
      const std::uint64_t available = capacity_ - start;
      if (fits(start, available, size, alignment) && (!found || index_.prefers(available, found))) {
        const std::uint64_t front = (0 - start) & (alignment - 1);
        return front != 0 ? carve_behind(tail_, available, front, size)
                          : carve_tail(available, size);
      }
    }
    if (!found) return std::nullopt;
    const std::uint64_t front = (0 - records_[found.record].offset) & (alignment - 1);
    return front != 0 ? carve_behind(found.record, found.size, front, size) : carve(found, size);
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

  /// Takes the first `size` units of what the index found; its record becomes the new block's.
  ALLOT_ALWAYS_INLINE Placement carve(const Found& found, std::uint64_t size) noexcept {
    const std::uint64_t back = found.size - size;
    if (back != 0) {
      const std::uint64_t start = records_[found.record].offset + size;
      const std::uint32_t rest = insert_after(found.record, start);
      index_.replace(found, rest, start, back);
    } else {
      index_.erase(found);
      --free_blocks_;
    }
    return make_used(found.record, size);
  }

  /// The same for the tail, which has `available` units.
  Placement carve_tail(std::uint64_t available, std::uint64_t size) noexcept {
    const std::uint32_t chosen = tail_;
    if (available != size) {
      tail_ = insert_after(chosen, records_[chosen].offset + size);
    } else {
      tail_ = no_record;
      --free_blocks_;
    }
    return make_used(chosen, size);
  }

  /// Takes `size` units behind the first `front` of a block, which has `available`; its record stays
  /// with the rest before them.
  Placement carve_behind(std::uint32_t block, std::uint64_t available, std::uint64_t front,
                         std::uint64_t size) noexcept {
    const std::uint64_t start = records_[block].offset;
    const std::uint64_t end = start + front + size;
    const std::uint64_t back = available - front - size;
    const std::uint32_t taken = insert_after(block, start + front);
    const std::uint32_t rest = back == 0 ? no_record : insert_after(taken, end);
    if (back != 0) make_free(rest);
    if (block == tail_) {
      index_.insert(block, start, front);
      tail_ = rest;
    } else {
      index_.replace(block, block, start, front);
      if (back != 0) index_.insert(rest, end, back);
    }
    return make_used(taken, size);
  }

  /// Makes a freed block the tail, together with the free blocks on either side of it.
  void join_tail(std::uint32_t freed) noexcept {
    if (tail_ != no_record) drop(tail_);
    tail_ = freed;
    if (const std::uint32_t before = records_[freed].previous; is_free(before)) {
      index_.erase(before);
      remove(freed);
      tail_ = before;
      --free_blocks_;
    }
    make_free(tail_);
  }

  ALLOT_ALWAYS_INLINE void join_neighbours(std::uint32_t freed) noexcept {
    const Record& block = records_[freed];
    const std::uint32_t previous = block.previous;
    const std::uint32_t next = block.next;
    const Record& before = records_[previous];
    Record& after = records_[next];
    const std::uint64_t start = block.offset;
    if (before.state <= highest_free_state) {
      std::uint64_t end = after.offset;
      if (after.state <= highest_free_state) {
        end += index_.size(next);
        drop(next);
      }
      index_.replace(previous, previous, before.offset, end - before.offset);
      remove(freed);
    } else if (after.state <= highest_free_state) {
      index_.replace(next, next, start, index_.size(next) + after.offset - start);
      after.offset = start;
      remove(freed);
    } else {
      make_free(freed);
      index_.insert(freed, start, after.offset - start);
    }
  }

  Index index_;
  std::uint32_t tail_ = no_record;
};

}  // namespace allot::detail
