// SPDX-License-Identifier: MIT
/// \file
/// Loads a planned model: reserves its arenas, replays the plan on them, and brings the file's
/// bytes into place. Any failure releases everything. `verify` (`verify.hpp`) compares the model with
/// its file.
#pragma once

#include <allot/device/device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/progress.hpp>
#include <allot/load/detail/bring.hpp>
#include <allot/load/detail/reserve.hpp>
#include <allot/load/kv_shape_of.hpp>
#include <allot/load/load_options.hpp>
#include <allot/load/model.hpp>
#include <allot/load/model_on.hpp>
#include <allot/load/plan/check_plan.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/load/planned_device.hpp>
#include <allot/os/stopwatch.hpp>

#include <cstddef>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

namespace allot::load {

namespace detail {

/// Reserves a plan's arenas and places its items there; `bring(followed, places, report)` gets the
/// bytes into place, of the plan as it is carried out. Throws: as `load`, and what `bring` throws.
template <WeightPolicy Policy, Device DeviceType, class Bring>
[[nodiscard]] Model<SharedArenaOf<Policy, DeviceType>> load_by(const gguf::File& file,
                                                               const Plan& plan,
                                                               std::span<DeviceType> devices,
                                                               const LoadOptions& options,
                                                               Bring&& bring) {
  using ModelType = Model<SharedArenaOf<Policy, DeviceType>>;
  if (devices.empty())
    throw std::invalid_argument{"there is no device to load the model onto; give at least one"};
  check_options(options);
  check_plan(plan, file);

  const os::Stopwatch stopwatch;
  Plan followed = plan;
  LoadReport report;
  Reservation<SharedArenaOf<Policy, DeviceType>, DeviceType> reserved{devices};
  reserve<Policy>(file, followed, reserved, report.fallbacks);
  std::vector<typename ModelType::tensor_type> tensors;
  tensors.reserve(followed.items.size());
  for (const Item& item : followed.items) {
    typename SharedArenaOf<Policy, DeviceType>::slice_type slice;
    if (item.has_own_memory()) slice = allocate_as_planned(reserved.arenas.at(item.arena), item);
    tensors.emplace_back(item, std::move(slice));
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Item& item = followed.items[i];
    if (item.bytes == 0 || !item.part_of) continue;
    const auto& whole = tensors[item.part_of->item].slice();
    tensors[i] = {item, whole.part(item.part_of->offset, item.bytes)};
  }
  bring(followed, reserved.places, report);
  report.bytes = bytes_of(followed.steps);
  report.device_allocations = reserved.arenas.size();
  report.seconds = stopwatch.seconds();
  return ModelType{std::move(followed), std::move(reserved.arenas), std::move(tensors),
                   std::move(report)};
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
  return detail::load_by<Policy>(file, plan, devices, options,
                                 [&](const Plan& followed, const auto& places, LoadReport& report) {
                                   detail::bring<DeviceType>(file, followed, places, devices,
                                                             progress, options, report);
                                 });
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
