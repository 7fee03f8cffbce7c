// SPDX-License-Identifier: MIT
/// \file
/// `Lifetime`: what `plan_offsets` (`plan_offsets.hpp`) plans.
#pragma once

#include <allot/core/version.hpp>

#include <cstdint>

namespace allot {

/// A buffer, and when it is used: from step `first` to step `last`, both included.
struct Lifetime {
  std::uint64_t bytes;            ///< zero is allowed: such a buffer is at offset 0
  std::uint64_t first;            ///< the step that writes it
  std::uint64_t last;             ///< the last step that reads it
  std::uint64_t alignment = 256;  ///< bytes, a power of two
};

}  // namespace allot
