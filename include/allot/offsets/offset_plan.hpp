// SPDX-License-Identifier: MIT
/// \file
/// `OffsetPlan`: what `plan_offsets` (`plan_offsets.hpp`) answers, and what it is asked with.
#pragma once

#include <allot/core/version.hpp>

#include <cstdint>
#include <vector>

namespace allot {

/// What a plan was found by.
enum class PlanOrder {
  best_fit,  ///< by first use, as a program would ask an arena of `BestFit` for them
  time,      ///< by first use, but each to a gap that stays free for its whole lifetime
  size,      ///< the largest first
  duration,  ///< the longest-lived first, by steps
  area,      ///< by size times duration
  breadth,   ///< by the fullest step that a buffer is alive at, the largest first
  improved,  ///< one of these, and then what lay on top moved
  corners,   ///< a search from below, corner by corner
  core,      ///< such a search for what decides the height, the rest into the gaps
};

[[nodiscard]] constexpr const char* to_text(PlanOrder order) noexcept {
  switch (order) {
    case PlanOrder::best_fit:
      return "best fit";
    case PlanOrder::time:
      return "time";
    case PlanOrder::size:
      return "size";
    case PlanOrder::duration:
      return "duration";
    case PlanOrder::area:
      return "area";
    case PlanOrder::breadth:
      return "breadth";
    case PlanOrder::improved:
      return "improved";
    case PlanOrder::core:
      return "core";
    case PlanOrder::corners:
      return "corners";
  }
  return "unknown";
}

/// Where buffers go.
struct OffsetPlan {
  std::vector<std::uint64_t> offsets;     ///< of each buffer, in the order given
  std::uint64_t bytes = 0;                ///< of the block that holds them all
  std::uint64_t alignment = 1;            ///< that the block must have
  std::uint64_t lower_bound = 0;          ///< the most bytes alive at one step: no plan has fewer
  PlanOrder order = PlanOrder::best_fit;  ///< what the plan was found by
  bool is_cut_short = false;              ///< whether the work ended before all had been tried
};

/// Whether buffers fit a capacity.
struct OffsetFit {
  enum class Verdict {
    fits,        ///< `plan` has at most that many bytes
    impossible,  ///< `buffers` alone do not fit
    not_found,   ///< within the work; `plan` is the best there was
  };
  Verdict verdict = Verdict::not_found;
  OffsetPlan plan;                     ///< empty when more is alive at one step than the capacity
  std::uint64_t step = 0;              ///< at which the most bytes of `buffers` are alive
  std::vector<std::uint32_t> buffers;  ///< that do not fit: in the order given, from the first on
};

struct OffsetPlanOptions {
  /// Steps of the search over all orders: what bounds the time, the same on every machine. About
  /// 5 ns each. That of `BestFit` is always finished.
  std::uint64_t work = 300'000'000;
};

}  // namespace allot
