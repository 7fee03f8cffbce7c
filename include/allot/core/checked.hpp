// SPDX-License-Identifier: MIT
/// \file
/// Arithmetic on sizes that come from outside. Nothing here wraps: a result that does not fit is
/// `std::nullopt`.
#pragma once

#include <allot/core/units.hpp>

#include <cstdint>
#include <optional>

namespace allot {

/// `a + b`, or nothing if it exceeds 64 bits.
[[nodiscard]] constexpr std::optional<std::uint64_t> checked_add(std::uint64_t a,
                                                                 std::uint64_t b) noexcept {
  if (a > ~std::uint64_t{0} - b) return std::nullopt;
  return a + b;
}

/// `a * b`, or nothing if it exceeds 64 bits.
[[nodiscard]] constexpr std::optional<std::uint64_t> checked_multiply(std::uint64_t a,
                                                                      std::uint64_t b) noexcept {
  if (b != 0 && a > ~std::uint64_t{0} / b) return std::nullopt;
  return a * b;
}

/// The lowest multiple of `alignment` (a power of two) that is not below `value`, or nothing if it
/// exceeds 64 bits.
[[nodiscard]] constexpr std::optional<std::uint64_t> checked_align_up(
    std::uint64_t value, std::uint64_t alignment) noexcept {
  const auto raised = checked_add(value, alignment - 1);
  if (!raised) return std::nullopt;
  return *raised & ~(alignment - 1);
}

/// The highest multiple of `alignment` (a power of two) that is not above `value`.
[[nodiscard]] constexpr std::uint64_t align_down(std::uint64_t value,
                                                 std::uint64_t alignment) noexcept {
  return value & ~(alignment - 1);
}

}  // namespace allot
