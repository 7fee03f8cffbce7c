// SPDX-License-Identifier: MIT
/// \file
/// `recorded_places`: where a program had each block of a trace, for pictures.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/core/version.hpp>
#include <allot/report/allocation_trace.hpp>
#include <allot/report/placed_trace.hpp>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace allot::report {

namespace detail {

/// Bytes from a begin to an end, apart from each other. Those that touch are one.
class ByteRanges {
 public:
  void add(std::uint64_t begin, std::uint64_t end) {
    auto at = first_that_reaches(begin);
    while (at != ends_.end() && at->first <= end) {
      begin = smaller(begin, at->first);
      end = larger(end, at->second);
      at = erase(at);
    }
    insert(begin, end);
  }

  void remove(std::uint64_t begin, std::uint64_t end) {
    auto at = first_that_reaches(begin);
    while (at != ends_.end() && at->first < end) {
      const auto [from, to] = *at;
      at = erase(at);
      if (from < begin) insert(from, smaller(begin, to));
      if (to > end) insert(larger(end, from), to);
    }
  }

  [[nodiscard]] std::uint64_t longest() const noexcept {
    return lengths_.empty() ? 0 : *lengths_.rbegin();
  }

  [[nodiscard]] const std::map<std::uint64_t, std::uint64_t>& ends() const noexcept {
    return ends_;
  }

 private:
  using Iterator = std::map<std::uint64_t, std::uint64_t>::iterator;

  [[nodiscard]] Iterator first_that_reaches(std::uint64_t begin) {
    auto at = ends_.upper_bound(begin);
    if (at != ends_.begin() && std::prev(at)->second >= begin) --at;
    return at;
  }
  void insert(std::uint64_t begin, std::uint64_t end) {
    ends_.emplace(begin, end);
    lengths_.insert(end - begin);
  }
  Iterator erase(Iterator at) {
    lengths_.erase(lengths_.find(at->second - at->first));
    return ends_.erase(at);
  }

  std::map<std::uint64_t, std::uint64_t> ends_;  // by begin
  std::multiset<std::uint64_t> lengths_;
};

}  // namespace detail

/// Returns where the blocks were, by the addresses in the trace; nothing if one ends beyond 2^64.
/// `capacity` is from the first address to the last, without gaps of 2 MiB and more in which no block
/// ever was: memory on both sides of such a gap is drawn side by side, but is not one free range.
///
/// Requires: `trace.knows_addresses`. Complexity: O(n log n). Throws: `std::bad_alloc`.
template <class = void>
[[nodiscard]] std::optional<PlacedTrace> recorded_places(const AllocationTrace& trace) {
  constexpr std::uint64_t least_gap = 2 * MiB;
  detail::ByteRanges used;
  for (const AllocationTrace::Block& block : trace.blocks) {
    if (block.bytes > largest_of<std::uint64_t> - block.address) return std::nullopt;
    used.add(block.address, block.address + block.bytes);
  }
  PlacedTrace placed;
  detail::ByteRanges free;                           // addresses
  std::map<std::uint64_t, std::uint64_t> offset_of;  // of the begin of each part
  std::uint64_t end = 0;
  for (const auto& [from, to] : used.ends()) {
    if (!offset_of.empty() && from - end < least_gap) {
      placed.capacity += to - end;
      free.add(end, to);
    } else {
      // The gap that is left out keeps the parts apart.
      offset_of.emplace(from, placed.capacity);
      placed.capacity += to - from;
      free.add(from, to);
    }
    end = to;
  }
  placed.blocks.resize(trace.blocks.size());
  placed.live.reserve(trace.events.size());
  placed.largest_free.reserve(trace.events.size());
  std::uint64_t live = 0;
  for (std::size_t i = 0; i < trace.events.size(); ++i) {
    const AllocationTrace::Event& event = trace.events[i];
    const AllocationTrace::Block& block = trace.blocks[event.block];
    if (event.frees) {
      placed.blocks[event.block].to = i;
      live -= block.bytes;
      free.add(block.address, block.address + block.bytes);
    } else {
      const auto part = std::prev(offset_of.upper_bound(block.address));
      placed.blocks[event.block] = {part->second + (block.address - part->first), block.bytes, i,
                                    trace.events.size()};
      live += block.bytes;
      free.remove(block.address, block.address + block.bytes);
    }
    // Blocks of a trace that misses a free may lie on each other.
    placed.live.push_back(smaller(live, placed.capacity));
    placed.largest_free.push_back(smaller(free.longest(), placed.capacity - placed.live.back()));
  }
  return placed;
}

}  // namespace allot::report
