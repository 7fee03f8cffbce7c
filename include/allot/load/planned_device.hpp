// SPDX-License-Identifier: MIT
/// \file
/// `planned_device`: a device as a plan sees it.
#pragma once

#include <allot/device/device.hpp>
#include <allot/load/plan/plan.hpp>

namespace allot::load {

/// Returns the device's name, its free memory now with its sources, and how bytes get there.
template <Device DeviceType>
[[nodiscard]] PlannedDevice planned_device(const DeviceType& device) {
  PlannedDevice planned{
      .name = device.name(),
      .free_bytes = device.memory_info().free,
      .transfer = device.host_addressable() ? Transfer::direct : Transfer::staged};
  if constexpr (requires { device.memory_sources(); }) planned.sources = device.memory_sources();
  return planned;
}

}  // namespace allot::load
