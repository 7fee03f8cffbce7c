// SPDX-License-Identifier: MIT
/// \file
/// Which sizes a pool's buffers have: a compile-time policy. Buffers of one class stand in for each
/// other, so fewer classes mean more hits and more waste.
///
/// | policy        | sizes, in units                          | waste, of the size asked for |
/// |---------------|------------------------------------------|------------------------------|
/// | `PowersOfTwo` | 1, 2, 4, 8, 16, ...                      | under 100 %                  |
/// | `FourSteps`   | 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16...| under 25 %                   |
/// | `ExactSizes`  | all                                      | none                         |
///
/// A unit is the arena's granularity (256 bytes as a rule); what rounding up to whole units costs
/// comes first, and is less than one unit.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace allot {

/// What a pool asks of its size classes.
///
/// | expression           | meaning                                                              |
/// |----------------------|----------------------------------------------------------------------|
/// | `Classes::round_up(units)` | the size of the class of that size, at least one: the least of its   |
/// |                      | sizes that is not smaller, or nothing where that exceeds 64 bits     |
///
/// Where the classes can be numbered, `Classes::count` and `Classes::index_of(size)`, below it and different
/// for each class size: the pool then looks them up in a table.
template <class Classes>
concept SizeClasses = requires(std::uint64_t units) {
  { Classes::round_up(units) } -> std::same_as<std::optional<std::uint64_t>>;
};

/// Few classes: for sizes that vary much.
struct PowersOfTwo {
  static constexpr std::size_t count = 64;

  [[nodiscard]] static constexpr std::optional<std::uint64_t> round_up(
      std::uint64_t units) noexcept {
    if (units > std::uint64_t{1} << 63) return std::nullopt;
    return std::bit_ceil(units);
  }
  [[nodiscard]] static constexpr std::size_t index_of(std::uint64_t size) noexcept {
    return static_cast<std::size_t>(std::countr_zero(size));
  }
};

/// Four sizes from one power of two to the next, evenly spaced.
struct FourSteps {
  static constexpr std::size_t count = 256;

  [[nodiscard]] static constexpr std::optional<std::uint64_t> round_up(
      std::uint64_t units) noexcept {
    const int exponent = 63 - std::countl_zero(units);
    if (exponent <= 2) return units;
    const std::uint64_t below_step = (std::uint64_t{1} << (exponent - 2)) - 1;
    const std::uint64_t raised = units + below_step;
    if (raised < units) return std::nullopt;
    return raised & ~below_step;
  }
  [[nodiscard]] static constexpr std::size_t index_of(std::uint64_t size) noexcept {
    const int exponent = 63 - std::countl_zero(size);
    const std::uint64_t leading = exponent < 2 ? size << (2 - exponent) : size >> (exponent - 2);
    return static_cast<std::size_t>(exponent) * 4 + static_cast<std::size_t>(leading & 3);
  }
};

/// A class for each size: for loops whose sizes are always the same.
struct ExactSizes {
  [[nodiscard]] static constexpr std::optional<std::uint64_t> round_up(
      std::uint64_t units) noexcept {
    return units;
  }
};

static_assert(SizeClasses<PowersOfTwo> && SizeClasses<FourSteps> && SizeClasses<ExactSizes>);

}  // namespace allot
