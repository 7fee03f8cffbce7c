// SPDX-License-Identifier: MIT
/// \file
/// `plan_best_fit`: what an arena makes of lifetimes.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/offsets/detail/breadth.hpp>
#include <allot/offsets/detail/plain_lifetime.hpp>
#include <allot/strategy/best_fit.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>

namespace allot::detail {

/// Offsets of all buffers, and where the last of them ends.
template <class Owner = void>
struct Offsets {
  DeferredVector<std::uint64_t, Owner> offsets;
  std::uint64_t bytes = 0;
};

/// What an arena of that granularity makes of them, or nothing beyond 64 bits. Complexity: n log n,
/// whatever is alive together.
/// \param changes  `changes_of` the lifetimes
template <class Owner = void>
[[nodiscard]] std::optional<Offsets<Owner>> plan_best_fit(
    DeferredSpan<const PlainLifetime, Owner> lifetimes,
    DeferredSpan<const LifetimeChange, Owner> changes, std::uint64_t granularity) {
  WideBestFit range{largest_of<std::uint64_t>};
  DeferredVector<Handle, Owner> handles(lifetimes.size());
  Offsets<Owner> plan{DeferredVector<std::uint64_t, Owner>(lifetimes.size()), 0};
  for (const LifetimeChange& change : changes) {
    const PlainLifetime& lifetime = lifetimes[change.buffer];
    if (lifetime.bytes == 0) continue;
    if (!change.begins) {
      range.deallocate(handles[change.buffer], plan.offsets[change.buffer]);
      continue;
    }
    const auto size = checked_align_up(lifetime.bytes, granularity);
    const auto placed =
        size ? range.allocate(*size, larger(lifetime.alignment, granularity)) : std::nullopt;
    if (!placed) return std::nullopt;
    handles[change.buffer] = placed->handle;
    plan.offsets[change.buffer] = placed->offset;
    plan.bytes = larger(plan.bytes, placed->offset + lifetime.bytes);
  }
  return plan;
}

}  // namespace allot::detail
