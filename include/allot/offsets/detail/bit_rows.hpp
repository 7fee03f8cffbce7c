// SPDX-License-Identifier: MIT
/// \file
/// `BitRows`: many sets of small numbers, of one size.
#pragma once

#include <allot/core/deferred_containers.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>

namespace allot::detail {

template <class Owner = void>
using BitWords = DeferredSpan<const std::uint64_t, Owner>;

/// A table of bits.
template <class Owner = void>
class BitRows {
 public:
  BitRows(std::size_t rows, std::size_t columns)
      : words_{(columns + 63) / 64}, bits_(rows * words_) {}

  void set(std::size_t row, std::size_t column) noexcept {
    bits_[row * words_ + column / 64] |= std::uint64_t{1} << column % 64;
  }
  /// Adds to `row` what `other` has in its row `from`.
  void add(std::size_t row, const BitRows& other, std::size_t from) noexcept {
    for (std::size_t i = 0; i < words_; ++i)
      bits_[row * words_ + i] |= other.bits_[from * words_ + i];
  }
  [[nodiscard]] BitWords<Owner> row(std::size_t row) const noexcept {
    return {bits_.data() + row * words_, words_};
  }

 private:
  std::size_t words_;
  DeferredVector<std::uint64_t, Owner> bits_;
};

/// Calls `visit` with each number that both sets have, in rising order, until it returns false.
template <class Owner, class Visit>
bool visit_common(BitWords<Owner> a, BitWords<Owner> b, Visit visit) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    for (std::uint64_t word = a[i] & b[i]; word != 0; word &= word - 1) {
      if (!visit(static_cast<std::uint32_t>(i * 64 + std::size_t(std::countr_zero(word)))))
        return false;
    }
  }
  return true;
}

}  // namespace allot::detail
