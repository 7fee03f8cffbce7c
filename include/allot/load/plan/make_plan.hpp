// SPDX-License-Identifier: MIT
/// \file
/// What a model's memory will look like, to the byte, before any of it is reserved.
///
/// | name             | what it is                                                                |
/// |------------------|---------------------------------------------------------------------------|
/// | `make_plan`      | runs the real strategy over bare offsets: exact, and without a device     |
/// | `PlanOptions`    | for which devices; with how much KV cache and scratch memory              |
/// | `planned_device` | what a plan needs to know of a device                                     |
/// | `Plan`           | a plain value: arenas, items, steps (`plan_data.hpp`)                     |
/// | `TransformOptions` | what becomes of tensors on their way (`transform.hpp`)                  |
/// | `PlacementPolicy`| which items share a device allocation (`placement.hpp`)                   |
/// | `WeightPolicy`   | strategy, alignment, synchronization of the arenas (`weight_policy.hpp`)  |
#pragma once

#include <allot/core/units.hpp>
#include <allot/device/device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/plan/cache.hpp>
#include <allot/load/plan/detail/fuse.hpp>
#include <allot/load/plan/detail/place.hpp>
#include <allot/load/plan/detail/split.hpp>
#include <allot/load/plan/detail/steps.hpp>
#include <allot/load/plan/grouping.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/plan/transform.hpp>
#include <allot/load/plan/weight_policy.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace allot::load {

struct PlanOptions {
  /// The name of the one device that the model goes to, where `devices` is empty.
  std::string device = "host";
  /// The devices that share the model, in the order of its layers.
  std::vector<PlannedDevice> devices{};
  /// Also plans a KV cache.
  std::optional<CacheOptions> cache{};
  /// Also plans so many bytes of working memory on each device.
  std::uint64_t scratch_bytes = 0;
  /// What becomes of the tensors on their way.
  TransformOptions transforms{};
};

/// A device as a plan sees it, with what it has free now.
template <Device D>
[[nodiscard]] PlannedDevice planned_device(const D& device) {
  return {.name = device.name(),
          .free_bytes = device.memory_info().free,
          .path = device.host_addressable() ? Path::straight : Path::staged};
}

namespace detail {

/// Makes the arenas of one device's groups, and gives their items their places.
template <WeightPolicy P>
void place_groups(Plan& plan, const PlannedDevice& device, std::span<const Group> groups,
                  std::vector<std::uint64_t>& granted_ends) {
  for (const Group& group : groups) {
    const Placed placed = place_in_least<P>(plan.items, group.items);
    PlannedArena arena{.device = device.name,
                       .capacity = placed.capacity,
                       .alignment = P::Alignment::value,
                       .used = 0,
                       .padding = 0,
                       .path = device.path,
                       .rule = group.rule};
    for (std::size_t i = 0; i < group.items.size(); ++i) {
      const Block& block = placed.blocks[i];
      Item& item = plan.items[group.items[i]];
      item.arena = static_cast<std::uint32_t>(plan.arenas.size());
      item.offset = block.offset;
      granted_ends[group.items[i]] = block.offset + block.size;
      arena.used += block.size;
      arena.padding += block.size - item.bytes;
    }
    plan.arenas.push_back(std::move(arena));
  }
}

[[nodiscard]] inline std::vector<Item> tensor_items(const gguf::File& file) {
  std::vector<Item> items;
  items.reserve(file.tensors().size());
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    items.push_back({.name = std::string{tensor.name},
                     .type = tensor.type,
                     .shape = tensor.shape,
                     .arena = 0,
                     .offset = 0,
                     .bytes = 0});
  }
  return items;
}

/// Gives parts their places, once the fused tensors have theirs.
inline void place_parts(std::vector<Item>& items, std::vector<std::uint64_t>& granted_ends) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    Item& item = items[i];
    if (!item.part_of) continue;
    item.arena = items[item.part_of->item].arena;
    item.offset = items[item.part_of->item].offset + item.part_of->offset;
    granted_ends[i] = item.offset + item.bytes;
  }
}

}  // namespace detail

/// Plans the memory of a model: all tensors of a file in file order, and the cache and scratch
/// memory that the options ask for. What has no bytes needs no arena. Neighbours whose distances
/// agree in file and arena share a step.
///
/// \tparam P     the policies of the arenas; `load` takes the same
/// \param placement  which items share a device allocation
/// Complexity: the strategy's, for each item; reads no tensor data.
/// Throws: `std::length_error` where the sizes overflow; `InsufficientMemory` for an item that no
/// device has room for, where there are several; `std::invalid_argument` for transforms that a
/// tensor does not allow; what `cache_items` throws; `std::bad_alloc`.
template <WeightPolicy P = DefaultWeights, PlacementPolicy L = OneArena>
[[nodiscard]] Plan make_plan(const gguf::File& file, const PlanOptions& options = {},
                             const L& placement = {}) {
  std::vector<PlannedDevice> devices = options.devices;
  if (devices.empty()) devices.push_back({.name = options.device});

  Plan plan;
  plan.items = detail::tensor_items(file);
  detail::transform_items(plan.items, options.transforms);
  plan.fusions = detail::Fuser{plan.items, options.transforms}.run();
  if (options.cache) {
    for (Item& item : cache_items(file, *options.cache)) {
      detail::lay_out(item, {});
      plan.items.push_back(std::move(item));
    }
  }
  std::vector<std::uint32_t> of_item =
      detail::split_by_layers(plan.items, devices, options.scratch_bytes);
  for (std::uint32_t i = 0; options.scratch_bytes != 0 && i < devices.size(); ++i) {
    plan.items.push_back(scratch_item(
        devices.size() == 1 ? "scratch" : "scratch." + std::to_string(i), options.scratch_bytes));
    of_item.push_back(i);
  }

  std::vector<std::uint64_t> granted_ends(plan.items.size(), 0);
  std::vector<std::vector<std::uint32_t>> chosen(devices.size());
  for (std::uint32_t i = 0; i < plan.items.size(); ++i) {
    if (plan.items[i].has_own_memory()) chosen[of_item[i]].push_back(i);
  }
  for (std::size_t device = 0; device < devices.size(); ++device) {
    detail::place_groups<P>(plan, devices[device],
                            placement.groups(plan.items, chosen[device], P::Alignment::value),
                            granted_ends);
  }
  detail::place_parts(plan.items, granted_ends);
  plan.steps = detail::make_steps(file, plan.items, granted_ends);
  return plan;
}

namespace detail {

/// A plan with the arenas of one device divided into chunks of at most `bytes`.
template <WeightPolicy P>
[[nodiscard]] Plan in_chunks(const gguf::File& file, const Plan& plan, const std::string& device,
                             std::uint64_t bytes) {
  Plan made;
  made.items = plan.items;
  made.fusions = plan.fusions;
  std::vector<std::uint64_t> granted_ends(plan.items.size(), 0);
  std::vector<std::vector<std::uint32_t>> chosen(plan.arenas.size());
  for (std::uint32_t i = 0; i < plan.items.size(); ++i) {
    if (plan.items[i].has_own_memory()) chosen[plan.items[i].arena].push_back(i);
  }
  for (std::size_t arena = 0; arena < plan.arenas.size(); ++arena) {
    const PlannedArena& planned = plan.arenas[arena];
    std::vector<Group> groups{{planned.rule, chosen[arena]}};
    if (planned.device == device)
      groups = ArenasOf{bytes}.groups(plan.items, chosen[arena], P::Alignment::value);
    place_groups<P>(made, {.name = planned.device, .path = planned.path}, groups, granted_ends);
  }
  place_parts(made.items, granted_ends);
  made.steps = make_steps(file, made.items, granted_ends);
  return made;
}

}  // namespace detail

}  // namespace allot::load
