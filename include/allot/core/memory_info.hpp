// SPDX-License-Identifier: MIT
/// \file
/// `MemoryInfo`: what a device's memory has free.
#pragma once

#include <cstdint>

namespace allot {

/// Bytes of a device's memory.
struct MemoryInfo {
  std::uint64_t free;
  std::uint64_t total;
};

}  // namespace allot
