// SPDX-License-Identifier: MIT
/// \file
/// A range whose adjacent free blocks merge at once, and `FreeIndex`, which decides which free block
/// a request takes. `BestFit`, `FirstFit` and `GoodFit` are this range, each with its own index.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/checked.hpp>
#include <allot/strategy/detail/block_sequence.hpp>
#include <allot/strategy/detail/records.hpp>

#include <concepts>
#include <cstdint>
#include <optional>

namespace allot::detail {

/// What decides which free block a request takes: the difference between `BestFit`, `FirstFit` and
/// `GoodFit`.
///
/// `i` is an index, `ci` a const one, over the slab `records`; `record` names a free block by its
/// record. Sizes, offsets and alignments are units.
///
/// | expression                        | meaning                                                   |
/// |-----------------------------------|-----------------------------------------------------------|
/// | `I{records, capacity}`            | empty; may throw `std::bad_alloc`                         |
/// | `i.ensure(count)`                 | makes room for the free blocks of a slab of `count` records; the only other one that may throw, with nothing changed |
/// | `i.clear()`                       | forgets every block                                       |
/// | `i.insert(record, offset, size)`  | adds a block; its record's state and union belong to the index until `erase` |
/// | `i.erase(record)`                 | removes it                                                |
/// | `i.rekey(record, offset, size)`   | moves or resizes it, without changing the address order; the record still has its old offset |
/// | `ci.find(size, alignment)`        | the block to take, an `I::Found`: `record`, `size`, and where the index has it; false if there is none |
/// | `i.erase(found)`                  | removes what `find` found                                 |
/// | `i.replace(found, record, offset, size)` | replaces what was found by a part of it            |
/// | `ci.prefers(size, found)`         | whether a block of `size` behind all others is the better choice |
/// | `ci.size(record)`                 | the size of a block that is in the index                  |
/// | `ci.largest()`                    | the largest size, 0 if there is no block                  |
/// | `ci.bytes()`                      | its bytes on the heap                                     |
/// | `ci.is_valid(count)`              | whether every invariant holds, with `count` blocks; linear |
///
/// A `Found` may be erased or replaced until the index changes.
template <class Index>
concept FreeIndex = requires(Index i, const Index ci, const typename Index::Found found,
                             RecordSlab& records, std::uint32_t record, std::uint64_t units) {
  Index{records, units};
  { i = static_cast<Index&&>(i) }
  noexcept->std::same_as<Index&>;
  static_cast<bool>(found);
  { found.record } -> std::same_as<const std::uint32_t&>;
  { found.size } -> std::same_as<const std::uint64_t&>;
  { i.ensure(units) } -> std::same_as<void>;
  { i.clear() }
  noexcept->std::same_as<void>;
  { i.insert(record, units, units) }
  noexcept->std::same_as<void>;
  { i.erase(record) }
  noexcept->std::same_as<void>;
  { i.rekey(record, units, units) }
  noexcept->std::same_as<void>;
  { ci.find(units, units) }
  noexcept->std::same_as<typename Index::Found>;
  { i.erase(found) }
  noexcept->std::same_as<void>;
  { i.replace(found, record, units, units) }
  noexcept->std::same_as<void>;
  { ci.prefers(units, found) }
  noexcept->std::same_as<bool>;
  { ci.size(record) }
  noexcept->std::same_as<std::uint64_t>;
  { ci.largest() }
  noexcept->std::same_as<std::uint64_t>;
  { ci.bytes() }
  noexcept->std::same_as<std::uint64_t>;
  { ci.is_valid(units) } -> std::same_as<bool>;
};

/// The free block at the end of the range, the tail, is not in the index: while blocks are only
/// allocated, the index is not touched at all. `prefers` says whether it is the better choice.
template <FreeIndex Index>
class CoalescingRange : public BlockSequence {
 public:
  /// \param capacity  units, at least one
  /// Throws: `std::bad_alloc`.
  explicit CoalescingRange(std::uint64_t capacity)
      : BlockSequence{capacity}, index_{records_, capacity} {
    index_.ensure(records_.capacity());
    tail_ = insert_after(list_head, 0);
    make_free(tail_);
  }

  /// The block starts at the lowest multiple of `alignment` in the free block that the index chose;
  /// what is left over on either side stays free.
  /// Throws: `std::bad_alloc` for the bookkeeping; nothing has changed.
  [[nodiscard]] std::optional<Placement> allocate(std::uint64_t size, std::uint64_t alignment) {
    if (records_.vacant() < spare_records) [[unlikely]]
      ensure(index_, spare_records);
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

  /// Returns false, and changes nothing, if no such block is live.
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

  /// Grows a live block at its end to `size` units, if what follows it is free and large enough.
  /// Its offset and handle stay. Returns false, and changes nothing, if it cannot.
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
  /// Throws: `std::bad_alloc` for the bookkeeping; nothing has changed.
  void shrink(Handle handle, std::uint64_t size) {
    const std::uint64_t freed = block_size(handle) - size;
    const std::uint32_t next = records_[handle.index].next;
    if (is_free(next)) {
      move_start(next, records_[next].offset - freed, size_of(records_, records_[next]) + freed);
    } else {
      ensure(index_, 1);
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

  /// Frees every block. Complexity: linear in the blocks.
  void reset() noexcept {
    index_.clear();
    tail_ = make_one();
  }

  /// Extends the range at its end. Requires: `capacity` is not below the present one.
  /// Throws: `std::bad_alloc`; nothing has changed. Complexity: O(n log n), n being the free
  /// blocks, whose index is rebuilt.
  void grow(std::uint64_t capacity) {
    if (capacity == capacity_) return;
    ensure(index_, 1 + spare_records);
    index_ = make_index<Index>(capacity, tail_);
    if (tail_ == no_record) {
      tail_ = insert_after(records_[list_head].previous, capacity_);
      make_free(tail_);
    }
    set_capacity(capacity);
  }

  /// Reserves bookkeeping for `blocks` live blocks: up to that many, only `grow` calls the system
  /// allocator.
  /// Throws: `std::bad_alloc`; nothing has changed.
  void reserve(std::uint64_t blocks) { ensure(index_, records_for(blocks)); }

  /// Complexity: the index's: O(log n); for lists, linear in the highest bin.
  [[nodiscard]] std::uint64_t largest_free() const noexcept {
    const std::uint64_t last = tail_ == no_record ? 0 : size_of(records_, records_[tail_]);
    return larger(last, index_.largest());
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
    return index_.is_valid(indexed);
  }

  /// Returns the bytes of bookkeeping on the heap.
  [[nodiscard]] std::uint64_t bookkeeping_bytes() const noexcept {
    return records_.bytes() + index_.bytes();
  }

 private:
  using Found = typename Index::Found;

  /// Takes a free block out of the index.
  void take_out(std::uint32_t block) noexcept {
    if (block == tail_) {
      tail_ = no_record;
    } else {
      index_.erase(block);
    }
  }

  /// Makes a free block begin at `start` instead, with `size` units.
  void move_start(std::uint32_t block, std::uint64_t start, std::uint64_t size) noexcept {
    if (block != tail_) index_.rekey(block, start, size);
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
        return front != 0 ? carve_tail_behind(front, size) : carve_tail(available, size);
      }
    }
    if (!found) return std::nullopt;
    const std::uint64_t front = (0 - records_[found.record].offset) & (alignment - 1);
    return front != 0 ? carve_behind(found, front, size) : carve(found, size);
  }

  /// Takes the first `size` units of what the index found; its record becomes the new block's.
  ALLOT_ALWAYS_INLINE Placement carve(const Found& found, std::uint64_t size) noexcept {
    const std::uint64_t back = found.size - size;
    if (back != 0) {
      const std::uint64_t start = records_[found.record].offset + size;
      const std::uint32_t rest = insert_after(found.record, start);
      records_[rest].state = 0;
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
      records_[tail_].state = 0;
    } else {
      tail_ = no_record;
      --free_blocks_;
    }
    return make_used(chosen, size);
  }

  /// Takes `size` units behind the first `front` of what the index found; its record stays with the
  /// rest before them.
  Placement carve_behind(const Found& found, std::uint64_t front, std::uint64_t size) noexcept {
    const std::uint64_t start = records_[found.record].offset;
    const std::uint64_t back = found.size - front - size;
    const std::uint32_t taken = insert_after(found.record, start + front);
    index_.replace(found, found.record, start, front);
    if (back != 0) {
      const std::uint32_t rest = insert_after(taken, start + front + size);
      make_free(rest);
      index_.insert(rest, start + front + size, back);
    }
    return make_used(taken, size);
  }

  /// The same for the tail: the rest before the block goes into the index.
  Placement carve_tail_behind(std::uint64_t front, std::uint64_t size) noexcept {
    const std::uint32_t before = tail_;
    const std::uint64_t start = records_[before].offset;
    const std::uint64_t back = capacity_ - start - front - size;
    const std::uint32_t taken = insert_after(before, start + front);
    tail_ = no_record;
    index_.insert(before, start, front);
    if (back != 0) {
      tail_ = insert_after(taken, start + front + size);
      make_free(tail_);
    }
    return make_used(taken, size);
  }

  /// Makes a freed block the tail, together with the free blocks on either side of it.
  void join_tail(std::uint32_t freed) noexcept {
    if (tail_ != no_record) {
      --free_blocks_;
      remove(tail_);
    }
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
        index_.erase(next);
        --free_blocks_;
        remove(next);
      }
      index_.rekey(previous, before.offset, end - before.offset);
      remove(freed);
    } else if (after.state <= highest_free_state) {
      index_.rekey(next, start, index_.size(next) + after.offset - start);
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
