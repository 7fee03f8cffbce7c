// SPDX-License-Identifier: MIT
/// \file
/// What reports read of an arena: its blocks, and its usage.
#pragma once

#include <allot/core/block.hpp>

#include <concepts>
#include <cstdint>
#include <vector>

namespace allot::report {

/// An arena, or an arena of arenas, as far as reports read it.
template <class ArenaType>
concept Reportable = requires(const ArenaType& arena,
                              void (*visitor)(std::uint64_t, std::uint64_t, bool)) {
  { arena.usage() } -> std::same_as<Usage>;
  arena.for_each(visitor);
};

namespace detail {

struct MappedBlock {
  std::uint64_t offset;
  std::uint64_t size;
  bool is_used;
};

/// Throws: `std::bad_alloc`.
template <Reportable ArenaType>
[[nodiscard]] std::vector<MappedBlock> blocks_of(const ArenaType& arena) {
  const Usage usage = arena.usage();
  std::vector<MappedBlock> blocks;
  blocks.reserve(usage.live_blocks + usage.free_blocks);
  arena.for_each([&](std::uint64_t offset, std::uint64_t size, bool is_used) {
    blocks.push_back({offset, size, is_used});
  });
  return blocks;
}

}  // namespace detail

}  // namespace allot::report
