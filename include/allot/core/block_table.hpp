// SPDX-License-Identifier: MIT
/// \file
/// `BlockTable`: finds a block by a number, such as its offset or address.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/deferred_containers.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace allot::detail {

/// Blocks by key: a hash table with linear probing, at most three quarters full. It grows in
/// `make_room` and never shrinks; 32 bytes an entry.
///
/// \tparam Key  a parameter, so that only a table that is used compiles this
template <class Key = std::uint64_t>
class BlockTable {
 public:
  /// Makes room for one more block. Complexity: constant in the mean.
  /// Throws: `std::bad_alloc`; nothing has changed.
  void make_room() {
    if (size_ < entries_.size() / 4 * 3) return;
    DeferredVector<Entry, Key> before(entries_.empty() ? 16 : 2 * entries_.size());
    before.swap(entries_);
    for (const Entry& entry : before) {
      if (entry.is_used()) entries_[free_place(entry.key)] = entry;
    }
  }

  /// Requires: there is room, and no block with that key.
  void insert(Key key, const Block& block) noexcept {
    entries_[free_place(key)] = {key, block};
    ++size_;
  }

  /// Complexity: constant in the mean.
  [[nodiscard]] std::optional<Block> find(Key key) const noexcept {
    const std::size_t place = place_of(key);
    if (place == entries_.size()) return std::nullopt;
    return entries_[place].block;
  }

  /// Removes the block with that key and returns it. Complexity: constant in the mean.
  DeferredOptional<Block, Key> take(Key key) noexcept {
    std::size_t hole = place_of(key);
    if (hole == entries_.size()) return std::nullopt;
    const Block taken = entries_[hole].block;
    // What was pushed beyond the hole by it moves back, so that no search ends too early (Knuth,
    // The Art of Computer Programming, 6.4, algorithm R).
    for (std::size_t place = next(hole); entries_[place].is_used(); place = next(place)) {
      const std::size_t mask = entries_.size() - 1;
      if (((place - home(entries_[place].key)) & mask) < ((place - hole) & mask)) continue;
      entries_[hole] = entries_[place];
      hole = place;
    }
    entries_[hole] = {};
    --size_;
    return taken;
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return entries_.capacity() * sizeof(Entry); }

 private:
  struct Entry {
    Key key = 0;
    Block block{};  // a live block has bytes

    [[nodiscard]] bool is_used() const noexcept { return block.size != 0; }
  };

  [[nodiscard]] std::size_t home(Key key) const noexcept {
    // Multiplicative hashing (Knuth, 6.4): the upper bits are those that all bits of the key reach.
    const int shift = 64 - std::countr_zero(entries_.size());
    return static_cast<std::size_t>((key * 0x9e37'79b9'7f4a'7c15) >> shift);
  }
  [[nodiscard]] std::size_t next(std::size_t place) const noexcept {
    return (place + 1) & (entries_.size() - 1);
  }
  [[nodiscard]] std::size_t free_place(Key key) const noexcept {
    std::size_t place = home(key);
    while (entries_[place].is_used()) place = next(place);
    return place;
  }
  /// Returns the number of entries if there is no such block.
  [[nodiscard]] std::size_t place_of(Key key) const noexcept {
    if (entries_.empty()) return 0;
    for (std::size_t place = home(key); entries_[place].is_used(); place = next(place)) {
      if (entries_[place].key == key) return place;
    }
    return entries_.size();
  }

  DeferredVector<Entry, Key> entries_;  // none, or a power of two
  std::size_t size_ = 0;
};

}  // namespace allot::detail
