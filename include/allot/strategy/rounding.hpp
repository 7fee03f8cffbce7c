// SPDX-License-Identifier: MIT
/// \file
/// What a strategy takes for a request, before it is asked.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/needed_block.hpp>
#include <allot/core/units.hpp>
#include <allot/core/version.hpp>
#include <allot/strategy/strategy.hpp>

#include <cstdint>

namespace allot::detail {

/// Returns `bytes` in an arena's whole units, or whole blocks if all have one size; 0 if no block has
/// as many.
template <class ArenaType>
[[nodiscard]] constexpr std::uint64_t whole_bytes_for(std::uint64_t bytes) noexcept {
  constexpr std::uint64_t granule =
      ArenaType::alignment_type::value * granularity_of<typename ArenaType::strategy_type>;
  const auto raised = checked_add(bytes, granule - 1);
  return raised ? *raised / granule * granule : 0;
}

/// Returns the bytes of the block that an arena takes for `bytes`, in whole units and as its strategy
/// rounds them; 0 if no block has as many.
template <class ArenaType>
[[nodiscard]] constexpr std::uint64_t block_bytes_for(std::uint64_t bytes) noexcept {
  using StrategyType = typename ArenaType::strategy_type;
  constexpr std::uint64_t unit = ArenaType::alignment_type::value;
  const std::uint64_t whole = whole_bytes_for<ArenaType>(bytes);
  if constexpr (Rounding<StrategyType>) {
    return whole == 0 ? 0 : checked_multiply(StrategyType::rounded(whole / unit), unit).value_or(0);
  } else {
    return whole;
  }
}

/// Returns what a request needs of an arena.
template <class ArenaType>
[[nodiscard]] constexpr NeededBlock needed_block(const Request& request) noexcept {
  return {request.bytes, larger(request.alignment, ArenaType::alignment_type::value),
          whole_bytes_for<ArenaType>(request.bytes), block_bytes_for<ArenaType>(request.bytes)};
}

/// The most bytes of an arena's range, by its strategy.
template <class ArenaType>
inline constexpr std::uint64_t longest_range =
    checked_multiply(largest_capacity_of<typename ArenaType::strategy_type>,
                     ArenaType::alignment_type::value)
        .value_or(largest_of<std::uint64_t>);

}  // namespace allot::detail
