// SPDX-License-Identifier: MIT
/// \file
/// Loads a planned model: reserves its arenas, replays the plan on them, and brings the file's
/// bytes into place. Any failure releases everything. `verify` compares the model with its file.
#pragma once

#include <allot/arena.hpp>
#include <allot/core/errors.hpp>
#include <allot/core/units.hpp>
#include <allot/device/device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/progress.hpp>
#include <allot/load/detail/device_of.hpp>
#include <allot/load/detail/read_steps.hpp>
#include <allot/load/detail/upload.hpp>
#include <allot/load/kv_shape_of.hpp>
#include <allot/load/load_options.hpp>
#include <allot/load/model.hpp>
#include <allot/load/model_on.hpp>
#include <allot/load/plan/check_plan.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/load/planned_device.hpp>
#include <allot/load/verify.hpp>
#include <allot/os/chrono.hpp>
#include <allot/slice.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace allot::load {

namespace detail {

/// Allocates an item where the plan put it.
/// Throws: `std::logic_error` if the strategy put it elsewhere.
template <class SharedArena>
[[nodiscard]] auto allocate_as_planned(SharedArena& arena, const Item& item) {
  auto slice = arena.allocate({.bytes = item.bytes, .name = item.name});
  if (const std::uint64_t offset = arena.offset_of(slice); offset != item.offset) {
    throw std::logic_error{"tensor " + item.name + " was placed at offset " +
                           std::to_string(offset) + ", but the plan says " +
                           std::to_string(item.offset) +
                           "; load with the policy that the plan was made with"};
  }
  return slice;
}

/// Returns the function that makes memory of that kind ready to be written; null if it has none.
template <class MemoryType>
[[nodiscard]] constexpr Populate populate_of() noexcept {
  if constexpr (requires { Populate{&MemoryType::populate}; }) return &MemoryType::populate;
  return nullptr;
}

/// A plan's reserved arenas.
template <class SharedArena>
struct Reserved {
  std::vector<SharedArena> arenas;
  std::vector<ArenaPlace> places;
};

/// A device refused an arena.
struct Refusal {
  std::size_t device;
  std::uint64_t bytes;
  std::exception_ptr error;
};

/// Reserves every arena, or keeps none and returns which one was refused.
template <class SharedArena, Device DeviceType>
[[nodiscard]] std::optional<Refusal> try_reserve(const Plan& plan, std::span<DeviceType> devices,
                                                 Reserved<SharedArena>& reserved) {
  reserved = {};
  for (const PlannedArena& planned : plan.arenas) {
    const std::size_t device = device_of(planned, devices);
    try {
      reserved.arenas.emplace_back(planned.capacity, devices[device].memory());
    } catch (const OutOfMemory& refusal) {
      if (refusal.reason() != RefusalReason::source) throw;
      reserved = {};
      return Refusal{device, planned.capacity, std::current_exception()};
    }
    reserved.places.push_back(
        {static_cast<std::byte*>(reserved.arenas.back().base_address()), device});
  }
  return std::nullopt;
}

/// Reserves the arenas of `plan`. A driver may refuse one large allocation although the memory is
/// free: the device's arenas are then halved repeatedly, down to 16 MiB, and the plan is updated.
/// Throws: what the memory threw, if the memory is not free or nothing helps; `std::logic_error` if
/// the plan's items do not agree with each other.
template <WeightPolicy Policy, Device DeviceType>
[[nodiscard]] Reserved<SharedArenaOf<Policy, DeviceType>> reserve(
    const gguf::File& file, Plan& plan, std::span<DeviceType> devices,
    std::vector<std::string>& fallbacks) {
  constexpr std::uint64_t least_chunk = 16 * MiB;
  Reserved<SharedArenaOf<Policy, DeviceType>> reserved;
  while (const auto refusal = try_reserve(plan, devices, reserved)) {
    const DeviceType& device = devices[refusal->device];
    const std::uint64_t free = device.memory_info().free;
    const std::string planned_name =
        devices.size() == 1 ? plan.arenas.front().device : device.name();
    const std::uint64_t chunk = refusal->bytes / 2;
    if (free < plan.bytes_on(planned_name) || chunk < least_chunk)
      std::rethrow_exception(refusal->error);
    const std::size_t before = plan.arenas.size();
    plan = in_chunks<Policy>(file, plan, planned_name, chunk);
    check_plan(plan, file);  // its steps are new: made from items that may not agree with the old
    if (plan.arenas.size() == before) std::rethrow_exception(refusal->error);
    fallbacks.push_back(
        device.name() + " refused an allocation of " + ReadableBytes{refusal->bytes}.c_str() +
        " although " + ReadableBytes{free}.c_str() +
        " is free; divided it into arenas of at most " + ReadableBytes{chunk}.c_str());
  }
  return reserved;
}

/// Returns true if the host addresses the memory of every device.
template <Device DeviceType>
[[nodiscard]] bool is_straight(std::span<DeviceType> devices) {
  if constexpr (DeviceType::memory_type::host_accessible) {
    return std::all_of(devices.begin(), devices.end(),
                       [](const DeviceType& device) { return device.host_addressable(); });
  }
  return false;
}

template <Device DeviceType>
void bring(const gguf::File& file, const Plan& plan, std::span<const ArenaPlace> places,
           std::span<DeviceType> devices, const ProgressCallback& progress,
           const LoadOptions& options, LoadReport& report) {
  if (plan.steps.empty()) {
    progress.report({0, 0});
  } else if (is_straight(devices)) {
    if (options.direct_io) {
      report.fallbacks.emplace_back(
          "the devices use host memory: read straight into it, through the page cache");
    }
    std::vector<std::byte*> bases;
    for (const ArenaPlace& place : places) bases.push_back(place.base);
    read_steps(file, plan, bases, populate_of<typename DeviceType::memory_type>(), options.readers,
               progress);
  } else {
    Upload<DeviceType>{file, plan, places, devices, options, report}.run(progress);
  }
}

}  // namespace detail

/// Loads `plan` from `file` onto `devices`. If the host addresses their memory, reader threads read
/// straight into place; otherwise they fill a ring of staging slots, which are copied to the
/// devices on several streams. Makes one device allocation for each arena of the plan.
///
/// \param progress  called on this thread; returning false cancels; exceptions are passed on
/// Throws: `Cancelled`; `OutOfMemory`; `gguf::ParseError` if the file cannot be read (any more);
/// `std::logic_error` if the plan does not belong to the policy, file or devices;
/// `std::invalid_argument` for invalid options; what the device throws. Nothing stays reserved.
template <WeightPolicy Policy = DefaultWeights, Device DeviceType>
[[nodiscard]] Model<SharedArenaOf<Policy, DeviceType>> load(const gguf::File& file,
                                                            const Plan& plan,
                                                            std::span<DeviceType> devices,
                                                            const ProgressCallback& progress = {},
                                                            const LoadOptions& options = {}) {
  using ModelType = Model<SharedArenaOf<Policy, DeviceType>>;
  if (devices.empty())
    throw std::invalid_argument{"there is no device to load the model onto; give at least one"};
  detail::check_options(options);
  detail::check_plan(plan, file);

  const auto start = std::chrono::steady_clock::now();
  Plan followed = plan;
  LoadReport report;
  auto [arenas, places] = detail::reserve<Policy>(file, followed, devices, report.fallbacks);
  std::vector<typename ModelType::tensor_type> tensors;
  tensors.reserve(followed.items.size());
  for (const Item& item : followed.items) {
    typename SharedArenaOf<Policy, DeviceType>::slice_type slice;
    if (item.has_own_memory()) slice = detail::allocate_as_planned(arenas.at(item.arena), item);
    tensors.emplace_back(item, std::move(slice));
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Item& item = followed.items[i];
    if (item.bytes == 0 || !item.part_of) continue;
    const auto& whole = tensors[item.part_of->item].slice();
    tensors[i] = {item, whole.part(item.part_of->offset, item.bytes)};
  }
  detail::bring(file, followed, places, devices, progress, options, report);
  report.bytes = detail::bytes_of(followed.steps);
  report.device_allocations = arenas.size();
  report.seconds = std::chrono::duration<double>{std::chrono::steady_clock::now() - start}.count();
  return ModelType{std::move(followed), std::move(arenas), std::move(tensors), std::move(report)};
}

/// The same onto one device.
template <WeightPolicy Policy = DefaultWeights, Device DeviceType>
[[nodiscard]] Model<SharedArenaOf<Policy, DeviceType>> load(const gguf::File& file,
                                                            const Plan& plan, DeviceType& device,
                                                            const ProgressCallback& progress = {},
                                                            const LoadOptions& options = {}) {
  return load<Policy>(file, plan, std::span<DeviceType>{&device, 1}, progress, options);
}

}  // namespace allot::load
