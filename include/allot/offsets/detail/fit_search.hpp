// SPDX-License-Identifier: MIT
/// \file
/// `FitSearch`: whether buffers fit a capacity, and if not, what to keep elsewhere.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/offsets/detail/offset_planner.hpp>
#include <allot/offsets/detail/plain_lifetime.hpp>
#include <allot/offsets/detail/plan_rules.hpp>
#include <allot/offsets/detail/rule_planner.hpp>
#include <allot/offsets/detail/spill_search.hpp>
#include <allot/offsets/lifetime.hpp>
#include <allot/offsets/offset_plan.hpp>
#include <allot/os/algorithm.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace allot::detail {

template <class Owner = void>
class FitSearch {
 public:
  FitSearch(DeferredSpan<const Lifetime, Owner> lifetimes, std::uint64_t capacity,
            const OffsetPlanOptions& options)
      : lifetimes_{lifetimes}, capacity_{capacity}, options_{search_options<Owner>(options)} {
    std::uint64_t sum = 0;
    for (const std::uint64_t bytes : options.capacities)
      sum = checked_add(sum, bytes).value_or(largest_of<std::uint64_t>);
    if (!options.capacities.empty()) capacity_ = smaller(capacity_, sum);
  }

  [[nodiscard]] Deferred<OffsetFit, Owner> run() {
    Deferred<OffsetFit, Owner> fit = fit_of(lifetimes_, options_);
    if (fit.verdict != OffsetFit::Verdict::fits) fit.spill = spill();
    return fit;
  }

 private:
  static constexpr std::uint64_t most_nodes = 200'000;

  [[nodiscard]] Deferred<OffsetFit, Owner> fit_of(DeferredSpan<const Lifetime, Owner> lifetimes,
                                                  const OffsetPlanOptions& options) const {
    if (!has_rules<Owner>(lifetimes, options)) {
      const DeferredVector<PlainLifetime, Owner> all = plain<Owner>(lifetimes);
      return OffsetPlanner<Owner>{all, options}.fit(capacity_);
    }
    RulePlanner<Owner> planner{lifetimes, options, capacity_};
    Deferred<OffsetFit, Owner> fit;
    fit.plan.lower_bound = planner.lower_bound();
    if (is_beyond(lifetimes, planner, fit)) return fit;
    if (auto plan = planner.plan()) fit.plan = std::move(*plan);
    if (!fit.plan.offsets.empty() && fit.plan.bytes <= capacity_)
      fit.verdict = OffsetFit::Verdict::fits;
    return fit;
  }

  /// Returns whether what is alive at one step exceeds the memories that it may be in: all of
  /// them, or, if they are few, some.
  [[nodiscard]] bool is_beyond(DeferredSpan<const Lifetime, Owner> lifetimes,
                               const RulePlanner<Owner>& planner,
                               Deferred<OffsetFit, Owner>& fit) const {
    const PlanRules<Owner>& rules = planner.rules();
    const std::size_t memories = rules.memories();
    const auto refutes = [&](const DeferredVector<std::size_t, Owner>& some,
                             std::uint64_t capacity) {
      const auto most = rules.most_alive(some);
      if (most.bytes <= capacity) return false;
      fit.verdict = OffsetFit::Verdict::impossible;
      fit.step = most.step;
      for (std::uint32_t i = 0; i < lifetimes.size(); ++i) {
        const auto allowed = rules.memories_of(i);
        const bool counts = std::all_of(allowed.begin(), allowed.end(), [&](std::size_t memory) {
          return std::find(some.begin(), some.end(), memory) != some.end();
        });
        if (counts && lifetimes[i].bytes != 0 && lifetimes[i].first <= most.step &&
            most.step <= lifetimes[i].last)
          fit.buffers.push_back(i);
      }
      return true;
    };
    DeferredVector<std::size_t, Owner> all(memories);
    for (std::size_t m = 0; m < memories; ++m) all[m] = m;
    if (refutes(all, capacity_)) return true;
    if (memories > 1 && memories <= most_for_subsets) {
      for (std::size_t bits = 1; bits + 1 < std::size_t{1} << memories; ++bits) {
        DeferredVector<std::size_t, Owner> some;
        std::uint64_t capacity = 0;
        for (std::size_t m = 0; m < memories; ++m) {
          if ((bits >> m & 1) == 0) continue;
          some.push_back(m);
          capacity = checked_add(capacity, rules.capacity(m)).value_or(largest_of<std::uint64_t>);
        }
        if (refutes(some, capacity)) return true;
      }
    }
    if (planner.lower_bound() <= capacity_) return false;
    // Places that are given end beyond it.
    fit.verdict = OffsetFit::Verdict::impossible;
    fit.buffers = rules.last_places();
    DeferredVector<PlainLifetime, Owner> last;
    for (const std::uint32_t i : fit.buffers) {
      const Lifetime& each = lifetimes[i];
      last.push_back({each.bytes, each.first, each.last, each.alignment});
    }
    fit.step = Breadth<Owner>{last}.fullest();
    return true;
  }
  static constexpr std::size_t most_for_subsets = 6;

  /// The fewest bytes whose absence lets what is alive fit; if no plan is found then, more and more
  /// of what is alive at the fullest step.
  [[nodiscard]] Deferred<Spill, Owner> spill() const {
    const DeferredVector<PlainLifetime, Owner> all = plain<Owner>(lifetimes_);
    const std::uint64_t capacity = smaller_excess_capacity(all);
    SpillSearch<Owner> search{all, capacity};
    DeferredVector<std::uint32_t, Owner> out = search.run(most_nodes);
    const bool is_least = search.is_proven();
    Deferred<OffsetPlanOptions, Owner> options;
    options.capacities = options_.capacities;
    options.stop = options_.stop;
    options.work = options_.work / 4;
    bool is_first = true;
    std::uint64_t less = capacity / 64 + 1;
    while (!fits_without(out, options)) {
      is_first = false;
      if (all.size() <= most_one_by_one) {
        add_more(out, all);
      } else {  // as if there were ever fewer bytes
        out = SpillSearch<Owner>{all, capacity - smaller(capacity, less)}.run(0);
        less = less > capacity / 2 ? capacity : 2 * less;
      }
    }
    if (!is_first) put_back(out, options);
    Deferred<Spill, Owner> spill;
    spill.buffers = std::move(out);
    for (const std::uint32_t i : spill.buffers) spill.bytes += lifetimes_[i].bytes;
    spill.is_proven = is_least && is_first;
    return spill;
  }

  /// Places that are shared take once what their buffers take each: no step may be asked to lose
  /// more than it must.
  [[nodiscard]] std::uint64_t smaller_excess_capacity(
      DeferredSpan<const PlainLifetime, Owner> all) const {
    if (!has_rules<Owner>(lifetimes_, options_)) return capacity_;
    const PlanRules<Owner> rules{lifetimes_, options_};
    if (!rules.has_replacements()) return capacity_;
    DeferredVector<std::pair<std::uint64_t, std::uint64_t>, Owner> shared;  // step, bytes
    for (std::uint32_t i = 0; i < all.size(); ++i) {
      if (rules.replaced_by(i)) shared.emplace_back(all[i].first, all[i].bytes);
    }
    std::sort(shared.begin(), shared.end());
    std::uint64_t most = 0;
    std::uint64_t bytes = 0;  // of the places that may be shared at one step
    for (std::size_t i = 0; i < shared.size(); ++i) {
      if (i == 0 || shared[i].first != shared[i - 1].first) bytes = 0;
      bytes = checked_add(bytes, shared[i].second).value_or(largest_of<std::uint64_t>);
      most = larger(most, bytes);
    }
    return checked_add(capacity_, most).value_or(largest_of<std::uint64_t>);
  }

  [[nodiscard]] bool fits_without(const DeferredVector<std::uint32_t, Owner>& out,
                                  const OffsetPlanOptions& options) const {
    DeferredVector<Lifetime, Owner> rest{lifetimes_.begin(), lifetimes_.end()};
    for (const std::uint32_t i : out) {
      rest[i].bytes = 0;
      rest[i].fixed_offset.reset();
    }
    return fit_of(rest, options).verdict == OffsetFit::Verdict::fits;
  }

  /// Adds as many as there are, at least one: the smallest that are alive when the most bytes are.
  void add_more(DeferredVector<std::uint32_t, Owner>& out,
                DeferredVector<PlainLifetime, Owner> rest) const {
    const std::size_t wanted = out.size() / 4 + 1;
    for (const std::uint32_t i : out) rest[i].bytes = 0;
    for (std::size_t count = 0; count < wanted; ++count) {
      const std::uint64_t step = Breadth<Owner>{rest}.fullest();
      std::optional<std::uint32_t> least;
      for (std::uint32_t i = 0; i < rest.size(); ++i) {
        if (rest[i].bytes == 0) continue;
        const bool is_alive = rest[i].first <= step && step <= rest[i].last;
        if (is_alive && (!least || rest[i].bytes < rest[*least].bytes)) least = i;
      }
      if (!least) break;
      out.push_back(*least);
      rest[*least].bytes = 0;
    }
    std::sort(out.begin(), out.end());
  }

  /// Takes back what need not go, the largest first.
  void put_back(DeferredVector<std::uint32_t, Owner>& out, const OffsetPlanOptions& options) const {
    DeferredVector<std::uint32_t, Owner> by_size = out;
    std::stable_sort(by_size.begin(), by_size.end(), [&](std::uint32_t a, std::uint32_t b) {
      return lifetimes_[a].bytes > lifetimes_[b].bytes;
    });
    if (by_size.size() > most_put_back) by_size.resize(most_put_back);
    for (const std::uint32_t i : by_size) {
      DeferredVector<std::uint32_t, Owner> without = out;
      std::erase(without, i);
      if (fits_without(without, options)) out = std::move(without);
    }
  }
  static constexpr std::size_t most_put_back = 32;
  /// Beyond it `SpillSearch` takes n log n; to look for the fullest step again and again takes n^2.
  static constexpr std::size_t most_one_by_one = 4096;

  DeferredSpan<const Lifetime, Owner> lifetimes_;
  std::uint64_t capacity_;
  Deferred<OffsetPlanOptions, Owner> options_;
};

}  // namespace allot::detail
