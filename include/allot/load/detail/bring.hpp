// SPDX-License-Identifier: MIT
/// \file
/// `bring`: gets the bytes of a plan's steps into place, on devices of one type: straight, or
/// through staging slots.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/device/device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/progress.hpp>
#include <allot/load/detail/batches.hpp>
#include <allot/load/detail/read_steps.hpp>
#include <allot/load/detail/upload.hpp>
#include <allot/load/load_options.hpp>
#include <allot/load/plan/plan.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace allot::load::detail {

/// Returns the function that makes memory of that kind ready to be written; null if it has none.
template <class MemoryType>
[[nodiscard]] constexpr Populate populate_of() noexcept {
  if constexpr (requires { Populate{&MemoryType::populate}; }) return &MemoryType::populate;
  return nullptr;
}

/// Returns true if the host addresses the memory of every device.
template <Device DeviceType>
[[nodiscard]] bool is_straight(std::span<DeviceType> devices) {
  if constexpr (DeviceType::memory_type::host_accessible) {
    for (const DeviceType& device : devices) {
      if (!device.host_addressable()) return false;
    }
    return true;
  } else {
    return false;
  }
}

/// Carries out all steps of a plan. Throws: as `load`.
/// \param places  of the plan's arenas; the devices' numbers count `devices`
template <Device DeviceType>
void bring(const gguf::File& file, const Plan& plan,
           DeferredSpan<const ArenaPlace, DeviceType> places, std::span<DeviceType> devices,
           const ProgressCallback& progress, const LoadOptions& options, LoadReport& report) {
  if (plan.steps.empty()) {
    progress.report({0, 0});
  } else if (is_straight(devices)) {
    if (options.direct_io) {
      report.fallbacks.emplace_back(
          "the devices use host memory: read straight into it, through the page cache");
    }
    DeferredVector<std::byte*, DeviceType> bases;
    for (const ArenaPlace& place : places) bases.push_back(place.base);
    read_steps(file, plan, bases, populate_of<typename DeviceType::memory_type>(), options.readers,
               progress);
  } else {
    Upload<DeviceType>{file, plan, places, devices, options, report}.run(progress);
  }
}

}  // namespace allot::load::detail
