// SPDX-License-Identifier: MIT
/// \file
/// Inserting and erasing entries of a tree, and how its nodes split, fill up and merge: every node
/// but those at the top stays at least half full, and what the nodes above the leaves know of keys
/// and sizes stays true.
///
/// A leaf takes an entry at its end and gives one up by moving its last. A tree of up to seven
/// entries has no node.
#pragma once

#include <allot/core/inline.hpp>
#include <allot/strategy/detail/records.hpp>
#include <allot/strategy/detail/tree/node.hpp>
#include <allot/strategy/detail/tree/search.hpp>

#include <cstdint>

namespace allot::detail::tree {

/// Entries taken out of nodes to be shared out again.
template <class KeyType>
class Gathered {
 public:
  using Key = KeyType;

  template <class Node>
  void add(const Node& node) noexcept {
    for (std::uint32_t i = 0; i < node.count; ++i) {
      add(node.key[i], node.value[i], node.sizes.get(i));
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
  template <class Node>
  void add_with(const Node& node, std::uint32_t at, Key key, std::uint32_t value,
                Key size) noexcept {
    add(node);
    add(key, value, size);
    for (std::uint32_t i = count_ - 1; i > at; --i) order_[i] = order_[i - 1];
    order_[at] = static_cast<std::uint8_t>(count_ - 1);
  }

  /// By key. Each entry's place is the number of keys below its own: no branch depends on the keys,
  /// which no branch predictor foresees.
  void sort() noexcept {
    for (std::uint32_t i = count_; i < most; ++i) keys_[i] = static_cast<Key>(~Key{0});
    for (std::uint32_t i = 0; i < count_; ++i) {
      Key below = 0;
      for (const Key other : keys_) below += other < keys_[i] ? 1 : 0;
      order_[below] = static_cast<std::uint8_t>(i);
    }
  }

  void clear() noexcept { count_ = 0; }
  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }

  /// Fills a node with the entries from `from` up to `to`.
  template <class Node>
  void give(Node& node, std::uint32_t from, std::uint32_t to) const noexcept {
    node.clear();
    for (; from < to; ++from) {
      const std::uint32_t at = order_[from];
      node.append(keys_[at], values_[at], sizes_[at]);
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

/// Fills a node with some of the gathered entries.
template <class Pool>
void give(Pool& nodes, const Gathered<typename Pool::Key>& all, std::uint32_t from,
          std::uint32_t to, std::uint32_t index, std::uint32_t level) noexcept {
  auto& node = nodes[index];
  all.give(node, from, to);
  if (level != 0) return;
  for (std::uint32_t i = 0; i < node.count; ++i) {
    nodes.track(node.value[i], in_leaf + index * 16 + i);
  }
}

/// Brings the sizes above `level` up to date.
template <class Pool>
void refresh_sizes(Pool& nodes, typename Pool::Root& root, const Path& path,
                   std::uint32_t level) noexcept {
  if constexpr (Pool::is_sized) {
    for (; level < root.height; ++level) {
      const std::uint32_t at = path.at[level + 1];
      auto& sizes =
          level + 1 == root.height ? root.sizes.of[at] : nodes[path.node[level + 1]].sizes.of[at];
      const auto largest = nodes[path.node[level]].sizes.largest();
      if (sizes == largest) return;
      sizes = largest;
    }
  }
}

/// Moves the root's entries to a node of their own: they are a leaf's if the height was 0.
template <class Pool>
std::uint32_t lower_entries(Pool& nodes, typename Pool::Root& root) noexcept {
  const std::uint32_t index = nodes.make();
  Gathered<typename Pool::Key> all;
  all.add(root);
  give(nodes, all, 0, all.count(), index, root.height);
  root.clear();
  root.append(0, index, nodes[index].sizes.largest());
  ++root.height;
  return index;
}

/// The node of `parent` at `at` has been split: the other half becomes the next one.
template <class Pool, class Parent>
void insert_right(const Pool& nodes, Parent& parent, std::uint32_t at,
                  std::uint32_t right) noexcept {
  parent.sizes.set(at, nodes[parent.value[at]].sizes.largest());
  const auto& node = nodes[right];
  parent.insert_ordered(at + 1, node.key[0], right, node.sizes.largest());
}

/// Makes two of the path's full leaf, one of them with a new entry; and of the nodes above it that
/// are full.
template <class Pool>
[[gnu::noinline]] void split(Pool& nodes, typename Pool::Root& root, Path& path,
                             typename Pool::Key key, std::uint32_t value,
                             typename Pool::Key size) noexcept {
  Gathered<typename Pool::Key> all;
  all.add(nodes[path.node[0]]);
  all.add(key, value, size);
  all.sort();
  for (std::uint32_t level = 0;; ++level) {
    const std::uint32_t left = path.node[level];
    const std::uint32_t right = nodes.make();
    give(nodes, all, 0, all.count() / 2, left, level);
    give(nodes, all, all.count() / 2, all.count(), right, level);
    if (level + 1 == root.height && root.count < root.most) {
      insert_right(nodes, root, path.at[level + 1], right);
      return;
    }
    if (level + 1 == root.height) {
      path.node[level + 1] = lower_entries(nodes, root);
      path.at[level + 2] = 0;
    }
    auto& parent = nodes[path.node[level + 1]];
    const std::uint32_t at = path.at[level + 1];
    if (parent.count < parent.most) {
      insert_right(nodes, parent, at, right);
      refresh_sizes(nodes, root, path, level + 1);
      return;
    }
    parent.sizes.set(at, nodes[left].sizes.largest());
    all.clear();
    all.add_with(parent, at + 1, nodes[right].key[0], right, nodes[right].sizes.largest());
  }
}

template <class Pool>
void insert_tall(Pool& nodes, typename Pool::Root& root, typename Pool::Key key,
                 std::uint32_t value, typename Pool::Key size) noexcept {
  if (root.height == 0) lower_entries(nodes, root);
  Path path;
  descend(nodes, root, key, path);
  auto& leaf = nodes[path.node[0]];
  if (leaf.count == leaf.most) [[unlikely]] {
    split(nodes, root, path, key, value, size);
    return;
  }
  nodes.track(value, in_leaf + path.node[0] * 16 + leaf.count);
  leaf.append(key, value, size);
  refresh_sizes(nodes, root, path, 0);
}

/// \param tree  the root's number
/// Requires: the tree has no such key; room, as `nodes_for` says.
template <class Pool>
ALLOT_ALWAYS_INLINE inline void insert(Pool& nodes, typename Pool::Root& root, std::uint32_t tree,
                                       typename Pool::Key key, std::uint32_t value,
                                       typename Pool::Key size = 0) noexcept {
  if (root.height == 0 && root.count < root.most) [[likely]] {
    nodes.track(value, tree * 16 + root.count);
    root.append(key, value, size);
    return;
  }
  insert_tall(nodes, root, key, value, size);
}

/// Brings the path's node, which has too few entries, up with those of a neighbour.
/// Returns whether they became one, so that the parent has lost an entry.
template <class Pool, class Parent>
[[nodiscard]] bool refill(Pool& nodes, Parent& parent, Path& path, std::uint32_t level) noexcept {
  const std::uint32_t at = path.at[level + 1] == 0 ? 0 : path.at[level + 1] - 1U;
  path.at[level + 1] = static_cast<std::uint8_t>(at);
  const std::uint32_t other = parent.value[at + 1];
  auto& left = nodes[parent.value[at]];
  auto& right = nodes[other];
  if (level != 0) right.key[0] = parent.key[at + 1];
  Gathered<typename Pool::Key> all;
  all.add(left);
  all.add(right);
  if (all.count() <= left.most) {
    give(nodes, all, 0, all.count(), parent.value[at], level);
    nodes.release(other);
    parent.remove_ordered(at + 1);
    parent.sizes.set(at, left.sizes.largest());
    return true;
  }
  if (level == 0) all.sort();
  give(nodes, all, 0, all.count() / 2, parent.value[at], level);
  give(nodes, all, all.count() / 2, all.count(), other, level);
  parent.key[at + 1] = right.key[0];
  parent.sizes.set(at, left.sizes.largest());
  parent.sizes.set(at + 1, right.sizes.largest());
  return false;
}

/// Moves the entries of the root's only node to the root if they have become few.
template <class Pool>
void raise_entries(Pool& nodes, typename Pool::Root& root, std::uint32_t tree) noexcept {
  if (root.count != 1) return;
  const std::uint32_t index = root.value[0];
  const auto& only = nodes[index];
  if (root.height == 1 ? only.count >= fewest_alone : only.count > few_children) return;
  Gathered<typename Pool::Key> all;
  all.add(only);
  all.give(root, 0, all.count());
  --root.height;
  nodes.release(index);
  if (root.height != 0) return;
  for (std::uint32_t i = 0; i < root.count; ++i) nodes.track(root.value[i], tree * 16 + i);
}

/// After an entry was removed from the path's leaf.
template <class Pool>
[[gnu::noinline]] void balance(Pool& nodes, typename Pool::Root& root, std::uint32_t tree,
                               Path& path) noexcept {
  for (std::uint32_t level = 0; level < root.height; ++level) {
    const bool is_below_root = level + 1 == root.height;
    if (is_below_root && root.count == 1) {
      refresh_sizes(nodes, root, path, level);
      break;
    }
    if (nodes[path.node[level]].count >= fewest<Pool::is_sized>) {
      refresh_sizes(nodes, root, path, level);
      return;
    }
    const bool have_merged = is_below_root
                                 ? refill(nodes, root, path, level)
                                 : refill(nodes, nodes[path.node[level + 1]], path, level);
    if (!have_merged) {
      refresh_sizes(nodes, root, path, level + 1);
      return;
    }
  }
  raise_entries(nodes, root, tree);
}

/// Removes an entry of a leaf or of a root without nodes; the last one takes its place.
template <class Pool, class Leaf>
void remove(Pool& nodes, Leaf& leaf, std::uint32_t location) noexcept {
  nodes.track(leaf.value[leaf.count - 1], location);
  leaf.remove_unordered(location % 16);
}

/// The tree in whose root an entry is. Requires: `location` is below `in_leaf`.
[[nodiscard]] constexpr std::uint32_t tree_of(std::uint32_t location) noexcept {
  return location / 16;
}

/// Erases an entry of a leaf. Returns whether `balance_at` must follow.
template <class Pool>
[[nodiscard]] bool erase_tall(Pool& nodes, std::uint32_t location) noexcept {
  auto& leaf = nodes[(location - in_leaf) / 16];
  remove(nodes, leaf, location);
  return leaf.count < fewest<Pool::is_sized>;
}

/// After an entry of this key was erased from its leaf.
template <class Pool>
void balance_at(Pool& nodes, typename Pool::Root& root, std::uint32_t tree,
                typename Pool::Key key) noexcept {
  if (root.has_one_leaf() && nodes[root.value[0]].count >= fewest_alone) return;
  Path path;
  descend(nodes, root, key, path);
  balance(nodes, root, tree, path);
}

}  // namespace allot::detail::tree
