// SPDX-License-Identifier: MIT
/// \file
/// Free blocks by size, roughly: a bin for each floating-point size, a two-level bitmap of the bins
/// that are not empty, and in each bin an intrusive list, most recently freed first.
#pragma once

#include <allot/core/units.hpp>
#include <allot/strategy/detail/block_sequence.hpp>
#include <allot/strategy/detail/float_bins.hpp>
#include <allot/strategy/detail/records.hpp>
#include <allot/strategy/detail/trivial_vector.hpp>

#include <cstdint>

namespace allot::detail {

/// A free record's state is its bin; its links are those of the bin's list.
/// Complexity: constant, except for `largest` and `is_valid`.
class SizeLists {
 public:
  using Bins = FloatBins<6>;

  struct Found {
    std::uint32_t record;  ///< `no_record` if nothing was found
    std::uint64_t size;

    explicit operator bool() const noexcept { return record != no_record; }
  };

  SizeLists(RecordSlab& records, std::uint64_t capacity) noexcept
      : records_{&records}, bins_{Bins::bin_of(capacity) + 1} {}

  /// Forgets every block. Complexity: linear in the bins.
  void clear() noexcept {
    for (std::uint32_t bin = 0; bin < bins_; ++bin) firsts_[bin] = list_end;
    marked_ = {};
  }

  /// Makes room for the bins, once: lists need no further memory. Returns false if that cannot be.
  [[nodiscard]] bool try_ensure(std::uint64_t) noexcept {
    if (firsts_.bytes() != 0) return true;
    if (!firsts_.try_ensure(bins_)) return false;
    clear();
    return true;
  }

  void insert(std::uint32_t index, std::uint64_t, std::uint64_t size) noexcept {
    RecordSlab& records = *records_;
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

  void erase(std::uint32_t index) noexcept {
    RecordSlab& records = *records_;
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
  void erase(const Found& found) noexcept { erase(found.record); }

  void replace(const auto& old, std::uint32_t index, std::uint64_t offset,
               std::uint64_t size) noexcept {
    erase(old);
    insert(index, offset, size);
  }

  /// Finds the first block of the request's own bin if that can hold it, otherwise the first of the
  /// next bin above. If that cannot hold it either, because of an alignment above one unit: the
  /// first of a bin in which every block is large enough.
  [[nodiscard]] Found find(std::uint64_t size, std::uint64_t alignment) const noexcept {
    const std::uint32_t own = Bins::bin_of(size);
    std::uint32_t bin = marked_.next(own);
    if (bin == marked_.none) return nothing;
    if (bin == own) {
      const Found first = first_of(bin);
      if (holds(first, size, alignment)) return first;
      bin = marked_.next(own + 1);
      if (bin == marked_.none) return nothing;
    }
    const Found found = first_of(bin);
    if (alignment != 1 && !holds(found, size, alignment)) return find_sure(size, alignment);
    return found;
  }

  /// Returns the size of a block that is in the index.
  [[nodiscard]] std::uint64_t size(std::uint32_t index) const noexcept {
    return size_of(*records_, (*records_)[index]);
  }

  /// Returns whether a block of `size` units behind all others comes before what was found.
  [[nodiscard]] bool prefers(std::uint64_t size, const Found& found) const noexcept {
    return Bins::bin_of(size) < (*records_)[found.record].state;
  }

  /// Returns the size of the largest block, 0 if there is none. Complexity: linear in the highest
  /// bin.
  [[nodiscard]] std::uint64_t largest() const noexcept {
    if (marked_.is_empty()) return 0;
    const RecordSlab& records = *records_;
    std::uint64_t largest = 0;
    for (std::uint32_t i = firsts_[marked_.highest()]; i != list_end; i = records[i].link[1]) {
      largest = larger(largest, size_of(records, records[i]));
    }
    return largest;
  }

  /// Returns the bytes of bookkeeping on the heap.
  [[nodiscard]] std::uint64_t bytes() const noexcept { return firsts_.bytes(); }

  /// Returns whether lists and bitmap agree and hold `expected` free blocks. Complexity: linear.
  [[nodiscard]] bool is_valid(std::uint64_t expected) const noexcept {
    const RecordSlab& records = *records_;
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
  // absorbs writes, which saves a branch that mispredicts.
  static constexpr std::uint32_t list_end = 0;
  static constexpr Found nothing = {no_record, 0};

  [[nodiscard]] Found first_of(std::uint32_t bin) const noexcept {
    return {firsts_[bin], size(firsts_[bin])};
  }

  [[nodiscard]] bool holds(const Found& found, std::uint64_t size,
                           std::uint64_t alignment) const noexcept {
    return fits((*records_)[found.record].offset, found.size, size, alignment);
  }

  [[nodiscard]] Found find_sure(std::uint64_t size, std::uint64_t alignment) const noexcept {
    if (size > ~std::uint64_t{0} - (alignment - 1)) return nothing;
    const std::uint64_t enough = size + (alignment - 1);
    const bool is_lowest = Bins::excess_of(enough) == 0;
    const std::uint32_t bin = marked_.next(Bins::bin_of(enough) + (is_lowest ? 0 : 1));
    return bin == marked_.none ? nothing : first_of(bin);
  }

  RecordSlab* records_;
  std::uint32_t bins_;
  TwoLevelBitmap<Bins::count> marked_;
  TrivialVector<std::uint32_t> firsts_;  // of each bin, or list_end
};

}  // namespace allot::detail
