// SPDX-License-Identifier: MIT
/// \file
/// `place_trace`: where an arena puts each block of a trace, for pictures.
#pragma once

#include <allot/report/allocation_trace.hpp>
#include <allot/report/replay.hpp>
#include <allot/strategy/best_fit.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace allot::report {

/// A trace in an arena of `BestFit`, at the smallest capacity found at which nothing is refused.
struct PlacedTrace {
  /// A block of the trace, at the same index.
  struct Block {
    std::uint64_t offset = 0;  ///< bytes
    std::uint64_t size = 0;    ///< as granted, bytes
    std::uint64_t from = 0;    ///< the event that allocates it
    std::uint64_t to = 0;      ///< the event that frees it; the number of events if none does
  };
  std::uint64_t capacity = 0;               ///< bytes
  std::vector<Block> blocks;                ///< of the trace
  std::vector<std::uint64_t> live;          ///< bytes in use after each event, as granted
  std::vector<std::uint64_t> largest_free;  ///< bytes, after each event
};

/// Returns where `BestFit` puts every block; nothing if it has no range that is long enough.
/// \param unit  granularity in bytes, a power of two; 0: as the trace's allocator had it
/// Complexity: some 20 replays. Throws: `std::bad_alloc`.
template <class = void>
[[nodiscard]] std::optional<PlacedTrace> place_trace(const AllocationTrace& trace,
                                                     std::uint64_t unit = 0) {
  if (unit == 0) unit = trace.alignment;
  PlacedTrace placed;
  const std::uint64_t least = larger<std::uint64_t>(facts_of(trace, unit).peak_bytes / unit, 1);
  detail::StrategyReplay<BestFit> replay{trace, unit};
  const auto units = detail::smallest_that_fits(
      least, largest_capacity_of<BestFit>, [&](std::uint64_t each) { return replay.fits(each); });
  if (!units) return std::nullopt;
  placed.capacity = *units * unit;
  placed.blocks.resize(trace.blocks.size());
  placed.live.reserve(trace.events.size());
  placed.largest_free.reserve(trace.events.size());
  BestFit strategy{*units};
  std::vector<Placement> places(trace.blocks.size());
  for (std::size_t i = 0; i < trace.events.size(); ++i) {
    const AllocationTrace::Event& event = trace.events[i];
    PlacedTrace::Block& block = placed.blocks[event.block];
    Placement& place = places[event.block];
    if (event.frees) {
      block.to = i;
      strategy.deallocate(place.handle, place.offset);
    } else {
      const AllocationTrace::Block& asked = trace.blocks[event.block];
      place = *strategy.allocate(asked.bytes / unit + (asked.bytes % unit != 0),
                                 larger<std::uint64_t>(asked.alignment / unit, 1));
      block = {place.offset * unit, place.size * unit, i, trace.events.size()};
    }
    placed.live.push_back(strategy.used() * unit);
    placed.largest_free.push_back(strategy.largest_free() * unit);
  }
  return placed;
}

}  // namespace allot::report
