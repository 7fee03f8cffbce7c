// SPDX-License-Identifier: MIT
/// \file
/// `os::sleep_until`: waits for a moment, without `<thread>`.
#pragma once

#include <allot/os/chrono.hpp>

#include <time.h>

namespace allot::os {

/// As `std::this_thread::sleep_until`.
inline void sleep_until(std::chrono::steady_clock::time_point end) {
  for (;;) {
    const std::chrono::nanoseconds left = end - std::chrono::steady_clock::now();
    if (left.count() <= 0) return;
    const ::timespec pause{static_cast<::time_t>(left.count() / 1'000'000'000),
                           static_cast<long>(left.count() % 1'000'000'000)};
    ::nanosleep(&pause, nullptr);
  }
}

}  // namespace allot::os
