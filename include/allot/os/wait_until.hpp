// SPDX-License-Identifier: MIT
/// \file
/// `os::wait_until`: waits for a condition with a time limit, without `<condition_variable>`.
#pragma once

#include <allot/core/deferred.hpp>
#include <allot/os/chrono.hpp>
#include <allot/os/monitor.hpp>

#include <time.h>

namespace allot::os {

/// Waits until `holds()` is true, until `end` at the latest; other threads may hold the monitor
/// meanwhile. Returns whether it holds.
template <class Condition>
[[nodiscard]] bool wait_until(Monitor::Lock& lock, std::chrono::steady_clock::time_point end,
                              Condition&& holds) {
  const std::chrono::nanoseconds moment =
      end.time_since_epoch();  // of the system's monotonic clock
  const ::timespec system_end{static_cast<::time_t>(moment.count() / 1'000'000'000),
                              static_cast<long>(moment.count() % 1'000'000'000)};
  while (!holds()) {
    if (std::chrono::steady_clock::now() >= deferred<Condition>(end)) return false;
    lock.wait_once(system_end);
  }
  return true;
}

}  // namespace allot::os
