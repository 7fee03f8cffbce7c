// SPDX-License-Identifier: MIT
/// \file
/// The nodes of a free index's B+-trees: a few entries of a key, a 32-bit value and, in some trees,
/// a size, in two cache lines or three; and the pool from which many trees take their nodes.
///
/// Passes over a node have a fixed length and do not branch, so that a compiler turns each into a
/// few vector instructions.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/strategy/detail/records.hpp>

#include <cstdint>
#include <type_traits>

namespace allot::detail::tree {

/// Up to `Most` entries. Unused keys have the highest value, which no entry has.
template <class KeyType, std::uint32_t Most, bool IsSized>
struct Entries {
  using Key = KeyType;
  struct None {};

  static constexpr Key no_key = static_cast<Key>(~Key{0});
  static constexpr std::uint32_t most = Most;

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

  /// Returns an entry's size; 0 if entries have none.
  [[nodiscard]] Key size([[maybe_unused]] std::uint32_t at) const noexcept {
    if constexpr (IsSized) return sizes[at];
    return 0;
  }
  void set_size([[maybe_unused]] std::uint32_t at, [[maybe_unused]] Key size) noexcept {
    if constexpr (IsSized) sizes[at] = size;
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

  /// Returns the position of the last of the sorted keys that is at most `wanted`. Requires: the
  /// first one is; `wanted` is not `no_key`.
  [[nodiscard]] std::uint32_t child_of(Key wanted) const noexcept {
    Key above = 0;
    for (const Key other : key) above += other > wanted ? 1 : 0;
    return Most - static_cast<std::uint32_t>(above);
  }

  /// Requires: room.
  void append(Key new_key, std::uint32_t new_value, [[maybe_unused]] Key size) noexcept {
    const std::uint32_t at = count++;
    key[at] = new_key;
    value[at] = new_value;
    if constexpr (IsSized) sizes[at] = size;
  }

  /// Replaces the removed entry by the last one.
  void remove_unordered(std::uint32_t at) noexcept {
    const std::uint32_t last = --count;
    key[at] = key[last];
    value[at] = value[last];
    key[last] = no_key;
    if constexpr (IsSized) {
      sizes[at] = sizes[last];
      sizes[last] = 0;
    }
  }

  /// Inserts in order. Requires: room.
  void insert_ordered(std::uint32_t at, Key new_key, std::uint32_t new_value, Key size) noexcept {
    for (std::uint32_t i = count++; i > at; --i) copy(i, i - 1);
    key[at] = new_key;
    value[at] = new_value;
    set_size(at, size);
  }

  /// Removes an entry, keeping the order.
  void remove_ordered(std::uint32_t at) noexcept {
    for (--count; at < count; ++at) copy(at, at + 1);
    key[count] = no_key;
    set_size(count, 0);
  }

  /// Copies an entry's key, value and size to another.
  void copy(std::uint32_t to, std::uint32_t from) noexcept {
    key[to] = key[from];
    value[to] = value[from];
    set_size(to, size(from));
  }
};

inline constexpr std::uint32_t in_leaf = 0x8000'0000;

// Nodes have at least this many entries, except for a tree's only leaf: a tree of changing size
// does not move entries each time. The larger nodes of sized entries may be filled less loosely.
template <bool IsSized>
inline constexpr std::uint32_t fewest = IsSized ? 8 : 7;
inline constexpr std::uint32_t fewest_alone = 4;

/// The nodes of many trees, and the records to which the entries' values are indices.
/// \tparam KeyType  unsigned; its highest value is not a key
/// \tparam IsSized  whether each entry has a size, and each one above the leaves the largest below
///
/// If entries have no sizes, a record's state says where its entry is, its location: entry n of the
/// root of tree t is at 16 t + n, entry n of leaf l at in_leaf + 16 l + n. All are below
/// `used_state`.
template <class KeyType, bool IsSized = false>
class Nodes : public GrowingMemory {
 public:
  using Key = KeyType;
  struct alignas(64) Node : Entries<Key, 15, IsSized> {};  // whole cache lines
  static constexpr bool is_sized = IsSized;

  /// A tree, in one cache line if keys have 32 bits. At height 0 its entries are those of the tree;
  /// above, it has one entry: the top node.
  struct Root : Entries<Key, sizeof(Key) == 4 ? 7 : 3, IsSized> {
    Root() noexcept {
      this->clear();
      this->height = 0;
    }

    [[nodiscard]] bool is_empty() const noexcept { return this->count == 0; }
  };

  explicit Nodes(RecordSlab& records) noexcept
      : GrowingMemory{sizeof(Node), 32, in_leaf / 16 - 1}, records_{&records} {}

  [[nodiscard]] Node& operator[](std::uint32_t index) const noexcept {
    return reinterpret_cast<Node*>(begin_)[index];
  }

  /// Returns the most nodes that `entries` entries in at most `trees` trees can take: one for each
  /// `fewest_alone`, or, as two leaves have three nodes, in larger trees one for each `fewest` - 1
  /// and a part of one more.
  [[nodiscard]] static constexpr std::uint64_t nodes_for(std::uint64_t entries,
                                                         std::uint64_t trees) noexcept {
    constexpr std::uint64_t leaf = fewest<IsSized> - 1;
    constexpr std::uint64_t more = 3 * leaf - 2 * fewest<IsSized>;
    return smaller(entries / fewest_alone, (entries + more * trees) / leaf) + 1;
  }

  /// Takes every node back. The caller clears the roots.
  void clear() noexcept {
    first_vacant_ = no_record;
    touched_ = 0;
  }

  [[nodiscard]] std::uint32_t make() noexcept {
    const std::uint32_t index = first_vacant_ != no_record ? first_vacant_ : touched_++;
    if (index == first_vacant_) first_vacant_ = (*this)[index].value[0];
    (*this)[index].clear();
    return index;
  }

  void release(std::uint32_t index) noexcept {
    (*this)[index].value[0] = first_vacant_;
    first_vacant_ = index;
  }

  /// Stores in a record where its entry is.
  void track([[maybe_unused]] std::uint32_t record,
             [[maybe_unused]] std::uint32_t location) const noexcept {
    if constexpr (!IsSized) (*records_)[record].state = location;
  }

  /// Returns whether a record has this location of its entry.
  [[nodiscard]] bool tracks(std::uint32_t record, std::uint32_t location) const noexcept {
    return IsSized || (*records_)[record].state == location;
  }

  /// Returns how many nodes are part of a tree. Complexity: linear in the others.
  [[nodiscard]] std::uint64_t in_use() const noexcept {
    std::uint64_t vacant = 0;
    for (std::uint32_t i = first_vacant_; i != no_record; i = (*this)[i].value[0]) ++vacant;
    return touched_ - vacant;
  }

 private:
  std::uint32_t first_vacant_ = no_record;
  std::uint32_t touched_ = 0;  // nodes at and above this index were never used
  RecordSlab* records_;
};

}  // namespace allot::detail::tree
