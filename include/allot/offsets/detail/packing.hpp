// SPDX-License-Identifier: MIT
/// \file
/// `Packing`: lifetimes as boxes over sections of time, for the searches.
///
/// A section is a stretch of time whose live buffers are all alive together, and no part of those of
/// another section: the steps in between would only repeat what their neighbours say.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/offsets/detail/breadth.hpp>
#include <allot/offsets/detail/plain_lifetime.hpp>

#include <cstddef>
#include <cstdint>

namespace allot::detail {

/// A buffer over the sections `[begin, end)`.
struct Box {
  std::uint32_t begin;
  std::uint32_t end;
  std::uint64_t bytes;
  std::uint64_t alignment;
};

/// Sections `[begin, end)`.
struct SectionSpan {
  std::uint32_t begin;
  std::uint32_t end;

  [[nodiscard]] constexpr bool contains(std::uint32_t section) const noexcept {
    return begin <= section && section < end;
  }
  constexpr void add(SectionSpan other) noexcept {
    begin = smaller(begin, other.begin);
    end = larger(end, other.end);
  }
};

/// The buffers that have bytes.
template <class Owner = void>
struct Packing {
  DeferredVector<Box, Owner> boxes;
  DeferredVector<std::uint32_t, Owner> buffers;  ///< of each box: which of the lifetimes it is
  DeferredVector<std::uint64_t, Owner> totals;   ///< of each section: the bytes of its boxes
};

/// \param changes  `changes_of` the lifetimes
template <class Owner = void>
[[nodiscard]] Packing<Owner> make_packing(DeferredSpan<const PlainLifetime, Owner> lifetimes,
                                          DeferredSpan<const LifetimeChange, Owner> changes) {
  Packing<Owner> packing;
  DeferredVector<std::uint32_t, Owner> box_of(lifetimes.size());
  bool is_open = false;  // whether the last change began a lifetime
  std::uint64_t alive = 0;
  for (const LifetimeChange& change : changes) {
    const PlainLifetime& lifetime = lifetimes[change.buffer];
    if (lifetime.bytes == 0) continue;
    if (!change.begins) {
      is_open = false;
      alive -= lifetime.bytes;
      packing.boxes[box_of[change.buffer]].end = static_cast<std::uint32_t>(packing.totals.size());
      continue;
    }
    if (!is_open) packing.totals.push_back(0);
    is_open = true;
    packing.totals.back() = alive += lifetime.bytes;
    const auto section = static_cast<std::uint32_t>(packing.totals.size() - 1);
    box_of[change.buffer] = static_cast<std::uint32_t>(packing.boxes.size());
    packing.boxes.push_back({section, section, lifetime.bytes, lifetime.alignment});
    packing.buffers.push_back(change.buffer);
  }
  return packing;
}

template <class Owner = void>
[[nodiscard]] Packing<Owner> make_packing(DeferredSpan<const PlainLifetime, Owner> lifetimes) {
  return make_packing<Owner>(lifetimes, changes_of<Owner>(lifetimes));
}

}  // namespace allot::detail
