// SPDX-License-Identifier: MIT
/// \file
/// The shape of `TreePool`'s trees: their nodes, and how these split, fill up and merge.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/strategy/detail/growing_array.hpp>
#include <allot/strategy/detail/record_slab.hpp>
#include <allot/strategy/detail/tree_node.hpp>

#include <cstdint>
#include <utility>

namespace allot::detail {

/// A place in a map: entry `at[0]` of leaf `node[0]`, entry `at[1]` of its parent `node[1]`, ...
/// `key` is that of the entry, where it was searched for.
struct TreeCursor {
  static constexpr std::uint32_t highest = 13;  ///< 7^12 > 2^32 entries

  std::uint32_t node[highest];
  std::uint8_t at[highest];
  std::uint64_t key = 0;
};

/// The part of `TreePool` that keeps every node but those at the top at least half full, and every
/// bound and size above the leaves true. Its parameters are those of `TreePool`.
template <class KeyType, bool IsSized>
class TreeShape {
 public:
  using Key = KeyType;

  static constexpr std::uint32_t in_leaf = 0x8000'0000;

  /// One map, in one cache line where keys have 32 bits. At height 0 its entries are those of the
  /// map; above, they are nodes, each with the lowest key that can be in it.
  struct Root : Entries<Key, sizeof(Key) == 4 ? 7 : 3, IsSized> {
    Root() noexcept {
      make_empty(*this);
      this->height = 0;
    }

    [[nodiscard]] bool is_empty() const noexcept { return this->count == 0; }
  };

  /// The most nodes that `entries` entries in at most `maps` maps can take. A map of `fewest_alone`
  /// takes one, and nodes that are as empty as can be, one for each `fewest` - 1 entries.
  [[nodiscard]] static constexpr std::uint64_t nodes_for(std::uint64_t entries,
                                                         std::uint64_t maps) noexcept {
    constexpr std::uint64_t leaf = fewest - 1;
    constexpr std::uint64_t alone = fewest_alone;
    return (entries + (leaf - alone) * smaller(entries / alone, maps)) / leaf + 1;
  }

  /// Makes sure that the pool has `nodes` nodes in all.
  /// Throws: `std::bad_alloc`; nothing has changed but the pool's size.
  void ensure(std::uint64_t nodes) { nodes_.ensure(nodes); }

  [[nodiscard]] std::uint64_t bytes() const noexcept { return nodes_.bytes(); }

  /// Takes every node back. The roots are the caller's to make anew.
  void clear() noexcept {
    first_vacant_ = no_record;
    touched_ = 0;
  }

  /// Whether nodes are filled, ordered and summed up as they should be, and
  /// `visitor(key, value, size)` is true of every entry. Complexity: linear.
  template <class Visitor>
  [[nodiscard]] bool is_valid(const RecordSlab& records, const Root& root, std::uint32_t map,
                              Visitor visitor) const {
    if (root.height == 0) return leaf_is_valid(records, root, map * 16, 0, Root::no_key, visitor);
    return !root.is_empty() && children_are_valid(records, root, root.height - 1U, root.count == 1,
                                                  0, Root::no_key, visitor);
  }

 protected:
  struct alignas(64) Node : Entries<Key, 15, IsSized> {};  // whole cache lines

  // But in a map's only leaf: a map of changing size does not move each time. The larger nodes of
  // sized entries may be filled less loosely.
  static constexpr std::uint32_t fewest = IsSized ? (Node::most + 1) / 2 : Node::most / 2;
  static constexpr std::uint32_t fewest_alone = 4;
  // A root takes over the children of its only node when these have become so few: with one more,
  // the node is one of five for four leaves, as many as `nodes_for` allows.
  static constexpr std::uint32_t few_children = 3;

  /// The leaf that has the key or is where it belongs; all of the cursor but `at[0]`.
  const Node& descend(const Root& root, Key key, TreeCursor& cursor) const noexcept {
    std::uint32_t level = root.height;
    std::uint32_t at = child_of(root, key);
    std::uint32_t index = root.value[at];
    for (;;) {
      cursor.at[level] = static_cast<std::uint8_t>(at);
      cursor.node[--level] = index;
      const Node& node = nodes_[index];
      if (level == 0) return node;
      at = child_of(node, key);
      index = node.value[at];
    }
  }

  Node& descend(const Root& root, Key key, TreeCursor& cursor) noexcept {
    return const_cast<Node&>(std::as_const(*this).descend(root, key, cursor));
  }

  /// The leaf with the lowest key; all of the cursor but `at[0]`.
  const Node& descend_first(const Root& root, TreeCursor& cursor) const noexcept {
    std::uint32_t index = root.value[0];
    cursor.at[root.height] = 0;
    for (std::uint32_t level = root.height - 1U; level != 0; --level) {
      cursor.node[level] = index;
      cursor.at[level] = 0;
      index = nodes_[index].value[0];
    }
    cursor.node[0] = index;
    return nodes_[index];
  }

  /// Tells a record where its entry is.
  static void track([[maybe_unused]] RecordSlab& records, [[maybe_unused]] std::uint32_t record,
                    [[maybe_unused]] std::uint32_t location) noexcept {
    if constexpr (!IsSized) records[record].state = location;
  }

  /// Removes an entry; the last one takes its place.
  template <class Leaf>
  static void remove(RecordSlab& records, Leaf& leaf, std::uint32_t location) noexcept {
    track(records, leaf.value[leaf.count - 1], location);
    remove_unordered(leaf, location % 16);
  }

  /// Fills a node with some of the gathered entries.
  void give(RecordSlab& records, const Gathered<Key>& all, std::uint32_t from, std::uint32_t to,
            std::uint32_t index, std::uint32_t level) noexcept {
    Node& node = nodes_[index];
    all.give(node, from, to);
    if (level != 0) return;
    for (std::uint32_t i = 0; i < node.count; ++i) {
      track(records, node.value[i], in_leaf + index * 16 + i);
    }
  }

  [[nodiscard]] std::uint32_t make_node() noexcept {
    const std::uint32_t index = first_vacant_ != no_record ? first_vacant_ : touched_++;
    Node& node = nodes_[index];
    if (index == first_vacant_) first_vacant_ = node.value[0];
    make_empty(node);
    return index;
  }

  void release(std::uint32_t index) noexcept {
    nodes_[index].value[0] = first_vacant_;
    first_vacant_ = index;
  }

  /// Moves the root's entries to a node of their own: they are a leaf's where the height was 0.
  std::uint32_t lower_entries(RecordSlab& records, Root& root) noexcept {
    const std::uint32_t index = make_node();
    Gathered<Key> all;
    all.add(root);
    give(records, all, 0, all.count(), index, root.height);
    make_empty(root);
    append(root, 0, index, largest_size(nodes_[index]));
    ++root.height;
    return index;
  }

  /// Makes two of the cursor's full leaf, one of them with a new entry; and of the nodes above it
  /// that are full.
  [[gnu::noinline]] void split(RecordSlab& records, Root& root, TreeCursor& cursor, Key key,
                               std::uint32_t value, Key size) noexcept {
    Gathered<Key> all;
    all.add(nodes_[cursor.node[0]]);
    all.add(key, value, size);
    all.sort();
    for (std::uint32_t level = 0;; ++level) {
      const std::uint32_t left = cursor.node[level];
      const std::uint32_t right = make_node();
      give(records, all, 0, all.count() / 2, left, level);
      give(records, all, all.count() / 2, all.count(), right, level);
      if (level + 1 == root.height && root.count < Root::most) {
        insert_right(root, cursor.at[level + 1], left, right);
        return;
      }
      if (level + 1 == root.height) {
        cursor.node[level + 1] = lower_entries(records, root);
        cursor.at[level + 2] = 0;
      }
      Node& parent = nodes_[cursor.node[level + 1]];
      if (parent.count < Node::most) {
        insert_right(parent, cursor.at[level + 1], left, right);
        refresh_sizes(root, cursor, level + 1);
        return;
      }
      const std::uint32_t at = cursor.at[level + 1];
      if constexpr (IsSized) parent.size[at] = largest_size(nodes_[left]);
      all = Gathered<Key>{};
      all.add_with(parent, at + 1, nodes_[right].key[0], right, largest_size(nodes_[right]));
    }
  }

  /// A node of the parent, at `at`, has been split: the other half becomes the next one.
  template <class Parent>
  void insert_right(Parent& parent, std::uint32_t at, [[maybe_unused]] std::uint32_t left,
                    std::uint32_t right) noexcept {
    if constexpr (IsSized) parent.size[at] = largest_size(nodes_[left]);
    insert_ordered(parent, at + 1, nodes_[right].key[0], right, largest_size(nodes_[right]));
  }

  /// After an entry was removed from the cursor's leaf.
  [[gnu::noinline]] void balance(RecordSlab& records, Root& root, std::uint32_t map,
                                 TreeCursor& cursor) noexcept {
    for (std::uint32_t level = 0; level < root.height; ++level) {
      const bool is_below_root = level + 1 == root.height;
      if (is_below_root && root.count == 1) {
        refresh_sizes(root, cursor, level);
        break;
      }
      if (nodes_[cursor.node[level]].count >= fewest) {
        refresh_sizes(root, cursor, level);
        return;
      }
      const bool have_merged = is_below_root
                                   ? refill(records, root, cursor, level)
                                   : refill(records, nodes_[cursor.node[level + 1]], cursor, level);
      if (!have_merged) {
        refresh_sizes(root, cursor, level + 1);
        return;
      }
    }
    raise_entries(records, root, map);
  }

  /// Moves the entries of the root's only node to the root, where they have become few.
  void raise_entries(RecordSlab& records, Root& root, std::uint32_t map) noexcept {
    if (root.count != 1) return;
    const std::uint32_t index = root.value[0];
    const Node& only = nodes_[index];
    if (root.height == 1 ? only.count >= fewest_alone : only.count > few_children) return;
    Gathered<Key> all;
    all.add(only);
    all.give(root, 0, all.count());
    --root.height;
    release(index);
    if (root.height != 0) return;
    for (std::uint32_t i = 0; i < root.count; ++i) track(records, root.value[i], map * 16 + i);
  }

  /// Brings the cursor's node, which has too few entries, up with those of a neighbour.
  /// Returns whether they became one, so that the parent has lost an entry.
  template <class Parent>
  [[nodiscard]] bool refill(RecordSlab& records, Parent& parent, TreeCursor& cursor,
                            std::uint32_t level) noexcept {
    const std::uint32_t at = cursor.at[level + 1] == 0 ? 0 : cursor.at[level + 1] - 1U;
    cursor.at[level + 1] = static_cast<std::uint8_t>(at);
    const std::uint32_t other = parent.value[at + 1];
    Node& left = nodes_[parent.value[at]];
    Node& right = nodes_[other];
    if (level != 0) right.key[0] = parent.key[at + 1];
    Gathered<Key> all;
    all.add(left);
    all.add(right);
    if (all.count() <= Node::most) {
      give(records, all, 0, all.count(), parent.value[at], level);
      release(other);
      remove_ordered(parent, at + 1);
      if constexpr (IsSized) parent.size[at] = largest_size(left);
      return true;
    }
    if (level == 0) all.sort();
    give(records, all, 0, all.count() / 2, parent.value[at], level);
    give(records, all, all.count() / 2, all.count(), other, level);
    parent.key[at + 1] = right.key[0];
    if constexpr (IsSized) {
      parent.size[at] = largest_size(left);
      parent.size[at + 1] = largest_size(right);
    }
    return false;
  }

  /// Brings the sizes above `level` up to date.
  void refresh_sizes([[maybe_unused]] Root& root, [[maybe_unused]] const TreeCursor& cursor,
                     [[maybe_unused]] std::uint32_t level) noexcept {
    if constexpr (IsSized) {
      for (; level < root.height; ++level) {
        const std::uint32_t at = cursor.at[level + 1];
        const bool is_below_root = level + 1 == root.height;
        Key& known = is_below_root ? root.size[at] : nodes_[cursor.node[level + 1]].size[at];
        const Key largest = largest_size(nodes_[cursor.node[level]]);
        if (known == largest) return;
        known = largest;
      }
    }
  }

  /// Whether the node is right, its keys from `lowest` on and below `bound`.
  template <class Visitor>
  [[nodiscard]] bool node_is_valid(const RecordSlab& records, std::uint32_t index,
                                   std::uint32_t level, bool is_only, Key lowest, Key bound,
                                   Visitor& visitor) const {
    const Node& node = nodes_[index];
    if (level != 0) {
      return node.count > (is_only ? few_children : fewest - 1) &&
             children_are_valid(records, node, level - 1, false, lowest, bound, visitor);
    }
    if (node.count < (is_only ? fewest_alone : fewest)) return false;
    return leaf_is_valid(records, node, in_leaf + index * 16, lowest, bound, visitor);
  }

  /// The same for the children, at `level`, of a node or a root.
  template <class Parent, class Visitor>
  [[nodiscard]] bool children_are_valid(const RecordSlab& records, const Parent& parent,
                                        std::uint32_t level, bool is_only, Key lowest, Key bound,
                                        Visitor& visitor) const {
    if (!ends_are_valid(parent) || parent.key[0] > lowest) return false;
    for (std::uint32_t i = 0; i < parent.count; ++i) {
      const Key low = i == 0 ? lowest : parent.key[i];
      const Key high = i + 1U < parent.count ? parent.key[i + 1] : bound;
      if (low < lowest || low >= high) return false;
      if constexpr (IsSized) {
        if (parent.size[i] != largest_size(nodes_[parent.value[i]])) return false;
      }
      if (!node_is_valid(records, parent.value[i], level, is_only, low, high, visitor))
        return false;
    }
    return true;
  }

  template <class Leaf, class Visitor>
  [[nodiscard]] static bool leaf_is_valid(const RecordSlab& records, const Leaf& leaf,
                                          std::uint32_t location, Key lowest, Key bound,
                                          Visitor& visitor) {
    if (!ends_are_valid(leaf)) return false;
    for (std::uint32_t i = 0; i < leaf.count; ++i) {
      Key size = 0;
      if constexpr (IsSized) size = leaf.size[i];
      if (leaf.key[i] < lowest || leaf.key[i] >= bound) return false;
      if (!IsSized && records[leaf.value[i]].state != location + i) return false;
      if (!visitor(leaf.key[i], leaf.value[i], size)) return false;
    }
    return true;
  }

  template <class E>
  [[nodiscard]] static bool ends_are_valid(const E& entries) noexcept {
    if (entries.count > E::most) return false;
    for (std::uint32_t i = entries.count; i <= E::most; ++i) {
      if (entries.key[i] != E::no_key) return false;
      if constexpr (IsSized) {
        if (entries.size[i] != 0) return false;
      }
    }
    return true;
  }

  GrowingArray<Node, 32, in_leaf / 16 - 1> nodes_;  // so that locations stay below used_state
  std::uint32_t first_vacant_ = no_record;
  std::uint32_t touched_ = 0;  // nodes at and above this index were never used
};

}  // namespace allot::detail
