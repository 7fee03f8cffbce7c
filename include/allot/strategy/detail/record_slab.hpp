// SPDX-License-Identifier: MIT
/// \file
/// The bookkeeping records of a strategy: 32 bytes each, named by 32-bit indices. A record stands
/// for a used or a free block, or is vacant.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/errors.hpp>
#include <allot/strategy/detail/growing_array.hpp>
#include <allot/strategy/generation.hpp>

#include <cstdint>
#include <optional>

namespace allot::detail {

/// One block of a range, free or used. Half a cache line, so that none straddles two. A used
/// block's size is not kept: it ends where the next one begins. A free block's is kept by its
/// index, so that whoever chose it need not wait for the next record, too.
struct alignas(32) Record {
  std::uint64_t offset;
  union {
    std::uint64_t word;       ///< while used: the arena's word
    std::uint64_t free_size;  ///< while free, where the index keeps it here
    std::uint32_t link[2];    ///< while free, in a list of free blocks: the ones before and after
  };
  std::uint32_t previous;  ///< in address order
  std::uint32_t next;      ///< in address order; while vacant: the next vacant record
  std::uint32_t generation;
  std::uint32_t state;  ///< one of those below, or free: a value of the free index
};

static_assert(sizeof(Record) == 32);

inline constexpr std::uint32_t no_record = 0xffff'ffff;
inline constexpr std::uint32_t used_state = 0xffff'ffff;
inline constexpr std::uint32_t vacant_state = 0xffff'fffe;
inline constexpr std::uint32_t head_state = 0xffff'fffd;
inline constexpr std::uint32_t highest_free_state = 0xffff'fffc;

/// Hands out records and takes them back. A slot's generation rises with each use as a block and
/// never returns to its first value: a slot that has run through them all is retired.
class RecordSlab {
 public:
  RecordSlab() noexcept : first_generation_{next_first_generation()} {}

  [[nodiscard]] Record& operator[](std::uint32_t index) noexcept { return records_[index]; }
  [[nodiscard]] const Record& operator[](std::uint32_t index) const noexcept {
    return records_[index];
  }

  /// How many calls of `acquire` will succeed.
  [[nodiscard]] std::uint64_t vacant() const noexcept { return vacant_; }

  /// How many records there are, vacant and retired ones included.
  [[nodiscard]] std::uint64_t capacity() const noexcept { return records_.capacity(); }

  /// The capacity after `ensure(count)`.
  [[nodiscard]] std::uint64_t capacity_for(std::uint64_t count) const noexcept {
    return vacant_ >= count ? capacity() : records_.capacity_for(capacity() + count - vacant_);
  }

  /// Makes sure that the next `count` calls of `acquire` succeed.
  /// Throws: `std::bad_alloc`; nothing has changed.
  void ensure(std::uint64_t count) {
    if (vacant_ >= count) return;
    const std::uint64_t before = capacity();
    const std::uint64_t wanted = capacity_for(count);
    records_.ensure(wanted);
    vacant_ += wanted - before;
  }

  /// A vacant record, of no state yet. Requires `ensure`. Complexity: constant.
  [[nodiscard]] std::uint32_t acquire() noexcept {
    --vacant_;
    if (first_vacant_ != no_record) {
      const std::uint32_t index = first_vacant_;
      first_vacant_ = (*this)[index].next;
      return index;
    }
    const std::uint32_t index = touched_++;
    Record& record = (*this)[index];
    record.generation = first_generation_;
    record.state = vacant_state;
    return index;
  }

  /// Takes a record back, or retires it. Complexity: constant; no system allocator.
  void release(std::uint32_t index, Record& record) noexcept {
    record.state = vacant_state;
    if (!has_unused_generation(record)) [[unlikely]]
      return;
    record.next = first_vacant_;
    first_vacant_ = index;
    ++vacant_;
  }

  /// Whether the record can stand for one more block.
  [[nodiscard]] bool has_unused_generation(const Record& record) const noexcept {
    return record.generation + 1 != first_generation_;
  }

  /// Makes the record a used block under a generation that it did not have before.
  /// Requires `has_unused_generation`.
  static void start_use(Record& record) noexcept {
    record.state = used_state;
    record.word = 0;
    ++record.generation;
  }

  /// Whether the slab has ever given out this index.
  [[nodiscard]] bool knows(std::uint32_t index) const noexcept { return index < touched_; }

  /// Whether the handle is that of a used block. Complexity: constant, whatever the handle holds.
  [[nodiscard]] bool is_live(Handle handle) const noexcept {
    if (!knows(handle.index)) return false;
    const Record& record = records_[handle.index];
    return record.generation == handle.generation && record.state == used_state;
  }

  /// What is wrong with a block, or nothing where it is live. Complexity: constant.
  [[nodiscard]] std::optional<BlockDefect> defect(Handle handle,
                                                  std::uint64_t offset) const noexcept {
    if (!knows(handle.index) || records_[handle.index].state == head_state)
      return BlockDefect::foreign;
    if (!is_live(handle)) return BlockDefect::stale;
    if (records_[handle.index].offset != offset) return BlockDefect::offset;
    return std::nullopt;
  }

  [[nodiscard]] std::uint32_t first_generation() const noexcept { return first_generation_; }

  /// Bytes of bookkeeping held. Complexity: constant.
  [[nodiscard]] std::uint64_t bytes() const noexcept { return records_.bytes(); }

 private:
  GrowingArray<Record, 256, 0xffff'0000> records_;  // indices stay below every special value
  std::uint64_t vacant_ = 0;
  std::uint32_t first_vacant_ = no_record;
  std::uint32_t touched_ = 0;  // records at and above this index were never used
  std::uint32_t first_generation_;
};

/// From a block's first unit to the first of the next one.
[[nodiscard]] inline std::uint64_t size_of(const RecordSlab& records,
                                           const Record& record) noexcept {
  return records[record.next].offset - record.offset;
}

}  // namespace allot::detail
