// SPDX-License-Identifier: MIT
/// \file
/// What the B+-trees of a free index consist of: `Entries`; and what a search in them returns.
#pragma once

#include <allot/strategy/detail/records.hpp>

#include <cstdint>
#include <type_traits>

namespace allot::detail::tree {

/// Up to `Most` entries of a key, a 32-bit value and, if `IsSized`, a size. Unused keys have the
/// highest value, which no entry has.
///
/// Passes over the keys have a fixed length and do not branch, so that a compiler turns each into a
/// few vector instructions.
template <class KeyType, std::uint32_t Most, bool IsSized>
struct Entries {
  using Key = KeyType;
  struct None {};

  static constexpr std::uint32_t most = Most;
  static constexpr Key no_key = static_cast<Key>(~Key{0});

  Key key[Most + 1];
  std::uint32_t value[Most];
  std::uint16_t count;
  std::uint16_t height;  ///< of a tree, if this is its root
  [[no_unique_address]] std::conditional_t<IsSized, Key[Most + 1], None>
      sizes;  ///< 0 for unused entries

  void clear() noexcept {
    for (Key& each : key) each = no_key;
    if constexpr (IsSized) {
      for (Key& each : sizes) each = 0;
    }
    count = 0;
  }

  [[nodiscard]] bool is_empty() const noexcept { return count == 0; }
  [[nodiscard]] bool is_full() const noexcept { return count == Most; }

  /// Returns an entry's size; 0 if entries have none.
  [[nodiscard]] Key size([[maybe_unused]] std::uint32_t at) const noexcept {
    if constexpr (IsSized) return sizes[at];
    return 0;
  }
  [[nodiscard]] Key largest() const noexcept {
    Key largest = 0;
    if constexpr (IsSized) {
      for (const Key size : sizes) largest = size > largest ? size : largest;
    }
    return largest;
  }

  /// Returns the position of a key. Requires: it exists; entries in any order.
  [[nodiscard]] std::uint32_t position_of(Key wanted) const noexcept {
    Key position = 0;
    for (std::uint32_t i = 0; i <= Most; ++i) {
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
    return Most + 1 - static_cast<std::uint32_t>(above);
  }

  /// Returns the position of the highest key. Requires: not empty; entries in any order.
  [[nodiscard]] std::uint32_t highest() const noexcept {
    std::uint32_t at = 0;
    for (std::uint32_t i = 1; i < count; ++i) at = key[i] > key[at] ? i : at;
    return at;
  }

  /// Inserts before the entry at `at`. Requires: room.
  void insert(std::uint32_t at, Key new_key, std::uint32_t new_value, Key size) noexcept {
    for (std::uint32_t i = count++; i > at; --i) copy(i, i - 1);
    key[at] = new_key;
    value[at] = new_value;
    if constexpr (IsSized) sizes[at] = size;
  }

  /// Replaces the removed entry by the last one.
  void remove_unordered(std::uint32_t at) noexcept {
    copy(at, --count);
    forget(count);
  }

  /// Removes an entry, keeping the order.
  void remove_ordered(std::uint32_t at) noexcept {
    for (--count; at < count; ++at) copy(at, at + 1);
    forget(count);
  }

  /// Returns whether what is behind the last entry looks unused.
  [[nodiscard]] bool ends_well() const noexcept {
    for (std::uint32_t i = count; i <= Most; ++i) {
      if (key[i] != no_key || size(i) != 0) return false;
    }
    return count <= Most;
  }

 private:
  void copy(std::uint32_t to, std::uint32_t from) noexcept {
    key[to] = key[from];
    value[to] = value[from];
    if constexpr (IsSized) sizes[to] = sizes[from];
  }

  void forget(std::uint32_t at) noexcept {
    key[at] = no_key;
    if constexpr (IsSized) sizes[at] = 0;
  }
};

/// What a search found.
struct Entry {
  std::uint32_t value = no_record;  ///< `no_record` if nothing was found
  std::uint32_t location = 0;
  std::uint64_t key = 0;
};

/// From a leaf up to the top node: the entry `at[0]` of leaf `node[0]`, the entry `at[1]` of its
/// parent `node[1]`, ... In a tree without nodes there is only `at[0]`.
struct Path {
  static constexpr std::uint32_t highest = 13;  ///< 7^12 > 2^32 entries

  std::uint32_t node[highest];
  std::uint8_t at[highest];
};

/// An entry's location: entry n of the root of tree t is at 16 t + n, entry n of leaf l at in_leaf +
/// 16 l + n. All are below `used_state`.
inline constexpr std::uint32_t in_leaf = 0x8000'0000;

}  // namespace allot::detail::tree
