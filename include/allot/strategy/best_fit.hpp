// SPDX-License-Identifier: MIT
/// \file
/// `BestFit`: the smallest free block that can hold the request. The default choice: it refuses
/// only what no free block could hold, and refuses least as memory fills up.
#pragma once

#include <allot/strategy/detail/block_sequence.hpp>
#include <allot/strategy/detail/coalescing_range.hpp>
#include <allot/strategy/detail/float_bins.hpp>
#include <allot/strategy/detail/records.hpp>
#include <allot/strategy/detail/tree/node.hpp>
#include <allot/strategy/detail/tree/tree.hpp>
#include <allot/strategy/strategy.hpp>

#include <cstdint>

namespace allot {

namespace detail {

/// Free blocks by (size, offset): a bin for each floating-point size with a 4-bit mantissa, a
/// bitmap of the bins that are not empty, and in each bin a sorted tree. The search is exact: it
/// returns the first block by (size, offset) that can hold the request.
///
/// Within a bin, size and offset fit one key. Sizes there share their exponent e, so the blocks are
/// at least 2^e apart, and offset / 2^e distinguishes and orders them; the size needs e - 4 bits.
/// In a range of 2^c units that makes c - 4 bits, or c - e if e is below 4.
/// \tparam KeyType  unsigned, its highest value above the capacity
template <class KeyType>
class SizeBins {
 public:
  struct Found {
    std::uint32_t record;    ///< `no_record` if nothing was found
    std::uint32_t location;  ///< in its tree
    std::uint64_t size;

    explicit operator bool() const noexcept { return record != no_record; }
  };

  SizeBins(RecordSlab& records, std::uint64_t capacity) noexcept
      : records_{&records},
        capacity_bits_{floor_log2(capacity) + 1},
        bins_{Bins::bin_of(capacity) + 1},
        trees_{records, bins_} {}

  /// Forgets every block. Complexity: linear in the bins.
  void clear() noexcept {
    marked_ = {};
    trees_.clear();
  }

  /// Makes room for all the free blocks that a slab of `records` records can ever hold. Returns
  /// false, and changes nothing, if that cannot be.
  [[nodiscard]] bool try_ensure(std::uint64_t records) noexcept {
    return trees_.try_hold((records + 1) / 2);
  }

  /// Complexity: O(log m), m being the blocks in the bin.
  ALLOT_ALWAYS_INLINE void insert(std::uint32_t record, std::uint64_t offset,
                                  std::uint64_t size) noexcept {
    const Place place = place_of(offset, size);
    (*records_)[record].free_size = size;
    marked_.insert(place.bin);
    trees_.insert(place.bin, {place.key, record});
  }

  /// Complexity: O(1), or O(log m) if a node runs short of entries.
  ALLOT_ALWAYS_INLINE void erase(std::uint32_t record) noexcept {
    erase_at((*records_)[record].state, record);
  }
  ALLOT_ALWAYS_INLINE void erase(const Found& found) noexcept {
    erase_at(found.location, found.record);
  }

  /// Puts a block in the place of another. Complexity: O(log m).
  ALLOT_ALWAYS_INLINE void replace(const auto& old, std::uint32_t record, std::uint64_t offset,
                                   std::uint64_t size) noexcept {
    erase(old);
    insert(record, offset, size);
  }

  /// Finds the first block by (size, offset) that holds `size` units at a multiple of `alignment`.
  /// Complexity: O(1) over the bins and O(log m) in the bin for an alignment of one unit; for
  /// larger ones, blocks below size + alignment - 1 units are checked one by one.
  ALLOT_ALWAYS_INLINE [[nodiscard]] Found find(std::uint64_t size,
                                               std::uint64_t alignment) const noexcept {
    return alignment == 1 ? find_any(size) : find_aligned(size, alignment);
  }

  /// Returns the size of a block that is in the index.
  [[nodiscard]] std::uint64_t size(std::uint32_t record) const noexcept {
    return (*records_)[record].free_size;
  }

  /// Returns whether a block of `size` units behind all others comes before what was found.
  [[nodiscard]] static bool prefers(std::uint64_t size, const Found& found) noexcept {
    return size < found.size;
  }

  /// Returns the size of the largest block, 0 if there is none. Complexity: O(log m).
  [[nodiscard]] std::uint64_t largest() const noexcept {
    return marked_.is_empty() ? 0 : size(trees_.last(marked_.highest()));
  }

  /// Returns the bytes of bookkeeping on the heap.
  [[nodiscard]] std::uint64_t bytes() const noexcept { return trees_.bytes(); }

  /// Returns whether bins, bitmap and trees agree and hold `expected` free blocks. Complexity:
  /// linear.
  [[nodiscard]] bool is_valid(std::uint64_t expected) const noexcept {
    std::uint64_t count = 0;
    for (std::uint32_t bin = 0; bin < bins_; ++bin) {
      if (marked_.contains(bin) == trees_.is_empty(bin)) return false;
      const auto is_right = [&](const typename Trees::Item& item) {
        const Record& record = (*records_)[item.value];
        ++count;
        const Place place = place_of(record.offset, record.free_size);
        return record.free_size == size_of(*records_, record) &&
               record.state <= highest_free_state && place.bin == bin && place.key == item.key;
      };
      if (!trees_.is_valid(bin, is_right)) return false;
    }
    return marked_.is_valid() && count == expected;
  }

 private:
  using Key = KeyType;
  using Bins = FloatBins<4>;
  using Trees =
      tree::Trees<tree::Node<Key, sizeof(Key) == 4 ? 15 : 9>>;  // 128 bytes: each bin has one

  static constexpr Found nothing = {no_record, 0, 0};

  struct Place {
    std::uint32_t bin;
    Key key;
  };

  /// Requires: at least one unit.
  [[nodiscard]] Place place_of(std::uint64_t offset, std::uint64_t size) const noexcept {
    const std::uint32_t exponent = floor_log2(size);
    const std::uint32_t bin = Bins::bin_of(size);
    const std::uint64_t excess = Bins::excess_of(size);
    const std::uint32_t shift = (capacity_bits_ - exponent) % 64;
    return {bin, static_cast<Key>((excess << shift) | (offset >> exponent))};
  }

  /// Returns what a search in a bin found. Bin and key give the size, so the record is not loaded.
  ALLOT_ALWAYS_INLINE [[nodiscard]] Found found_in(std::uint32_t bin,
                                                   const tree::Entry& entry) const noexcept {
    const std::uint32_t open = bin < 32 ? 0 : (bin >> 4) - 1;
    const std::uint64_t excess = entry.key >> ((capacity_bits_ - 4 - open) % 64);
    const std::uint64_t mask = (std::uint64_t{1} << open) - 1;
    const std::uint64_t lowest = std::uint64_t{bin - (open << 4)} << open;
    return {entry.value, entry.location, lowest + (excess & mask)};
  }

  ALLOT_ALWAYS_INLINE [[nodiscard]] Found find_any(std::uint64_t size) const noexcept {
    const Place own = place_of(0, size);
    std::uint32_t bin = marked_.next(own.bin);
    if (bin == marked_.none) return nothing;
    tree::Entry entry = trees_.find(bin, bin == own.bin ? own.key : 0);
    if (entry.value == no_record) {
      bin = marked_.next(bin + 1);
      if (bin == marked_.none) return nothing;
      entry = trees_.find(bin, 0);
    }
    return found_in(bin, entry);
  }

  [[nodiscard]] Found find_aligned(std::uint64_t size, std::uint64_t alignment) const noexcept {
    const Place own = place_of(0, size);
    const auto holds = [&](std::uint32_t index) noexcept {
      const Record& record = (*records_)[index];
      return fits(record.offset, record.free_size, size, alignment);
    };
    for (std::uint32_t bin = own.bin; (bin = marked_.next(bin)) != marked_.none; ++bin) {
      const Key key = bin == own.bin ? own.key : 0;
      const tree::Entry entry = trees_.find_accepted(bin, key, holds);
      if (entry.value != no_record) return found_in(bin, entry);
    }
    return nothing;
  }

  /// Erases the entry of a record, which has its offset and size.
  ALLOT_ALWAYS_INLINE void erase_at(std::uint32_t location, std::uint32_t record) noexcept {
    const bool is_short = trees_.remove(location);
    if (trees_.is_in_root(location)) [[likely]] {
      const std::uint32_t bin = location / 16;
      marked_.erase_if(bin, trees_.is_empty(bin));
    } else if (is_short) {
      const Place place = place_of((*records_)[record].offset, size(record));
      trees_.balance_at(place.bin, place.key);
    }
  }

  RecordSlab* records_;
  std::uint32_t capacity_bits_;
  std::uint32_t bins_;
  TwoLevelBitmap<Bins::count> marked_;
  Trees trees_;
};

}  // namespace detail

/// `BestFit` for a range of any length: its index has 64-bit keys.
using WideBestFit = detail::CoalescingRange<detail::SizeBins<std::uint64_t>>;

/// Takes the first free block by (size, offset) that can hold the request.
///
/// Complexity: allocate finds its bin in O(1) and its block in O(log m), m being the free blocks of
/// that bin; for an alignment above one unit, free blocks below size + alignment - 1 units are
/// checked one by one. deallocate is O(log m). 32 bytes a block, 11 more for the index.
class BestFit : public detail::CoalescingRange<detail::SizeBins<std::uint32_t>> {
 public:
  using CoalescingRange::CoalescingRange;

  /// 2^32 - 2 units: offsets and sizes are 32-bit keys.
  static constexpr std::uint64_t largest_capacity = 0xffff'fffe;
  using Wide = WideBestFit;
  static constexpr const char* wide_name = "WideBestFit";
};

static_assert(Strategy<BestFit>);

/// It refuses only what no free block can hold.
template <>
inline constexpr bool keeps_refusing<BestFit> = true;
/// Like `BestFit`.
template <>
inline constexpr bool keeps_refusing<WideBestFit> = true;

}  // namespace allot
