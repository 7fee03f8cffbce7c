// SPDX-License-Identifier: MIT
/// \file
/// `ManualClock`: a clock that advances only when a test says so.
#pragma once

#include <chrono>

namespace allot::test {

struct ManualClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<ManualClock>;
  static constexpr bool is_steady = true;

  static time_point now() noexcept { return time_point{time}; }
  static inline duration time{0};
};

}  // namespace allot::test
