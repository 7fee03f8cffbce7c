// SPDX-License-Identifier: MIT
/// \file
/// `plan_offsets`: buffers whose lifetimes are known get their places in one block before anything
/// runs. For the activations of a graph that is run again and again: a request costs an addition.
///
/// This is dynamic storage allocation offline, which is NP-hard. What is tried first is the greedy
/// family of Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference" (2020):
/// the buffers in some order, each to the lowest or to the tightest gap that its lifetime leaves.
/// Up to some thousand buffers, a search for plans of ever fewer bytes follows.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/core/units.hpp>
#include <allot/offsets/detail/fit_search.hpp>
#include <allot/offsets/detail/offset_planner.hpp>
#include <allot/offsets/detail/plain_lifetime.hpp>
#include <allot/offsets/detail/plan_rules.hpp>
#include <allot/offsets/detail/rule_placer.hpp>
#include <allot/offsets/detail/rule_planner.hpp>
#include <allot/offsets/detail/stream_waits.hpp>
#include <allot/offsets/lifetime.hpp>
#include <allot/offsets/offset_plan.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <utility>

namespace allot {

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
       << " bytes, which is not a power of two; use 1, 2, 4, ...";
  throw std::invalid_argument{text.c_str()};
}

template <class Owner>
void check_lifetimes(DeferredSpan<const Lifetime, Owner> lifetimes) {
  if (lifetimes.size() >= largest_of<std::uint32_t>)
    throw std::length_error{"a plan has fewer than 2^32 - 1 buffers; plan parts of the graph"};
  for (std::size_t i = 0; i < lifetimes.size(); ++i) {
    if (lifetimes[i].first > lifetimes[i].last) throw_bad_lifetime(i, lifetimes[i]);
    if (!is_power_of_two(lifetimes[i].alignment))
      throw_bad_buffer_alignment(i, lifetimes[i].alignment);
  }
}

[[noreturn]] inline void throw_no_room(std::size_t buffer, std::uint64_t bytes) {
  FixedText<256> text;
  text << "no plan found: buffer " << buffer << " of " << bytes
       << " bytes has no room in any memory that may hold it; give more work, more capacity, or "
          "ask fit_offsets what to keep elsewhere";
  throw std::length_error{text.c_str()};
}

[[noreturn]] inline void throw_beyond_capacity(const OffsetPlan& plan, std::uint64_t capacity) {
  FixedText<256> text;
  text << "no plan found: the best one has " << plan.bytes << " bytes, the capacity is " << capacity
       << ", at least " << plan.lower_bound
       << " are needed; give more work, or ask fit_offsets what to keep elsewhere";
  throw std::length_error{text.c_str()};
}

}  // namespace detail

/// Offsets for buffers in one block, such that no two that are alive at one step overlap; the same
/// for the same lifetimes on every machine. Take `plan.bytes` bytes at `plan.alignment` once, and
/// add the offsets. More work never gives a plan of more bytes; with `options.stream_wait_bytes`, of
/// more bytes and waits at that price.
///
/// With several memories (`options.capacities`), buffers go to the first of theirs that has room;
/// take `plan.memory_bytes[m]` bytes of each memory m.
///
/// Complexity: `options.work` bounds it, down to n log n; for each stream, if there are several.
/// Memory: n log n, and n^2 bits of up to 2,048 buffers; up to 1.5 MiB of the stack.
/// Throws: `std::invalid_argument` naming the buffer for a last step before the first one, an
/// alignment that is not a power of two, a place, a memory or a buffer to replace that cannot be,
/// and when what is alive at once exceeds 64 bits; `std::length_error` for 2^32 - 1 buffers and
/// more, and if no plan was found for the capacities (`fit_offsets` says whether there is none);
/// `std::bad_alloc`; what `options.progress` throws.
template <class Owner = void>
[[nodiscard]] OffsetPlan plan_offsets(std::span<const Lifetime> lifetimes,
                                      const OffsetPlanOptions& options = {}) {
  detail::check_lifetimes<Owner>(lifetimes);
  if (detail::has_rules<Owner>(lifetimes, options)) {
    const auto search = detail::search_options<Owner>(options);
    detail::RulePlanner<Owner> planner{lifetimes, search, 0};
    auto plan = planner.plan();
    if (!plan) {
      const auto buffer = *planner.refused();
      detail::throw_no_room(buffer, lifetimes[buffer].bytes);
    }
    if (options.capacities.size() == 1 && plan->bytes > options.capacities.front())
      detail::throw_beyond_capacity(*plan, options.capacities.front());
    return std::move(*plan);
  }
  const auto all = detail::plain<Owner>(lifetimes);
  auto plan = detail::OffsetPlanner<Owner>{all, options}.plan();
  if (!options.capacities.empty() && plan.bytes > options.capacities.front())
    detail::throw_beyond_capacity(plan, options.capacities.front());
  plan.stream_waits = detail::stream_waits<Owner>(lifetimes, plan.offsets, plan.memories);
  return plan;
}

/// Finds out whether buffers fit a block of that many bytes; with several memories, all of them
/// together.
/// The search is only for that, and ends with it: for a plan of few bytes ask `plan_offsets`.
/// "Impossible" is a proof: more is alive at a step than the capacity, or no arrangement of
/// `buffers` is left to try. What does not fit comes with the fewest bytes to keep elsewhere.
///
/// Complexity: as `plan_offsets`; what does not fit may take that once more for each try of what to
/// keep elsewhere, with a quarter of the work.
/// Throws: as `plan_offsets`, but not for capacities.
template <class Owner = void>
[[nodiscard]] OffsetFit fit_offsets(std::span<const Lifetime> lifetimes, std::uint64_t capacity,
                                    const OffsetPlanOptions& options = {}) {
  detail::check_lifetimes<Owner>(lifetimes);
  return detail::FitSearch<Owner>{lifetimes, capacity, options}.run();
}

}  // namespace allot
