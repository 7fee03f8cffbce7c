// SPDX-License-Identifier: MIT
/// \file
/// A range as a sequence of blocks in address order, without gaps: the common part of every
/// strategy with coalescing. The order is an intrusive circular list with 32-bit links.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/units.hpp>
#include <allot/strategy/detail/records.hpp>

#include <boost/intrusive/circular_list_algorithms.hpp>

#include <cstdint>

namespace allot::detail {

/// How Boost.Intrusive's algorithms reach a record's links: a "pointer" is a slab and an index.
struct AddressOrderTraits {
  struct Link {
    RecordSlab* slab;
    std::uint32_t index;

    [[nodiscard]] Record& record() const noexcept { return (*slab)[index]; }
    friend bool operator==(const Link& a, const Link& b) noexcept { return a.index == b.index; }
  };

  using node = Record;
  using node_ptr = Link;
  using const_node_ptr = Link;

  static Link get_next(const Link& at) noexcept { return {at.slab, at.record().next}; }
  static Link get_previous(const Link& at) noexcept { return {at.slab, at.record().previous}; }
  static void set_next(const Link& at, const Link& next) noexcept { at.record().next = next.index; }
  static void set_previous(const Link& at, const Link& previous) noexcept {
    at.record().previous = previous.index;
  }
};

/// Has the public members that such strategies share; a strategy adds where blocks go.
class BlockSequence : public LiveBlocks {
 public:
  /// The capacity is 0, and there is nothing else to call, if the host has no memory.
  /// \param capacity  units, at least one
  explicit BlockSequence(std::uint64_t capacity) noexcept {
    if (!records_.try_ensure(spare_records)) return;
    capacity_ = capacity;
    static_cast<void>(records_.acquire());  // the head: ends the list on both sides, never free
    Record& head = records_[list_head];
    head.offset = capacity;  // where the last block ends
    head.state = head_state;
    AddressOrder::init(node_at(list_head));
  }

  [[nodiscard]] std::uint64_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] std::uint64_t used() const noexcept { return used_; }
  [[nodiscard]] std::uint64_t free_blocks() const noexcept { return free_blocks_; }

  /// Requires: `handle` is live.
  [[nodiscard]] std::uint64_t block_size(Handle handle) const noexcept {
    return size_of(records_, records_[handle.index]);
  }

  /// The visitors must not call the strategy. Complexity: linear in the blocks.
  template <class Visitor>
  void for_each(Visitor&& visitor) const {
    for (std::uint32_t i = records_[list_head].next; i != list_head; i = records_[i].next) {
      const Record& record = records_[i];
      visitor(record.offset, size_of(records_, record), record.state == used_state);
    }
  }
  template <class Visitor>
  void for_each_live(Visitor&& visitor) const {
    for (std::uint32_t i = records_[list_head].next; i != list_head; i = records_[i].next) {
      const Record& record = records_[i];
      if (record.state != used_state) continue;
      visitor(Placement{record.offset, size_of(records_, record), {i, record.generation}});
    }
  }

 protected:
  static constexpr std::uint32_t list_head = 0;
  static constexpr std::uint64_t spare_records = 2;  // what one allocation may need
  static constexpr std::uint64_t most_blocks = 0xffff'ffff;

  [[nodiscard]] bool is_free(std::uint32_t index) const noexcept {
    return records_[index].state <= highest_free_state;
  }

  /// Inserts a record for a block from `offset` on, behind `previous` in address order. It is free
  /// but not counted. Requires: a vacant record.
  [[nodiscard]] std::uint32_t insert_after(std::uint32_t previous, std::uint64_t offset) noexcept {
    const std::uint32_t index = records_.acquire();
    records_[index].offset = offset;
    records_[index].state = 0;
    AddressOrder::link_after(node_at(previous), node_at(index));
    return index;
  }

  void remove(std::uint32_t index) noexcept {
    AddressOrder::unlink(node_at(index));
    records_.release(index, records_[index]);
  }

  /// Makes the record a free block and counts it.
  void make_free(std::uint32_t index) noexcept {
    records_[index].state = 0;
    ++free_blocks_;
  }

  /// Makes the record a used block and counts it. A record that has used up its generations is
  /// replaced by a fresh one. Requires: a vacant record.
  Placement make_used(std::uint32_t index, std::uint64_t size) noexcept {
    if (!records_.has_unused_generation(records_[index])) [[unlikely]] {
      const std::uint32_t fresh = insert_after(index, records_[index].offset);
      remove(index);
      index = fresh;
    }
    Record& record = records_[index];
    RecordSlab::start_use(record);
    used_ += size;
    ++live_blocks_;
    return {record.offset, size, {index, record.generation}};
  }

  /// Makes one free block of the whole range and returns it: no block is live anymore.
  /// Complexity: linear in the blocks.
  std::uint32_t make_one() noexcept {
    const std::uint32_t first = records_[list_head].next;
    while (records_[first].next != list_head) remove(records_[first].next);
    records_[first].offset = 0;
    used_ = 0;
    live_blocks_ = 0;
    free_blocks_ = 0;
    make_free(first);
    return first;
  }

  /// Returns how many records must be vacant for up to `blocks` live and `blocks` + 1 free blocks.
  [[nodiscard]] std::uint64_t records_for(std::uint64_t blocks) const noexcept {
    const std::uint64_t all = 2 * smaller(blocks, most_blocks) + 1 + spare_records;
    return all - smaller(all, live_blocks_ + free_blocks_);
  }

  /// Makes room for `count` records, and in the index for all the free blocks that they can be.
  /// Returns false if that cannot be; no block has changed.
  template <class Index>
  [[nodiscard]] bool try_ensure(Index& index, std::uint64_t count) noexcept {
    if (records_.vacant() >= count) [[likely]]
      return true;
    return index.try_ensure(records_.capacity_for(count)) && records_.try_ensure(count);
  }

  /// Fills an empty index with every free block but `left_out`. Returns false if the host has no
  /// memory for it; no block has changed. Complexity: O(n log n) in the free blocks.
  template <class Index>
  [[nodiscard]] bool try_fill(Index& index, std::uint32_t left_out) noexcept {
    if (!index.try_ensure(records_.capacity())) return false;
    for (std::uint32_t i = records_[list_head].next; i != list_head; i = records_[i].next) {
      if (!is_free(i) || i == left_out) continue;
      index.insert(i, records_[i].offset, size_of(records_, records_[i]));
    }
    return true;
  }

  /// Moves the end of the range. Requires: not below the end of the last block.
  void set_capacity(std::uint64_t capacity) noexcept {
    capacity_ = capacity;
    records_[list_head].offset = capacity;
  }

  /// Stops counting a used block; the caller makes its record free or removes it.
  void end_use(std::uint64_t size) noexcept {
    used_ -= size;
    --live_blocks_;
  }

  /// Checks order and counts, for `validate`.
  [[nodiscard]] bool sequence_is_valid() const noexcept {
    std::uint64_t end = 0;
    std::uint64_t used = 0;
    std::uint64_t live = 0;
    std::uint64_t free = 0;
    std::uint32_t last = list_head;
    for (std::uint32_t i = records_[list_head].next; i != list_head; i = records_[i].next) {
      const Record& record = records_[i];
      const std::uint64_t size = size_of(records_, record);
      if (record.previous != last || record.offset != end || record.state == vacant_state)
        return false;
      if (size == 0 || size > capacity_ - end) return false;
      last = i;
      end += size;
      (is_free(i) ? free : live) += 1;
      if (!is_free(i)) used += size;
    }
    return records_[list_head].previous == last && end == capacity_ && used == used_ &&
           live == live_blocks_ && free == free_blocks_;
  }

  std::uint64_t capacity_ = 0;
  std::uint64_t used_ = 0;
  std::uint64_t free_blocks_ = 0;

 private:
  using AddressOrder = boost::intrusive::circular_list_algorithms<AddressOrderTraits>;

  [[nodiscard]] AddressOrderTraits::Link node_at(std::uint32_t index) noexcept {
    return {&records_, index};
  }
};

/// Returns whether [offset, offset + available) holds `size` units from a multiple of `alignment`.
[[nodiscard]] constexpr bool fits(std::uint64_t offset, std::uint64_t available, std::uint64_t size,
                                  std::uint64_t alignment) noexcept {
  const std::uint64_t gap = (0 - offset) & (alignment - 1);
  return gap <= available && available - gap >= size;
}

}  // namespace allot::detail
