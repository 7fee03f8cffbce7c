// SPDX-License-Identifier: MIT
/// \file
/// `os::Thread`: a system thread, without the compile time of `<thread>`.
#pragma once

#include <allot/os/fork.hpp>

#include <pthread.h>
#include <unistd.h>

#include <cstddef>
#include <system_error>
#include <utility>

namespace allot::os {

/// A thread that its destructor joins; but not in a forked child, which has no such thread.
class Thread {
 public:
  /// Calls `work(context)` on a new thread. `work` must not throw.
  /// Throws: `std::system_error` if the system refuses another thread.
  Thread(void (*work)(void*), void* context) : start_{new Start{work, context}} {
    const int error = ::pthread_create(
        &thread_, nullptr,
        [](void* start) -> void* {
          const auto [call, with] = *static_cast<Start*>(start);
          call(with);
          return nullptr;
        },
        start_);
    if (error == 0) return;
    delete start_;
    throw std::system_error{error, std::generic_category(), "cannot start a thread"};
  }
  Thread(Thread&& other) noexcept
      : thread_{other.thread_},
        start_{std::exchange(other.start_, nullptr)},
        started_in_{other.started_in_} {}
  Thread& operator=(Thread&&) = delete;
  ~Thread() {
    if (start_ == nullptr) return;
    if (!started_in_.is_of_parent()) ::pthread_join(thread_, nullptr);
    delete start_;
  }

 private:
  struct Start {
    void (*call)(void*);
    void* with;
  };

  ::pthread_t thread_{};
  Start* start_;  // null if another object has the thread
  ForkMark started_in_;
};

/// Returns the number of processors that are online, at least 1.
[[nodiscard]] inline std::size_t processors() noexcept {
#if defined(_WIN32)
  const long online = ::pthread_num_processors_np();
#else
  const long online = ::sysconf(_SC_NPROCESSORS_ONLN);
#endif
  return online < 1 ? 1 : static_cast<std::size_t>(online);
}

}  // namespace allot::os
