// SPDX-License-Identifier: MIT
/// \file
/// The bookkeeping of a strategy: records of 32 bytes, named by 32-bit indices. A record stands for
/// a used or a free block, or is vacant.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/errors.hpp>
#include <allot/core/units.hpp>
#include <allot/strategy/strategy.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

/// Inlines a function of any size, if the compiler optimizes. Otherwise each use would only be
/// compiled again, for no gain.
#if defined(__OPTIMIZE__)
#define ALLOT_ALWAYS_INLINE [[gnu::always_inline]]
#else
#define ALLOT_ALWAYS_INLINE
#endif

namespace allot::detail {

/// Fails as the system's own refusal of memory would, also if exceptions are disabled, if bookkeeping
/// could not be had.
inline void require_bookkeeping(bool was_had) {
  while (!was_had) [[unlikely]] static_cast<void>(::operator new (~std::size_t{0} / 2));
}

/// Memory for objects that grows by `std::realloc`, which moves the pages of large memory instead
/// of copying them. It begins at a cache line.
class GrowingMemory {
 public:
  /// \param step  the least number of objects by which it grows, or one in 32 if that is more
  /// \param most  the most objects
  GrowingMemory(std::uint32_t object_size, std::uint32_t step, std::uint64_t most) noexcept
      : object_size_{object_size}, step_{step}, most_{most} {}
  GrowingMemory& operator=(GrowingMemory&& other) noexcept {  // of the same objects
    std::swap(begin_, other.begin_);
    std::swap(allocated_, other.allocated_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  ~GrowingMemory() { std::free(allocated_); }

  /// Returns the bytes held.
  [[nodiscard]] std::uint64_t bytes() const noexcept {
    return capacity_ == 0 ? 0 : capacity_ * object_size_ + line;
  }

  /// Returns how many objects there would be room for after `try_ensure(count)`; more than the most
  /// objects only if `count` is.
  [[nodiscard]] std::uint64_t capacity_for(std::uint64_t count) const noexcept {
    if (count <= capacity_) return capacity_;
    const std::uint64_t grown = capacity_ + larger<std::uint64_t>(capacity_ / 32, step_);
    return larger(count, smaller(grown, most_));
  }

  /// Makes room for `count` objects in total. Invalidates references to objects. Returns false, and
  /// changes nothing, if there cannot be as many or the host has no memory for them.
  [[nodiscard]] bool try_ensure(std::uint64_t count) noexcept {
    if (count <= capacity_) return true;
    const std::uint64_t grown = capacity_for(count);
    if (grown > most_) return false;
    const auto before = static_cast<std::size_t>(begin_ - static_cast<std::byte*>(allocated_));
    void* const memory = std::realloc(allocated_, grown * object_size_ + line);
    if (memory == nullptr) return false;
    auto* const start = static_cast<std::byte*>(memory);
    const std::size_t shift = (0 - reinterpret_cast<std::uintptr_t>(memory)) % line;
    if (shift != before && capacity_ != 0)
      __builtin_memmove(start + shift, start + before, capacity_ * object_size_);
    allocated_ = memory;
    begin_ = start + shift;
    capacity_ = grown;
    return true;
  }

 protected:
  std::byte* begin_ = nullptr;
  std::uint64_t capacity_ = 0;

 private:
  static constexpr std::size_t line = 64;

  void* allocated_ = nullptr;
  std::uint32_t object_size_;
  std::uint32_t step_;
  std::uint64_t most_;
};

/// One block of a range, free or used. Half a cache line, so that none straddles two. A used
/// block's size is not kept: it ends where the next one begins. The index may keep a free block's
/// size, which saves loading the next record.
struct alignas(32) Record {
  std::uint64_t offset;
  union {
    std::uint64_t word;       ///< while used: the arena's word
    std::uint64_t free_size;  ///< while free, if the index keeps it here
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

/// Hands out records and takes them back. A record's generation rises with each use as a block and
/// never returns to its first value: a record that has used up its generations is retired.
class RecordSlab : public GrowingMemory {
 public:
  RecordSlab() noexcept  // indices stay below every special value
      : GrowingMemory{sizeof(Record), 256, 0xffff'0000},
        first_generation_{next_first_generation()} {}

  [[nodiscard]] Record& operator[](std::uint32_t index) const noexcept {
    return reinterpret_cast<Record*>(begin_)[index];
  }

  /// Returns how many calls of `acquire` will succeed.
  [[nodiscard]] std::uint64_t vacant() const noexcept { return vacant_; }

  /// Returns the number of records, of all kinds.
  [[nodiscard]] std::uint64_t capacity() const noexcept { return capacity_; }

  /// Returns the capacity after `try_ensure(count)`.
  [[nodiscard]] std::uint64_t capacity_for(std::uint64_t count) const noexcept {
    return vacant_ >= count ? capacity_ : GrowingMemory::capacity_for(capacity_ + count - vacant_);
  }

  /// Makes sure that the next `count` calls of `acquire` succeed. Returns false, and changes
  /// nothing, if that cannot be.
  [[nodiscard]] bool try_ensure(std::uint64_t count) noexcept {
    const std::uint64_t before = capacity_;
    const bool has_room = GrowingMemory::try_ensure(capacity_for(count));
    vacant_ += capacity_ - before;
    return has_room;
  }

  /// Returns a vacant record, whose state is not set yet. Requires `try_ensure`. Complexity: constant.
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

  /// Takes a record back, or retires it. Complexity: constant; does not call the system allocator.
  void release(std::uint32_t index, Record& record) noexcept {
    record.state = vacant_state;
    if (!has_unused_generation(record)) [[unlikely]]
      return;
    record.next = first_vacant_;
    first_vacant_ = index;
    ++vacant_;
  }

  /// Returns whether the record can stand for another block.
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

  /// Returns whether the slab has ever given out this index.
  [[nodiscard]] bool knows(std::uint32_t index) const noexcept { return index < touched_; }

  [[nodiscard]] std::uint32_t first_generation() const noexcept { return first_generation_; }

 private:
  std::uint64_t vacant_ = 0;
  std::uint32_t first_vacant_ = no_record;
  std::uint32_t touched_ = 0;  // records at and above this index were never used
  std::uint32_t first_generation_;
};

/// Returns the units from a block's first one to the next block's.
[[nodiscard]] inline std::uint64_t size_of(const RecordSlab& records,
                                           const Record& record) noexcept {
  return records[record.next].offset - record.offset;
}

/// The common part of all strategies that keep a record for each live block.
class LiveBlocks {
 public:
  [[nodiscard]] std::uint64_t live_blocks() const noexcept { return live_blocks_; }

  /// Requires: `handle` is live.
  [[nodiscard]] std::uint64_t& word(Handle handle) noexcept { return records_[handle.index].word; }

  /// Complexity: constant, for any handle.
  [[nodiscard]] bool is_live(Handle handle, std::uint64_t offset) const noexcept {
    if (!records_.knows(handle.index)) return false;
    const Record& record = records_[handle.index];
    return record.generation == handle.generation && record.state == used_state &&
           record.offset == offset;
  }

  /// Returns what is wrong with a block that is not live. Complexity: constant.
  [[nodiscard]] BlockDefect defect(Handle handle, std::uint64_t) const noexcept {
    if (!records_.knows(handle.index)) return BlockDefect::foreign;
    const Record& record = records_[handle.index];
    if (record.state == head_state) return BlockDefect::foreign;
    const bool is_live = record.generation == handle.generation && record.state == used_state;
    return is_live ? BlockDefect::offset : BlockDefect::stale;
  }

 protected:
  LiveBlocks() = default;
  LiveBlocks(const LiveBlocks&) = delete;  // a free index points to the records
  ~LiveBlocks() = default;

  RecordSlab records_;
  std::uint64_t live_blocks_ = 0;
};

}  // namespace allot::detail
