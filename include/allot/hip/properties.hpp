// SPDX-License-Identifier: MIT
/// \file
/// Which devices there are, their properties, and how much memory they have free.
#pragma once

#include <allot/core/memory_info.hpp>
#include <allot/hip/current_device.hpp>
#include <allot/hip/error.hpp>
#include <allot/os/video_memory_info.hpp>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace allot::hip {

using allot::MemoryInfo;

/// The properties of a device that a planner needs.
struct DeviceProperties {
  int device;                 ///< its number, as HIP counts them
  std::string name;           ///< `AMD Radeon RX 7900 XTX`
  std::string architecture;   ///< `gfx1100`; empty if the back end has no such name
  std::uint64_t total_bytes;  ///< of device memory
  bool is_integrated;         ///< shares the host's memory
  bool has_managed_memory;    ///< `hipMallocManaged` works
  bool has_memory_pools;      ///< `hipMallocAsync` works
  std::string pci_name;       ///< `0000:03:00.0`, its name in `/sys/bus/pci/devices`
};

namespace detail {

[[nodiscard]] inline int attribute(hipDeviceAttribute_t which, int device) {
  int value = 0;
  check(hipDeviceGetAttribute(&value, which, device), "hipDeviceGetAttribute", [&] {
    return "asking hip:" + std::to_string(device) + " for attribute " +
           std::to_string(static_cast<int>(which));
  });
  return value;
}

}  // namespace detail

/// Throws: `Error`, `NoDevice`; `std::invalid_argument` for a device that does not exist.
inline void require_device(int device) {
  const int count = device_count();
  if (device >= 0 && device < count) return;
  throw std::invalid_argument{"there is no device hip:" + std::to_string(device) +
                              (count == 1
                                   ? "; the only one is hip:0"
                                   : "; there are hip:0 to hip:" + std::to_string(count - 1))};
}

/// Throws: as `require_device`.
[[nodiscard]] inline DeviceProperties properties(int device) {
  require_device(device);
  hipDeviceProp_t found{};
  check(hipGetDeviceProperties(&found, device), "hipGetDeviceProperties",
        [&] { return "reading the properties of hip:" + std::to_string(device); });
  DeviceProperties made{};
  made.device = device;
  made.name = found.name;
  if constexpr (requires { found.gcnArchName; }) made.architecture = found.gcnArchName;
  made.total_bytes = found.totalGlobalMem;
  made.pci_name = video_memory_info::pci_name(static_cast<unsigned>(found.pciDomainID),
                                              static_cast<unsigned>(found.pciBusID),
                                              static_cast<unsigned>(found.pciDeviceID));
  made.is_integrated = detail::attribute(hipDeviceAttributeIntegrated, device) != 0;
  made.has_managed_memory = detail::attribute(hipDeviceAttributeManagedMemory, device) != 0;
  made.has_memory_pools = detail::attribute(hipDeviceAttributeMemoryPoolsSupported, device) != 0;
  return made;
}

/// Returns the bytes of a device's memory as HIP counts them: in total, and free now.
/// Throws: `Error`.
[[nodiscard]] inline MemoryInfo memory_info(int device) {
  const CurrentDevice current{device};
  std::size_t free = 0;
  std::size_t total = 0;
  check(hipMemGetInfo(&free, &total), "hipMemGetInfo",
        [&] { return "asking for the free memory of hip:" + std::to_string(device); });
  return {free, total};
}

/// Returns what limits how much memory can be had on a device, and what each leaves now: HIP's own
/// count, and the kernel's, which knows of all processes (AMD). Free memory is the least of them.
/// \param found    of the device
/// \param folders  those of all PCI devices, `/sys/bus/pci/devices`
/// Throws: `Error`.
[[nodiscard]] inline std::vector<MemorySource> memory_sources(
    const DeviceProperties& found, const std::string& folders = "/sys/bus/pci/devices") {
  const MemoryInfo info = memory_info(found.device);
  std::vector<MemorySource> sources{{"hipMemGetInfo", info.free}};
  if (auto left = video_memory_info::left_in(folders + "/" + found.pci_name, info.total))
    sources.push_back(std::move(*left));
  return sources;
}

}  // namespace allot::hip
