// SPDX-License-Identifier: MIT
/// \file
/// `Trees`: the B+-trees (Bayer and McCreight, 1972; Comer, 1979) of a free index.
///
/// The nodes above the leaves are sorted. Leaves are not: one pass finds the least entry, a new entry
/// goes to a leaf's end, and a removed one is replaced by the last. A tree of up to seven entries has
/// no node. Every node but the top one stays at least about half full, and a node's keys and sizes
/// always agree with those below it.
#pragma once

#include <allot/core/units.hpp>
#include <allot/strategy/detail/records.hpp>
#include <allot/strategy/detail/tree/node.hpp>

#include <cstdint>

namespace allot::detail::tree {

/// The nodes of many trees, whose roots the caller keeps, and the records to which the entries'
/// values are indices.
/// \tparam KeyType  unsigned; its highest value is not a key
/// \tparam IsSized  whether each entry has a size, and each one above the leaves the largest below
///
/// If entries have no sizes, a record's state is the location of its entry.
template <class KeyType, bool IsSized = false>
class Trees : public GrowingMemory {
 public:
  using Key = KeyType;
  struct alignas(64) Node : Entries<Key, 15, IsSized> {};  // whole cache lines

  /// A tree, in one cache line if keys have 32 bits. At height 0 its entries are those of the tree;
  /// above, its first value is the top node.
  struct Root : Entries<Key, sizeof(Key) == 4 ? 7 : 3, IsSized> {
    Root() noexcept {
      this->clear();
      this->height = 0;
    }
  };

  // Nodes have at least this many entries, except for a tree's only leaf: a tree of changing size
  // does not move entries each time. The larger nodes of sized entries may be filled less loosely.
  static constexpr std::uint32_t fewest = IsSized ? 8 : 7;
  static constexpr std::uint32_t fewest_alone = 4;

  explicit Trees(RecordSlab& records) noexcept
      : GrowingMemory{sizeof(Node), 32, in_leaf / 16 - 1}, records_{&records} {}

  /// Returns the most nodes that `entries` entries in at most `trees` trees can take: one for each
  /// `fewest_alone`, or, as two leaves have three nodes, in larger trees one for each `fewest` - 1
  /// and a part of one more.
  [[nodiscard]] static constexpr std::uint64_t nodes_for(std::uint64_t entries,
                                                         std::uint64_t trees) noexcept {
    constexpr std::uint64_t leaf = fewest - 1;
    constexpr std::uint64_t more = 3 * leaf - 2 * fewest;
    return smaller(entries / fewest_alone, (entries + more * trees) / leaf) + 1;
  }

  /// Takes every node back. The caller clears the roots.
  void clear() noexcept {
    first_vacant_ = no_record;
    touched_ = 0;
  }

  /// Returns the entry with the lowest key that is at least `key`, or an empty one.
  /// \param tree  the root's number
  ALLOT_ALWAYS_INLINE [[nodiscard]] Entry find(const Root& root, std::uint32_t tree,
                                               Key key) const noexcept {
    if (root.height == 0) [[likely]]
      return find_in(root, tree * 16, key);
    return find_tall(root, key);
  }

  /// Returns the entry with the lowest key that is at least `key` and whose value `accepts`, or an
  /// empty one. Complexity: O(log n), and constant for each value that is refused.
  template <class Predicate>
  [[nodiscard]] Entry find_accepted(const Root& root, std::uint32_t tree, Key key,
                                    Predicate accepts) const noexcept {
    if (root.height == 0) return find_accepted_in(root, tree * 16, key, accepts);
    Path path;
    Entry found;
    descend(root, key, path);
    do {
      const std::uint32_t leaf = path.node[0];
      found = find_accepted_in(node(leaf), in_leaf + leaf * 16, key, accepts);
    } while (found.value == no_record && next_leaf(root, path));
    return found;
  }

  /// Returns the highest key's value. Requires: not empty.
  [[nodiscard]] std::uint32_t last(const Root& root) const noexcept {
    if (root.height == 0) return root.value[root.highest()];
    Path path;
    descend(root, Root::no_key - 1, path);
    const Node& leaf = node(path.node[0]);
    return leaf.value[leaf.highest()];
  }

  /// Requires: the tree does not have this key; room, as from `nodes_for`.
  ALLOT_ALWAYS_INLINE void insert(Root& root, std::uint32_t tree, Key key, std::uint32_t value,
                                  Key size = 0) noexcept {
    if (root.height == 0 && !root.is_full()) [[likely]] {
      track(value, tree * 16 + root.count);
      root.insert(root.count, key, value, size);
      return;
    }
    insert_tall(root, key, value, size);
  }

  /// Removes an entry of a leaf or of a root without nodes, and moves the last one there.
  template <class Leaf>
  void remove(Leaf& leaf, std::uint32_t location) noexcept {
    track(leaf.value[leaf.count - 1], location);
    leaf.remove_unordered(location % 16);
  }

  /// Removes an entry of a leaf. Returns whether the caller must then call `balance_at`.
  [[nodiscard]] bool remove_tall(std::uint32_t location) noexcept {
    Node& leaf = node((location - in_leaf) / 16);
    remove(leaf, location);
    return leaf.count < fewest;
  }

  /// Restores the balance after an entry of this key was removed from its leaf.
  void balance_at(Root& root, std::uint32_t tree, Key key) noexcept {
    if (root.height == 1 && node(root.value[0]).count >= fewest_alone) return;
    Path path;
    descend(root, key, path);
    balance(root, tree, path);
  }

  /// Returns whether nodes are filled, ordered and summed up correctly, and `visitor(key, value,
  /// size)` is true for every entry. Complexity: linear.
  template <class Visitor>
  [[nodiscard]] bool is_valid(const Root& root, std::uint32_t tree, Visitor visitor) const {
    if (root.height == 0) return is_valid_node(root, 0, tree * 16, 0, Root::no_key, visitor);
    const Node& top = node(root.value[0]);
    return top.count >= (root.height == 1 ? fewest_alone : 2) &&
           is_valid_node(top, root.height - 1U, in_leaf + root.value[0] * 16, 0, Root::no_key,
                         visitor);
  }

 protected:
  [[nodiscard]] Node& node(std::uint32_t index) const noexcept {
    return reinterpret_cast<Node*>(begin_)[index];
  }

  /// Fills the path, except `at[0]`, down to the leaf that has the key or should have it.
  void descend(const Root& root, Key key, Path& path) const noexcept {
    std::uint32_t index = root.value[0];
    for (std::uint32_t level = root.height;;) {
      path.node[--level] = index;
      if (level == 0) return;
      const Node& parent = node(index);
      const std::uint32_t at = key == 0 ? 0 : parent.keys_up_to(key) - 1;
      path.at[level] = static_cast<std::uint8_t>(at);
      index = parent.value[at];
    }
  }

  /// Brings the sizes above `level` up to date.
  void refresh_sizes(const Root& root, const Path& path, std::uint32_t level) noexcept {
    if constexpr (IsSized) {
      for (; level + 1U < root.height; ++level) {
        Key& size = node(path.node[level + 1]).sizes[path.at[level + 1]];
        const Key largest = node(path.node[level]).largest();
        if (size == largest) return;
        size = largest;
      }
    }
  }

  [[gnu::noinline]] void balance(Root& root, std::uint32_t tree, Path& path) noexcept {
    std::uint32_t level = 0;
    while (level + 1U < root.height && node(path.node[level]).count < fewest) {
      if (!refill(path, level++)) break;
    }
    refresh_sizes(root, path, level);
    const std::uint32_t top = root.value[0];
    if (root.height == 1) {
      if (node(top).count >= fewest_alone) return;
      move_entries(node(top), root, tree * 16);
      root.height = 0;
    } else {
      if (node(top).count > 1) return;
      root.value[0] = node(top).value[0];
      --root.height;
    }
    release(top);
  }

  std::uint32_t first_vacant_ = no_record;
  std::uint32_t touched_ = 0;  // nodes at and above this index were never used

 private:
  [[nodiscard]] std::uint32_t make() noexcept {
    const std::uint32_t index = first_vacant_ != no_record ? first_vacant_ : touched_++;
    if (index == first_vacant_) first_vacant_ = node(index).value[0];
    node(index).clear();
    return index;
  }

  void release(std::uint32_t index) noexcept {
    node(index).value[0] = first_vacant_;
    first_vacant_ = index;
  }

  /// Stores in a record where its entry is.
  void track([[maybe_unused]] std::uint32_t record,
             [[maybe_unused]] std::uint32_t location) const noexcept {
    if constexpr (!IsSized) (*records_)[record].state = location;
  }

  /// Moves the path to the next leaf. Returns false if there is none.
  [[nodiscard]] bool next_leaf(const Root& root, Path& path) const noexcept {
    for (std::uint32_t level = 1; level < root.height; ++level) {
      const Node& parent = node(path.node[level]);
      if (++path.at[level] == parent.count) continue;
      std::uint32_t index = parent.value[path.at[level]];
      for (; --level > 0; index = node(index).value[0]) {
        path.node[level] = index;
        path.at[level] = 0;
      }
      path.node[0] = index;
      return true;
    }
    return false;
  }

  /// Returns the entry with the lowest key from `key` on of a leaf, or of a root without nodes.
  /// \param first  the location of the first entry
  template <class Leaf>
  [[nodiscard]] static Entry find_in(const Leaf& leaf, std::uint32_t first, Key key) noexcept {
    const Key found = leaf.lowest_from(key);
    if (found == Leaf::no_key) return {};
    const std::uint32_t at = leaf.position_of(found);
    return {leaf.value[at], first + at, found};
  }

  [[nodiscard]] Entry find_tall(const Root& root, Key key) const noexcept {
    Path path;
    descend(root, key, path);
    const Entry found = find_in(node(path.node[0]), in_leaf + path.node[0] * 16, key);
    if (found.value != no_record || !next_leaf(root, path)) return found;
    return find_in(node(path.node[0]), in_leaf + path.node[0] * 16, 0);
  }

  /// Returns a leaf's entry with the lowest key that is at least `key` and whose value `accepts`.
  template <class Leaf, class Predicate>
  [[nodiscard]] static Entry find_accepted_in(const Leaf& leaf, std::uint32_t first, Key key,
                                              Predicate& accepts) noexcept {
    Entry found{no_record, first, Leaf::no_key};
    for (std::uint32_t i = 0; i < leaf.count; ++i) {
      if (leaf.key[i] >= key && leaf.key[i] < found.key && accepts(leaf.value[i]))
        found = {leaf.value[i], first + i, leaf.key[i]};
    }
    return found;
  }

  /// Moves all entries of a tree between its root and its only leaf.
  /// \param location  of the first one, when they have been moved
  template <class From, class To>
  void move_entries(const From& from, To& to, std::uint32_t location) const noexcept {
    to.clear();
    for (std::uint32_t i = 0; i < from.count; ++i) {
      track(from.value[i], location + i);
      to.insert(i, from.key[i], from.value[i], from.size(i));
    }
  }

  void insert_tall(Root& root, Key key, std::uint32_t value, Key size) noexcept {
    if (root.height == 0) {
      const std::uint32_t leaf = make();
      move_entries(root, node(leaf), in_leaf + leaf * 16);
      root.value[0] = leaf;
      root.height = 1;
    }
    Path path;
    descend(root, key, path);
    std::uint32_t level = 0;
    for (; node(path.node[level]).is_full(); ++level) {
      value = split(path.node[level], level, key, value, size);
      key = node(value).lowest_from(0);
      size = node(value).largest();
      if (level + 1U == root.height) add_top(root, path);
      set_size(node(path.node[level + 1]), path.at[level + 1]);
    }
    put(path.node[level], level, key, value, size);
    refresh_sizes(root, path, level);
  }

  /// Adds an entry to a node that is not full.
  void put(std::uint32_t index, std::uint32_t level, Key key, std::uint32_t value,
           Key size) noexcept {
    Node& to = node(index);
    const std::uint32_t at = level == 0 ? to.count : to.keys_up_to(key);
    if (level == 0) track(value, in_leaf + index * 16 + at);
    to.insert(at, key, value, size);
  }

  /// Makes two of a full node, half of the entries in each, a new one included. Returns the upper one.
  [[gnu::noinline]] std::uint32_t split(std::uint32_t left, std::uint32_t level, Key key,
                                        std::uint32_t value, Key size) noexcept {
    const std::uint32_t right = make();
    const Node all = node(left);
    const bool is_lower = all.keys_up_to(key) < 8;
    node(left).clear();
    deal(all, level, is_lower ? 7 : 8, left, right);
    put(is_lower ? left : right, level, key, value, size);
    return right;
  }

  /// Puts the `count` entries with the lowest keys in the node `left` and the others in `right`. No
  /// branch depends on the keys, which a branch predictor could not predict.
  void deal(const Node& all, std::uint32_t level, std::uint32_t count, std::uint32_t left,
            std::uint32_t right) noexcept {
    for (std::uint32_t i = 0; i < all.count; ++i) {
      const bool is_left = all.count <= count || all.keys_up_to(all.key[i]) <= count;
      put(is_left ? left : right, level, all.key[i], all.value[i], all.size(i));
    }
  }

  /// Puts a node on top of the path's.
  void add_top(Root& root, Path& path) noexcept {
    const std::uint32_t top = make();
    node(top).insert(0, 0, root.value[0], 0);
    path.node[root.height] = top;
    path.at[root.height++] = 0;
    root.value[0] = top;
  }

  /// Refills the path's node, which has too few entries, from a neighboring node.
  /// Returns true if the two were merged, so that the parent lost an entry.
  [[nodiscard]] bool refill(Path& path, std::uint32_t level) noexcept {
    Node& parent = node(path.node[level + 1]);
    const std::uint32_t at = path.at[level + 1] == 0 ? 0 : path.at[level + 1] - 1U;
    path.at[level + 1] = static_cast<std::uint8_t>(at);
    const std::uint32_t left = parent.value[at];
    const std::uint32_t right = parent.value[at + 1];
    if (level != 0) node(right).key[0] = parent.key[at + 1];
    const Node lower = node(left);
    const Node upper = node(right);
    const std::uint32_t all = lower.count + upper.count;
    const std::uint32_t count = all <= 15 ? all : all / 2;
    node(left).clear();
    node(right).clear();
    deal(lower, level, count, left, right);
    deal(upper, level, count > lower.count ? count - lower.count : 0, left, right);
    set_size(parent, at);
    if (count == all) {
      release(right);
      parent.remove_ordered(at + 1);
    } else {
      parent.key[at + 1] = node(right).lowest_from(0);
      set_size(parent, at + 1);
    }
    return count == all;
  }

  /// Brings the size of a parent's entry up to date.
  void set_size([[maybe_unused]] Node& parent, [[maybe_unused]] std::uint32_t at) const noexcept {
    if constexpr (IsSized) parent.sizes[at] = node(parent.value[at]).largest();
  }

  /// Checks a node at `level`, its keys from `lowest` on and below `bound`.
  /// \param location  of the first entry, if it is a leaf
  template <class Checked, class Visitor>
  [[nodiscard]] bool is_valid_node(const Checked& checked, std::uint32_t level,
                                   std::uint32_t location, Key lowest, Key bound,
                                   Visitor& visitor) const {
    for (std::uint32_t i = 0; i < checked.count; ++i) {
      const Key key = checked.key[i];
      const std::uint32_t value = checked.value[i];
      if (level == 0) {
        if (key < lowest || key >= bound || !visitor(key, value, checked.size(i))) return false;
        if (!IsSized && (*records_)[value].state != location + i) return false;
        continue;
      }
      const Node& child = node(value);
      const Key low = i == 0 ? lowest : key;
      const Key high = i + 1U < checked.count ? checked.key[i + 1] : bound;
      if (key > low || low < lowest || low >= high) return false;
      if (child.count < fewest || child.largest() != checked.size(i)) return false;
      if (!is_valid_node(child, level - 1, in_leaf + value * 16, low, high, visitor)) return false;
    }
    return checked.ends_well();
  }

  RecordSlab* records_;
};

}  // namespace allot::detail::tree
