// SPDX-License-Identifier: MIT
/// \file
/// Counts what this thread asks the system and the C library for, and refuses it on demand.
#pragma once

#include <cstddef>
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

/// Makes the call of operator new with this number throw, counted from 1 and from now on; 0: none.
void refuse_allocation(std::size_t number) noexcept;
/// Makes `fchmod` fail, as on file systems without permissions.
void refuse_permissions(bool refuse) noexcept;

}  // namespace allot::test
