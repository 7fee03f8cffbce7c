// SPDX-License-Identifier: MIT
/// \file
/// The second of a plan's four steps: assigns items to arenas. Devices get whole layers, and a
/// grouping divides what each device got.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/load/plan/cache.hpp>
#include <allot/load/plan/detail/fuse.hpp>
#include <allot/load/plan/detail/split.hpp>
#include <allot/load/plan/grouping.hpp>
#include <allot/load/plan/placing.hpp>
#include <allot/load/plan/plan.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace allot::load::detail {

/// Items that share an arena.
struct ArenaItems {
  std::string device;
  Transfer transfer;
  Group group;
};

/// The layout of every item, and its arena.
template <class Owner>
struct Assignment {
  Layouts<Owner> layouts;
  DeferredVector<ArenaItems, Owner> arenas;
  DeferredVector<std::string, Owner> notes{};
};

/// Returns the number of the device that memory is reserved on.
/// Throws: `std::invalid_argument` for a device that there is not, and for a name that is taken.
template <class Owner = void>
[[nodiscard]] std::size_t device_for(const ReservedMemory& memory,
                                     const DeferredVector<ItemLayout, Owner>& items,
                                     const DeferredVector<PlannedDevice, Owner>& devices) {
  for (const ItemLayout& item : items) {
    if (item.name != memory.name) continue;
    throw std::invalid_argument{"memory cannot be reserved as " + memory.name +
                                ": the model has an item of that name; choose another"};
  }
  if (memory.device.empty()) return 0;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (devices[i].name == memory.device) return i;
  }
  throw std::invalid_argument{"memory cannot be reserved on " + memory.device + " (" + memory.name +
                              "): the plan does not have that device; add it"};
}

/// Returns the name of a device's scratch memory.
template <class Owner = void>
[[nodiscard]] std::string scratch_name(std::size_t device, std::size_t devices) {
  return devices == 1 ? "scratch" : "scratch." + std::to_string(device);
}

/// \param besides  what is reserved already
/// Throws: `std::invalid_argument` for a name that other reserved or scratch memory has.
template <class Besides>
void check_name(const ReservedMemory& memory, const Besides& besides, const SplitOptions& options,
                std::size_t devices) {
  bool is_taken = false;
  for (const auto& other : besides) is_taken = is_taken || other.second.name == memory.name;
  for (std::size_t i = 0; options.reserved != 0 && i < devices; ++i)
    is_taken = is_taken || scratch_name(i, devices) == memory.name;
  if (!is_taken) return;
  throw std::invalid_argument{"memory cannot be reserved as " + memory.name +
                              ": other memory that the plan reserves has that name; choose "
                              "another"};
}

/// Adds the memory that is to be reserved besides, and scratch memory for each device, if any is
/// wanted.
/// Throws: `InsufficientMemory` for an item that no device has room for; `std::invalid_argument` for
/// a rule of a device that there is not; as `device_for`.
template <class Owner, GroupingPolicy Grouping>
[[nodiscard]] Assignment<Owner> assign(Layouts<Owner> layouts,
                                       DeferredVector<PlannedDevice, Owner> devices,
                                       const SplitOptions& options,
                                       const DeferredVector<ReservedMemory, Owner>& reserved,
                                       const Grouping& grouping) {
  auto& items = layouts.items;
  DeferredVector<std::pair<std::size_t, ItemLayout>, Owner> besides;
  for (const ReservedMemory& memory : reserved) {
    check_name(memory, besides, options, devices.size());
    PlannedDevice& device = devices[device_for(memory, items, devices)];
    const std::uint64_t taken =
        checked_align_up(memory.bytes, options.alignment).value_or(memory.bytes);
    device.usable_bytes = device.room() - smaller(device.room(), taken);
    besides.emplace_back(&device - devices.data(), scratch_item(memory.name, memory.bytes));
  }
  SplitOptions pinned = options;
  pinned.pinned = keep_needed_copies(items, devices, options);
  DeferredVector<DeferredVector<std::uint32_t, Owner>, Owner> of_device =
      split_by_layers(items, devices, pinned);
  for (auto& [device, item] : besides) {
    if (item.bytes != 0) of_device[device].push_back(static_cast<std::uint32_t>(items.size()));
    items.push_back(std::move(item));
  }
  for (std::size_t i = 0; options.reserved != 0 && i < devices.size(); ++i) {
    of_device[i].push_back(static_cast<std::uint32_t>(items.size()));
    items.push_back(scratch_item(scratch_name(i, devices.size()), options.reserved));
  }
  DeferredVector<ArenaItems, Owner> arenas;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    for (Group& group : grouping.groups(items, of_device[i], options.alignment))
      arenas.push_back({devices[i].name, devices[i].transfer, std::move(group)});
  }
  DeferredVector<std::string, Owner> notes;
  if (devices.size() > 1 && !items.empty() && !LayerOrder{items}.has_layers()) {
    notes.emplace_back(
        "no layers were recognized in the tensors' names: they are divided one by one, in the "
        "order of the file");
  }
  return {std::move(layouts), std::move(arenas), std::move(notes)};
}

/// Returns a plan's assignment, but with the arenas of one device divided into chunks of at most
/// `bytes`.
template <class Owner>
[[nodiscard]] Assignment<Owner> divided(const std::same_as<Plan> auto& plan,
                                        const std::string& device, std::uint64_t bytes,
                                        std::uint64_t alignment) {
  Assignment<Owner> assignment{
      {{plan.items.begin(), plan.items.end()}, plan.fusions}, {}, plan.notes};
  DeferredVector<DeferredVector<std::uint32_t, Owner>, Owner> of_arena(plan.arenas.size());
  for (std::size_t i = 0; i < plan.items.size(); ++i) {
    if (plan.items[i].has_own_memory())
      of_arena[plan.items[i].arena].push_back(static_cast<std::uint32_t>(i));
  }
  for (std::size_t i = 0; i < plan.arenas.size(); ++i) {
    const auto& arena = plan.arenas[i];
    DeferredVector<Group, Owner> groups{{arena.rule, of_arena[i]}};
    if (arena.device == device)
      groups = ArenasOf{bytes}.groups(assignment.layouts.items, of_arena[i], alignment);
    for (Group& group : groups)
      assignment.arenas.push_back({arena.device, arena.transfer, std::move(group)});
  }
  return assignment;
}

}  // namespace allot::load::detail
