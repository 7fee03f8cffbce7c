// SPDX-License-Identifier: MIT
/// \file
/// `os::random_seed`: a number that differs in each process.
#pragma once

#include <sys/auxv.h>

#include <cstdint>
#include <cstring>

namespace allot::os {

/// For hashes that must not be predictable. Not a secret: every call returns the same number.
[[nodiscard]] inline std::uint64_t random_seed() noexcept {
  std::uint64_t random = 0x2545f4914f6cdd1dU;
  // Sixteen bytes that the kernel gives each process.
  if (const unsigned long at = ::getauxval(AT_RANDOM))
    std::memcpy(&random, reinterpret_cast<const void*>(at), sizeof random);
  return random;
}

}  // namespace allot::os
