// SPDX-License-Identifier: MIT
/// \file
/// `next_first_generation`: where the generations of a strategy's handles begin. For strategies that
/// keep handles of their own.
#pragma once

#include <cstdint>

namespace allot {

/// A generation for a range to start with, far from the one that the range before it got: handles
/// of two arenas differ then, also of blocks in the same place with the same index.
///
/// A strategy draws one when it is constructed. From there on its generations rise with every use
/// of an index, through `reset` too, and no index is used under its first generation again. Safe to
/// call from several threads. Complexity: constant.
[[nodiscard]] inline std::uint32_t next_first_generation() noexcept {
  // A builtin of g++ and clang++: <atomic> takes as long to compile as all the rest of an arena.
  static constinit std::uint32_t ranges = 0;
  return __atomic_add_fetch(&ranges, 1, __ATOMIC_RELAXED) * 0x9e37'79b1U;
}

}  // namespace allot
