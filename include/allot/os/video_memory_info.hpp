// SPDX-License-Identifier: MIT
/// \file
/// A GPU's own memory as the kernel counts it, for all processes. Only AMD's driver (amdgpu) has
/// these files: `mem_info_vram_total` and `mem_info_vram_used`, in bytes, in the device's folder.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/memory_info.hpp>
#include <allot/os/host_memory_info.hpp>
#include <allot/os/path.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace allot::video_memory_info {

/// Returns the name of a PCI function in `/sys/bus/pci/devices`, such as `0000:03:00.0`.
[[nodiscard]] inline std::string pci_name(unsigned domain, unsigned bus, unsigned device) {
  const auto hex = [](unsigned number, int digits) {
    std::string text;
    for (int shift = (digits - 1) * 4; shift >= 0; shift -= 4)
      text += "0123456789abcdef"[(number >> shift) & 15U];
    return text;
  };
  return hex(domain, 4) + ":" + hex(bus, 2) + ":" + hex(device, 2) + ".0";
}

/// Returns what the kernel says is free of a GPU's own memory, or nothing if it does not say.
/// \param folder       the device's: `/sys/bus/pci/devices/0000:03:00.0`
/// \param total_bytes  what the driver's programming interface counts as the device's memory: if
///                     that is more, it is not only its own (an integrated GPU's), and the kernel's
///                     count says nothing about it
[[nodiscard]] inline std::optional<MemorySource> left_in(const os::Path& folder,
                                                         std::uint64_t total_bytes) {
  const std::string used_file = folder.text() + "/mem_info_vram_used";
  const auto used = host_memory_info::number(host_memory_info::read(used_file));
  const auto total =
      host_memory_info::number(host_memory_info::read(folder.text() + "/mem_info_vram_total"));
  if (!used || !total || *total < total_bytes) return std::nullopt;
  return MemorySource{used_file, *total - smaller(*total, *used)};
}

}  // namespace allot::video_memory_info
