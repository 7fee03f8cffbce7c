// SPDX-License-Identifier: MIT
/// \file
/// The nodes of `TreePool`: a few entries of a key and a 32-bit value, in two cache lines or three.
///
/// The passes over a node have a fixed length and no branches, so that a compiler makes a handful
/// of vector instructions of each.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

namespace allot::detail {

/// Up to `Most` entries. What follows them has the highest key, which no entry has.
template <class KeyType, std::uint32_t Most, bool IsSized = false>
struct Entries {
  using Key = KeyType;

  static constexpr Key no_key = std::numeric_limits<Key>::max();
  static constexpr std::uint32_t most = Most;
  static constexpr bool is_sized = false;

  Key key[Most + 1];
  std::uint32_t value[Most];
  std::uint16_t count;
  std::uint16_t height;  ///< of a map, where this is its root
};

/// The same, each entry with a size.
template <class KeyType, std::uint32_t Most>
struct Entries<KeyType, Most, true> : Entries<KeyType, Most, false> {
  static constexpr bool is_sized = true;

  KeyType size[Most + 1];
};

template <class E>
void make_empty(E& entries) noexcept {
  for (auto& key : entries.key) key = E::no_key;
  entries.count = 0;
  if constexpr (E::is_sized) {
    for (auto& size : entries.size) size = 0;
  }
}

/// Where an entry's key is. Requires: it is there, in any order.
template <class E>
[[nodiscard]] std::uint32_t position_of(const E& entries, typename E::Key key) noexcept {
  typename E::Key position = 0;
  for (std::uint32_t i = 0; i <= E::most; ++i) {
    position |= entries.key[i] == key ? static_cast<typename E::Key>(i) : 0;
  }
  return static_cast<std::uint32_t>(position);
}

/// The lowest key that is at least `key`, or `no_key`. Entries in any order.
template <class E>
[[nodiscard]] typename E::Key lowest_from(const E& entries, typename E::Key key) noexcept {
  using Key = typename E::Key;
  using Signed = std::make_signed_t<Key>;
  // Distances from `key`, those of lower keys wrapping round to above all others, and all less half
  // the range: signed numbers are what vector instructions compare.
  const Key origin = static_cast<Key>(key + (Key{1} << (std::numeric_limits<Key>::digits - 1)));
  auto nearest = static_cast<Signed>(E::no_key - origin);
  for (const Key other : entries.key) {
    const auto distance = static_cast<Signed>(other - origin);
    nearest = distance < nearest ? distance : nearest;
  }
  return static_cast<Key>(static_cast<Key>(nearest) + origin);
}

/// The last of the sorted keys that is at most `key`. Requires: the first one is; `key` is not
/// `no_key`.
template <class E>
[[nodiscard]] std::uint32_t child_of(const E& entries, typename E::Key key) noexcept {
  using Key = typename E::Key;
  Key above = 0;
  for (const Key other : entries.key) above += other > key ? 1 : 0;
  return E::most - static_cast<std::uint32_t>(above);
}

template <class E>
[[nodiscard]] typename E::Key largest_size(const E& entries) noexcept {
  typename E::Key largest = 0;
  if constexpr (E::is_sized) {
    for (const auto size : entries.size) largest = size > largest ? size : largest;
  }
  return largest;
}

/// Requires: room.
template <class E>
void append(E& entries, typename E::Key key, std::uint32_t value,
            [[maybe_unused]] typename E::Key size) noexcept {
  const std::uint32_t at = entries.count++;
  entries.key[at] = key;
  entries.value[at] = value;
  if constexpr (E::is_sized) entries.size[at] = size;
}

/// The last entry takes the place of the one removed.
template <class E>
void remove_unordered(E& entries, std::uint32_t at) noexcept {
  const std::uint32_t last = --entries.count;
  entries.key[at] = entries.key[last];
  entries.value[at] = entries.value[last];
  entries.key[last] = E::no_key;
  if constexpr (E::is_sized) {
    entries.size[at] = entries.size[last];
    entries.size[last] = 0;
  }
}

/// Keeps the order. Requires: room.
template <class E>
void insert_ordered(E& entries, std::uint32_t at, typename E::Key key, std::uint32_t value,
                    [[maybe_unused]] typename E::Key size) noexcept {
  const std::uint32_t behind = entries.count++ - at;
  std::memmove(entries.key + at + 1, entries.key + at, behind * sizeof(key));
  std::memmove(entries.value + at + 1, entries.value + at, behind * sizeof(value));
  entries.key[at] = key;
  entries.value[at] = value;
  if constexpr (E::is_sized) {
    std::memmove(entries.size + at + 1, entries.size + at, behind * sizeof(key));
    entries.size[at] = size;
  }
}

/// Keeps the order.
template <class E>
void remove_ordered(E& entries, std::uint32_t at) noexcept {
  const std::uint32_t behind = --entries.count - at;
  std::memmove(entries.key + at, entries.key + at + 1, (behind + 1) * sizeof(typename E::Key));
  std::memmove(entries.value + at, entries.value + at + 1, behind * sizeof(std::uint32_t));
  if constexpr (E::is_sized) {
    std::memmove(entries.size + at, entries.size + at + 1, behind * sizeof(typename E::Key));
    entries.size[entries.count] = 0;
  }
}

/// Entries taken out of nodes to be shared out anew.
template <class KeyType>
class Gathered {
 public:
  using Key = KeyType;

  template <class E>
  void add(const E& entries) noexcept {
    for (std::uint32_t i = 0; i < entries.count; ++i) {
      Key size = 0;
      if constexpr (E::is_sized) size = entries.size[i];
      add(entries.key[i], entries.value[i], size);
    }
  }

  void add(Key key, std::uint32_t value, Key size) noexcept {
    keys_[count_] = key;
    sizes_[count_] = size;
    values_[count_] = value;
    order_[count_] = static_cast<std::uint8_t>(count_);
    ++count_;
  }

  /// The node's entries, and a new one in front of the entry at `at`.
  template <class E>
  void add_with(const E& entries, std::uint32_t at, Key key, std::uint32_t value,
                Key size) noexcept {
    add(entries);
    add(key, value, size);
    for (std::uint32_t i = count_ - 1; i > at; --i) order_[i] = order_[i - 1];
    order_[at] = static_cast<std::uint8_t>(count_ - 1);
  }

  /// By key. Each entry's place is the number of keys below its own: no branch depends on the keys,
  /// which no branch predictor foresees.
  void sort() noexcept {
    for (std::uint32_t i = count_; i < most; ++i) keys_[i] = std::numeric_limits<Key>::max();
    for (std::uint32_t i = 0; i < count_; ++i) {
      Key below = 0;
      for (const Key other : keys_) below += other < keys_[i] ? 1 : 0;
      order_[below] = static_cast<std::uint8_t>(i);
    }
  }

  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }

  /// Fills a node with the entries from `from` up to `to`.
  template <class E>
  void give(E& entries, std::uint32_t from, std::uint32_t to) const noexcept {
    make_empty(entries);
    for (; from < to; ++from) {
      const std::uint32_t at = order_[from];
      append(entries, keys_[at], values_[at], sizes_[at]);
    }
  }

 private:
  static constexpr std::uint32_t most = 32;

  std::uint32_t count_ = 0;
  Key keys_[most];
  Key sizes_[most];
  std::uint32_t values_[most];
  std::uint8_t order_[most];
};

}  // namespace allot::detail
