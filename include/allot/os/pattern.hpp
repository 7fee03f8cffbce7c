// SPDX-License-Identifier: MIT
/// \file
/// `os::matches`: the patterns of a shell.
#pragma once

#include <fnmatch.h>

namespace allot::os {

/// Whether a name fits a pattern of a shell: `*`, `?`, `[a-z]`. A slash is a letter like others.
[[nodiscard]] inline bool matches(const char* pattern, const char* name) noexcept {
  return ::fnmatch(pattern, name, 0) == 0;
}

}  // namespace allot::os
