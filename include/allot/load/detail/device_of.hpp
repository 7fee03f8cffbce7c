// SPDX-License-Identifier: MIT
/// \file
/// `device_of`: the device of a plan's arena, among several.
#pragma once

#include <allot/device/device.hpp>
#include <allot/load/plan/plan.hpp>

#include <cstddef>
#include <span>
#include <stdexcept>

namespace allot::load::detail {

/// Throws: `std::logic_error`.
template <class = void>
[[noreturn]] void throw_unknown_device(const PlannedArena& arena) {
  throw std::logic_error{
      "the plan has an arena on " + arena.device +
      ", which is not among the devices given; load onto those that it was made for"};
}

/// Returns the number of an arena's device. A single device is used whatever the plan calls it.
/// Throws: `std::logic_error` for a device that is not among those given.
template <Device DeviceType>
[[nodiscard]] std::size_t device_of(const PlannedArena& arena, std::span<DeviceType> devices) {
  if (devices.size() == 1) return 0;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (devices[i].name() == arena.device) return i;
  }
  throw_unknown_device(arena);
}

}  // namespace allot::load::detail
