// SPDX-License-Identifier: MIT
/// \file
/// `EvictionSearch`: makes a plan fit a capacity by moving what is in the way.
///
/// What ends above the capacity is taken out, and put back one by one: into a gap, or in the place
/// of those others that cost the least, which are then taken out in turn. A buffer costs its bytes,
/// times how often it found no gap: what is hard to place stays. After Nagata and Braysy, "A Powerful
/// Route Minimization Heuristic for the Vehicle Routing Problem with Time Windows" (2009).
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/offsets/detail/lifetime_index.hpp>
#include <allot/offsets/detail/plain_lifetime.hpp>
#include <allot/os/algorithm.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace allot::detail {

template <class Owner = void>
class EvictionSearch {
 public:
  /// The offset of what has no place yet.
  static constexpr std::uint64_t outside = largest_of<std::uint64_t>;

  EvictionSearch(DeferredSpan<const PlainLifetime, Owner> lifetimes,
                 DeferredSpan<const std::uint64_t, Owner> offsets)
      : lifetimes_{lifetimes},
        index_{lifetimes},
        offsets_{offsets.begin(), offsets.end()},
        refusals_(lifetimes.size(), 1),
        work_{5 * lifetimes.size()} {
    for (std::uint32_t i = 0; i < lifetimes.size(); ++i) {
      if (lifetimes[i].bytes == 0) continue;
      if (offsets_[i] == outside) {
        outside_.push_back(i);
      } else {
        index_.insert(i, offsets_[i], lifetimes[i]);
      }
    }
  }

  [[nodiscard]] DeferredSpan<const std::uint64_t, Owner> offsets() const noexcept {
    return offsets_;
  }
  [[nodiscard]] std::uint64_t work() const noexcept { return work_; }

  /// Lowers the capacity, and places what it takes out, in at most that many moves; returns whether
  /// all is placed. May be called again to go on.
  bool run(std::uint64_t capacity, std::uint64_t moves, std::uint64_t most_work) {
    if (capacity < capacity_) {
      capacity_ = capacity;
      for (std::uint32_t i = 0; i < lifetimes_.size(); ++i) {
        if (index_.contains(i) && offsets_[i] + lifetimes_[i].bytes > capacity) evict(i);
      }
    }
    capacity_ = capacity;
    const std::uint64_t last_work = work_ + most_work;
    for (; !outside_.empty() && moves != 0 && work_ < last_work; --moves) {
      const std::uint32_t buffer = take_largest();
      const std::uint64_t offset = find(buffer);
      offsets_[buffer] = offset;
      for (const std::uint32_t other : in_the_way_) evict(other);
      index_.insert(buffer, offset, lifetimes_[buffer]);
    }
    return outside_.empty();
  }

 private:
  struct Weighted {
    std::uint64_t place;
    std::uint64_t weight;
  };

  void evict(std::uint32_t buffer) {
    index_.erase(buffer);
    outside_.push_back(buffer);
  }

  [[nodiscard]] std::uint32_t take_largest() {
    work_ += outside_.size() / 4;
    std::size_t largest = 0;
    for (std::size_t i = 1; i < outside_.size(); ++i) {
      if (lifetimes_[outside_[i]].bytes > lifetimes_[outside_[largest]].bytes) largest = i;
    }
    const std::uint32_t buffer = outside_[largest];
    outside_[largest] = outside_.back();
    outside_.pop_back();
    return buffer;
  }

  [[nodiscard]] static std::uint64_t align_up(std::uint64_t offset, std::uint64_t alignment) {
    return (offset + alignment - 1) & ~(alignment - 1);
  }

  /// Where the buffer goes; leaves what has to go in `in_the_way_`.
  [[nodiscard]] std::uint64_t find(std::uint32_t buffer) {
    const PlainLifetime& lifetime = lifetimes_[buffer];
    in_the_way_.clear();
    const DeferredSpan<const PlacedRange, Owner> others = index_.alive_with(lifetime);
    work_ += (others.size() + 1) * (4 + std::size_t(std::bit_width(others.size())));
    if (const auto gap = find_gap(lifetime, others)) return *gap;
    ++refusals_[buffer];
    const std::uint64_t offset = find_cheapest(lifetime, others);
    for (const PlacedRange& other : others) {
      if (other.offset < offset + lifetime.bytes && offset < other.end)
        in_the_way_.push_back(other.buffer);
    }
    return offset;
  }

  /// The tightest gap.
  [[nodiscard]] std::optional<std::uint64_t> find_gap(
      const PlainLifetime& lifetime, DeferredSpan<const PlacedRange, Owner> others) const {
    std::uint64_t end = 0;
    std::uint64_t tightest = largest_of<std::uint64_t>;
    std::optional<std::uint64_t> found;
    const auto consider = [&](std::uint64_t limit) {
      const std::uint64_t start = align_up(end, lifetime.alignment);
      if (limit <= end || limit - end >= tightest || start > limit) return;
      if (lifetime.bytes > limit - start) return;
      found = start;
      tightest = limit - end;
    };
    for (const PlacedRange& other : others) {
      consider(other.offset);
      end = larger(end, other.end);
    }
    consider(capacity_);
    return found;
  }

  [[nodiscard]] std::uint64_t find_cheapest(const PlainLifetime& lifetime,
                                            DeferredSpan<const PlacedRange, Owner> others) {
    begins_.clear();
    ends_.clear();
    places_.clear();
    places_.push_back(0);
    const std::uint64_t last = capacity_ - lifetime.bytes;
    places_.push_back(last & ~(lifetime.alignment - 1));
    for (const PlacedRange& other : others) {
      const std::uint64_t weight = (other.end - other.offset) * refusals_[other.buffer];
      begins_.push_back({other.offset, weight});
      ends_.push_back({other.end, weight});
      const std::uint64_t above = align_up(other.end, lifetime.alignment);
      if (above <= last) places_.push_back(above);
      if (other.offset >= lifetime.bytes) {
        const std::uint64_t below = (other.offset - lifetime.bytes) & ~(lifetime.alignment - 1);
        if (below <= last) places_.push_back(below);
      }
    }
    std::sort(ends_.begin(), ends_.end(),
              [](const Weighted& a, const Weighted& b) { return a.place < b.place; });
    std::sort(places_.begin(), places_.end());
    std::uint64_t begun = 0;
    std::uint64_t ended = 0;
    auto begin = begins_.begin();
    auto end = ends_.begin();
    std::uint64_t best = 0;
    std::uint64_t least = largest_of<std::uint64_t>;
    for (const std::uint64_t place : places_) {
      for (; begin != begins_.end() && begin->place < place + lifetime.bytes; ++begin)
        begun += begin->weight;
      for (; end != ends_.end() && end->place <= place; ++end) ended += end->weight;
      if (begun - ended >= least) continue;
      least = begun - ended;
      best = place;
    }
    return best;
  }

  DeferredSpan<const PlainLifetime, Owner> lifetimes_;
  LifetimeIndex<Owner> index_;
  DeferredVector<std::uint64_t, Owner> offsets_;
  DeferredVector<std::uint64_t, Owner> refusals_;  // of each buffer
  DeferredVector<std::uint32_t, Owner> outside_;
  DeferredVector<std::uint32_t, Owner> in_the_way_;
  DeferredVector<Weighted, Owner> begins_;
  DeferredVector<Weighted, Owner> ends_;
  DeferredVector<std::uint64_t, Owner> places_;
  std::uint64_t capacity_ = largest_of<std::uint64_t>;
  std::uint64_t work_;
};

}  // namespace allot::detail
