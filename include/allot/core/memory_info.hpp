// SPDX-License-Identifier: MIT
/// \file
/// `MemoryInfo`: the size of a device's memory and how much of it is free. `MemorySource`: which
/// limit that is.
#pragma once

#include <allot/core/version.hpp>

#include <cstdint>
#include <string>

namespace allot {

/// Bytes of a device's memory.
struct MemoryInfo {
  std::uint64_t free;   ///< for new allocations, now
  std::uint64_t total;  ///< of the device
};

/// One of the limits that free memory is the least of: the system's, a control group's, a driver's.
struct MemorySource {
  std::string source;   ///< a file, a call or a limit by name: `/sys/fs/cgroup/a/memory.max`
  std::uint64_t bytes;  ///< what it leaves
};

}  // namespace allot
