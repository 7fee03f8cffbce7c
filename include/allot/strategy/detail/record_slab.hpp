// SPDX-License-Identifier: MIT
/// \file
/// The bookkeeping records of a strategy: 40 bytes each, in chunks that never move, named by 32-bit
/// indices. A record stands for a used or a free block, or is vacant.
#pragma once

#include <allot/core/block.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <vector>

namespace allot::detail {

/// One block of a range, free or used.
struct Record {
  std::uint64_t offset;
  std::uint64_t size;
  std::uint32_t previous;  ///< in address order
  std::uint32_t next;      ///< in address order; while vacant: the next vacant record
  std::uint32_t generation;
  std::uint32_t state;  ///< `used_state`, `vacant_state`, or free: a value of the free index
  union {
    std::uint64_t word;      ///< while used: the arena's word
    std::uint32_t child[2];  ///< while free: links of the free index
  };
};

static_assert(sizeof(Record) == 40);

inline constexpr std::uint32_t no_record = 0xffff'ffff;
inline constexpr std::uint32_t used_state = 0xffff'ffff;
inline constexpr std::uint32_t vacant_state = 0xffff'fffe;
inline constexpr std::uint32_t highest_free_state = 0xffff'fffd;

/// Starts the generations of every slab somewhere else, so that handles of two arenas differ.
inline std::atomic<std::uint32_t> slab_counter{1};

/// Hands out records and takes them back. A slot's generation rises with each use as a block and
/// never returns to its first value: a slot that has run through them all is retired.
class RecordSlab {
 public:
  RecordSlab() noexcept
      : first_generation_{slab_counter.fetch_add(1, std::memory_order_relaxed) * 0x9e37'79b1U} {}

  RecordSlab(const RecordSlab&) = delete;
  RecordSlab& operator=(const RecordSlab&) = delete;

  ~RecordSlab() {
    for (Record* chunk : chunks_) ::operator delete(chunk);
  }

  [[nodiscard]] Record& operator[](std::uint32_t index) noexcept {
    return chunks_[index / chunk_records][index % chunk_records];
  }
  [[nodiscard]] const Record& operator[](std::uint32_t index) const noexcept {
    return chunks_[index / chunk_records][index % chunk_records];
  }

  /// Makes sure that the next `count` calls of `acquire` succeed.
  /// Throws: `std::bad_alloc`; nothing has changed.
  void ensure(std::uint64_t count) {
    if (vacant_ >= count) [[likely]]
      return;
    add_chunks(count);
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
  void release(std::uint32_t index) noexcept {
    Record& record = (*this)[index];
    record.state = vacant_state;
    if (!has_unused_generation(index)) return;
    record.next = first_vacant_;
    first_vacant_ = index;
    ++vacant_;
  }

  /// Whether the record can stand for one more block.
  [[nodiscard]] bool has_unused_generation(std::uint32_t index) const noexcept {
    return (*this)[index].generation + 1 != first_generation_;
  }

  /// Makes the record a used block under a handle that no block had before.
  /// Requires `has_unused_generation`.
  Handle start_use(std::uint32_t index) noexcept {
    Record& record = (*this)[index];
    record.state = used_state;
    record.word = 0;
    return {index, ++record.generation};
  }

  /// Whether the slab has ever given out this index.
  [[nodiscard]] bool knows(std::uint32_t index) const noexcept { return index < touched_; }

  [[nodiscard]] std::uint32_t first_generation() const noexcept { return first_generation_; }

  /// Bytes of bookkeeping held. Complexity: constant.
  [[nodiscard]] std::uint64_t bytes() const noexcept {
    return chunks_.size() * chunk_records * sizeof(Record) + chunks_.capacity() * sizeof(Record*);
  }

 private:
  static constexpr std::uint32_t chunk_records = 512;

  void add_chunks(std::uint64_t count) {
    while (vacant_ < count) {
      if (chunks_.size() >= no_record / chunk_records) throw_bad_alloc();
      if (chunks_.size() == chunks_.capacity()) chunks_.reserve(2 * chunks_.size() + 8);
      chunks_.push_back(static_cast<Record*>(::operator new(chunk_records * sizeof(Record))));
      vacant_ += chunk_records;
    }
  }

  /// Ends as the system's own refusal would, also where exceptions are disabled.
  [[noreturn]] static void throw_bad_alloc() {
    for (;;) static_cast<void>(::operator new(std::numeric_limits<std::ptrdiff_t>::max()));
  }

  std::vector<Record*> chunks_;
  std::uint64_t vacant_ = 0;
  std::uint32_t first_vacant_ = no_record;
  std::uint32_t touched_ = 0;  // records at and above this index were never used
  std::uint32_t first_generation_;
};

}  // namespace allot::detail
