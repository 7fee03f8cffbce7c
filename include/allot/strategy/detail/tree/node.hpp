// SPDX-License-Identifier: MIT
/// \file
/// What the B+-trees of a free index consist of: `Node`; and what a search in them returns.
#pragma once

#include <allot/strategy/detail/records.hpp>

#include <cstdint>
#include <type_traits>

namespace allot::detail::tree {

/// Up to `Most` entries of a key and a 32-bit value, in whole cache lines. Unused keys have the highest
/// value, which no entry has.
///
/// Passes over the keys have a fixed length and do not branch, so that a compiler turns each into a
/// few vector instructions.
/// \tparam KeyType  unsigned
template <class KeyType, std::uint32_t Most = 15>
struct alignas(64) Node {
  using Key = KeyType;

  /// An entry by itself.
  struct Item {
    Key key;
    std::uint32_t value;
  };

  static constexpr std::uint32_t most = Most;
  static constexpr std::uint32_t fewest = Most / 2;  ///< in a tree, except for its root
  static constexpr bool has_sizes = false;
  static constexpr Key no_key = static_cast<Key>(~Key{0});

  Key key[most + 1];
  std::uint32_t value[most];
  std::uint16_t count;
  std::uint16_t height;  ///< of the tree, if this is its root

  void clear() noexcept {
    for (Key& each : key) each = no_key;
    count = 0;
    height = 0;
  }

  [[nodiscard]] bool is_full() const noexcept { return count == most; }

  [[nodiscard]] Item item(std::uint32_t at) const noexcept { return {key[at], value[at]}; }

  /// Returns the entry that a parent has for this node, whose index is `index`.
  [[nodiscard]] Item item_above(std::uint32_t index) const noexcept {
    return {lowest_from(0), index};
  }

  /// Returns the position of a key. Requires: it exists; entries in any order.
  [[nodiscard]] std::uint32_t position_of(Key wanted) const noexcept {
    Key position = 0;
    for (std::uint32_t i = 0; i <= most; ++i) {
      position |= key[i] == wanted ? static_cast<Key>(i) : 0;
    }
    return static_cast<std::uint32_t>(position);
  }

  /// Returns the lowest key that is at least `bound`, or `no_key`. Entries in any order.
  [[nodiscard]] Key lowest_from(Key bound) const noexcept {
    using Signed = std::make_signed_t<Key>;
    // Compares distances from `bound`: those of lower keys wrap around to above all others. All are
    // reduced by half the range, as vector instructions compare signed numbers.
    const Key origin = static_cast<Key>(bound + (Key{1} << (sizeof(Key) * 8 - 1)));
    auto nearest = static_cast<Signed>(no_key - origin);
    for (const Key other : key) {
      const auto distance = static_cast<Signed>(other - origin);
      nearest = distance < nearest ? distance : nearest;
    }
    return static_cast<Key>(static_cast<Key>(nearest) + origin);
  }

  /// Returns how many keys are at most `wanted`. Requires: it is not `no_key`.
  [[nodiscard]] std::uint32_t keys_up_to(Key wanted) const noexcept {
    Key above = 0;
    for (const Key other : key) above += other > wanted ? 1 : 0;
    return most + 1 - static_cast<std::uint32_t>(above);
  }

  /// Returns the position of the node below that has a key or should have it.
  [[nodiscard]] std::uint32_t child_of(Key wanted) const noexcept {
    return wanted == 0 ? 0 : keys_up_to(wanted) - 1;
  }

  /// Brings the entry of a node below up to date, and returns whether it changed: never, as it has
  /// nothing but a key and a value.
  static constexpr bool sum_up(std::uint32_t, const Node&) noexcept { return false; }

  /// Returns the position of the highest key. Requires: not empty; entries in any order.
  [[nodiscard]] std::uint32_t highest() const noexcept {
    std::uint32_t at = 0;
    for (std::uint32_t i = 1; i < count; ++i) at = key[i] > key[at] ? i : at;
    return at;
  }

  /// Inserts before the entry at `at`. Requires: room.
  void insert(std::uint32_t at, const Item& item) noexcept {
    for (std::uint32_t i = count++; i > at; --i) copy(i, i - 1);
    key[at] = item.key;
    value[at] = item.value;
  }

  /// Replaces the removed entry by the last one.
  void remove_unordered(std::uint32_t at) noexcept {
    copy(at, --count);
    key[count] = no_key;
  }

  /// Removes an entry, keeping the order.
  void remove_ordered(std::uint32_t at) noexcept {
    for (--count; at < count; ++at) copy(at, at + 1);
    key[count] = no_key;
  }

  /// Returns whether what is behind the last entry looks unused.
  [[nodiscard]] bool ends_well() const noexcept {
    for (std::uint32_t i = count; i <= most; ++i) {
      if (key[i] != no_key) return false;
    }
    return count <= most;
  }

 private:
  void copy(std::uint32_t to, std::uint32_t from) noexcept {
    key[to] = key[from];
    value[to] = value[from];
  }
};

/// What a search found.
struct Entry {
  std::uint32_t value = no_record;  ///< `no_record` if nothing was found
  std::uint32_t location = 0;
  std::uint64_t key = 0;
};

}  // namespace allot::detail::tree
