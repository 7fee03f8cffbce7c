// SPDX-License-Identifier: MIT
/// \file
/// `OffsetPlanner`: tries one way to plan after another, and keeps the best plan.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/offsets/detail/best_fit_plan.hpp>
#include <allot/offsets/detail/breadth.hpp>
#include <allot/offsets/detail/capacity_search.hpp>
#include <allot/offsets/detail/core_planner.hpp>
#include <allot/offsets/detail/gap_index.hpp>
#include <allot/offsets/detail/local_order.hpp>
#include <allot/offsets/detail/order_placer.hpp>
#include <allot/offsets/detail/packing.hpp>
#include <allot/offsets/detail/plain_lifetime.hpp>
#include <allot/offsets/detail/plan_orders.hpp>
#include <allot/offsets/detail/search_watch.hpp>
#include <allot/offsets/offset_plan.hpp>
#include <allot/os/algorithm.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <utility>

namespace allot::detail {

/// The ways, and how they go on, never depend on how much work is left: more work continues where
/// less stops, so that its plan is never worse. A template, as what it uses: the searches and sorts
/// in it are compiled when a plan is made, not when this header is included.
template <class Owner = void>
class OffsetPlanner {
 public:
  OffsetPlanner(DeferredSpan<const PlainLifetime, Owner> lifetimes,
                const OffsetPlanOptions& options)
      : lifetimes_{lifetimes},
        changes_{changes_of<Owner>(lifetimes)},
        breadth_{lifetimes, changes_},
        watch_{options, options.work},
        work_left_{options.work} {
    best_.lower_bound = breadth_.most();
    best_.bytes = largest_of<std::uint64_t>;
    for (const PlainLifetime& lifetime : lifetimes) {
      if (lifetime.bytes != 0) best_.alignment = larger(best_.alignment, lifetime.alignment);
    }
    // What alignment takes ends the search when it is next to nothing; else it may be avoided.
    const std::uint64_t nothing = best_.lower_bound / 4096;
    good_enough_ = aligned_bound();
    if (good_enough_ - best_.lower_bound > nothing) good_enough_ = best_.lower_bound;
  }

  /// The best plan there is, as far as the work reaches.
  [[nodiscard]] Deferred<OffsetPlan, Owner> plan() {
    run();
    if (!has_plan_) throw_plan_overflows(lifetimes_.size());
    best_.is_cut_short = !is_proven();
    return std::move(best_);
  }

  /// Finds out whether a plan has at most that many bytes.
  [[nodiscard]] Deferred<OffsetFit, Owner> fit(std::uint64_t capacity) {
    Deferred<OffsetFit, Owner> fit;
    if (best_.lower_bound > capacity) {
      fit.verdict = OffsetFit::Verdict::impossible;
      fit.step = breadth_.fullest();
      fit.buffers = alive(fit.step, fit.step);
      fit.plan.lower_bound = best_.lower_bound;
      return fit;
    }
    good_enough_ = capacity;
    is_fit_ = true;
    run();
    if (has_plan_ && best_.bytes <= capacity) {
      fit.verdict = OffsetFit::Verdict::fits;
    } else if (is_exhausted_) {
      fit.verdict = OffsetFit::Verdict::impossible;
      fit.buffers = proof_;
      fit.step = first_fullest(proof_);
    }
    best_.is_cut_short = !is_proven();
    fit.plan = std::move(best_);
    return fit;
  }

 private:
  void run() {
    keep(plan_best_fit<Owner>(lifetimes_, changes_, 1), PlanOrder::best_fit);
    if (!is_done())
      keep(plan_best_fit<Owner>(lifetimes_, changes_, smaller<std::uint64_t>(best_.alignment, 256)),
           PlanOrder::best_fit);
    if (!is_done()) search();
  }

  static constexpr std::uint64_t corner_cost = 2;
  static constexpr std::uint64_t sort_cost = 4;  // for each
  static constexpr std::array greedy_orders{PlanOrder::breadth, PlanOrder::size,
                                            PlanOrder::duration, PlanOrder::area, PlanOrder::time};
  /// Up to that many buffers, a core would leave too few out.
  static constexpr std::size_t most_without_core = 600;

  void spend(std::uint64_t units) noexcept { work_left_ -= smaller(work_left_, units); }

  [[nodiscard]] bool is_proven() const noexcept {
    return is_exhausted_ || (has_plan_ && best_.bytes <= good_enough_);
  }
  [[nodiscard]] bool is_done() {
    if (is_proven() || work_left_ == 0) return true;
    if (watch_.stops(work_left_, best_.bytes, best_.lower_bound)) work_left_ = 0;
    return work_left_ == 0;
  }

  /// What the lower bound is when every buffer ends at a multiple of the lowest alignment: all but
  /// the one on top do.
  [[nodiscard]] std::uint64_t aligned_bound() const {
    std::uint64_t lowest = best_.alignment;
    for (const PlainLifetime& lifetime : lifetimes_) lowest = smaller(lowest, lifetime.alignment);
    try {
      return lowest == 1 ? breadth_.most() : Breadth<Owner>{lifetimes_, changes_, lowest}.most();
    } catch (const std::invalid_argument&) {  // beyond 64 bits
      return breadth_.most();
    }
  }

  /// Returns whether that is the best plan so far.
  bool keep(std::optional<Offsets<Owner>> plan, PlanOrder name) {
    if (!plan || (has_plan_ && plan->bytes >= best_.bytes)) return false;
    best_.offsets = std::move(plan->offsets);
    best_.bytes = plan->bytes;
    best_.order = name;
    has_plan_ = true;
    return true;
  }

  /// Below it, sums of two places do not wrap.
  [[nodiscard]] bool is_narrow() const noexcept {
    constexpr std::uint64_t most = largest_of<std::uint64_t> / 4;
    return has_plan_ && best_.bytes < most && best_.alignment < most;
  }

  void search() {
    packing_ = make_packing<Owner>(lifetimes_, changes_);
    DeferredVector<LifetimeChange, Owner>{}.swap(changes_);
    const LocalOrder<Owner> local{packing_};
    GapIndex<Owner> gaps{packing_.totals.size()};
    OrderPlacer<Owner> placer{lifetimes_, packing_, gaps, work_left_};
    const DeferredVector<std::uint64_t, Owner> breadths = breadth_.of(lifetimes_);
    std::array<DeferredVector<std::uint32_t, Owner>, greedy_orders.size()> orders;
    for (std::size_t i = 0; i < orders.size() && !is_done(); ++i) {
      orders[i] = local.of(order_of<Owner>(lifetimes_, breadths, greedy_orders[i]));
      spend(sort_cost * lifetimes_.size() + local.work());
      keep(is_narrow() ? placer.place_lowest(orders[i], best_.bytes - 1)
                       : placer.place_lowest_wide(orders[i], limit()),
           greedy_orders[i]);
    }
    // No more is searched for what alignment may take.
    const std::uint64_t padding = smaller(best_.lower_bound / 4096, best_.alignment - 1);
    if (!is_fit_) good_enough_ = larger(good_enough_, best_.lower_bound + padding);
    if (is_done()) return;
    const bool has_core = is_narrow() && packing_.boxes.size() > most_without_core;
    std::optional<CorePlanner<Owner>> cores;
    if (has_core) {
      cores.emplace(lifetimes_, packing_, gaps,
                    DeferredVector<DeferredVector<std::uint32_t, Owner>, Owner>(orders.begin(),
                                                                                orders.end() - 1),
                    good_enough_, work_left_);
      if (is_fit_) cores->stay_low();
      plan_cores(*cores, core_tries);
    }
    for (std::size_t i = 0; i < orders.size() && !is_done(); ++i)
      keep(placer.place_tightest(orders[i], limit()), greedy_orders[i]);
    if (!is_done() && is_narrow() && packing_.boxes.size() <= CornerSearch<Owner>::most_boxes)
      search_corners();
    if (has_core) plan_cores(*cores, largest_of<std::size_t>);
  }

  [[nodiscard]] std::uint64_t limit() const noexcept {
    return has_plan_ ? best_.bytes - 1 : largest_of<std::uint64_t>;
  }

  static constexpr std::size_t core_tries = 12;

  void plan_cores(CorePlanner<Owner>& cores, std::size_t tries) {
    for (; tries != 0 && !is_done(); --tries) {
      keep(cores.try_below(best_.bytes), PlanOrder::core);
      if (tries % core_tries == 1 && !is_done())
        keep(cores.lower({best_.offsets, best_.bytes}), PlanOrder::improved);
    }
  }

  /// A search that finds the best plan of few buffers, and good ones of some more.
  void search_corners() {
    CapacitySearch<Owner> search{packing_, good_enough_};
    while (!is_done()) {
      const std::uint64_t before = search.work();
      const bool is_found = is_fit_ ? search.run_lowest(work_left_ / corner_cost)
                                    : search.run(best_.bytes, work_left_ / corner_cost);
      work_left_ -= smaller(work_left_, corner_cost * (search.work() - before));
      if (is_found) keep(offsets_of(search), PlanOrder::corners);
      is_exhausted_ = search.is_exhausted(is_fit_ ? good_enough_ + 1 : best_.bytes);
    }
    if (!is_exhausted_) return;
    for (std::uint32_t i = 0; i < packing_.boxes.size(); ++i) {
      const Box& box = packing_.boxes[i];
      if (box.begin < search.proof().end && search.proof().begin < box.end)
        proof_.push_back(packing_.buffers[i]);
    }
    std::sort(proof_.begin(), proof_.end());
  }

  /// The buffers with bytes that are alive at some of these steps.
  [[nodiscard]] DeferredVector<std::uint32_t, Owner> alive(std::uint64_t first,
                                                           std::uint64_t last) const {
    DeferredVector<std::uint32_t, Owner> buffers;
    for (std::uint32_t i = 0; i < lifetimes_.size(); ++i) {
      if (lifetimes_[i].bytes != 0 && lifetimes_[i].first <= last && first <= lifetimes_[i].last)
        buffers.push_back(i);
    }
    return buffers;
  }

  /// The step with the most bytes of these alive.
  [[nodiscard]] std::uint64_t first_fullest(
      const DeferredVector<std::uint32_t, Owner>& buffers) const {
    DeferredVector<PlainLifetime, Owner> lifetimes;
    for (const std::uint32_t buffer : buffers) lifetimes.push_back(lifetimes_[buffer]);
    return Breadth<Owner>{lifetimes}.fullest();
  }

  [[nodiscard]] Offsets<Owner> offsets_of(const CapacitySearch<Owner>& search) const {
    Offsets<Owner> plan{DeferredVector<std::uint64_t, Owner>(lifetimes_.size()), 0};
    for (std::uint32_t i = 0; i < packing_.boxes.size(); ++i) {
      plan.offsets[packing_.buffers[i]] = search.offset(i);
      plan.bytes = larger(plan.bytes, search.offset(i) + packing_.boxes[i].bytes);
    }
    return plan;
  }

  DeferredSpan<const PlainLifetime, Owner> lifetimes_;
  DeferredVector<LifetimeChange, Owner> changes_;
  Breadth<Owner> breadth_;
  Packing<Owner> packing_;
  SearchWatch<Owner> watch_;
  std::uint64_t work_left_;
  std::uint64_t good_enough_ = 0;
  Deferred<OffsetPlan, Owner> best_;
  bool has_plan_ = false;
  bool is_exhausted_ = false;  // whether no better plan exists
  bool is_fit_ = false;        // whether only `good_enough_` counts
  DeferredVector<std::uint32_t, Owner> proof_;
};

}  // namespace allot::detail
