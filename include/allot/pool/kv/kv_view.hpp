// SPDX-License-Identifier: MIT
/// \file
/// `KvView`: where a sequence's keys and values are, as a kernel finds them: by its block table.
#pragma once

#include <allot/pool/kv/kv_layout.hpp>

#include <cstddef>
#include <cstdint>

namespace allot {

/// A cache's memory and one sequence's blocks in it. A plain value, whose members do arithmetic only:
/// the addresses may be a device's. Of a `KvGroupCache` a view is of one group.
struct KvView {
  std::byte* storage;          ///< the address of `KvCache::storage()`
  KvLayout layout;             ///< `KvCache::layout()`
  const std::uint32_t* table;  ///< the sequence's `block_table()`, from its first token on

  /// Returns where the keys of all heads begin for the token at a position of the sequence.
  /// Requires: the sequence has that token, and the cache that layer.
  [[nodiscard]] std::byte* key(KvLayer layer, std::uint64_t position) const noexcept {
    return block(position) + layout.key_offset(layer, position % layout.block_tokens());
  }
  /// The same for the values.
  [[nodiscard]] std::byte* value(KvLayer layer, std::uint64_t position) const noexcept {
    return block(position) + layout.value_offset(layer, position % layout.block_tokens());
  }

 private:
  [[nodiscard]] std::byte* block(std::uint64_t position) const noexcept {
    return storage + table[position / layout.block_tokens()] * layout.block_bytes();
  }
};

}  // namespace allot
