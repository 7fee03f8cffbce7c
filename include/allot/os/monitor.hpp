// SPDX-License-Identifier: MIT
/// \file
/// `os::Monitor`: the system's mutex and condition variable in one. `<mutex>` and
/// `<condition_variable>` take longer to compile than all the code that locks and waits.
#pragma once

#include <allot/os/fork.hpp>

#include <pthread.h>
#include <time.h>

namespace allot::os {

/// Also serves as a mutex alone, if nothing waits.
class Monitor {
 public:
  Monitor() noexcept {
    ::pthread_condattr_t clock;
    ::pthread_condattr_init(&clock);
#if !defined(__APPLE__) && !defined(_WIN32)  // they cannot: wait_once takes the time that is left
    ::pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
#endif
    ::pthread_cond_init(&changed_, &clock);
    ::pthread_condattr_destroy(&clock);
  }
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;
  ~Monitor() {
    // In a forked child the parent's threads seem to wait still: the system would wait for them.
    if (made_in_.is_of_parent()) return;
    ::pthread_cond_destroy(&changed_);
    ::pthread_mutex_destroy(&mutex_);
  }

  /// Holds the monitor until the end of its scope.
  class Lock {
   public:
    /// Locks the monitor until it is destroyed.
    explicit Lock(Monitor& monitor) noexcept : monitor_{monitor} {
      ::pthread_mutex_lock(&monitor_.mutex_);
    }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    ~Lock() { ::pthread_mutex_unlock(&monitor_.mutex_); }

    /// Waits until `holds()` is true; other threads may hold the monitor meanwhile.
    template <class Condition>
    void wait(Condition&& holds) {
      while (!holds()) ::pthread_cond_wait(&monitor_.changed_, &monitor_.mutex_);
    }

    /// Waits until the monitor's waiting threads are woken, or until `end` of the system's monotonic
    /// clock; may return earlier. `os::wait_until` waits for a condition.
    void wait_once(const ::timespec& end) noexcept {
#if defined(__APPLE__) || defined(_WIN32)
      ::timespec now{};
      ::clock_gettime(CLOCK_MONOTONIC, &now);
      ::timespec left{end.tv_sec - now.tv_sec, end.tv_nsec - now.tv_nsec};
      if (left.tv_nsec < 0) left = {left.tv_sec - 1, left.tv_nsec + 1'000'000'000};
      if (left.tv_sec < 0) return;
      ::pthread_cond_timedwait_relative_np(&monitor_.changed_, &monitor_.mutex_, &left);
#else
      ::pthread_cond_timedwait(&monitor_.changed_, &monitor_.mutex_, &end);
#endif
    }

   private:
    Monitor& monitor_;
  };

  /// Wakes one waiting thread, which checks its condition again.
  void notify_one() noexcept { ::pthread_cond_signal(&changed_); }
  /// Wakes all that wait.
  void notify_all() noexcept { ::pthread_cond_broadcast(&changed_); }

 private:
  ::pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  ::pthread_cond_t changed_;
  ForkMark made_in_;
};

}  // namespace allot::os
