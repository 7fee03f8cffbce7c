// SPDX-License-Identifier: MIT
/// \file
/// Checks that a plan fits what devices have free, with a margin (`margin.hpp`) to spare.
/// `load/check.hpp` queries the devices themselves.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/core/readable_bytes.hpp>
#include <allot/core/units.hpp>
#include <allot/load/plan/insufficient_memory.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/load/plan/margin.hpp>
#include <allot/load/plan/sort.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

namespace allot::load {

namespace detail {

/// Returns the items of a plan that are on a device; all items if `device` is null.
template <class Owner = void>
[[nodiscard]] DeferredVector<const Item*, Owner> items_on(const Plan& plan,
                                                          const std::string* device) {
  DeferredVector<const Item*, Owner> items;
  for (const Item& item : plan.items) {
    if (!item.has_own_memory()) continue;
    if (device == nullptr || plan.arenas[item.arena].device == *device) items.push_back(&item);
  }
  return items;
}

/// Names what takes the most memory, and the context that would fit if that is the cache.
template <class Owner = void>
[[nodiscard]] std::string what_to_cut(const Plan& plan, const std::string* device,
                                      std::uint64_t deficit) {
  DeferredVector<const Item*, Owner> items = items_on(plan, device);
  std::uint64_t bytes[5] = {0, 0, 0, 0, 0};
  const std::uint64_t context = plan.cache ? plan.cache->context : 0;
  for (const Item* item : items) bytes[static_cast<std::size_t>(item->purpose)] += item->bytes;
  const auto [unfused, cache, scratch, fused, copied] = bytes;
  const std::uint64_t weights = unfused + fused + copied;
  std::string text = std::string{"weights "} + ReadableBytes{weights}.c_str();
  if (cache != 0) {
    text += std::string{", KV cache "} + ReadableBytes{cache}.c_str() + " for a context of " +
            std::to_string(context);
  }
  if (scratch != 0) text += std::string{", scratch "} + ReadableBytes{scratch}.c_str();
  const double growing =
      plan.cache ? static_cast<double>(cache) * growing_part(*plan.cache) : 0;  // with the context
  if (growing > static_cast<double>(deficit)) {
    const double kept = (growing - static_cast<double>(deficit)) / growing;
    const auto fitting = static_cast<std::uint64_t>(kept * static_cast<double>(context));
    return text + "; cut the context: about " + std::to_string(fitting) + " fits";
  }
  if (cache > weights) return text + "; cut the context";
  text += "; free memory, use a smaller quantization, or lower the margin; largest items:";
  const std::size_t shown = smaller<std::size_t>(3, items.size());
  sort_stably(items, [](const Item* a, const Item* b) { return a->bytes > b->bytes; });
  for (std::size_t i = 0; i < shown; ++i) {
    text += (i == 0 ? " " : ", ") + items[i]->name + " " + ReadableBytes{items[i]->bytes}.c_str();
  }
  return text;
}

/// \param device  the device whose part of the plan is checked; null: all of the plan
template <Margin MarginType>
void check_bytes(const Plan& plan, std::uint64_t planned, const std::string* device,
                 const PlannedDevice& has, const MarginType& margin) {
  const std::uint64_t deficit = deficit_of(planned, has.free_bytes, margin);
  if (deficit == 0) return;
  throw InsufficientMemory{has.name, planned, margin(planned), has.free_bytes,
                           what_to_cut(plan, device, deficit)};
}

/// Returns the plan with these options; nothing if it does not fit its devices, margin included.
template <WeightPolicy Policy, Margin MarginType, GroupingPolicy Grouping>
[[nodiscard]] DeferredOptional<Plan, Policy> fitting_plan(const gguf::File& file,
                                                          const PlanOptions& options,
                                                          const MarginType& margin,
                                                          const Grouping& grouping) {
  try {
    Plan plan = make_plan<Policy>(file, options, grouping);
    for (const PlannedDevice& device : options.devices) {
      if (deficit_of(plan.bytes_on(device.name), device.free_bytes, margin) != 0)
        return std::nullopt;
    }
    return plan;
  } catch (const InsufficientMemory&) {
    return std::nullopt;
  }
}

/// Returns the longest context that is tried: more tokens than any model has seen, if the engine
/// can count them.
template <class Owner = void>
[[nodiscard]] std::uint64_t most_tokens(const CacheOptions& cache) noexcept {
  return smaller(std::uint64_t{1} << 32U, cache.engine->most_context) - 1;
}

/// Returns the largest number up to `most` for which `fits` returns true, 0 if there is none.
/// Requires: if it returns false for a number, it does so for all larger ones. Calls it some sixty
/// times.
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

/// Refuses a plan that, margin included, does not fit what each device has free.
/// Throws: `InsufficientMemory`.
template <Margin MarginType = UsualMargin>
void check(const Plan& plan, DeferredSpan<const PlannedDevice, MarginType> devices,
           const MarginType& margin = {}) {
  for (const PlannedDevice& device : devices)
    detail::check_bytes(plan, plan.bytes_on(device.name), &device.name, device, margin);
}

/// Returns the largest context whose cache fits `options.devices` beside everything else, margin
/// included; 0 if not even one token fits. Uses the types in `options.cache`.
/// Complexity: some sixty plans.
/// Throws: as `make_plan`; `std::invalid_argument` without devices; `std::runtime_error` for a
/// model that keeps no cache.
template <WeightPolicy Policy = DefaultWeights, Margin MarginType = UsualMargin,
          GroupingPolicy Grouping = OneArena>
[[nodiscard]] std::uint64_t largest_context(const gguf::File& file, PlanOptions options,
                                            const MarginType& margin = {},
                                            const Grouping& grouping = {}) {
  if (options.devices.empty())
    throw std::invalid_argument{
        "the largest context depends on the devices; name them in PlanOptions::devices"};
  if (!options.cache) options.cache = CacheOptions{1};
  const bool has_draft_cache =
      options.draft != nullptr &&
      !cache_items(*options.draft, detail::draft_cache(*options.cache)).empty();
  if (!has_draft_cache && cache_items(file, *options.cache).empty()) {
    throw std::runtime_error{"the model keeps no KV cache, so any context fits; plan without one"};
  }
  return detail::largest_that(detail::most_tokens(*options.cache), [&](std::uint64_t context) {
    options.cache->context = context;
    return detail::fitting_plan<Policy>(file, options, margin, grouping).has_value();
  });
}

}  // namespace allot::load
