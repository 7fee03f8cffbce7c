// SPDX-License-Identifier: MIT
/// \file
/// Free blocks by size, roughly: a bin for each floating-point size, a two-level bitmap of the bins
/// that are not empty, and in each bin an intrusive list, most recently freed first.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/strategy/detail/block_sequence.hpp>
#include <allot/strategy/detail/float_bins.hpp>
#include <allot/strategy/detail/growing_array.hpp>
#include <allot/strategy/detail/record_slab.hpp>

#include <cstdint>

namespace allot::detail {

/// A free record's state is its bin, its links are those of the bin's list.
/// Complexity: constant, but for `largest` and `is_valid`.
class SizeLists {
 public:
  using Bins = FloatBins<6>;

  /// Throws: `std::bad_alloc`.
  explicit SizeLists(std::uint64_t capacity) : bins_{Bins::bin_of(capacity) + 1} {
    firsts_.ensure(bins_);
    clear();
  }

  /// Forgets every block. Complexity: linear in the bins.
  void clear() noexcept {
    for (std::uint32_t bin = 0; bin < bins_; ++bin) firsts_[bin] = list_end;
    marked_ = {};
  }

  /// Lists need no memory of their own.
  static void ensure(std::uint64_t) noexcept {}

  [[gnu::always_inline]] void insert(RecordSlab& records, std::uint32_t index, std::uint64_t,
                                     std::uint64_t size) noexcept {
    const std::uint32_t bin = Bins::bin_of(size);
    const std::uint32_t first = firsts_[bin];
    Record& record = records[index];
    record.state = bin;
    record.link[0] = list_end;
    record.link[1] = first;
    records[first].link[0] = index;
    firsts_[bin] = index;
    marked_.insert(bin);
  }

  [[gnu::always_inline]] void erase(RecordSlab& records, std::uint32_t index) noexcept {
    const Record& record = records[index];
    const std::uint32_t bin = record.state;
    const std::uint32_t before = record.link[0];
    const std::uint32_t after = record.link[1];
    records[after].link[0] = before;
    records[before].link[1] = after;
    const std::uint32_t first = before == list_end ? after : firsts_[bin];
    firsts_[bin] = first;
    marked_.erase_if(bin, first == list_end);
  }

  /// Moves or resizes a block, which is still what it was.
  void rekey(RecordSlab& records, std::uint32_t index, std::uint64_t offset,
             std::uint64_t size) noexcept {
    erase(records, index);
    insert(records, index, offset, size);
  }

  /// The first block of the request's own bin where it holds it, else the first of the next bin
  /// above; `no_record` where there is none. For an alignment above one unit, where that does not
  /// hold it either: the first of a bin in which every block is large enough.
  [[gnu::always_inline]] [[nodiscard]] std::uint32_t find(const RecordSlab& records,
                                                          std::uint64_t size,
                                                          std::uint64_t alignment) noexcept {
    const std::uint32_t own = Bins::bin_of(size);
    std::uint32_t bin = marked_.next(own);
    if (bin == marked_.none) return no_record;
    if (bin == own) {
      found_ = firsts_[bin];
      if (holds(records, found_, size, alignment)) return found_;
      bin = marked_.next(own + 1);
      if (bin == marked_.none) return no_record;
    }
    found_ = firsts_[bin];
    if (alignment != 1 && !holds(records, found_, size, alignment))
      found_ = find_sure(size, alignment);
    return found_;
  }

  /// The size of a block that is in the index.
  [[nodiscard]] static std::uint64_t size(const RecordSlab& records, std::uint32_t index) noexcept {
    return size_of(records, records[index]);
  }

  /// The size of what the last `find` returned.
  [[nodiscard]] static std::uint64_t found_size(const RecordSlab& records,
                                                std::uint32_t found) noexcept {
    return size_of(records, records[found]);
  }

  /// Whether a block of `size` units behind all others comes before what was found.
  [[nodiscard]] static bool prefers(const RecordSlab& records, std::uint64_t size,
                                    std::uint32_t found) noexcept {
    return Bins::bin_of(size) < records[found].state;
  }

  /// Erases the block that the last `find` returned. Requires: nothing has changed since.
  void erase_found(RecordSlab& records) noexcept { erase(records, found_); }

  /// Another block takes the place of what the last `find` returned: a part of it.
  /// Requires: nothing has changed since.
  void replace_found(RecordSlab& records, std::uint32_t index, std::uint64_t offset,
                     std::uint64_t size) noexcept {
    erase(records, found_);
    insert(records, index, offset, size);
  }

  /// Size of the largest block, 0 where there is none. Complexity: linear in the highest bin.
  [[nodiscard]] std::uint64_t largest(const RecordSlab& records) const noexcept {
    if (marked_.is_empty()) return 0;
    std::uint64_t largest = 0;
    for (std::uint32_t i = firsts_[marked_.highest()]; i != list_end; i = records[i].link[1]) {
      largest = larger(largest, size_of(records, records[i]));
    }
    return largest;
  }

  /// Bytes of bookkeeping on the heap.
  [[nodiscard]] std::uint64_t bytes() const noexcept { return firsts_.bytes(); }

  /// Whether lists and bitmap agree and hold `expected` free blocks. Complexity: linear.
  [[nodiscard]] bool is_valid(const RecordSlab& records, std::uint64_t expected) const noexcept {
    std::uint64_t count = 0;
    for (std::uint32_t bin = 0; bin < bins_; ++bin) {
      if (marked_.contains(bin) == (firsts_[bin] == list_end)) return false;
      std::uint32_t before = list_end;
      for (std::uint32_t i = firsts_[bin]; i != list_end; i = records[i].link[1]) {
        const Record& record = records[i];
        if (record.state != bin || record.link[0] != before) return false;
        if (Bins::bin_of(size_of(records, record)) != bin || ++count > expected) return false;
        before = i;
      }
    }
    return marked_.is_valid() && count == expected;
  }

 private:
  // The slab's first record heads the address order and is never free. Lists end with it, and it
  // takes the writes that it would cost mispredicted branches to avoid.
  static constexpr std::uint32_t list_end = 0;

  [[nodiscard]] static bool holds(const RecordSlab& records, std::uint32_t index,
                                  std::uint64_t size, std::uint64_t alignment) noexcept {
    const Record& record = records[index];
    return fits(record.offset, size_of(records, record), size, alignment);
  }

  [[nodiscard]] std::uint32_t find_sure(std::uint64_t size,
                                        std::uint64_t alignment) const noexcept {
    const auto enough = checked_add(size, alignment - 1);
    if (!enough) return no_record;
    const bool is_lowest = Bins::excess_of(*enough) == 0;
    const std::uint32_t bin = marked_.next(Bins::bin_of(*enough) + (is_lowest ? 0 : 1));
    return bin == marked_.none ? no_record : firsts_[bin];
  }

  std::uint32_t bins_;
  std::uint32_t found_ = no_record;
  TwoLevelBitmap<Bins::count> marked_;
  GrowingArray<std::uint32_t, 1, Bins::count> firsts_;  // of each bin, or list_end
};

}  // namespace allot::detail
