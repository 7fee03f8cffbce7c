// SPDX-License-Identifier: MIT
/// \file
/// How much memory to keep free beside a plan.
///
/// | margin          | keeps free                                            |
/// |-----------------|-------------------------------------------------------|
/// | `NoMargin`      | nothing                                               |
/// | `PercentMargin` | a percentage of the plan                              |
/// | `UsualMargin`   | the larger of 10 % of the plan and 100 MiB (default)  |
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>

#include <concepts>
#include <cstdint>

namespace allot::load {

/// Returns the bytes to keep free in addition to a plan of `planned` bytes.
template <class Model>
concept Margin = requires(const Model margin, std::uint64_t planned) {
  { margin(planned) } -> std::same_as<std::uint64_t>;
};

/// Keeps nothing free.
struct NoMargin {
  /// Returns 0.
  [[nodiscard]] constexpr std::uint64_t operator()(std::uint64_t) const noexcept { return 0; }
};

/// Keeps a share of the plan free.
struct PercentMargin {
  std::uint64_t percent;  ///< of the planned bytes

  /// Returns that share of `planned` bytes, in bytes.
  [[nodiscard]] constexpr std::uint64_t operator()(std::uint64_t planned) const noexcept {
    return checked_multiply(planned / 100, percent).value_or(largest_of<std::uint64_t>);
  }
};

/// Keeps 100 MiB free, or a tenth of the plan if that is more.
struct UsualMargin {
  /// Returns the larger of the two, in bytes.
  [[nodiscard]] constexpr std::uint64_t operator()(std::uint64_t planned) const noexcept {
    return larger(planned / 10, 100 * MiB);
  }
};

static_assert(Margin<NoMargin> && Margin<PercentMargin> && Margin<UsualMargin>);

/// Returns how much a plan, margin included, exceeds what is free; 0 if it fits. All in bytes.
template <Margin MarginType>
[[nodiscard]] std::uint64_t deficit_of(std::uint64_t planned, std::uint64_t free,
                                       const MarginType& margin) {
  if (planned == 0) return 0;
  const std::uint64_t required =
      checked_add(planned, margin(planned)).value_or(largest_of<std::uint64_t>);
  return required > free ? required - free : 0;
}

/// Returns the most bytes that a plan can take of what is free and still fit, margin included.
/// Complexity: 64 calls of the margin, which must not fall as plans grow.
template <Margin MarginType>
[[nodiscard]] std::uint64_t usable_bytes(std::uint64_t free, const MarginType& margin) {
  std::uint64_t fitting = 0;
  for (std::uint64_t bit = std::uint64_t{1} << 63; bit != 0; bit >>= 1) {
    if (bit <= free - fitting && deficit_of(fitting + bit, free, margin) == 0) fitting += bit;
  }
  return fitting;
}

}  // namespace allot::load
