// SPDX-License-Identifier: MIT
/// \file
/// `os::process_id`: the number of this process.
#pragma once

#include <unistd.h>

#include <cstdint>

namespace allot::os {

/// Returns the number that the system gave this process.
[[nodiscard]] inline std::uint64_t process_id() noexcept {
  return static_cast<std::uint64_t>(::getpid());
}

}  // namespace allot::os
