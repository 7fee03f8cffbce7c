// SPDX-License-Identifier: MIT
/// \file
/// Free blocks by size: 1,920 bins over floating-point sizes with a 5-bit mantissa, a two-level
/// bitmap of the bins that are not empty, and in each bin a tree ordered by (size, offset).
///
/// Sizes below 64 have a bin each; larger bins are 1/32 of a power of two wide. The search is
/// exact: it returns the first block by (size, offset) that can hold the request.
#pragma once

#include <allot/strategy/detail/block_sequence.hpp>
#include <allot/strategy/detail/free_tree.hpp>
#include <allot/strategy/detail/record_slab.hpp>

#include <array>
#include <bit>
#include <cstdint>

namespace allot::detail {

class SizeBins {
 public:
  SizeBins() noexcept { roots_.fill(no_record); }

  /// Complexity: O(log m), m being the blocks in the bin.
  void insert(RecordSlab& records, std::uint32_t index) noexcept {
    const std::uint32_t bin = bin_of(records[index].size);
    if (roots_[bin] == no_record) mark(bin);
    Tree::insert(records, roots_[bin], index);
  }

  /// Complexity: O(log m).
  void erase(RecordSlab& records, std::uint32_t index) noexcept {
    const std::uint32_t bin = bin_of(records[index].size);
    Tree::erase(records, roots_[bin], index);
    if (roots_[bin] == no_record) unmark(bin);
  }

  /// Moves or resizes a block. Complexity: O(log m).
  void rekey(RecordSlab& records, std::uint32_t index, std::uint64_t offset,
             std::uint64_t size) noexcept {
    erase(records, index);
    records[index].offset = offset;
    records[index].size = size;
    insert(records, index);
  }

  /// The first block by (size, offset) that holds `size` units at a multiple of `alignment`, or
  /// `no_record`. `tail` (or `no_record`) takes part though it is not in the index; its offset is
  /// above all others.
  /// Complexity: O(1) over the bins and O(log m) in the bin for an alignment of one unit; for
  /// larger ones, blocks below size + alignment - 1 units are looked at one by one.
  [[nodiscard]] std::uint32_t find(const RecordSlab& records, std::uint32_t tail,
                                   std::uint64_t size, std::uint64_t alignment) const noexcept {
    const std::uint32_t found = find_indexed(records, size, alignment);
    if (tail == no_record) return found;
    const Record& last = records[tail];
    if (!fits(last.offset, last.size, size, alignment)) return found;
    return found == no_record || last.size < records[found].size ? tail : found;
  }

  /// Size of the largest block, 0 where there is none. Complexity: O(log m).
  [[nodiscard]] std::uint64_t largest(const RecordSlab& records) const noexcept {
    if (summary_ == 0) return 0;
    const auto word = static_cast<std::uint32_t>(63 - std::countl_zero(summary_));
    const auto bit = static_cast<std::uint32_t>(63 - std::countl_zero(words_[word]));
    return records[Tree::extreme(records, roots_[word * 64 + bit], 1)].size;
  }

  /// Whether bins, bitmap and trees agree and hold `expected` blocks. Complexity: linear.
  [[nodiscard]] bool is_valid(const RecordSlab& records, std::uint64_t expected) const noexcept {
    std::uint64_t count = 0;
    for (std::uint32_t bin = 0; bin < bins; ++bin) {
      const bool marked = (words_[bin / 64] >> (bin % 64) & 1) != 0;
      if (marked != (roots_[bin] != no_record)) return false;
      if (!marked) continue;
      if (!Tree::is_valid(records, roots_[bin], count)) return false;
      if (bin_of(records[Tree::extreme(records, roots_[bin], 0)].size) != bin) return false;
      if (bin_of(records[Tree::extreme(records, roots_[bin], 1)].size) != bin) return false;
    }
    for (std::uint32_t word = 0; word < words; ++word) {
      if ((summary_ >> word & 1) != (words_[word] != 0 ? 1U : 0U)) return false;
    }
    return count == expected;
  }

  /// The bin of a size: monotone, exact below 64.
  [[nodiscard]] static constexpr std::uint32_t bin_of(std::uint64_t size) noexcept {
    if (size < (std::uint64_t{1} << mantissa_bits)) return static_cast<std::uint32_t>(size);
    const auto exponent = static_cast<std::uint32_t>(std::bit_width(size)) - 1;
    const auto mantissa = static_cast<std::uint32_t>(size >> (exponent - mantissa_bits)) &
                          ((1U << mantissa_bits) - 1);
    return ((exponent - mantissa_bits + 1) << mantissa_bits) + mantissa;
  }

 private:
  using Tree = FreeTree<BySizeThenOffset>;

  static constexpr std::uint32_t mantissa_bits = 5;
  static constexpr std::uint32_t bins = (64 - mantissa_bits + 1) << mantissa_bits;
  static constexpr std::uint32_t words = bins / 64;
  static_assert(words <= 64);

  [[nodiscard]] std::uint32_t find_indexed(const RecordSlab& records, std::uint64_t size,
                                           std::uint64_t alignment) const noexcept {
    const std::uint32_t own = bin_of(size);
    if (std::uint32_t found = find_in(records, roots_[own], size, alignment); found != no_record)
      return found;
    for (std::uint32_t bin = next_marked(own + 1); bin != no_record; bin = next_marked(bin + 1)) {
      const std::uint32_t found = find_in(records, roots_[bin], size, alignment);
      if (found != no_record) return found;
    }
    return no_record;
  }

  [[nodiscard]] static std::uint32_t find_in(const RecordSlab& records, std::uint32_t root,
                                             std::uint64_t size, std::uint64_t alignment) noexcept {
    return alignment == 1 ? lower_bound(records, root, size)
                          : first_aligned(records, root, size, alignment);
  }

  [[nodiscard]] static std::uint32_t lower_bound(const RecordSlab& records, std::uint32_t root,
                                                 std::uint64_t size) noexcept {
    std::uint32_t found = no_record;
    while (root != no_record) {
      const Record& here = records[root];
      const bool holds = here.size >= size;
      if (holds) found = root;
      root = here.child[!holds];
    }
    return found;
  }

  [[nodiscard]] static std::uint32_t first_aligned(const RecordSlab& records, std::uint32_t root,
                                                   std::uint64_t size,
                                                   std::uint64_t alignment) noexcept {
    if (root == no_record) return no_record;
    const Record& here = records[root];
    if (here.size >= size) {
      const std::uint32_t found = first_aligned(records, here.child[0], size, alignment);
      if (found != no_record) return found;
      if (fits(here.offset, here.size, size, alignment)) return root;
    }
    return first_aligned(records, here.child[1], size, alignment);
  }

  /// The lowest bin from `bin` on that is not empty, or `no_record`.
  [[nodiscard]] std::uint32_t next_marked(std::uint32_t bin) const noexcept {
    if (bin >= bins) return no_record;
    const std::uint32_t word = bin / 64;
    if (const std::uint64_t rest = words_[word] >> (bin % 64); rest != 0)
      return bin + static_cast<std::uint32_t>(std::countr_zero(rest));
    if (word + 1 >= words) return no_record;
    const std::uint64_t above = summary_ >> (word + 1) << (word + 1);
    if (above == 0) return no_record;
    const auto next = static_cast<std::uint32_t>(std::countr_zero(above));
    return next * 64 + static_cast<std::uint32_t>(std::countr_zero(words_[next]));
  }

  void mark(std::uint32_t bin) noexcept {
    words_[bin / 64] |= std::uint64_t{1} << (bin % 64);
    summary_ |= std::uint64_t{1} << (bin / 64);
  }

  void unmark(std::uint32_t bin) noexcept {
    words_[bin / 64] &= ~(std::uint64_t{1} << (bin % 64));
    if (words_[bin / 64] == 0) summary_ &= ~(std::uint64_t{1} << (bin / 64));
  }

  std::uint64_t summary_ = 0;
  std::array<std::uint64_t, words> words_{};
  std::array<std::uint32_t, bins> roots_;
};

}  // namespace allot::detail
