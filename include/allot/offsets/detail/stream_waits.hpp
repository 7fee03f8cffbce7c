// SPDX-License-Identifier: MIT
/// \file
/// `stream_waits`: how often streams wait for each other under a plan.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/offsets/lifetime.hpp>
#include <allot/os/algorithm.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace allot::detail {

/// How often a buffer's stream waits for another one that had some of its bytes before, each once.
/// \param memories  of each buffer; empty: all in one
/// Complexity: n log n for each stream.
template <class Owner = void>
[[nodiscard]] std::uint64_t stream_waits(DeferredSpan<const Lifetime, Owner> lifetimes,
                                         DeferredSpan<const std::uint64_t, Owner> offsets,
                                         DeferredSpan<const std::size_t, Owner> memories) {
  DeferredVector<std::uint32_t, Owner> streams;
  for (const Lifetime& each : lifetimes) {
    if (streams.empty() || each.stream != streams.back()) streams.push_back(each.stream);
  }
  std::sort(streams.begin(), streams.end());
  streams.erase(std::unique(streams.begin(), streams.end()), streams.end());
  if (streams.size() < 2) return 0;

  using Place = std::pair<std::size_t, std::uint64_t>;  // memory, offset
  const auto place_of = [&](std::size_t i, std::uint64_t bytes) {
    return Place{memories.empty() ? 0 : memories[i], offsets[i] + bytes};
  };
  DeferredVector<Place, Owner> places;
  for (std::size_t i = 0; i < lifetimes.size(); ++i) {
    if (lifetimes[i].bytes == 0) continue;
    places.push_back(place_of(i, 0));
    places.push_back(place_of(i, lifetimes[i].bytes));
  }
  std::sort(places.begin(), places.end());
  places.erase(std::unique(places.begin(), places.end()), places.end());
  std::size_t leaves = 1;
  while (leaves < places.size()) leaves *= 2;
  // The earliest last use by one stream: of what covers a node, and of that and all below it.
  DeferredVector<std::uint64_t, Owner> own(2 * leaves);
  DeferredVector<std::uint64_t, Owner> below(2 * leaves);
  const auto visit_nodes = [&](std::size_t i, auto visit) {
    const auto leaf = [&](const Place& place) {
      return leaves + static_cast<std::size_t>(
                          std::lower_bound(places.begin(), places.end(), place) - places.begin());
    };
    std::size_t low = leaf(place_of(i, 0));
    std::size_t high = leaf(place_of(i, lifetimes[i].bytes));
    for (; low < high; low /= 2, high /= 2) {
      if (low % 2 != 0) visit(low++);
      if (high % 2 != 0) visit(--high);
    }
  };
  std::uint64_t waits = 0;
  for (const std::uint32_t stream : streams) {
    std::fill(own.begin(), own.end(), largest_of<std::uint64_t>);
    std::fill(below.begin(), below.end(), largest_of<std::uint64_t>);
    for (std::size_t i = 0; i < lifetimes.size(); ++i) {
      const Lifetime& each = lifetimes[i];
      if (each.bytes == 0 || each.stream != stream) continue;
      visit_nodes(i, [&](std::size_t node) {
        own[node] = smaller(own[node], each.last);
        for (; node != 0; node /= 2) below[node] = smaller(below[node], each.last);
      });
    }
    for (std::size_t i = 0; i < lifetimes.size(); ++i) {
      const Lifetime& each = lifetimes[i];
      if (each.bytes == 0 || each.stream == stream) continue;
      std::uint64_t earliest = largest_of<std::uint64_t>;
      visit_nodes(i, [&](std::size_t node) {
        earliest = smaller(earliest, below[node]);
        while ((node /= 2) != 0) earliest = smaller(earliest, own[node]);
      });
      waits += earliest < each.first ? 1 : 0;
    }
  }
  return waits;
}

}  // namespace allot::detail
