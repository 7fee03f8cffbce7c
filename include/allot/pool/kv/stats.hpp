// SPDX-License-Identifier: MIT
/// \file
/// What a paged KV cache is made with and tells of itself: plain values.
#pragma once

#include <allot/pool/kv/kv_layout.hpp>

#include <cstddef>
#include <cstdint>

namespace allot {

struct KvCacheConfig {
  KvShape shape;
  std::uint64_t budget_bytes = 0;   ///< of the one allocation; holds whole blocks
  std::uint64_t block_tokens = 16;  ///< few: less is unfilled; many: tables are shorter
  std::size_t lanes = 1;            ///< streams
  bool prefix_sharing = true;       ///< costs 44 bytes of host memory a block, 4 a token
};

/// A snapshot. Counts of blocks where nothing else is said.
struct KvCacheStats {
  std::uint64_t capacity;
  std::uint64_t free;
  std::uint64_t in_use;     ///< of sequences
  std::uint64_t cached;     ///< of no sequence, kept for prefixes until room is needed
  std::uint64_t peak_used;  ///< in use and cached
  std::uint64_t sequences;
  std::uint64_t slots;   ///< tokens that the blocks of sequences and prefixes have room for
  std::uint64_t filled;  ///< and how many were written, of a shared block by whoever wrote most

  // Since the cache was made.
  std::uint64_t hits;     ///< taken from a prefix instead of computed
  std::uint64_t misses;   ///< full blocks of prompts that had to be computed
  std::uint64_t shared;   ///< with a fork, instead of copied
  std::uint64_t copied;   ///< on write
  std::uint64_t evicted;  ///< cached ones that made room
  std::uint64_t moved;    ///< by compaction

  /// Internal fragmentation: unfilled slots of all slots.
  [[nodiscard]] double fragmentation() const noexcept {
    return slots == 0 ? 0 : static_cast<double>(slots - filled) / static_cast<double>(slots);
  }
};

/// What one step of compaction did.
struct Compaction {
  std::uint64_t moved;       ///< blocks that were copied
  std::uint64_t bytes;       ///< that were copied
  std::uint64_t end_before;  ///< one above the highest used block
  std::uint64_t end_after;
  std::uint64_t updated;  ///< entries of block tables that changed
  bool is_done;           ///< whether no free block lies below a used one
};

/// Where a token of a sequence is.
struct KvSlot {
  std::uint32_t block;
  std::uint32_t token;  ///< in the block

  friend constexpr bool operator==(const KvSlot&, const KvSlot&) noexcept = default;
};

}  // namespace allot
