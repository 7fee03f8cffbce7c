// SPDX-License-Identifier: MIT
/// \file
/// The sizes of a pool's buffers: a compile-time policy. Buffers of one class replace each other,
/// so fewer classes mean more hits and more waste.
///
/// | policy        | sizes, in units                          | waste, of the size asked for |
/// |---------------|------------------------------------------|------------------------------|
/// | `PowersOfTwo` | 1, 2, 4, 8, 16, ...                      | under 100 %                  |
/// | `FourSteps`   | 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16...| under 25 %                   |
/// | `ExactSizes`  | all                                      | none                         |
///
/// A unit is the arena's granularity (usually 256 bytes). Sizes are first rounded up to whole
/// units, which wastes less than one unit.
#pragma once

#include <allot/core/version.hpp>

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace allot {

/// What a pool requires of its size classes.
///
/// | expression           | meaning                                                              |
/// |----------------------|----------------------------------------------------------------------|
/// | `Classes::round_up(units)` | the smallest class size that is at least `units` (one or more), or |
/// |                      | nothing if that exceeds 64 bits                                      |
///
/// If the classes can be numbered, add `Classes::count` and `Classes::index_of(size)`, which is
/// below `count` and different for each class size: the pool then looks classes up in a table.
template <class Classes>
concept SizeClasses = requires(std::uint64_t units) {
  { Classes::round_up(units) } -> std::same_as<std::optional<std::uint64_t>>;
};

/// Few classes: for sizes that vary a lot.
struct PowersOfTwo {
  static constexpr std::size_t count = 64;  ///< classes

  /// Returns the smallest class size that is at least `units`, or nothing beyond 64 bits.
  [[nodiscard]] static constexpr std::optional<std::uint64_t> round_up(
      std::uint64_t units) noexcept {
    if (units > std::uint64_t{1} << 63) return std::nullopt;
    return std::bit_ceil(units);
  }
  /// Returns the number of a class, below `count`.
  [[nodiscard]] static constexpr std::size_t index_of(std::uint64_t size) noexcept {
    return static_cast<std::size_t>(std::countr_zero(size));
  }
};

/// Four sizes from one power of two to the next, evenly spaced.
struct FourSteps {
  static constexpr std::size_t count = 256;  ///< above all indices of classes

  /// Returns the smallest class size that is at least `units`, or nothing beyond 64 bits.
  [[nodiscard]] static constexpr std::optional<std::uint64_t> round_up(
      std::uint64_t units) noexcept {
    const int exponent = 63 - std::countl_zero(units);
    if (exponent <= 2) return units;
    const std::uint64_t below_step = (std::uint64_t{1} << (exponent - 2)) - 1;
    const std::uint64_t raised = units + below_step;
    if (raised < units) return std::nullopt;
    return raised & ~below_step;
  }
  /// Returns the number of a class, below `count`.
  [[nodiscard]] static constexpr std::size_t index_of(std::uint64_t size) noexcept {
    const int exponent = 63 - std::countl_zero(size);
    const std::uint64_t leading = exponent < 2 ? size << (2 - exponent) : size >> (exponent - 2);
    return static_cast<std::size_t>(exponent) * 4 + static_cast<std::size_t>(leading & 3);
  }
};

/// A class for each size: for loops whose sizes are always the same.
struct ExactSizes {
  /// Returns the smallest class size that is at least `units`, or nothing beyond 64 bits.
  [[nodiscard]] static constexpr std::optional<std::uint64_t> round_up(
      std::uint64_t units) noexcept {
    return units;
  }
};

static_assert(SizeClasses<PowersOfTwo> && SizeClasses<FourSteps> && SizeClasses<ExactSizes>);

}  // namespace allot
