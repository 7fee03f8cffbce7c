// SPDX-License-Identifier: MIT
/// \file
/// Sorts sizes into bins like floating-point numbers: by the power of two, and the leading bits
/// below it. A bitmap of two levels says which bins are not empty.
#pragma once

#include <cstdint>

namespace allot::detail {

/// Returns the exponent of the highest power of two that is not above `value`. Requires: not zero.
/// (A builtin of g++ and clang++: `std::bit_width` also handles zero, at some cost.)
[[nodiscard]] constexpr std::uint32_t floor_log2(std::uint64_t value) noexcept {
  return 63U ^ static_cast<std::uint32_t>(__builtin_clzll(value));
}

/// Each size below 2^(Bits + 1) has its own bin; larger bins are 2^-Bits of a power of two wide.
/// \tparam Bits  of the mantissa
template <unsigned Bits>
struct FloatBins {
  static constexpr std::uint32_t count = (64 - Bits + 1) << Bits;

  /// Returns how many of a size's low bits its bin does not determine.
  [[nodiscard]] static constexpr std::uint32_t open_bits(std::uint64_t size) noexcept {
    const std::uint32_t exponent = floor_log2(size);
    return exponent > Bits ? exponent - Bits : 0;
  }

  /// Returns the bin of a size; monotone.
  [[nodiscard]] static constexpr std::uint32_t bin_of(std::uint64_t size) noexcept {
    const std::uint32_t open = open_bits(size);
    return (open << Bits) + static_cast<std::uint32_t>(size >> open);
  }

  /// Returns how far a size is above the lowest of its bin.
  [[nodiscard]] static constexpr std::uint64_t excess_of(std::uint64_t size) noexcept {
    return size & ((std::uint64_t{1} << open_bits(size)) - 1);
  }
};

/// A set of numbers below `Count`; finds the next member from a number on in O(1).
template <std::uint32_t Count>
class TwoLevelBitmap {
 public:
  static constexpr std::uint32_t none = 0xffff'ffff;

  [[nodiscard]] bool is_empty() const noexcept { return summary_ == 0; }
  [[nodiscard]] bool contains(std::uint32_t number) const noexcept {
    return (words_[number / 64] >> (number % 64) & 1) != 0;
  }

  void insert(std::uint32_t number) noexcept {
    words_[number / 64] |= std::uint64_t{1} << (number % 64);
    summary_ |= std::uint64_t{1} << (number / 64);
  }

  /// Without a branch on the condition: whether a bin has become empty is hard to predict.
  void erase_if(std::uint32_t number, bool condition) noexcept {
    std::uint64_t& word = words_[number / 64];
    word &= ~(std::uint64_t{condition} << (number % 64));
    summary_ &= ~(std::uint64_t{word == 0} << (number / 64));
  }

  /// Returns the lowest member that is at least `number`, or `none`.
  [[nodiscard]] std::uint32_t next(std::uint32_t number) const noexcept {
    if (number >= Count) return none;
    const std::uint32_t word = number / 64;
    if (const std::uint64_t rest = words_[word] >> (number % 64); rest != 0)
      return number + static_cast<std::uint32_t>(__builtin_ctzll(rest));
    const std::uint64_t above = summary_ & (~std::uint64_t{1} << word);
    if (above == 0) return none;
    const auto found = static_cast<std::uint32_t>(__builtin_ctzll(above));
    return found * 64 + static_cast<std::uint32_t>(__builtin_ctzll(words_[found]));
  }

  /// Returns the highest member. Requires: not empty.
  [[nodiscard]] std::uint32_t highest() const noexcept {
    const std::uint32_t word = floor_log2(summary_);
    return word * 64 + floor_log2(words_[word]);
  }

  /// Returns whether both levels agree.
  [[nodiscard]] bool is_valid() const noexcept {
    for (std::uint32_t word = 0; word < words; ++word) {
      if ((summary_ >> word & 1) != (words_[word] != 0 ? 1U : 0U)) return false;
    }
    return true;
  }

 private:
  static_assert(Count <= 64 * 64);
  static constexpr std::uint32_t words = (Count + 63) / 64;

  std::uint64_t summary_ = 0;
  std::uint64_t words_[words] = {};
};

}  // namespace allot::detail
