// SPDX-License-Identifier: MIT
/// \file
/// `std::mutex` and `std::lock_guard`, without the clocks, timed and recursive forms that are most of
/// `<mutex>`, if the standard library has a header that leaves them out; and `os::Lock`, which can be
/// released early.
#pragma once

#include <utility>

#if __has_include(<bits/std_mutex.h>)
#include <bits/std_mutex.h>
#else
#include <mutex>
#endif

namespace allot::os {

/// Holds a mutex until the end of its scope, or until `unlock`.
///
/// \tparam Mutex  any Lockable
template <class Mutex>
class [[nodiscard]] Lock {
 public:
  /// Throws: whatever `Mutex::lock()` throws.
  explicit Lock(Mutex& mutex) : mutex_{&mutex} { lock(); }
  Lock(Lock&& other) noexcept
      : mutex_{other.mutex_}, is_held_{std::exchange(other.is_held_, false)} {}
  Lock& operator=(Lock&&) = delete;
  ~Lock() {
    if (is_held_) mutex_->unlock();
  }

  /// Requires: the mutex is not held by this.
  void lock() {
    mutex_->lock();
    is_held_ = true;
  }
  /// Requires: the mutex is held by this.
  void unlock() {
    is_held_ = false;
    mutex_->unlock();
  }

 private:
  Mutex* mutex_;
  bool is_held_ = false;
};

}  // namespace allot::os
