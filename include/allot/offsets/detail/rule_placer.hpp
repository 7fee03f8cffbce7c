// SPDX-License-Identifier: MIT
/// \file
/// `RulePlacer`: buffers in some order, each where the rules of the plan let it be.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/offsets/detail/lifetime_index.hpp>
#include <allot/offsets/detail/plain_lifetime.hpp>
#include <allot/offsets/detail/plan_rules.hpp>
#include <allot/offsets/lifetime.hpp>
#include <allot/os/algorithm.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace allot::detail {

/// What came of placing all buffers.
template <class Owner = void>
struct RulePlan {
  DeferredVector<std::uint64_t, Owner> offsets;
  DeferredVector<std::size_t, Owner> memories;
  DeferredVector<std::uint64_t, Owner> memory_bytes;
  DeferredVector<std::uint32_t, Owner> refused;  ///< for which no memory had room
  std::uint64_t refused_bytes = 0;
  std::uint64_t bytes = 0;  ///< of all memories
  std::uint64_t waits = 0;  ///< between streams, if they have a price

  [[nodiscard]] bool is_whole() const noexcept { return refused.empty(); }
};

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

template <class Owner = void>
class RulePlacer {
 public:
  /// \param work_left  units that may be spent, and are taken from it
  RulePlacer(DeferredSpan<const Lifetime, Owner> lifetimes, const PlanRules<Owner>& rules,
             std::uint64_t wait_bytes, std::uint64_t& work_left)
      : lifetimes_{lifetimes},
        rules_{rules},
        plain_{plain<Owner>(lifetimes)},
        wait_bytes_{rules.has_streams() ? wait_bytes : 0},
        index_(rules.memories(), LifetimeIndex<Owner>{plain_}),
        placed_(rules.memories()),
        work_left_{work_left} {}

  /// Those that have a place first, then the others in this order. Nothing if the work ends, unless
  /// `must_end` says that it may not.
  [[nodiscard]] std::optional<RulePlan<Owner>> place(
      const DeferredVector<std::uint32_t, Owner>& order, bool shares_places, bool must_end) {
    for (auto& index : index_) index.clear();
    for (auto& placed : placed_) placed.clear();
    // Waits are priced by what is placed, n^2: not in a plan that must come to an end.
    prices_waits_ = wait_bytes_ != 0 && !must_end;
    plan_ = {};
    plan_.offsets.resize(lifetimes_.size());
    plan_.memories.resize(lifetimes_.size());
    plan_.memory_bytes.resize(rules_.memories());
    for (std::uint32_t i = 0; i < lifetimes_.size(); ++i) {
      plan_.memories[i] = rules_.memories_of(i).front();
      if (!lifetimes_[i].fixed_offset) continue;
      plan_.offsets[i] = *lifetimes_[i].fixed_offset;
      if (lifetimes_[i].bytes != 0) insert(i, plan_.memories[i], plan_.offsets[i]);
    }
    for (const std::uint32_t buffer : order) {
      if (lifetimes_[buffer].bytes == 0 || lifetimes_[buffer].fixed_offset) continue;
      if (work_left_ == 0 && !must_end) return std::nullopt;
      const auto place = shares_places ? shared_place(buffer) : std::nullopt;
      const auto found = place ? place : free_place(buffer);
      if (found) {
        insert(buffer, found->memory, found->offset);
      } else {
        plan_.refused.push_back(buffer);
        plan_.refused_bytes += lifetimes_[buffer].bytes;
      }
    }
    for (const std::uint64_t bytes : plan_.memory_bytes)
      plan_.bytes = checked_add(plan_.bytes, bytes).value_or(largest_of<std::uint64_t>);
    if (wait_bytes_ != 0) {
      plan_.waits = stream_waits<Owner>(lifetimes_, plan_.offsets, plan_.memories);
      spend(lifetimes_.size());
    }
    return std::move(plan_);
  }

 private:
  struct Place {
    std::size_t memory;
    std::uint64_t offset;
  };

  void spend(std::uint64_t units) noexcept { work_left_ -= smaller(work_left_, units); }

  void insert(std::uint32_t buffer, std::size_t memory, std::uint64_t offset) {
    plan_.offsets[buffer] = offset;
    plan_.memories[buffer] = memory;
    plan_.memory_bytes[memory] =
        larger(plan_.memory_bytes[memory], offset + lifetimes_[buffer].bytes);
    index_[memory].insert(buffer, offset, plain_[buffer]);
    if (prices_waits_) placed_[memory].push_back(buffer);
  }

  [[nodiscard]] DeferredSpan<const PlacedRange, Owner> alive_with(std::uint32_t buffer,
                                                                  std::size_t memory) {
    const DeferredSpan<const PlacedRange, Owner> others = index_[memory].alive_with(plain_[buffer]);
    spend((others.size() + 1) * (4 + std::size_t(std::bit_width(others.size()))));
    return others;
  }

  /// The place of a buffer that this one may replace, or that may replace it, if it is free but for
  /// those.
  [[nodiscard]] std::optional<Place> shared_place(std::uint32_t buffer) {
    if (const auto replaced = rules_.replaced_by(buffer)) {
      if (const auto place = place_of(buffer, *replaced)) return place;
    }
    for (const auto& replacer : rules_.replacers_of(buffer)) {
      if (const auto place = place_of(buffer, replacer.buffer)) return place;
    }
    return std::nullopt;
  }

  [[nodiscard]] std::optional<Place> place_of(std::uint32_t buffer, std::uint32_t partner) {
    const std::size_t memory = plan_.memories[partner];
    if (!index_[memory].contains(partner)) return std::nullopt;
    const auto allowed = rules_.memories_of(buffer);
    if (std::find(allowed.begin(), allowed.end(), memory) == allowed.end()) return std::nullopt;
    const std::uint64_t offset = plan_.offsets[partner];
    const std::uint64_t bytes = lifetimes_[buffer].bytes;
    if (offset % lifetimes_[buffer].alignment != 0 || offset > rules_.capacity(memory) ||
        bytes > rules_.capacity(memory) - offset)
      return std::nullopt;
    for (const PlacedRange& other : alive_with(buffer, memory)) {
      if (other.offset >= offset + bytes || other.end <= offset) continue;
      if (other.offset != offset || !rules_.may_share(buffer, other.buffer)) return std::nullopt;
    }
    return Place{memory, offset};
  }

  /// In the first memory with room, the offset that costs the least: what the memory grows by, and
  /// what waits cost.
  [[nodiscard]] std::optional<Place> free_place(std::uint32_t buffer) {
    const std::uint64_t bytes = lifetimes_[buffer].bytes;
    for (const std::size_t memory : rules_.memories_of(buffer)) {
      std::optional<Place> best;
      std::uint64_t least = largest_of<std::uint64_t>;
      const std::uint64_t height = plan_.memory_bytes[memory];
      const auto offer = [&](std::uint64_t end, std::uint64_t limit) {
        const auto offset = checked_align_up(end, lifetimes_[buffer].alignment);
        if (!offset || *offset > limit || bytes > limit - *offset) return false;
        const std::uint64_t waits = prices_waits_ ? waits_at(buffer, memory, *offset) : 0;
        const std::uint64_t growth = larger(height, *offset + bytes) - height;
        const auto price = checked_multiply(waits, wait_bytes_);
        const auto sum = price ? checked_add(*price, growth) : std::nullopt;
        const std::uint64_t cost = sum.value_or(largest_of<std::uint64_t>);
        if (best && cost >= least) return false;
        best = Place{memory, *offset};
        least = cost;
        return true;
      };
      const std::uint64_t capacity = rules_.capacity(memory);
      std::uint64_t end = 0;
      for (const PlacedRange& other : alive_with(buffer, memory)) {
        if (other.offset > end && offer(end, other.offset) && !prices_waits_) break;
        end = larger(end, other.end);
      }
      if (!best || prices_waits_) offer(end, capacity);
      if (prices_waits_) offer(larger(end, height), capacity);  // not used by any before
      if (best) return best;
    }
    return std::nullopt;
  }

  /// How many waits it takes to be there: one for each other stream that had some of these bytes
  /// before, and one for each buffer of another stream that has them later.
  [[nodiscard]] std::uint64_t waits_at(std::uint32_t buffer, std::size_t memory,
                                       std::uint64_t offset) {
    const Lifetime& lifetime = lifetimes_[buffer];
    std::uint64_t waits = 0;
    streams_.clear();
    spend(placed_[memory].size());
    for (const std::uint32_t i : placed_[memory]) {
      const Lifetime& other = lifetimes_[i];
      if (other.stream == lifetime.stream || plan_.offsets[i] >= offset + lifetime.bytes ||
          offset >= plan_.offsets[i] + other.bytes)
        continue;
      if (other.first > lifetime.last) ++waits;
      if (other.last >= lifetime.first) continue;
      if (std::find(streams_.begin(), streams_.end(), other.stream) != streams_.end()) continue;
      streams_.push_back(other.stream);
      ++waits;
    }
    return waits;
  }

  DeferredSpan<const Lifetime, Owner> lifetimes_;
  const PlanRules<Owner>& rules_;
  DeferredVector<PlainLifetime, Owner> plain_;
  std::uint64_t wait_bytes_;
  bool prices_waits_ = false;
  DeferredVector<LifetimeIndex<Owner>, Owner> index_;  // of each memory
  DeferredVector<DeferredVector<std::uint32_t, Owner>, Owner>
      placed_;  // in each memory, if waits count
  DeferredVector<std::uint32_t, Owner> streams_;
  RulePlan<Owner> plan_;
  std::uint64_t& work_left_;
};

}  // namespace allot::detail
