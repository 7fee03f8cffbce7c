// SPDX-License-Identifier: MIT
/// \file
/// `os::ForkMark`: a forked process finds out by it that an object is its parent's. Threads do not
/// follow into a forked child, and a mutex that one of them held stays locked there: a thread that
/// waits for either waits forever.
#pragma once

#if !defined(_WIN32)
#include <pthread.h>
#endif

#include <cstdint>

namespace allot::os {

namespace detail {

/// How many forks lie between the first process that ran this program and this one.
inline std::uint64_t forks = 0;
#if !defined(_WIN32)  // which has no fork
inline const int forks_are_counted = ::pthread_atfork(nullptr, nullptr, [] { ++forks; });
#endif

}  // namespace detail

/// Remembers the process that it was made in. Does not know of `vfork` and raw system calls.
class ForkMark {
 public:
  ForkMark() noexcept : forks_{detail::forks} {}

  /// Returns true in a child that was forked after this was made. Complexity: a comparison.
  [[nodiscard]] bool is_of_parent() const noexcept { return forks_ != detail::forks; }

 private:
  std::uint64_t forks_;
};

}  // namespace allot::os
