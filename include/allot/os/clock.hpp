// SPDX-License-Identifier: MIT
/// \file
/// `os::seconds`: a clock that never goes back.
#pragma once

#include <time.h>

namespace allot::os {

/// Returns the seconds since some fixed moment before this process started.
[[nodiscard]] inline double seconds() noexcept {
  ::timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

}  // namespace allot::os
