// SPDX-License-Identifier: MIT
/// \file
/// `return_free_pages(arena)`: gives the pages of an arena's free blocks back to the system, on
/// request. The addresses stay the arena's; a page that is used again is a fresh one.
#pragma once

#include <allot/memory/memory.hpp>

#include <cstddef>
#include <cstdint>

namespace allot {

/// A memory whose pages can be given back while the region stays: `M::return_pages(address, bytes)`.
template <class MemoryType>
concept ReturnsPages = Addressable<MemoryType> && requires(std::byte* first, std::uint64_t bytes) {
  { MemoryType::return_pages(first, bytes) }
  noexcept;
};

/// Gives back every page that lies wholly in a free block: for an arena with one range (`Arena`,
/// `Shared`, `ShardedArena`). The bytes of free blocks are undefined afterwards. Complexity: linear
/// in the blocks, and a call of the system for each free one; under the arena's guard.
template <class ArenaType>
requires ReturnsPages<typename ArenaType::memory_type>
void return_free_pages(const ArenaType& arena) {
  auto* const base = static_cast<std::byte*>(arena.base_address());
  arena.for_each([base](std::uint64_t offset, std::uint64_t size, bool used) {
    if (!used) ArenaType::memory_type::return_pages(base + offset, size);
  });
}

}  // namespace allot
