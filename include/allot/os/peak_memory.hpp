// SPDX-License-Identifier: MIT
/// \file
/// `os::peak_resident_bytes`: the most memory that this process has held.
#pragma once

#include <allot/os/host_memory_info.hpp>

#include <sys/resource.h>

#include <cstdint>
#include <string>

namespace allot::os {

/// Returns the most bytes of memory that this process has held at any time.
[[nodiscard]] inline std::uint64_t peak_resident_bytes() {
  const std::string status = host_memory_info::read("/proc/self/status");
  if (const auto high_water = host_memory_info::field(status, "VmHWM")) return *high_water;
  ::rusage usage{};  // no /proc; may count the parent's memory up to the fork
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace allot::os
