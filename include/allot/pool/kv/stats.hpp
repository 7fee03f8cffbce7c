// SPDX-License-Identifier: MIT
/// \file
/// Configuration and statistics of a paged KV cache: plain values.
#pragma once

#include <allot/pool/kv/kv_layout.hpp>

#include <cstddef>
#include <cstdint>

namespace allot {

/// What a cache is made for.
struct KvCacheConfig {
  KvShape shape;                    ///< of the model's layers
  std::uint64_t budget_bytes = 0;   ///< of the one allocation; holds whole blocks
  std::uint64_t block_tokens = 16;  ///< fewer: less is unfilled; more: tables are shorter
  std::size_t lanes = 1;            ///< streams
  bool prefix_sharing = true;       ///< costs 44 bytes of host memory a block, 4 a token
};

/// A snapshot. Figures count blocks unless stated otherwise.
struct KvCacheStats {
  std::uint64_t capacity;   ///< all blocks
  std::uint64_t free;       ///< neither in use nor cached
  std::uint64_t in_use;     ///< by sequences
  std::uint64_t cached;     ///< used by no sequence, kept for prefixes until room is needed
  std::uint64_t peak_used;  ///< in use and cached
  std::uint64_t sequences;  ///< sequences that exist
  std::uint64_t slots;      ///< tokens that the blocks of sequences and prefixes have room for
  std::uint64_t filled;     ///< slots written; of a shared block, those of the sequence with most

  // Since the cache was made.
  std::uint64_t hits;     ///< blocks taken from a prefix instead of computed
  std::uint64_t misses;   ///< full blocks of prompts that had to be computed
  std::uint64_t shared;   ///< with a fork, instead of copied
  std::uint64_t copied;   ///< on write
  std::uint64_t evicted;  ///< cached blocks that made room
  std::uint64_t moved;    ///< by compaction

  /// Returns internal fragmentation: the share of slots that are unfilled.
  [[nodiscard]] double fragmentation() const noexcept {
    return slots == 0 ? 0 : static_cast<double>(slots - filled) / static_cast<double>(slots);
  }
};

/// A block, for `KvCache::for_each`.
struct KvBlock {
  /// What a block is for.
  enum class State : std::uint8_t { free, in_use, cached };

  std::uint32_t number;      ///< of the block, from 0
  std::uint32_t references;  ///< of sequences, and one if it is kept for prefixes
  std::uint32_t filled;      ///< tokens written
  State state;               ///< in use by sequences, kept for prefixes only, or free
};

/// The outcome of one step of compaction.
struct Compaction {
  std::uint64_t moved;       ///< blocks that were copied
  std::uint64_t bytes;       ///< that were copied
  std::uint64_t end_before;  ///< one above the highest used block
  std::uint64_t end_after;   ///< likewise, after the step
  std::uint64_t updated;     ///< entries of block tables that changed
  bool is_done;              ///< true if no free block lies below a used one
};

/// Where a token of a sequence is.
struct KvSlot {
  std::uint32_t block;  ///< its number
  std::uint32_t token;  ///< in the block

  friend constexpr bool operator==(const KvSlot&, const KvSlot&) noexcept = default;
};

}  // namespace allot
