// SPDX-License-Identifier: MIT
/// \file
/// Counts what this program asks the system and the C library for, by this thread.
#pragma once

#include <cstdint>

namespace allot::test {

struct Work {
  std::uint64_t allocated = 0;    ///< bytes asked of malloc and operator new; growth, of realloc
  std::uint64_t reads = 0;        ///< calls of pread
  std::uint64_t read = 0;         ///< bytes asked of pread
  std::uint64_t comparisons = 0;  ///< calls of memcmp, which is how texts are compared

  friend Work operator-(const Work& a, const Work& b) noexcept {
    return {a.allocated - b.allocated, a.reads - b.reads, a.read - b.read,
            a.comparisons - b.comparisons};
  }
};

/// All of it so far.
[[nodiscard]] Work work_so_far() noexcept;

}  // namespace allot::test
