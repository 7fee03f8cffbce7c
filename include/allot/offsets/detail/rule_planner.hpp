// SPDX-License-Identifier: MIT
/// \file
/// `RulePlanner`: plans of lifetimes that ask for more than size, time and alignment.
///
/// The buffers are placed in the greedy orders; then, again and again, those that had no room or lie
/// on top come earlier in the best order so far ("squeaky wheel" optimization, Joslin and Clements,
/// 1999). What the search without rules can do better is left to it: buffers that share a place are
/// one buffer to it, and what each memory holds is a separate plan.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/offsets/detail/breadth.hpp>
#include <allot/offsets/detail/offset_planner.hpp>
#include <allot/offsets/detail/plain_lifetime.hpp>
#include <allot/offsets/detail/plan_orders.hpp>
#include <allot/offsets/detail/plan_rules.hpp>
#include <allot/offsets/detail/rule_placer.hpp>
#include <allot/offsets/detail/search_watch.hpp>
#include <allot/offsets/detail/stream_waits.hpp>
#include <allot/offsets/lifetime.hpp>
#include <allot/offsets/offset_plan.hpp>
#include <allot/os/algorithm.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace allot::detail {

template <class Owner = void>
class RulePlanner {
 public:
  /// \param good_enough  a plan of that many bytes ends the search
  RulePlanner(DeferredSpan<const Lifetime, Owner> lifetimes, const OffsetPlanOptions& options,
              std::uint64_t good_enough)
      : lifetimes_{lifetimes},
        options_{options},
        rules_{lifetimes, options},
        lower_bound_{rules_.lower_bound()},
        good_enough_{larger(lower_bound_, good_enough)},
        watch_{options, options.work},
        work_left_{smaller(options.work, most_wheel_work)},
        placer_{lifetimes, rules_, options.stream_wait_bytes, work_left_} {}

  [[nodiscard]] const PlanRules<Owner>& rules() const noexcept { return rules_; }
  [[nodiscard]] std::uint64_t lower_bound() const noexcept { return lower_bound_; }

  /// The best plan there is, as far as the work reaches; nothing if some buffer had no room.
  [[nodiscard]] std::optional<Deferred<OffsetPlan, Owner>> plan() {
    turn_the_wheel();
    if (!best_ || !best_->is_whole()) return std::nullopt;
    refine();
    Deferred<OffsetPlan, Owner> plan;
    plan.lower_bound = lower_bound_;
    plan.order = PlanOrder::rules;
    plan.bytes = best_->bytes;
    plan.is_cut_short = best_->bytes > good_enough_ || best_->waits != 0;
    plan.stream_waits = stream_waits<Owner>(lifetimes_, best_->offsets, best_->memories);
    for (const Lifetime& each : lifetimes_) {
      if (each.bytes != 0) plan.alignment = larger(plan.alignment, each.alignment);
    }
    plan.offsets = std::move(best_->offsets);
    plan.memories = std::move(best_->memories);
    plan.memory_bytes = std::move(best_->memory_bytes);
    return plan;
  }

  /// A buffer that had no room in the best try, if there is one.
  [[nodiscard]] std::optional<std::uint32_t> refused() const {
    if (!best_ || best_->is_whole()) return std::nullopt;
    return best_->refused.front();
  }

 private:
  /// The rest of the work is for the search without rules.
  static constexpr std::uint64_t most_wheel_work = 100'000'000;
  /// Turns without a better plan, after which more of them help little.
  static constexpr std::uint64_t most_idle_turns = 500;

  /// Once the caller asks to stop, no work is left.
  [[nodiscard]] bool is_done() {
    if (best_ && best_->is_whole() && best_->bytes <= good_enough_ && best_->waits == 0)
      return true;
    if (work_left_ != 0 &&
        watch_.stops(work_after_wheel() + work_left_, best_ ? best_->bytes : 0, lower_bound_))
      work_left_ = 0;
    return work_left_ == 0;
  }

  [[nodiscard]] std::uint64_t work_after_wheel() const noexcept {
    return options_.work - smaller(options_.work, most_wheel_work);
  }

  /// What buffers without room weigh most, then bytes with the price of waits.
  [[nodiscard]] bool is_better(const RulePlan<Owner>& a, const RulePlan<Owner>& b) const {
    if (a.refused_bytes != b.refused_bytes) return a.refused_bytes < b.refused_bytes;
    return cost(a) < cost(b);
  }
  [[nodiscard]] std::uint64_t cost(const RulePlan<Owner>& plan) const {
    const auto price = checked_multiply(plan.waits, options_.stream_wait_bytes);
    const auto cost = price ? checked_add(*price, plan.bytes) : std::nullopt;
    return cost.value_or(largest_of<std::uint64_t>);
  }

  bool try_order(const DeferredVector<std::uint32_t, Owner>& order, bool shares_places) {
    auto plan = placer_.place(order, shares_places, !best_);  // there is a plan whatever the work
    if (!plan) return false;
    last_ = std::move(*plan);
    if (best_ && !is_better(last_, *best_)) return false;
    best_ = last_;
    order_ = order;
    return true;
  }

  void turn_the_wheel() {
    const DeferredVector<PlainLifetime, Owner> all = plain<Owner>(lifetimes_);
    const DeferredVector<std::uint64_t, Owner> breadths = Breadth<Owner>{all}.of(all);
    for (const PlanOrder name : {PlanOrder::breadth, PlanOrder::time, PlanOrder::size,
                                 PlanOrder::duration, PlanOrder::area}) {
      for (const bool shares_places : {true, false}) {
        if (best_ && is_done()) return;
        const bool is_first = !best_;
        const auto order = order_of<Owner>(all, breadths, name);
        try_order(order, shares_places);
        if (is_first && rules_.has_streams() && !is_done()) try_order(order, shares_places);
      }
    }
    DeferredVector<std::uint32_t, Owner> order = order_;
    last_ = *best_;
    for (std::uint64_t idle = 0; idle < most_idle_turns && !is_done(); ++idle) {
      squeak(order);
      if (try_order(order, true)) idle = 0;
      if (idle % 16 == 15) {  // from the best one again
        order = order_;
        last_ = *best_;
      }
    }
  }

  /// What had no room comes first, and what lies on top, or is one in some, earlier.
  void squeak(DeferredVector<std::uint32_t, Owner>& order) {
    DeferredVector<std::uint8_t, Owner> is_refused(lifetimes_.size());
    for (const std::uint32_t i : last_.refused) is_refused[i] = 1;
    DeferredVector<std::pair<std::size_t, std::uint32_t>, Owner> moved;  // to, buffer
    DeferredVector<std::uint32_t, Owner> rest;
    rest.reserve(order.size());
    for (std::size_t at = 0; at < order.size(); ++at) {
      const std::uint32_t buffer = order[at];
      const bool is_on_top = last_.offsets[buffer] + lifetimes_[buffer].bytes ==
                             last_.memory_bytes[last_.memories[buffer]];
      if (!is_refused[buffer] && !is_on_top && next_random() % order.size() >= 2) {
        rest.push_back(buffer);
      } else {
        moved.emplace_back(next_random() % (is_refused[buffer] ? at / 4 + 1 : at + 1), buffer);
      }
    }
    work_left_ -= smaller<std::uint64_t>(work_left_, order.size() + 16 * moved.size());
    std::sort(moved.begin(), moved.end());
    auto next = moved.begin();
    auto other = rest.begin();
    for (std::size_t at = 0; at < order.size(); ++at) {
      const bool is_move = next != moved.end() && (next->first <= at || other == rest.end());
      order[at] = is_move ? (next++)->second : *other++;
    }
  }

  /// The same numbers on every machine (Knuth's MMIX generator).
  [[nodiscard]] std::size_t next_random() noexcept {
    random_ = random_ * 6364136223846793005U + 1442695040888963407U;
    return static_cast<std::size_t>(random_ >> 33);
  }

  void refine() {
    if (rules_.has_streams()) return;
    if (rules_.has_places()) {
      if (rules_.memories() == 1 && !rules_.has_replacements()) plan_above_places();
      return;
    }
    if (rules_.are_replacements_only()) return plan_shared_as_one();
    // Not of what the work has cut short: more of it may divide the buffers in a way that this
    // improves less, and must not give a worse plan.
    const bool is_cut_short = work_left_ == 0 && options_.work < most_wheel_work;
    if (!rules_.has_replacements() && !is_cut_short) plan_each_memory();
  }

  [[nodiscard]] Deferred<OffsetPlanOptions, Owner> rest_of_work(std::uint64_t parts) const {
    Deferred<OffsetPlanOptions, Owner> options;
    options.work = work_after_wheel() / parts;
    options.stop = options_.stop;
    return options;
  }

  /// What has no place of its own all above those that do: caches and weights are alive throughout.
  void plan_above_places() {
    constexpr std::uint64_t most = largest_of<std::uint64_t> / 4;
    DeferredVector<PlainLifetime, Owner> rest = plain<Owner>(lifetimes_);
    std::uint64_t end = 0;
    std::uint64_t alignment = 1;
    for (std::uint32_t i = 0; i < lifetimes_.size(); ++i) {
      if (rest[i].bytes != 0) alignment = larger(alignment, rest[i].alignment);
      if (!lifetimes_[i].fixed_offset || rest[i].bytes == 0) continue;
      end = larger(end, *lifetimes_[i].fixed_offset + rest[i].bytes);
      rest[i].bytes = 0;
    }
    if (best_->bytes > most || alignment > most) return;
    end = (end + alignment - 1) & ~(alignment - 1);
    if (end >= best_->bytes || Breadth<Owner>{rest}.most() >= best_->bytes - end) return;
    const OffsetPlanOptions options = rest_of_work(1);
    OffsetPlanner<Owner> planner{rest, options};
    const OffsetPlan plan = planner.plan();
    if (plan.bytes >= best_->bytes - end) return;
    best_->bytes = best_->memory_bytes[0] = end + plan.bytes;
    for (std::uint32_t i = 0; i < lifetimes_.size(); ++i) {
      if (rest[i].bytes != 0) best_->offsets[i] = end + plan.offsets[i];
    }
  }

  /// Buffers that take each other's places are one buffer of the first one's size.
  void plan_shared_as_one() {
    DeferredVector<std::uint32_t, Owner> one_of(lifetimes_.size());
    DeferredVector<PlainLifetime, Owner> all = plain<Owner>(lifetimes_);
    DeferredVector<std::uint32_t, Owner> by_first(lifetimes_.size());
    for (std::uint32_t i = 0; i < by_first.size(); ++i) by_first[i] = one_of[i] = i;
    std::stable_sort(by_first.begin(), by_first.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return all[a].first < all[b].first; });
    for (const std::uint32_t i : by_first) {
      const auto replaced = rules_.replaced_by(i);
      if (!replaced || rules_.replacers_of(*replaced).front().buffer != i) continue;
      const std::uint32_t one = one_of[*replaced];
      // One that is over at the step that makes it is alive with both.
      if (all[one].last != lifetimes_[i].first || all[i].first == all[i].last ||
          lifetimes_[*replaced].first == lifetimes_[*replaced].last ||
          all[one].alignment < all[i].alignment)
        continue;
      one_of[i] = one;
      all[one].last = all[i].last;
      all[i].bytes = 0;
    }
    const Deferred<OffsetPlanOptions, Owner> options = rest_of_work(1);
    OffsetPlanner<Owner> planner{all, options};
    const Deferred<OffsetPlan, Owner> plan = planner.plan();
    if (plan.bytes >= best_->bytes) return;
    best_->bytes = plan.bytes;
    best_->memory_bytes[0] = plan.bytes;
    for (std::uint32_t i = 0; i < one_of.size(); ++i) best_->offsets[i] = plan.offsets[one_of[i]];
  }

  void plan_each_memory() {
    const Deferred<OffsetPlanOptions, Owner> options = rest_of_work(rules_.memories());
    for (std::size_t m = 0; m < rules_.memories(); ++m) {
      DeferredVector<PlainLifetime, Owner> held;
      DeferredVector<std::uint32_t, Owner> buffers;
      for (std::uint32_t i = 0; i < lifetimes_.size(); ++i) {
        if (best_->memories[i] != m || lifetimes_[i].bytes == 0) continue;
        const Lifetime& each = lifetimes_[i];
        held.push_back({each.bytes, each.first, each.last, each.alignment});
        buffers.push_back(i);
      }
      if (held.empty()) continue;
      OffsetPlanner<Owner> planner{held, options};
      const Deferred<OffsetPlan, Owner> plan = planner.plan();
      if (plan.bytes >= best_->memory_bytes[m]) continue;
      best_->bytes -= best_->memory_bytes[m] - plan.bytes;
      best_->memory_bytes[m] = plan.bytes;
      for (std::size_t i = 0; i < buffers.size(); ++i) best_->offsets[buffers[i]] = plan.offsets[i];
    }
  }

  DeferredSpan<const Lifetime, Owner> lifetimes_;
  const OffsetPlanOptions& options_;
  PlanRules<Owner> rules_;
  std::uint64_t lower_bound_;
  std::uint64_t good_enough_;
  SearchWatch<Owner> watch_;
  std::uint64_t work_left_;
  RulePlacer<Owner> placer_;
  std::optional<RulePlan<Owner>> best_;
  RulePlan<Owner> last_;
  DeferredVector<std::uint32_t, Owner> order_;  // that made `best_`
  std::uint64_t random_ = 1;
};

}  // namespace allot::detail
