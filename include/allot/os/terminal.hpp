// SPDX-License-Identifier: MIT
/// \file
/// Properties of the terminal that a program runs in.
#pragma once

#include <unistd.h>

namespace allot::os {

/// Returns whether standard error is a terminal.
[[nodiscard]] inline bool has_terminal() noexcept { return ::isatty(STDERR_FILENO) == 1; }

}  // namespace allot::os
