// SPDX-License-Identifier: MIT
/// \file
/// `NeededBlock`: what a request needs of an arena that has yet to be made.
#pragma once

#include <allot/core/version.hpp>

#include <cstdint>

namespace allot::detail {

/// A request, and the block that it needs. All in bytes.
struct NeededBlock {
  std::uint64_t requested;
  std::uint64_t alignment;
  std::uint64_t asked;  ///< `requested` in whole units; 0: no block has as many
  std::uint64_t least;  ///< of the block, as the strategy rounds it; 0: no block has as many
};

}  // namespace allot::detail
