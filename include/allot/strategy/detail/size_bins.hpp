// SPDX-License-Identifier: MIT
/// \file
/// Free blocks by (size, offset): a bin for each floating-point size with a 5-bit mantissa, a
/// bitmap of the bins that are not empty, and in each bin a sorted map. The search is exact: it
/// returns the first block by (size, offset) that can hold the request.
///
/// Within a bin, size and offset fit one key. Sizes there share their exponent e, so the blocks are
/// at least 2^e apart, and offset / 2^e tells them apart in order; the size needs e - 5 bits. In a
/// range of 2^c units that makes c - 5 bits, or c - e where e is below 5.
#pragma once

#include <allot/strategy/detail/block_sequence.hpp>
#include <allot/strategy/detail/float_bins.hpp>
#include <allot/strategy/detail/record_slab.hpp>
#include <allot/strategy/detail/tree_pool.hpp>

#include <bit>
#include <cstdint>

namespace allot::detail {

/// \tparam Key  unsigned, its highest value not below the capacity
template <class Key>
class SizeBins {
 public:
  /// Throws: `std::bad_alloc`.
  explicit SizeBins(std::uint64_t capacity)
      : capacity_bits_{static_cast<std::uint32_t>(std::bit_width(capacity))},
        bins_{Bins::bin_of(capacity) + 1} {
    roots_.ensure(bins_);
    clear();
  }

  /// Forgets every block. Complexity: linear in the bins.
  void clear() noexcept {
    for (std::uint32_t bin = 0; bin < bins_; ++bin) roots_[bin] = {};
    marked_ = {};
    trees_.clear();
  }

  /// Makes room for all the free blocks that a slab of so many records can come to hold.
  /// Throws: `std::bad_alloc`.
  void ensure(std::uint64_t records) { trees_.ensure(Trees::nodes_for((records + 1) / 2, bins_)); }

  /// Complexity: O(log m), m being the blocks in the bin.
  [[gnu::always_inline]] void insert(RecordSlab& records, std::uint32_t record,
                                     std::uint64_t offset, std::uint64_t size) noexcept {
    const Place place = place_of(offset, size);
    records[record].free_size = size;
    marked_.insert(place.bin);
    trees_.insert(records, roots_[place.bin], place.bin, place.key, record);
  }

  /// Complexity: O(1), or O(log m) where a node runs short of entries.
  [[gnu::always_inline]] void erase(RecordSlab& records, std::uint32_t record) noexcept {
    const std::uint32_t location = records[record].state;
    if (location < Trees::in_leaf) [[likely]] {
      const std::uint32_t bin = Trees::map_of(location);
      trees_.erase_short(records, roots_[bin], location);
      marked_.erase_if(bin, roots_[bin].is_empty());
    } else if (trees_.erase_tall(records, location)) {
      const Place place = place_of(records[record].offset, records[record].free_size);
      trees_.balance_at(records, roots_[place.bin], place.bin, place.key);
    }
  }

  /// Moves or resizes a block, which is still what it was. Complexity: O(log m).
  [[gnu::always_inline]] void rekey(RecordSlab& records, std::uint32_t record, std::uint64_t offset,
                                    std::uint64_t size) noexcept {
    erase(records, record);
    insert(records, record, offset, size);
  }

  /// The first block by (size, offset) that holds `size` units at a multiple of `alignment`, or
  /// `no_record`. What was found may be erased or replaced by the members below.
  /// Complexity: O(1) over the bins and O(log m) in the bin for an alignment of one unit; for
  /// larger ones, blocks below size + alignment - 1 units are looked at one by one.
  [[gnu::always_inline]] [[nodiscard]] std::uint32_t find(const RecordSlab& records,
                                                          std::uint64_t size,
                                                          std::uint64_t alignment) noexcept {
    return alignment == 1 ? find_any(size) : find_aligned(records, size, alignment);
  }

  /// The size of a block that is in the index.
  [[nodiscard]] static std::uint64_t size(const RecordSlab& records,
                                          std::uint32_t record) noexcept {
    return records[record].free_size;
  }

  /// The size of what the last `find` returned. Its bin and key tell: nobody waits for its record.
  [[nodiscard]] std::uint64_t found_size(const RecordSlab&, std::uint32_t) const noexcept {
    const std::uint32_t open = larger(found_bin_ >> 5, 1U) - 1;
    const std::uint64_t excess = found_.key >> ((capacity_bits_ - 5 - open) % 64);
    const std::uint64_t mask = (std::uint64_t{1} << open) - 1;
    return (std::uint64_t{found_bin_ - (open << 5)} << open) + (excess & mask);
  }

  /// Whether a block of `size` units behind all others comes before what was found.
  [[nodiscard]] bool prefers(const RecordSlab& records, std::uint64_t size,
                             std::uint32_t found) const noexcept {
    return size < found_size(records, found);
  }

  /// Erases the block that the last `find` returned. Requires: nothing has changed since.
  [[gnu::always_inline]] void erase_found(RecordSlab& records) noexcept {
    Root& root = roots_[found_bin_];
    trees_.erase_at(records, root, found_bin_, found_);
    marked_.erase_if(found_bin_, root.is_empty());
  }

  /// Another block takes the place of what the last `find` returned: a part of it.
  /// Requires: nothing has changed since.
  [[gnu::always_inline]] void replace_found(RecordSlab& records, std::uint32_t record,
                                            std::uint64_t offset, std::uint64_t size) noexcept {
    erase_found(records);
    insert(records, record, offset, size);
  }

  /// Size of the largest block, 0 where there is none. Complexity: O(log m).
  [[nodiscard]] std::uint64_t largest(const RecordSlab& records) const noexcept {
    if (marked_.is_empty()) return 0;
    return records[trees_.last(roots_[marked_.highest()])].free_size;
  }

  /// Bytes of bookkeeping on the heap.
  [[nodiscard]] std::uint64_t bytes() const noexcept { return trees_.bytes() + roots_.bytes(); }

  /// Whether bins, bitmap and maps agree and hold `expected` free blocks. Complexity: linear.
  [[nodiscard]] bool is_valid(const RecordSlab& records, std::uint64_t expected) const noexcept {
    std::uint64_t count = 0;
    for (std::uint32_t bin = 0; bin < bins_; ++bin) {
      if (marked_.contains(bin) == roots_[bin].is_empty()) return false;
      const bool right =
          trees_.is_valid(records, roots_[bin], bin, [&](Key key, std::uint32_t value, Key) {
            const Record& record = records[value];
            ++count;
            const Place place = place_of(record.offset, record.free_size);
            return record.free_size == size_of(records, record) &&
                   record.state <= highest_free_state && place.bin == bin && place.key == key;
          });
      if (!right) return false;
    }
    return marked_.is_valid() && count == expected;
  }

 private:
  using Bins = FloatBins<5>;
  using Trees = TreePool<Key>;
  struct alignas(64) Root : Trees::Root {};  // a cache line

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

  [[gnu::always_inline]] [[nodiscard]] std::uint32_t find_any(std::uint64_t size) noexcept {
    const Place own = place_of(0, size);
    found_bin_ = marked_.next(own.bin);
    if (found_bin_ == marked_.none) return no_record;
    const Key key = found_bin_ == own.bin ? own.key : 0;
    const std::uint32_t found = trees_.find(roots_[found_bin_], key, found_);
    return found != no_record ? found : find_in_next_bin();
  }

  [[nodiscard]] std::uint32_t find_in_next_bin() noexcept {
    found_bin_ = marked_.next(found_bin_ + 1);
    return found_bin_ == marked_.none ? no_record : trees_.find(roots_[found_bin_], 0, found_);
  }

  [[nodiscard]] std::uint32_t find_aligned(const RecordSlab& records, std::uint64_t size,
                                           std::uint64_t alignment) noexcept {
    const auto holds = [&](std::uint32_t index) noexcept {
      return fits(records[index].offset, records[index].free_size, size, alignment);
    };
    const Place own = place_of(0, size);
    Key key = own.key;
    for (std::uint32_t bin = own.bin; (bin = marked_.next(bin)) != marked_.none; ++bin) {
      if (bin != own.bin) key = 0;
      found_bin_ = bin;
      const std::uint32_t found = trees_.find_accepted(roots_[bin], key, found_, holds);
      if (found != no_record) return found;
    }
    return no_record;
  }

  std::uint32_t capacity_bits_;
  std::uint32_t bins_;
  std::uint32_t found_bin_ = 0;
  TreeCursor found_;
  TwoLevelBitmap<Bins::count> marked_;
  GrowingArray<Root, 1, Bins::count> roots_;
  Trees trees_;
};

}  // namespace allot::detail
