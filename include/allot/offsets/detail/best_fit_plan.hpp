// SPDX-License-Identifier: MIT
/// \file
/// `plan_best_fit`: what an arena makes of lifetimes.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/offsets/detail/breadth.hpp>
#include <allot/offsets/detail/plain_lifetime.hpp>
#include <allot/strategy/best_fit.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace allot::detail {

/// Offsets of all buffers, and where the last of them ends.
struct Offsets {
  std::vector<std::uint64_t> offsets;
  std::uint64_t bytes = 0;
};

/// What an arena of that granularity makes of them, or nothing beyond 64 bits. Complexity: n log n,
/// whatever is alive together.
template <class = void>
[[nodiscard]] std::optional<Offsets> plan_best_fit(std::span<const PlainLifetime> lifetimes,
                                                   std::uint64_t granularity) {
  WideBestFit range{largest_of<std::uint64_t>};
  std::vector<Handle> handles(lifetimes.size());
  Offsets plan{std::vector<std::uint64_t>(lifetimes.size()), 0};
  for (const LifetimeChange& change : changes_of(lifetimes)) {
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
