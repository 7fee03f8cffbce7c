// SPDX-License-Identifier: MIT
/// \file
/// `load::fit_beside_host`: the context that fits a model whose experts may go to the host.
#pragma once

#include <allot/gguf/file.hpp>
#include <allot/load/plan/check.hpp>
#include <allot/load/plan/detail/experts.hpp>
#include <allot/load/plan/fit.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/os/algorithm.hpp>
#include <allot/os/pattern.hpp>

#include <cstdint>
#include <utility>

namespace allot::load {

namespace detail {

/// Returns true if the host has nothing but experts, scratch memory, and what rules put there.
template <class = void>
[[nodiscard]] bool host_has_experts_only(const Plan& plan, const PlanOptions& options) {
  const auto is_by_rule = [&](const Item& item) {
    return std::any_of(options.place.begin(), options.place.end(), [&](const PlaceRule& rule) {
      return os::matches(rule.names.c_str(), item.name.c_str());
    });
  };
  return std::all_of(plan.items.begin(), plan.items.end(), [&](const Item& item) {
    if (!item.has_own_memory() || plan.arenas[item.arena].device != "host") return true;
    const bool is_of_weights = item.purpose == Purpose::weight || item.purpose == Purpose::fused;
    return item.purpose == Purpose::scratch || (is_of_weights && is_of_experts(item.name)) ||
           is_by_rule(item);
  });
}

}  // namespace detail

/// Returns the context that fits if the host is one of several devices: the one that the model
/// was made for, with the experts on the host that make room for it; less only if that does not fit
/// with all experts there. Whole layers go to the host only if not even one token fits otherwise.
/// \param options  as for the plan with the context found; `move_experts` is taken as set
/// Complexity: some sixty plans. Throws: as `fit_context`.
template <WeightPolicy Policy = DefaultWeights, Margin MarginType = UsualMargin,
          GroupingPolicy Grouping = OneArena>
[[nodiscard]] FittingContext fit_beside_host(const gguf::File& file, PlanOptions options,
                                             bool beyond_training, const MarginType& margin = {},
                                             const Grouping& grouping = {}) {
  if (!options.cache) options.cache = CacheOptions{1};
  options.move_experts = true;
  for (PlannedDevice& device : options.devices)
    device.usable_bytes = usable_bytes(device.free_bytes, margin);
  bool allows_layers = false;
  const auto fits = [&](std::uint64_t context) {
    options.cache->context = context;
    const auto plan = detail::fitting_plan<Policy>(file, options, margin, grouping);
    return plan && (allows_layers || detail::host_has_experts_only(*plan, options));
  };
  if (!fits(1)) allows_layers = true;
  const std::uint64_t most = detail::most_tokens(*options.cache);
  const bool is_fixed = detail::is_independent_of_context(file, options);
  const std::uint64_t fitting = is_fixed ? (fits(1) ? most : 0) : detail::largest_that(most, fits);
  return detail::context_of(file, fitting, most, beyond_training);
}

}  // namespace allot::load
