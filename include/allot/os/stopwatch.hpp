// SPDX-License-Identifier: MIT
/// \file
/// `os::Stopwatch`: seconds since it was made, without the compile time of `<chrono>`.
#pragma once

#include <time.h>

namespace allot::os {

/// Reads the system's monotonic clock.
class Stopwatch {
 public:
  /// Returns the seconds since it was made.
  [[nodiscard]] double seconds() const noexcept { return now() - start_; }

 private:
  [[nodiscard]] static double now() noexcept {
    ::timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  }

  double start_ = now();
};

}  // namespace allot::os
