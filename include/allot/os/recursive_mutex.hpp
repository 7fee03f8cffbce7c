// SPDX-License-Identifier: MIT
/// \file
/// `os::RecursiveMutex`: a mutex that the thread which holds it may lock again, without the compile
/// time of `<mutex>`.
#pragma once

#include <pthread.h>

namespace allot::os {

/// A mutex that its owner may lock again.
class RecursiveMutex {
 public:
  RecursiveMutex() noexcept {
    ::pthread_mutexattr_t kind;
    ::pthread_mutexattr_init(&kind);
    ::pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_RECURSIVE);
    ::pthread_mutex_init(&mutex_, &kind);
    ::pthread_mutexattr_destroy(&kind);
  }
  RecursiveMutex(const RecursiveMutex&) = delete;
  RecursiveMutex& operator=(const RecursiveMutex&) = delete;
  ~RecursiveMutex() { ::pthread_mutex_destroy(&mutex_); }

  /// Waits for it.
  void lock() noexcept { ::pthread_mutex_lock(&mutex_); }
  /// Gives it back, if locked once.
  void unlock() noexcept { ::pthread_mutex_unlock(&mutex_); }

 private:
  ::pthread_mutex_t mutex_;
};

}  // namespace allot::os
