// SPDX-License-Identifier: MIT
/// \file
/// `recommend`: which arena to write, of the rows of a replay.
#pragma once

#include <allot/core/version.hpp>
#include <allot/report/replay.hpp>

#include <cstddef>
#include <optional>
#include <span>

namespace allot::report {

/// What counts as best.
enum class Aim {
  memory,  ///< the smallest capacity
  time,    ///< the fastest, of those that take at most twice the smallest capacity
  both,    ///< the least product of the two
};

/// The number of the row; of equal ones the first. Nothing if all rows are simulated.
///
/// Pools and coarser units are taken for their memory alone: what a pool's calls of a device take is
/// not measured, and what a coarser unit saves in time is less than what two runs differ by.
/// Complexity: linear.
template <class = void>
[[nodiscard]] std::optional<std::size_t> recommend(std::span<const ReplayRow> rows, Aim aim) {
  std::optional<std::size_t> best;
  std::uint64_t least_bytes = 0;
  for (const ReplayRow& row : rows) {
    if (!row.is_simulated && (least_bytes == 0 || row.capacity < least_bytes))
      least_bytes = row.capacity;
  }
  const auto cost = [&](const ReplayRow& row) {
    switch (aim) {
      case Aim::memory:
        return static_cast<double>(row.capacity);
      case Aim::time:
        return row.nanoseconds;
      case Aim::both:
        return static_cast<double>(row.capacity) * row.nanoseconds;
    }
    return 0.0;
  };
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].is_simulated) continue;
    if (aim != Aim::memory && (rows[i].is_pool || rows[i].is_coarser)) continue;
    if (aim == Aim::time && rows[i].capacity / 2 > least_bytes) continue;
    if (!best || cost(rows[i]) < cost(rows[*best])) best = i;
  }
  return best;
}

}  // namespace allot::report
