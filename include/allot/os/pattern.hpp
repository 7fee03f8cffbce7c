// SPDX-License-Identifier: MIT
/// \file
/// `os::matches`: shell patterns.
#pragma once

#if defined(_WIN32)
#include <allot/os/detail/shell_pattern.hpp>
#else
#include <fnmatch.h>
#endif

namespace allot::os {

/// Returns whether a name matches a shell pattern: `*`, `?`, `[a-z]`. A slash is an ordinary
/// letter.
[[nodiscard]] inline bool matches(const char* pattern, const char* name) noexcept {
#if defined(_WIN32)
  return detail::matches_shell_pattern(pattern, name);
#else
  return ::fnmatch(pattern, name, 0) == 0;
#endif
}

}  // namespace allot::os
