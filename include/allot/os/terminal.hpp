// SPDX-License-Identifier: MIT
/// \file
/// Properties of the terminal that a program runs in.
#pragma once

#include <sys/ioctl.h>
#include <unistd.h>

namespace allot::os {

/// Returns whether standard error is a terminal.
[[nodiscard]] inline bool has_terminal() noexcept { return ::isatty(STDERR_FILENO) == 1; }

/// Returns how many characters fit a line of standard output; 0 if that is not a terminal.
[[nodiscard]] inline unsigned output_columns() noexcept {
  winsize size = {};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0U;
}

/// The same for standard error.
[[nodiscard]] inline unsigned error_columns() noexcept {
  winsize size = {};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0U;
}

}  // namespace allot::os
