// SPDX-License-Identifier: MIT
/// \file
/// The orders that buffers are placed in.
#pragma once

#include <allot/offsets/detail/plain_lifetime.hpp>
#include <allot/offsets/offset_plan.hpp>
#include <allot/os/algorithm.hpp>

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

namespace allot::detail {

/// \param breadths  the most bytes alive while each buffer is
template <class = void>
[[nodiscard]] std::vector<std::uint32_t> order_of(std::span<const PlainLifetime> lifetimes,
                                                  std::span<const std::uint64_t> breadths,
                                                  PlanOrder name) {
  const auto key = [&](std::uint32_t buffer) -> std::pair<double, double> {
    const PlainLifetime& lifetime = lifetimes[buffer];
    const auto bytes = static_cast<double>(lifetime.bytes);
    const auto steps = static_cast<double>(lifetime.last - lifetime.first) + 1;
    switch (name) {
      case PlanOrder::size:
        return {bytes, steps};
      case PlanOrder::duration:
        return {steps, bytes};
      case PlanOrder::area:
        return {bytes * steps, bytes};
      case PlanOrder::breadth:
        return {static_cast<double>(breadths[buffer]), bytes};
      default:
        return {-static_cast<double>(lifetime.first), steps};
    }
  };
  std::vector<std::pair<double, double>> keys;
  keys.reserve(lifetimes.size());
  for (std::uint32_t i = 0; i < lifetimes.size(); ++i) keys.push_back(key(i));
  std::vector<std::uint32_t> order(lifetimes.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return keys[a] > keys[b]; });
  return order;
}

}  // namespace allot::detail
