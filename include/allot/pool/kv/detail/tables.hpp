// SPDX-License-Identifier: MIT
/// \file
/// `Tables`: the block tables of all sequences.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/core/units.hpp>
#include <allot/pool/kv/detail/key_table.hpp>
#include <allot/pool/kv/detail/prefix_index.hpp>
#include <allot/pool/kv/kv_layout.hpp>
#include <allot/pool/kv/stats.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>

namespace allot::detail {

inline void require_tokens(std::uint64_t tokens, std::uint64_t there_are) {
  if (tokens <= there_are) return;
  throw std::out_of_range{(FixedText<128>{} << "a sequence of " << there_are
                                            << " tokens has fewer than " << tokens
                                            << "; append more first")
                              .c_str()};
}

[[noreturn]] inline void throw_no_room_for_table(std::size_t blocks, std::size_t room) {
  throw std::length_error{(FixedText<160>{} << "a block table of " << blocks
                                            << " blocks does not fit the caller's " << room
                                            << "; give room for `layout().blocks_for(tokens)`")
                              .c_str()};
}

/// A sequence. `published` blocks of it were looked up or entered in the index, under `prefix`.
/// `blocks` has those from number `dropped` on: the ones before were given back.
template <class Owner>
struct Table {
  DeferredVector<std::uint32_t, Owner> blocks{};
  std::uint64_t dropped = 0;
  bool is_private = false;  // its blocks are not entered: what comes before them is not known
  std::uint64_t tokens = 0;
  std::uint64_t published = 0;
  std::uint64_t prefix = BasicPrefixIndex<Deferred<std::uint32_t, Owner>>::no_prefix;
  typename KeyTable<Owner>::Keys keys{};

  void reserve(std::uint64_t wanted, std::uint64_t there_are) {
    blocks.reserve(static_cast<std::size_t>(smaller(wanted, there_are)));
  }

  /// Returns how many there are. Throws: `std::length_error` if there is no room for them.
  std::size_t copy_blocks(DeferredSpan<std::uint32_t, Owner> into) const {
    if (blocks.size() > into.size()) throw_no_room_for_table(blocks.size(), into.size());
    if (!blocks.empty())
      std::memcpy(into.data(), blocks.data(), blocks.size() * sizeof(std::uint32_t));
    return blocks.size();
  }
};

inline void require_layer(KvLayer layer, std::uint64_t there_are) {
  if (layer.number < there_are) return;
  throw std::out_of_range{(FixedText<128>{} << "there is no layer " << layer.number
                                            << "; there are " << there_are << ", numbered from 0")
                              .c_str()};
}

template <class Owner>
void require_kept(std::uint64_t position, const Table<Owner>& table, std::uint64_t block_tokens) {
  const std::uint64_t first = table.dropped * block_tokens;
  if (position >= first) return;
  throw std::out_of_range{(FixedText<128>{} << "the tokens before " << first
                                            << " were given back as the window slid; " << position
                                            << " is one of them")
                              .c_str()};
}

template <class Owner>
[[nodiscard]] KvSlot slot_in(const Table<Owner>& table, std::uint64_t position,
                             std::uint64_t block_tokens) {
  require_tokens(position + (position != ~std::uint64_t{0} ? 1 : 0), table.tokens);
  require_kept(position, table, block_tokens);
  return {table.blocks[static_cast<std::size_t>(position / block_tokens - table.dropped)],
          static_cast<std::uint32_t>(position % block_tokens)};
}

/// Tables by slots, which are used again.
template <class Owner>
class Tables {
 public:
  [[nodiscard]] Table<Owner>& operator[](std::uint32_t slot) noexcept { return tables_[slot]; }
  [[nodiscard]] std::uint64_t open_count() const noexcept {
    return tables_.size() - unused_.size();
  }

  /// All slots; those that are not open have empty tables.
  [[nodiscard]] auto begin() const noexcept { return tables_.begin(); }
  [[nodiscard]] auto end() const noexcept { return tables_.end(); }

  /// Adds each table's use of its blocks. Returns false if one has too few or too many: for tests.
  [[nodiscard]] bool count_users(DeferredVector<std::uint32_t, Owner>& users,
                                 const KvLayout& layout) const {
    for (const Table<Owner>& table : tables_) {
      if (table.blocks.size() + table.dropped != layout.blocks_for(table.tokens)) return false;
      for (const std::uint32_t block : table.blocks) ++users[block];
    }
    return true;
  }

  /// Opens an empty table. Closing it needs no memory. Throws: `std::bad_alloc`.
  [[nodiscard]] std::uint32_t open() {
    if (unused_.empty()) {
      if (unused_.capacity() <= tables_.size()) unused_.reserve(2 * tables_.size() + 1);
      tables_.emplace_back();
      unused_.push_back(static_cast<std::uint32_t>(tables_.size() - 1));
    }
    const std::uint32_t slot = unused_.back();
    unused_.pop_back();
    return slot;
  }

  void close(std::uint32_t slot) noexcept {
    tables_[slot] = Table<Owner>{};
    unused_.push_back(slot);
  }

  /// Makes the tables name blocks that were moved by their new numbers. Returns how many entries
  /// changed. Requires: at least one move (`from`, `to`), the highest `from` first; every block of a
  /// table from the lowest `from` on was moved.
  template <class Moves>
  std::uint64_t renumber(const Moves& moves) noexcept {
    std::uint64_t changed = 0;
    for (Table<Owner>& table : tables_) {
      for (std::uint32_t& block : table.blocks) {
        if (block < moves.back().from) continue;
        block = new_number(moves, block);
        ++changed;
      }
    }
    return changed;
  }

 private:
  /// Complexity: logarithmic.
  template <class Moves>
  [[nodiscard]] static std::uint32_t new_number(const Moves& moves, std::uint32_t block) noexcept {
    std::size_t first = 0;
    std::size_t last = moves.size() - 1;
    while (first != last) {
      const std::size_t middle = first + (last - first) / 2;
      if (moves[middle].from > block) {
        first = middle + 1;
      } else {
        last = middle;
      }
    }
    return moves[first].to;
  }

  DeferredVector<Table<Owner>, Owner> tables_;
  DeferredVector<std::uint32_t, Owner> unused_;
};

}  // namespace allot::detail
