// SPDX-License-Identifier: MIT
/// \file
/// What a strategy takes for a request, before it is asked.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/version.hpp>
#include <allot/strategy/strategy.hpp>

#include <cstdint>

namespace allot::detail {

/// Returns the bytes of the block that an arena takes for `bytes`, in whole units and as its strategy
/// rounds them; 0 if no block has as many.
template <class ArenaType>
[[nodiscard]] constexpr std::uint64_t block_bytes_for(std::uint64_t bytes) noexcept {
  using StrategyType = typename ArenaType::strategy_type;
  constexpr std::uint64_t unit = ArenaType::alignment_type::value;
  const std::uint64_t granule = unit * granularity_of<StrategyType>;
  const auto raised = checked_add(bytes, granule - 1);
  if (!raised) return 0;
  const std::uint64_t least = *raised / granule * granule;
  if constexpr (Rounding<StrategyType>) {
    return checked_multiply(StrategyType::rounded(least / unit), unit).value_or(0);
  } else {
    return least;
  }
}

/// The most bytes of an arena's range, by its strategy.
template <class ArenaType>
inline constexpr std::uint64_t longest_range =
    checked_multiply(largest_capacity_of<typename ArenaType::strategy_type>,
                     ArenaType::alignment_type::value)
        .value_or(largest_of<std::uint64_t>);

}  // namespace allot::detail
