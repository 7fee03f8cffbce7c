// SPDX-License-Identifier: MIT
/// \file
/// `BufferConfig`: the element size of a named buffer, and how it grows.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>

#include <bit>
#include <cstdint>
#include <stdexcept>

namespace allot {

/// The capacity that a buffer grows to. Computed in integers: exact for any size.
class Growth {
 public:
  /// Grows to the capacity times `numerator / denominator`, rounded down.
  /// Throws: `std::invalid_argument` for a denominator of zero, and ratios below one.
  [[nodiscard]] static constexpr Growth ratio(std::uint32_t numerator,
                                              std::uint32_t denominator = 1) {
    if (denominator == 0 || numerator < denominator) {
      throw std::invalid_argument{
          (FixedText<160>{} << "a buffer cannot grow by " << std::uint64_t{numerator} << "/"
                            << std::uint64_t{denominator} << "; give a ratio of at least one")
              .c_str()};
    }
    return Growth{numerator, denominator};
  }
  /// Grows to the lowest power of two that holds what is needed.
  [[nodiscard]] static constexpr Growth power_of_two() noexcept { return Growth{0, 1}; }
  /// Grows to what is needed, no more.
  [[nodiscard]] static constexpr Growth exact() noexcept { return Growth{0, 0}; }

  /// Returns the next capacity, at least `needed`; if growth exceeds 64 bits, `needed`.
  [[nodiscard]] constexpr std::uint64_t next(std::uint64_t capacity,
                                             std::uint64_t needed) const noexcept {
    if (numerator_ != 0) return larger(multiplied(capacity), needed);
    constexpr std::uint64_t largest = std::uint64_t{1} << 63;
    return denominator_ == 0 || needed > largest ? needed : std::bit_ceil(needed);
  }

  friend constexpr bool operator==(const Growth&, const Growth&) noexcept = default;

 private:
  constexpr Growth(std::uint32_t numerator, std::uint32_t denominator) noexcept
      : numerator_{numerator}, denominator_{denominator} {}

  /// Returns 0 if the product exceeds 64 bits. The remainder's product fits: both factors have 32.
  [[nodiscard]] constexpr std::uint64_t multiplied(std::uint64_t capacity) const noexcept {
    const auto whole = checked_multiply(capacity / denominator_, numerator_);
    const std::uint64_t rest = capacity % denominator_ * numerator_ / denominator_;
    return whole ? checked_add(*whole, rest).value_or(0) : 0;
  }

  std::uint32_t numerator_;  // 0: a power of two, or, if the denominator is 0 too, exact
  std::uint32_t denominator_;
};

/// How a named buffer is laid out and grows. An element is what `add` and `ensure_capacity` count;
/// an element may be several values of the type: three floats for a position.
struct BufferConfig {
  std::uint64_t bytes_per_element = 0;  ///< a multiple of the type's size; 0: that size
  Growth growth = Growth::ratio(3, 2);  ///< how much more a buffer takes than it must
  std::uint64_t minimum = 4 * KiB;      ///< the fewest bytes that it has
  std::uint64_t maximum = 1 * GiB;      ///< the most bytes that it has
  bool asynchronous_readback = false;   ///< true if `NamedBuffers::read` may leave its copy running

  /// Returns a configuration with elements of 4 bytes, whatever the type.
  [[nodiscard]] static constexpr BufferConfig defaults() noexcept {
    return {4, Growth::ratio(3, 2), 4 * KiB, 1 * GiB, false};
  }

  /// Returns the whole elements in the maximum. Requires, as below: `bytes_per_element` is not 0.
  [[nodiscard]] constexpr std::uint64_t largest_capacity() const noexcept {
    return maximum / bytes_per_element;
  }
  /// Returns the elements that the minimum takes.
  [[nodiscard]] constexpr std::uint64_t smallest_capacity() const noexcept {
    return minimum / bytes_per_element + (minimum % bytes_per_element != 0 ? 1 : 0);
  }
  /// Returns the elements of a new buffer for `needed`: that many, or the minimum.
  [[nodiscard]] constexpr std::uint64_t first_capacity(std::uint64_t needed) const noexcept {
    return larger(needed, smaller(smallest_capacity(), largest_capacity()));
  }
  /// Returns the elements of a buffer of `capacity` once it must hold `needed`: the larger of
  /// growth and need, with growth capped by the maximum.
  [[nodiscard]] constexpr std::uint64_t next_capacity(std::uint64_t capacity,
                                                      std::uint64_t needed) const noexcept {
    return larger(needed, smaller(growth.next(capacity, needed), largest_capacity()));
  }

  friend constexpr bool operator==(const BufferConfig&, const BufferConfig&) noexcept = default;
};

}  // namespace allot
