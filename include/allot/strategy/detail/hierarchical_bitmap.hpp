// SPDX-License-Identifier: MIT
/// \file
/// `HierarchicalBitmap`: a set of numbers below a bound that finds its lowest member in a few
/// steps: a bitmap, a bitmap of its nonzero words, and so on up to one word (van Emde Boas, 1975,
/// with 64 children).
#pragma once

#include <allot/strategy/detail/records.hpp>
#include <allot/strategy/detail/trivial_vector.hpp>

#include <bit>
#include <cstdint>
#include <new>
#include <utility>

namespace allot::detail {

/// Complexity: `lowest`, `insert` and `erase` touch one word of each level: four for 16 million
/// numbers, six for 2^36.
class HierarchicalBitmap {
 public:
  /// Contains every number below `bound`; the bound is 0 if the host has no memory for it.
  /// Complexity: linear in the words.
  HierarchicalBitmap(std::uint64_t bound, std::nothrow_t) noexcept {
    if (make_levels(bound)) fill(0, bound);
  }
  /// The same. Throws: `std::bad_alloc`.
  explicit HierarchicalBitmap(std::uint64_t bound) : HierarchicalBitmap{bound, std::nothrow} {
    require_bookkeeping(words_.bytes() != 0);
  }

  [[nodiscard]] std::uint64_t bound() const noexcept { return bound_; }
  [[nodiscard]] bool is_empty() const noexcept { return word(levels_ - 1, 0) == 0; }

  /// Requires: `number` is below the bound.
  [[nodiscard]] bool contains(std::uint64_t number) const noexcept {
    return (word(0, number / 64) >> (number % 64) & 1) != 0;
  }

  /// Requires: not empty.
  [[nodiscard]] std::uint64_t lowest() const noexcept {
    std::uint64_t number = 0;
    for (std::uint32_t level = levels_; level-- > 0;) {
      number = number * 64 + static_cast<std::uint64_t>(std::countr_zero(word(level, number)));
    }
    return number;
  }

  /// Requires: `number` is below the bound.
  void insert(std::uint64_t number) noexcept {
    for (std::uint32_t level = 0; level < levels_; ++level, number /= 64) {
      std::uint64_t& bits = word(level, number / 64);
      const bool was_empty = bits == 0;
      bits |= std::uint64_t{1} << (number % 64);
      if (!was_empty) return;
    }
  }

  /// Requires: `number` is below the bound.
  void erase(std::uint64_t number) noexcept {
    for (std::uint32_t level = 0; level < levels_; ++level, number /= 64) {
      std::uint64_t& bits = word(level, number / 64);
      bits &= ~(std::uint64_t{1} << (number % 64));
      if (bits != 0) return;
    }
  }

  /// Makes every number below the bound a member. Complexity: linear in the words.
  void insert_all() noexcept { fill(0, bound_); }

  /// Raises the bound; the numbers from the old bound on become members. Complexity: linear in the
  /// words. Returns false, and changes nothing, if the host has no memory for them.
  [[nodiscard]] bool try_raise(std::uint64_t bound) noexcept {
    HierarchicalBitmap raised;
    if (!raised.make_levels(bound)) return false;
    const std::uint64_t words = (bound_ + 63) / 64;
    for (std::uint64_t i = 0; i < words; ++i) raised.word(0, i) = word(0, i);
    raised.fill(bound_, bound);
    *this = std::move(raised);
    return true;
  }
  /// The same. Throws: `std::bad_alloc`; nothing has changed.
  void raise(std::uint64_t bound) { require_bookkeeping(try_raise(bound)); }

  /// Returns the bytes held.
  [[nodiscard]] std::uint64_t bytes() const noexcept { return words_.bytes(); }

  /// Returns whether the levels agree. Complexity: linear in the words.
  [[nodiscard]] bool is_valid() const noexcept {
    std::uint64_t numbers = bound_;
    for (std::uint32_t level = 0; level + 1 < levels_; ++level) {
      const std::uint64_t words = words_for(numbers);
      for (std::uint64_t i = 0; i < words; ++i) {
        const bool is_marked = (word(level + 1, i / 64) >> (i % 64) & 1) != 0;
        if (is_marked != (word(level, i) != 0)) return false;
      }
      numbers = words;
    }
    return bound_ % 64 == 0 || word(0, bound_ / 64) >> (bound_ % 64) == 0;
  }

 private:
  static constexpr std::uint32_t most_levels = 11;  // 64^11 > 2^64

  HierarchicalBitmap() = default;

  [[nodiscard]] static constexpr std::uint64_t words_for(std::uint64_t numbers) noexcept {
    return numbers == 0 ? 1 : numbers / 64 + (numbers % 64 == 0 ? 0 : 1);
  }

  [[nodiscard]] std::uint64_t& word(std::uint32_t level, std::uint64_t index) noexcept {
    return words_[begin_[level] + index];
  }
  [[nodiscard]] const std::uint64_t& word(std::uint32_t level, std::uint64_t index) const noexcept {
    return words_[begin_[level] + index];
  }

  /// Makes room for numbers below `bound`; the caller sets the members. Returns false if the host has
  /// no memory for them.
  [[nodiscard]] bool make_levels(std::uint64_t bound) noexcept {
    std::uint64_t all = 0;
    std::uint64_t words = bound;
    do {
      words = words_for(words);
      begin_[levels_++] = all;
      all += words;
    } while (words != 1);
    if (!words_.try_ensure(all)) return false;
    bound_ = bound;
    return true;
  }

  [[nodiscard]] static constexpr std::uint64_t lowest_bits(std::uint64_t count) noexcept {
    return (std::uint64_t{1} << count) - 1;
  }

  /// Makes all numbers from `first` on members; those below it stay. Sets every upper level.
  void fill(std::uint64_t first, std::uint64_t bound) noexcept {
    std::uint64_t numbers = bound;
    for (std::uint64_t i = first / 64; i < words_for(numbers); ++i) {
      const std::uint64_t kept = i * 64 < first ? lowest_bits(first % 64) : 0;
      const std::uint64_t left = numbers - i * 64;
      const std::uint64_t all = left >= 64 ? ~std::uint64_t{0} : lowest_bits(left);
      word(0, i) = (word(0, i) & kept) | (all & ~kept);
    }
    for (std::uint32_t level = 1; level < levels_; ++level) {
      const std::uint64_t below = words_for(numbers);
      for (std::uint64_t i = 0; i < words_for(below); ++i) word(level, i) = 0;
      for (std::uint64_t i = 0; i < below; ++i) {
        if (word(level - 1, i) != 0) word(level, i / 64) |= std::uint64_t{1} << (i % 64);
      }
      numbers = below;
    }
  }

  std::uint64_t bound_ = 0;
  std::uint32_t levels_ = 0;
  std::uint64_t begin_[most_levels] = {};  // of each level, in `words_`
  TrivialVector<std::uint64_t> words_;
};

}  // namespace allot::detail
