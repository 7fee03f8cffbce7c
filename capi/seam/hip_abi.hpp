// SPDX-License-Identifier: MIT
/// \file
/// HIP's binary interface as far as these libraries stand in front of it. Not from HIP's headers: their
/// types change between versions, and a library that is built once serves programs of each.
#pragma once

#include <cstddef>

namespace allot::seam {

using HipError = int;
inline constexpr HipError hip_success = 0;
inline constexpr HipError hip_invalid_value = 1;
inline constexpr HipError hip_out_of_memory = 2;
inline constexpr HipError hip_not_initialized = 3;
inline constexpr HipError hip_not_supported = 801;

/// Passed by value.
struct IpcHandle {
  char bytes[64];
};
struct Extent {
  std::size_t width, height, depth;
};

struct PitchedPointer {
  void* address;
  std::size_t pitch, width, height;
};
/// What it begins with in every version.
struct PointerAttributes {
  int type, device;
  void* device_address;
};
/// Bits of each channel.
struct ChannelFormat {
  int x, y, z, w, kind;
};
struct ArrayDescriptor {
  std::size_t width, height;
  int format;
  unsigned channels;
};
/// What a memory pool is made for.
struct PoolProperties {
  int allocation_type;
  int handle_types;  // for other processes; 0: none
  int location_type;
  int device;
};
struct Array3DDescriptor {
  std::size_t width, height, depth;
  int format;
  unsigned channels, flags;
};

}  // namespace allot::seam
