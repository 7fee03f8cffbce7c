// SPDX-License-Identifier: MIT
/// \file
/// `next_first_generation`: the first generation of a strategy's handles. For strategies that keep
/// their own handles.
#pragma once

#include <cstdint>

namespace allot {

/// Returns the generation for a range to start with, far from that of the previous range, so that
/// handles of two arenas differ even for blocks with the same offset and index.
///
/// A strategy draws one when it is constructed. From there on its generations rise with every use
/// of an index, through `reset` too, and no index is used under its first generation again. Several
/// threads may call it at once. Complexity: constant.
[[nodiscard]] inline std::uint32_t next_first_generation() noexcept {
  // A builtin of g++ and clang++: <atomic> takes as long to compile as all the rest of an arena.
  static constinit std::uint32_t ranges = 0;
  return __atomic_add_fetch(&ranges, 1, __ATOMIC_RELAXED) * 0x9e37'79b1U;
}

}  // namespace allot
