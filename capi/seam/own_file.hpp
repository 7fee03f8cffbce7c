// SPDX-License-Identifier: MIT
/// \file
/// Files of programs that may be several processes: each writes one of its own.
#pragma once

#include <string>

namespace allot::seam {

/// Makes a file for this process: `path` for the first one, `path.PID` for the others. Returns its path;
/// empty if it cannot be made. Throws: `std::bad_alloc`.
[[nodiscard]] std::string make_own_file(const std::string& path);

/// Returns the value of a variable of the environment; empty if there is none.
[[nodiscard]] std::string variable(const char* name);

/// Returns whether this is the process that the tool started, and not one that it started.
[[nodiscard]] bool is_first_process();

}  // namespace allot::seam
