// SPDX-License-Identifier: MIT
/// \file
/// `LifetimeIndex`: which of the buffers placed so far are alive together with one, by offset.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/offsets/detail/plain_lifetime.hpp>
#include <allot/os/algorithm.hpp>

#include <cstddef>
#include <cstdint>
#include <numeric>

namespace allot::detail {

/// Where a placed buffer is: `[offset, end)`.
struct PlacedRange {
  std::uint64_t offset;
  std::uint64_t end;
  std::uint32_t buffer;
};

/// The buffers by first use, under a tree of the latest last use: whatever is dead by then is
/// passed over in whole subtrees.
///
/// Complexity: `insert`, `erase` O(log n), `alive_with` O(k log n) for k results. Memory: linear.
template <class Owner = void>
class LifetimeIndex {
 public:
  explicit LifetimeIndex(DeferredSpan<const PlainLifetime, Owner> lifetimes)
      : rank_(lifetimes.size()), first_(lifetimes.size()), placed_(lifetimes.size()) {
    DeferredVector<std::uint32_t, Owner> order(lifetimes.size());
    std::iota(order.begin(), order.end(), 0U);
    std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
      return lifetimes[a].first < lifetimes[b].first;
    });
    for (std::uint32_t i = 0; i < order.size(); ++i) {
      rank_[order[i]] = i;
      first_[i] = lifetimes[order[i]].first;
    }
    while (leaves_ < order.size()) leaves_ *= 2;
    latest_.resize(2 * leaves_);
  }

  /// Forgets what was placed. Complexity: linear.
  void clear() noexcept { std::fill(latest_.begin(), latest_.end(), Latest{}); }

  void insert(std::uint32_t buffer, std::uint64_t offset, const PlainLifetime& lifetime) noexcept {
    const std::uint32_t rank = rank_[buffer];
    placed_[rank] = {offset, offset + lifetime.bytes, buffer};
    for (std::size_t node = leaves_ + rank; node != 0; node /= 2) {
      latest_[node].last = larger(latest_[node].last, lifetime.last);
      latest_[node].is_any = true;
    }
  }

  /// Returns whether the buffer is placed.
  [[nodiscard]] bool contains(std::uint32_t buffer) const noexcept {
    return latest_[leaves_ + rank_[buffer]].is_any;
  }

  void erase(std::uint32_t buffer) noexcept {
    std::size_t node = leaves_ + rank_[buffer];
    latest_[node] = {};
    for (node /= 2; node != 0; node /= 2) {
      const Latest& left = latest_[2 * node];
      const Latest& right = latest_[2 * node + 1];
      latest_[node] = {larger(left.last, right.last), left.is_any || right.is_any};
    }
  }

  /// The placed buffers that some step of the lifetime has alive, by offset. Valid until the next
  /// call.
  [[nodiscard]] DeferredSpan<const PlacedRange, Owner> alive_with(const PlainLifetime& lifetime) {
    found_.clear();
    const auto end = static_cast<std::size_t>(
        std::upper_bound(first_.begin(), first_.end(), lifetime.last) - first_.begin());
    if (end != 0) collect(1, 0, leaves_, end, lifetime.first);
    std::sort(found_.begin(), found_.end(),
              [](const PlacedRange& a, const PlacedRange& b) { return a.offset < b.offset; });
    return found_;
  }

 private:
  struct Latest {
    std::uint64_t last = 0;
    bool is_any = false;
  };

  /// What is below `node`, which has the ranks from `begin` on, before rank `end`.
  void collect(std::size_t node, std::size_t begin, std::size_t width, std::size_t end,
               std::uint64_t first) {
    if (begin >= end || !latest_[node].is_any || latest_[node].last < first) return;
    if (width == 1) {
      found_.push_back(placed_[begin]);
      return;
    }
    collect(2 * node, begin, width / 2, end, first);
    collect(2 * node + 1, begin + width / 2, width / 2, end, first);
  }

  DeferredVector<std::uint32_t, Owner> rank_;   // of each buffer, by first use
  DeferredVector<std::uint64_t, Owner> first_;  // of each rank
  DeferredVector<PlacedRange, Owner> placed_;   // of each rank
  DeferredVector<Latest, Owner> latest_;        // a heap: node i has the children 2 i and 2 i + 1
  DeferredVector<PlacedRange, Owner> found_;
  std::size_t leaves_ = 1;
};

}  // namespace allot::detail
