// SPDX-License-Identifier: MIT
/// \file
/// HIP's binary interface as far as these libraries stand in front of it. Not from HIP's headers: their
/// types change between versions, and a library that is built once serves programs of each.
#pragma once

#include <cstddef>

namespace allot::seam {

using HipError = int;
inline constexpr HipError hip_success = 0;
inline constexpr HipError hip_out_of_memory = 2;
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
/// Bits of each channel.
struct ChannelFormat {
  int x, y, z, w, kind;
};
struct ArrayDescriptor {
  std::size_t width, height;
  int format;
  unsigned channels;
};
struct Array3DDescriptor {
  std::size_t width, height, depth;
  int format;
  unsigned channels, flags;
};

}  // namespace allot::seam
