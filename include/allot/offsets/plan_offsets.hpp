// SPDX-License-Identifier: MIT
/// \file
/// `plan_offsets`: buffers whose lifetimes are known get their places in one block before anything
/// runs. For the activations of a graph that is run again and again: a request costs an addition.
///
/// This is dynamic storage allocation offline, which is NP-hard; what is tried is the greedy family
/// of Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference" (2020): the
/// buffers in some order, each to the lowest or to the tightest gap that its lifetime leaves.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/offsets/detail/breadth.hpp>
#include <allot/offsets/detail/lifetime_index.hpp>
#include <allot/offsets/lifetime.hpp>
#include <allot/strategy/best_fit.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

namespace allot {

/// The order in which buffers are placed.
enum class PlanOrder {
  best_fit,  ///< by first use, as a program would ask an arena of `BestFit` for them
  time,      ///< by first use, but each to a gap that stays free for its whole lifetime
  size,      ///< the largest first
  duration,  ///< the longest-lived first, by steps
  area,      ///< by size times duration
  breadth,   ///< by the fullest step that a buffer is alive at, the largest first
  improved,  ///< one of these, and then what lay on top placed earlier
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

struct OffsetPlanOptions {
  /// Steps of the search over all orders: what bounds the time, the same on every machine. About
  /// 5 ns each. That of `BestFit` is always finished.
  std::uint64_t work = 300'000'000;
};

namespace detail {

[[noreturn]] inline void throw_bad_lifetime(std::size_t buffer, const Lifetime& lifetime) {
  FixedText<256> text;
  text << "buffer " << buffer << " is used first at step " << lifetime.first << " and last at step "
       << lifetime.last << "; give the first step, then the last one, which is not before it";
  throw std::invalid_argument{text.c_str()};
}

[[noreturn]] inline void throw_bad_buffer_alignment(std::size_t buffer, std::uint64_t alignment) {
  FixedText<192> text;
  text << "buffer " << buffer << " has an alignment of " << alignment
       << " bytes, which is no power of two; use 1, 2, 4, ...";
  throw std::invalid_argument{text.c_str()};
}

/// Tries orders, and keeps the best plan. A template, as what follows and what it uses: the searches
/// and sorts in it are compiled where a plan is made, not where this header is included.
template <class = void>
class OffsetPlanner {
 public:
  OffsetPlanner(std::span<const Lifetime> lifetimes, const OffsetPlanOptions& options)
      : lifetimes_{lifetimes}, breadth_{lifetimes}, index_{lifetimes}, work_left_{options.work} {
    best_.lower_bound = breadth_.most();
    best_.bytes = std::numeric_limits<std::uint64_t>::max();
    for (const Lifetime& lifetime : lifetimes) {
      if (lifetime.bytes != 0) best_.alignment = larger(best_.alignment, lifetime.alignment);
    }
    // What alignment takes ends the search where it is next to nothing; else it may be avoided.
    good_enough_ = aligned_bound();
    if (good_enough_ - best_.lower_bound > best_.lower_bound / 4096)
      good_enough_ = best_.lower_bound;
  }

  [[nodiscard]] OffsetPlan plan() {
    run_best_fit(1);
    run_best_fit(smaller<std::uint64_t>(best_.alignment, 256));
    for (const Gap gap : {Gap::lowest, Gap::tightest}) {
      for (const PlanOrder order : {PlanOrder::size, PlanOrder::duration, PlanOrder::area,
                                    PlanOrder::breadth, PlanOrder::time}) {
        try_order(order, gap);
      }
    }
    improve();
    if (!has_plan_) throw_plan_overflows(lifetimes_.size());
    return std::move(best_);
  }

 private:
  enum class Gap { lowest, tightest };

  [[nodiscard]] bool is_optimal() const noexcept {
    return has_plan_ && best_.bytes <= good_enough_;
  }

  /// What the lower bound is when every buffer ends at a multiple of the lowest alignment: all but
  /// the one on top do.
  [[nodiscard]] std::uint64_t aligned_bound() const {
    std::uint64_t lowest = best_.alignment;
    for (const Lifetime& lifetime : lifetimes_) lowest = smaller(lowest, lifetime.alignment);
    try {
      return lowest == 1 ? breadth_.most() : Breadth<>{lifetimes_, lowest}.most();
    } catch (const std::invalid_argument&) {  // beyond 64 bits
      return breadth_.most();
    }
  }

  void try_order(PlanOrder name, Gap gap) {
    if (!is_optimal() && !is_cut_short()) run(order_of(name), name, gap);
  }

  [[nodiscard]] bool is_cut_short() noexcept {
    if (work_left_ == 0) best_.is_cut_short = true;
    return work_left_ == 0;
  }

  /// What an arena of that granularity makes of them: n log n, whatever is alive together.
  void run_best_fit(std::uint64_t granularity) {
    if (is_optimal()) return;
    WideBestFit range{std::numeric_limits<std::uint64_t>::max()};
    std::vector<Handle> handles(lifetimes_.size());
    std::vector<std::uint64_t> offsets(lifetimes_.size());
    std::uint64_t bytes = 0;
    for (const LifetimeChange& change : changes_of(lifetimes_)) {
      const Lifetime& lifetime = lifetimes_[change.buffer];
      if (lifetime.bytes == 0) continue;
      if (!change.begins) {
        range.deallocate(handles[change.buffer], offsets[change.buffer]);
        continue;
      }
      const auto size = checked_align_up(lifetime.bytes, granularity);
      const auto placed =
          size ? range.allocate(*size, larger(lifetime.alignment, granularity)) : std::nullopt;
      if (!placed) return;
      handles[change.buffer] = placed->handle;
      offsets[change.buffer] = placed->offset;
      bytes = larger(bytes, placed->offset + lifetime.bytes);
    }
    if (has_plan_ && bytes >= best_.bytes) return;
    best_order_ = order_of(PlanOrder::time);
    keep(std::move(offsets), bytes, PlanOrder::best_fit);
  }

  void keep(std::vector<std::uint64_t> offsets, std::uint64_t bytes, PlanOrder name) noexcept {
    best_.offsets = std::move(offsets);
    best_.bytes = bytes;
    best_.order = name;
    has_plan_ = true;
  }

  [[nodiscard]] std::vector<std::uint32_t> order_of(PlanOrder name) const {
    const auto key = [&, breadth = name == PlanOrder::breadth ? breadth_.of(lifetimes_)
                                                              : std::vector<std::uint64_t>{}](
                         std::uint32_t buffer) -> std::pair<double, double> {
      const Lifetime& lifetime = lifetimes_[buffer];
      const auto bytes = static_cast<double>(lifetime.bytes);
      const auto steps = static_cast<double>(lifetime.last - lifetime.first) + 1;
      switch (name) {
        case PlanOrder::size:
          return {bytes, steps};
        case PlanOrder::duration:
          return {steps, bytes};
        case PlanOrder::area:
          return {bytes * steps, bytes};
        case PlanOrder::breadth:
          return {static_cast<double>(breadth[buffer]), bytes};
        default:
          return {-static_cast<double>(lifetime.first), steps};
      }
    };
    std::vector<std::pair<double, double>> keys;
    keys.reserve(lifetimes_.size());
    for (std::uint32_t i = 0; i < lifetimes_.size(); ++i) keys.push_back(key(i));
    std::vector<std::uint32_t> order(lifetimes_.size());
    std::iota(order.begin(), order.end(), 0U);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return keys[a] > keys[b]; });
    return order;
  }

  /// Places the buffers in an order; gives up where that cannot be better than what there is.
  bool run(const std::vector<std::uint32_t>& order, PlanOrder name, Gap gap) {
    index_.clear();
    std::vector<std::uint64_t> offsets(lifetimes_.size());
    std::uint64_t bytes = 0;
    for (const std::uint32_t buffer : order) {
      const Lifetime& lifetime = lifetimes_[buffer];
      if (lifetime.bytes == 0) continue;
      if (is_cut_short()) return false;
      const auto offset = place(lifetime, gap);
      if (!offset) return false;
      offsets[buffer] = *offset;
      bytes = larger(bytes, *offset + lifetime.bytes);
      if (has_plan_ && bytes >= best_.bytes) return false;
      index_.insert(buffer, *offset, lifetime);
    }
    best_order_ = order;
    keep(std::move(offsets), bytes, name);
    return true;
  }

  /// An offset that no buffer alive with this one has; nothing where it would exceed 64 bits.
  [[nodiscard]] std::optional<std::uint64_t> place(const Lifetime& lifetime, Gap gap) {
    const std::span<const PlacedRange> others = index_.alive_with(lifetime);
    const std::uint64_t steps = (others.size() + 1) * (4 + std::bit_width(others.size()));
    work_left_ -= smaller(work_left_, steps);
    std::uint64_t end = 0;
    std::uint64_t tightest = std::numeric_limits<std::uint64_t>::max();
    std::optional<std::uint64_t> found;
    for (const PlacedRange& other : others) {
      if (other.offset > end) {
        const auto start = checked_align_up(end, lifetime.alignment);
        const auto reach = start ? checked_add(*start, lifetime.bytes) : std::nullopt;
        if (reach && *reach <= other.offset && other.offset - end < tightest) {
          found = start;
          if (gap == Gap::lowest) return found;
          tightest = other.offset - end;
        }
      }
      end = larger(end, other.end);
    }
    if (found) return found;
    const auto start = checked_align_up(end, lifetime.alignment);
    if (!start || !checked_add(*start, lifetime.bytes)) return std::nullopt;
    return start;
  }

  /// What reaches the top goes to the front of the order, for as long as the work lasts and some
  /// round of it helps now and then.
  void improve() {
    static constexpr std::size_t most_buffers = 4096;
    if (!has_plan_ || is_optimal() || lifetimes_.size() > most_buffers) return;
    const std::size_t patience = 64 + most_buffers / lifetimes_.size();
    std::uint64_t state = 0x9E3779B97F4A7C15;
    std::vector<std::uint32_t> order = best_order_;
    for (std::size_t failed = 0; failed < patience && !is_optimal() && !is_cut_short();) {
      promote(order, state);
      if (run(order, PlanOrder::improved, failed % 2 == 0 ? Gap::lowest : Gap::tightest)) {
        failed = 0;
      } else if (++failed % 8 == 0) {
        order = best_order_;
      }
    }
  }

  /// Moves a buffer that reaches the top, or one at random, some way to the front.
  void promote(std::vector<std::uint32_t>& order, std::uint64_t& state) const {
    const auto next = [&state](std::size_t bound) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      return static_cast<std::size_t>((state >> 33) % bound);
    };
    std::size_t chosen = next(order.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
      const std::uint32_t buffer = order[i];
      const bool is_on_top = best_.offsets[buffer] + lifetimes_[buffer].bytes == best_.bytes;
      if (is_on_top && i != 0 && next(4) != 0) {
        chosen = i;
        break;
      }
    }
    const std::size_t to = next(chosen + 1);
    std::rotate(order.begin() + static_cast<std::ptrdiff_t>(to),
                order.begin() + static_cast<std::ptrdiff_t>(chosen),
                order.begin() + static_cast<std::ptrdiff_t>(chosen) + 1);
  }

  std::span<const Lifetime> lifetimes_;
  Breadth<> breadth_;
  LifetimeIndex<> index_;
  std::uint64_t work_left_;
  std::uint64_t good_enough_ = 0;
  OffsetPlan best_;
  std::vector<std::uint32_t> best_order_;
  bool has_plan_ = false;
};

}  // namespace detail

/// Offsets for buffers in one block, such that no two that are alive at one step overlap; the same
/// for the same lifetimes on every machine. Take `plan.bytes` bytes at `plan.alignment` once, and
/// add the offsets.
///
/// Complexity: n log n in the buffers where few are alive with each, n^2 log n where all are;
/// `options.work` bounds it, down to n log n. Memory: n log n.
/// Throws: `std::invalid_argument` naming the buffer for a last step before the first one and an
/// alignment that is no power of two, and where what is alive at once exceeds 64 bits;
/// `std::length_error` for more than 2^32 - 1 buffers; `std::bad_alloc`.
template <class = void>
[[nodiscard]] OffsetPlan plan_offsets(std::span<const Lifetime> lifetimes,
                                      const OffsetPlanOptions& options = {}) {
  if (lifetimes.size() >= std::numeric_limits<std::uint32_t>::max())
    throw std::length_error{"a plan has fewer than 2^32 buffers; plan parts of the graph"};
  for (std::size_t i = 0; i < lifetimes.size(); ++i) {
    if (lifetimes[i].first > lifetimes[i].last) detail::throw_bad_lifetime(i, lifetimes[i]);
    if (!is_power_of_two(lifetimes[i].alignment))
      detail::throw_bad_buffer_alignment(i, lifetimes[i].alignment);
  }
  return detail::OffsetPlanner<>{lifetimes, options}.plan();
}

}  // namespace allot
