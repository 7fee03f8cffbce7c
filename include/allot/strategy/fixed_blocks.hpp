// SPDX-License-Identifier: MIT
/// \file
/// `FixedBlocks<Units>`: blocks of one size. For pages of a KV cache, and anything else that needs
/// only one size: no fragmentation, and every free block can be allocated.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/errors.hpp>
#include <allot/strategy/detail/hierarchical_bitmap.hpp>
#include <allot/strategy/detail/records.hpp>
#include <allot/strategy/strategy.hpp>

#include <cstdint>
#include <new>
#include <optional>

namespace allot {

/// Takes the free block with the lowest offset. Every block has `Units` units; larger requests
/// are refused, and so are alignments above the largest power of two that divides `Units`. Over
/// `AlignTo<1>` a unit is a byte, over `AlignTo<256>` it is 256 bytes.
///
/// The capacity is rounded down to whole blocks. Complexity: O(1): a step for each factor of 64 in
/// the number of blocks. One bit for each block of the range, 32 bytes for each that was ever live
/// at the same time.
template <std::uint64_t Units>
class FixedBlocks : public detail::LiveBlocks {
  static_assert(Units != 0, "a block has at least one unit");

 public:
  /// Every size and the capacity are multiples of this.
  static constexpr std::uint64_t granularity = Units;
  /// The largest size that can be allocated.
  static constexpr std::uint64_t largest_size = Units;

  /// \param capacity  units, at least `Units`
  /// Throws: `std::bad_alloc`. Complexity: linear in the words of the bitmap.
  explicit FixedBlocks(std::uint64_t capacity) : free_{capacity / Units} {}
  /// The same, but the capacity is 0, and there is nothing else to call, if the host has no memory.
  FixedBlocks(std::uint64_t capacity, std::nothrow_t nothrow) noexcept
      : free_{capacity / Units, nothrow} {}

  /// Throws: `std::bad_alloc` for the bookkeeping; nothing has changed.
  [[nodiscard]] std::optional<Placement> allocate(std::uint64_t size, std::uint64_t alignment) {
    if (size > Units || alignment > natural_alignment || free_.is_empty()) return std::nullopt;
    if (records_.vacant() == 0) detail::require_bookkeeping(records_.try_ensure(1));
    const std::uint64_t number = free_.lowest();
    const std::uint32_t index = records_.acquire();
    detail::Record& record = records_[index];
    record.offset = number * Units;
    detail::RecordSlab::start_use(record);
    free_.erase(number);
    ++live_blocks_;
    return Placement{number * Units, Units, {index, record.generation}};
  }

  /// Returns false, and changes nothing, if no such block is live.
  bool deallocate(Handle handle, std::uint64_t offset) noexcept {
    if (!is_live(handle, offset)) return false;
    free_.insert(offset / Units);
    records_.release(handle.index, records_[handle.index]);
    --live_blocks_;
    return true;
  }

  /// Frees every block. Complexity: linear in the records and in the words of the bitmap.
  void reset() noexcept {
    for (std::uint32_t i = 0; records_.knows(i); ++i) {
      if (records_[i].state == detail::used_state) records_.release(i, records_[i]);
    }
    free_.insert_all();
    live_blocks_ = 0;
  }

  /// Extends the range at its end. Requires: `capacity` is not below the present one.
  /// Throws: `std::bad_alloc`; nothing has changed. Complexity: linear in the words of the bitmap.
  void grow(std::uint64_t capacity) { free_.raise(capacity / Units); }
  /// Like `grow`, but returns false on failure.
  [[nodiscard]] bool try_grow(std::uint64_t capacity) noexcept {
    return free_.try_raise(capacity / Units);
  }

  /// Reserves bookkeeping for `blocks` live blocks: up to that many, only `grow` calls the system
  /// allocator.
  /// Throws: `std::bad_alloc`; nothing has changed.
  void reserve(std::uint64_t blocks) { detail::require_bookkeeping(try_reserve(blocks)); }

  /// Like `reserve`, but returns false on failure.
  [[nodiscard]] bool try_reserve(std::uint64_t blocks) noexcept {
    return blocks <= live_blocks_ || records_.try_ensure(blocks - live_blocks_);
  }

  /// Returns the units of the range.
  [[nodiscard]] std::uint64_t capacity() const noexcept { return free_.bound() * Units; }
  /// Returns the units in used blocks.
  [[nodiscard]] std::uint64_t used() const noexcept { return live_blocks_ * Units; }
  /// Returns the number of free blocks.
  [[nodiscard]] std::uint64_t free_blocks() const noexcept { return free_.bound() - live_blocks_; }

  /// Complexity: constant.
  [[nodiscard]] std::uint64_t largest_free() const noexcept { return free_.is_empty() ? 0 : Units; }

  /// Returns the units of a block, which all have.
  [[nodiscard]] static constexpr std::uint64_t block_size(Handle) noexcept { return Units; }

  /// Calls `visitor(offset, size, used)` for every block in address order. The visitor must not
  /// call the strategy. Complexity: linear in the blocks of the range.
  template <class Visitor>
  void for_each(Visitor&& visitor) const {
    for (std::uint64_t i = 0; i < free_.bound(); ++i) visitor(i * Units, Units, !free_.contains(i));
  }

  /// Calls `visitor(placement)` for every used block, in unspecified order. The visitor must not
  /// call the strategy. Complexity: linear in the records.
  template <class Visitor>
  void for_each_live(Visitor&& visitor) const {
    for (std::uint32_t i = 0; records_.knows(i); ++i) {
      const detail::Record& record = records_[i];
      if (record.state != detail::used_state) continue;
      visitor(Placement{record.offset, Units, {i, record.generation}});
    }
  }

  /// Complexity: linear.
  [[nodiscard]] bool validate() const noexcept {
    std::uint64_t used = 0;
    for (std::uint64_t i = 0; i < free_.bound(); ++i) used += free_.contains(i) ? 0 : 1;
    std::uint64_t live = 0;
    bool right = true;
    for_each_live([&](const Placement& block) {
      ++live;
      right = right && block.offset % Units == 0 && block.offset < capacity() &&
              !free_.contains(block.offset / Units);
    });
    return right && live == live_blocks_ && used == live && free_.is_valid();
  }

  /// Returns the bytes of bookkeeping on the heap.
  [[nodiscard]] std::uint64_t bookkeeping_bytes() const noexcept {
    return records_.bytes() + free_.bytes();
  }

 private:
  static constexpr std::uint64_t natural_alignment = Units & (0 - Units);

  detail::HierarchicalBitmap free_;
};

static_assert(Strategy<FixedBlocks<1>>);

/// It refuses only sizes above `Units`, and any size while all blocks are used.
template <std::uint64_t Units>
inline constexpr bool keeps_refusing<FixedBlocks<Units>> = true;

}  // namespace allot
