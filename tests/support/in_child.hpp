// SPDX-License-Identifier: MIT
/// \file
/// Runs a function in a forked child, which ends by itself if it hangs.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

namespace allot::test {

/// Returns true if `f()` returned true in a child of this process.
template <class Function>
[[nodiscard]] bool in_child(Function&& f) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);  // a hang ends in a signal
    bool is_right = false;
    try {
      is_right = f();
    } catch (...) {
    }
    ::_exit(is_right ? EXIT_SUCCESS : EXIT_FAILURE);
  }
  int status = -1;
  return ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace allot::test
