// SPDX-License-Identifier: MIT
/// \file
/// `os::peak_resident_bytes`: the most memory that this process has held.
#pragma once

#if defined(_WIN32)
#include <allot/os/detail/windows.hpp>

#include <cstddef>
#else
#include <allot/os/host_memory_info.hpp>

#include <sys/resource.h>

#include <string>
#endif

#include <cstdint>

namespace allot::os {

/// Returns the most bytes of memory that this process has held at any time.
[[nodiscard]] inline std::uint64_t peak_resident_bytes() {
#if defined(_WIN32)
  struct {
    std::uint32_t size, page_faults;
    std::size_t peak_resident, others[7];
  } counts{};
  counts.size = sizeof counts;
  K32GetProcessMemoryInfo(GetCurrentProcess(), reinterpret_cast<_PROCESS_MEMORY_COUNTERS*>(&counts),
                          sizeof counts);
  return counts.peak_resident;
#else
  const std::string status = host_memory_info::read("/proc/self/status");
  if (const auto high_water = host_memory_info::field(status, "VmHWM")) return *high_water;
  ::rusage usage{};  // no /proc; may count the parent's memory up to the fork
  ::getrusage(RUSAGE_SELF, &usage);
#if defined(__APPLE__)
  return static_cast<std::uint64_t>(usage.ru_maxrss);
#else
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
#endif
#endif
}

}  // namespace allot::os
