// SPDX-License-Identifier: MIT
/// \file
/// `PlainLifetime`: what every planner needs to know of a `Lifetime`, in half a cache line.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/offsets/lifetime.hpp>

#include <cstdint>

namespace allot::detail {

struct PlainLifetime {
  std::uint64_t bytes;
  std::uint64_t first;
  std::uint64_t last;
  std::uint64_t alignment;
};

template <class Owner = void>
[[nodiscard]] DeferredVector<PlainLifetime, Owner> plain(
    DeferredSpan<const Lifetime, Owner> lifetimes) {
  DeferredVector<PlainLifetime, Owner> result;
  result.reserve(lifetimes.size());
  for (const Lifetime& each : lifetimes)
    result.push_back({each.bytes, each.first, each.last, each.alignment});
  return result;
}

}  // namespace allot::detail
