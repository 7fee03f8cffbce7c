// SPDX-License-Identifier: MIT
/// \file
/// What is known of the terminal that a program runs in.
#pragma once

#include <unistd.h>

namespace allot::os {

/// Whether a person sees what is written to standard error.
[[nodiscard]] inline bool has_terminal() noexcept { return ::isatty(STDERR_FILENO) == 1; }

}  // namespace allot::os
