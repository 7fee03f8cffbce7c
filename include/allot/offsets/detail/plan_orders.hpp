// SPDX-License-Identifier: MIT
/// \file
/// The orders that buffers are placed in.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/offsets/detail/plain_lifetime.hpp>
#include <allot/offsets/offset_plan.hpp>
#include <allot/os/algorithm.hpp>

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>

namespace allot::detail {

/// \param breadths  the most bytes alive while each buffer is
template <class Owner = void>
[[nodiscard]] DeferredVector<std::uint32_t, Owner> order_of(
    DeferredSpan<const PlainLifetime, Owner> lifetimes,
    DeferredSpan<const std::uint64_t, Owner> breadths, PlanOrder name) {
  const auto key = [&](std::uint32_t buffer) -> Deferred<std::pair<double, double>, Owner> {
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
  DeferredVector<std::pair<double, double>, Owner> keys;
  keys.reserve(lifetimes.size());
  for (std::uint32_t i = 0; i < lifetimes.size(); ++i) keys.push_back(key(i));
  DeferredVector<std::uint32_t, Owner> order(lifetimes.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return keys[a] > keys[b]; });
  return order;
}

}  // namespace allot::detail
