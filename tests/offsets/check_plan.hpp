// SPDX-License-Identifier: MIT
/// \file
/// What a plan must be, by plain routines that share nothing with the planner.
#pragma once

#include <allot/offsets/plan_offsets.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <map>
#include <numeric>
#include <vector>

namespace allot::test {

[[nodiscard]] inline bool are_alive_together(const Lifetime& a, const Lifetime& b) {
  return a.first <= b.last && b.first <= a.last;
}

/// The most bytes alive at any step, step by step.
[[nodiscard]] inline std::uint64_t naive_lower_bound(const std::vector<Lifetime>& lifetimes) {
  std::uint64_t bound = 0;
  for (const Lifetime& at : lifetimes) {
    std::uint64_t alive = 0;
    for (const Lifetime& other : lifetimes) {
      if (other.first <= at.first && at.first <= other.last) alive += other.bytes;
    }
    bound = std::max(bound, alive);
  }
  return bound;
}

/// The rules that need no pair of buffers.
inline void require_measures(const std::vector<Lifetime>& lifetimes, const OffsetPlan& plan) {
  REQUIRE(plan.offsets.size() == lifetimes.size());
  std::uint64_t end = 0;
  bool is_aligned = true;
  for (std::size_t i = 0; i < lifetimes.size(); ++i) {
    const Lifetime& a = lifetimes[i];
    is_aligned = is_aligned && plan.offsets[i] % a.alignment == 0;
    is_aligned = is_aligned && (a.bytes == 0 || plan.alignment % a.alignment == 0);
    end = std::max(end, plan.offsets[i] + a.bytes);
  }
  REQUIRE(is_aligned);
  REQUIRE(plan.bytes == end);
  REQUIRE(plan.bytes >= plan.lower_bound);
}

/// Every rule of a plan, pair by pair.
inline void require_right(const std::vector<Lifetime>& lifetimes, const OffsetPlan& plan) {
  require_measures(lifetimes, plan);
  bool is_apart = true;
  for (std::size_t i = 0; i < lifetimes.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const Lifetime& a = lifetimes[i];
      const Lifetime& b = lifetimes[j];
      if (a.bytes == 0 || b.bytes == 0 || !are_alive_together(a, b)) continue;
      is_apart = is_apart && (plan.offsets[i] + a.bytes <= plan.offsets[j] ||
                              plan.offsets[j] + b.bytes <= plan.offsets[i]);
    }
  }
  REQUIRE(is_apart);
}

/// The same of many buffers: what is alive is kept by offset, step after step, and each that comes
/// is compared with its two neighbours.
inline void require_right_by_step(const std::vector<Lifetime>& lifetimes, const OffsetPlan& plan) {
  require_measures(lifetimes, plan);
  std::vector<std::size_t> by_first;
  std::vector<std::size_t> by_last;
  for (std::size_t i = 0; i < lifetimes.size(); ++i) {
    if (lifetimes[i].bytes != 0) by_first.push_back(i);
  }
  by_last = by_first;
  std::sort(by_first.begin(), by_first.end(),
            [&](std::size_t a, std::size_t b) { return lifetimes[a].first < lifetimes[b].first; });
  std::sort(by_last.begin(), by_last.end(),
            [&](std::size_t a, std::size_t b) { return lifetimes[a].last < lifetimes[b].last; });
  std::map<std::uint64_t, std::uint64_t> alive;  // ends by offset
  std::size_t ended = 0;
  bool is_apart = true;
  for (const std::size_t i : by_first) {
    for (; lifetimes[by_last[ended]].last < lifetimes[i].first; ++ended)
      alive.erase(plan.offsets[by_last[ended]]);
    const std::uint64_t end = plan.offsets[i] + lifetimes[i].bytes;
    const auto [place, is_new] = alive.emplace(plan.offsets[i], end);
    is_apart = is_apart && is_new;
    if (!is_apart) break;
    const auto next = std::next(place);
    is_apart = (next == alive.end() || end <= next->first) &&
               (place == alive.begin() || std::prev(place)->second <= place->first);
  }
  REQUIRE(is_apart);
}

/// What buffers take when they are placed in that order, each at the lowest offset that is free.
[[nodiscard]] inline std::uint64_t bytes_in_order(const std::vector<Lifetime>& lifetimes,
                                                  const std::vector<std::size_t>& order) {
  std::vector<std::uint64_t> offsets(lifetimes.size());
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const Lifetime& a = lifetimes[order[i]];
    if (a.bytes == 0) continue;
    std::uint64_t offset = 0;
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t j = 0; j < i; ++j) {
        const Lifetime& b = lifetimes[order[j]];
        const std::uint64_t other = offsets[order[j]];
        if (b.bytes == 0 || !are_alive_together(a, b) || offset + a.bytes <= other ||
            other + b.bytes <= offset)
          continue;
        offset = (other + b.bytes + a.alignment - 1) / a.alignment * a.alignment;
        moved = true;
      }
    }
    offsets[order[i]] = offset;
    bytes = std::max(bytes, offset + a.bytes);
  }
  return bytes;
}

/// The fewest bytes of any plan: some order placed at the lowest offsets is optimal.
[[nodiscard]] inline std::uint64_t fewest_bytes(const std::vector<Lifetime>& lifetimes) {
  std::vector<std::size_t> order(lifetimes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::uint64_t best = std::numeric_limits<std::uint64_t>::max();
  do {
    best = std::min(best, bytes_in_order(lifetimes, order));
  } while (std::next_permutation(order.begin(), order.end()));
  return best;
}

}  // namespace allot::test
