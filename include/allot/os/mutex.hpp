// SPDX-License-Identifier: MIT
/// \file
/// `os::Mutex`: the system's mutex, for headers that would otherwise include `<mutex>` for
/// it alone, which takes a quarter of the time of `<vector>` and `<string>` to compile.
#pragma once

#include <pthread.h>

namespace allot::os {

class Mutex {
 public:
  Mutex() noexcept = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  ~Mutex() { ::pthread_mutex_destroy(&mutex_); }

  void lock() noexcept { ::pthread_mutex_lock(&mutex_); }
  void unlock() noexcept { ::pthread_mutex_unlock(&mutex_); }

 private:
  ::pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
};

/// Holds a mutex until the end of its scope.
class Lock {
 public:
  explicit Lock(Mutex& mutex) noexcept : mutex_{mutex} { mutex_.lock(); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  ~Lock() { mutex_.unlock(); }

 private:
  Mutex& mutex_;
};

}  // namespace allot::os
