// SPDX-License-Identifier: MIT
/// \file
/// `os::matches`: shell patterns.
#pragma once

#include <fnmatch.h>

namespace allot::os {

/// Returns whether a name matches a shell pattern: `*`, `?`, `[a-z]`. A slash is an ordinary
/// letter.
[[nodiscard]] inline bool matches(const char* pattern, const char* name) noexcept {
  return ::fnmatch(pattern, name, 0) == 0;
}

}  // namespace allot::os
