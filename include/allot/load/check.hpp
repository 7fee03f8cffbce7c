// SPDX-License-Identifier: MIT
/// \file
/// Checks that a plan fits the devices that it is for, as they are now, with a margin to spare.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/device/device.hpp>
#include <allot/load/plan/check.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/planned_device.hpp>

#include <span>
#include <type_traits>

namespace allot::load {

/// Refuses a plan that, margin included, does not fit what the device has free now.
/// Throws: `InsufficientMemory`.
template <Device DeviceType, Margin MarginType = UsualMargin>
void check(const Plan& plan, const DeviceType& device, const MarginType& margin = {}) {
  detail::check_bytes(plan, plan.total_bytes(), nullptr, planned_device(device), margin);
}

/// The same for several devices: checks each device's part of the plan, with a margin for each.
template <class DeviceType, Margin MarginType = UsualMargin>
requires Device<std::remove_const_t<DeviceType>>
void check(const Plan& plan, std::span<DeviceType> devices, const MarginType& margin = {}) {
  DeferredVector<PlannedDevice, DeviceType> now;
  for (const DeviceType& device : devices) now.push_back(planned_device(device));
  check(plan, DeferredSpan<const PlannedDevice, DeviceType>{now}, margin);
}

}  // namespace allot::load
