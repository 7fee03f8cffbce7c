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

/// Returns the largest number up to `most` for which `fits` holds, 0 if it does not hold for 1.
/// Requires: where it does not hold, it does not for larger ones. Calls it some sixty times.
template <class Fits>
[[nodiscard]] std::uint64_t largest_that(std::uint64_t most, Fits&& fits) {
  std::uint64_t fitting = 0;
  std::uint64_t refused = most + 1;
  for (std::uint64_t tried = 1; tried <= most; tried *= 2) {
    if (!fits(tried)) {
      refused = tried;
      break;
    }
    fitting = tried;
  }
  while (refused - fitting > 1) {
    const std::uint64_t middle = fitting + (refused - fitting) / 2;
    (fits(middle) ? fitting : refused) = middle;
  }
  return fitting;
}

}  // namespace detail

/// Returns the context that fits where the host is one of several devices: the one that the model
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
    try {
      const Plan plan = make_plan<Policy>(file, options, grouping);
      return (allows_layers || detail::host_has_experts_only(plan, options)) &&
             std::all_of(
                 options.devices.begin(), options.devices.end(), [&](const PlannedDevice& device) {
                   return deficit_of(plan.bytes_on(device.name), device.free_bytes, margin) == 0;
                 });
    } catch (const InsufficientMemory&) {
      return false;
    }
  };
  FittingContext found{.trained = trained_context(file)};
  const std::uint64_t most =
      smaller(std::uint64_t{1} << 32U, options.cache->engine->most_context) - 1;
  if (!fits(1)) allows_layers = true;
  const bool is_fixed = detail::is_independent_of_context(file, options);
  found.fits_memory =
      is_fixed ? (fits(1) ? FittingContext::any : 0) : detail::largest_that(most, fits);
  if (found.fits_memory >= most) found.fits_memory = FittingContext::any;
  if (found.trained && !beyond_training && found.fits_memory >= *found.trained) {
    found.context = *found.trained;
    found.limited_by = LimitedBy::training;
  } else if (found.fits_memory == FittingContext::any) {
    found.context = found.trained.value_or(0);
    found.limited_by = LimitedBy::nothing;
  } else {
    found.context = found.fits_memory;
  }
  return found;
}

}  // namespace allot::load
