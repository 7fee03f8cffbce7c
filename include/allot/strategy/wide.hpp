// SPDX-License-Identifier: MIT
/// \file
/// `WideOf`: the strategy for ranges that are too long for another one.
#pragma once

#include <allot/strategy/strategy.hpp>

namespace allot {

namespace detail {

template <class StrategyType>
struct WideStrategy {
  using type = StrategyType;
};
template <class StrategyType>
requires requires { typename StrategyType::Wide; }
struct WideStrategy<StrategyType> {
  using type = typename StrategyType::Wide;
};

}  // namespace detail

/// The strategy that puts blocks in the same places as `StrategyType` but takes ranges of any
/// length: `WideBestFit` for `BestFit`; `StrategyType` itself if its ranges may have any length.
template <Strategy StrategyType>
using WideOf = typename detail::WideStrategy<StrategyType>::type;

}  // namespace allot
