// SPDX-License-Identifier: MIT
/// \file
/// `MemoryInfo`: the size of a device's memory and how much of it is free.
#pragma once

#include <cstdint>

namespace allot {

/// Bytes of a device's memory.
struct MemoryInfo {
  std::uint64_t free;
  std::uint64_t total;
};

}  // namespace allot
