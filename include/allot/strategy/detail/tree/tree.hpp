// SPDX-License-Identifier: MIT
/// \file
/// Searching and changing a tree. In B+-trees (Bayer and McCreight, 1972; Comer, 1979) the nodes
/// above the leaves are sorted; leaves are not: one pass finds the least entry, a new entry goes to
/// a leaf's end, and a removed one is replaced by the last. A tree of up to seven entries has no
/// node. Every node but the top one stays at least about half full, and a node's keys and sizes
/// always agree with those below it.
#pragma once

#include <allot/strategy/detail/records.hpp>
#include <allot/strategy/detail/tree/node.hpp>

#include <cstdint>

namespace allot::detail::tree {

/// From a leaf up to the top node: the entry `at[0]` of leaf `node[0]`, the entry `at[1]` of its
/// parent `node[1]`, ... In a tree without nodes there is only `at[0]`.
struct Path {
  static constexpr std::uint32_t highest = 13;  ///< 7^12 > 2^32 entries

  std::uint32_t node[highest];
  std::uint8_t at[highest];
};

/// What a search found.
struct Entry {
  std::uint32_t value = no_record;  ///< `no_record` if nothing was found
  std::uint32_t location = 0;
  std::uint64_t key = 0;
};

/// Fills the path, except `at[0]`, down to the leaf that has the key or should have it.
template <class Pool>
void descend(const Pool& nodes, const typename Pool::Root& root, typename Pool::Key key,
             Path& path) noexcept {
  std::uint32_t index = root.value[0];
  for (std::uint32_t level = root.height;;) {
    path.node[--level] = index;
    if (level == 0) return;
    const auto& node = nodes[index];
    const std::uint32_t at = key == 0 ? 0 : node.child_of(key);
    path.at[level] = static_cast<std::uint8_t>(at);
    index = node.value[at];
  }
}

/// Moves the path to the next leaf. Returns false if there is none.
template <class Pool>
bool next_leaf(const Pool& nodes, const typename Pool::Root& root, Path& path) noexcept {
  for (std::uint32_t level = 1; level < root.height; ++level) {
    const auto& parent = nodes[path.node[level]];
    if (++path.at[level] == parent.count) continue;
    std::uint32_t index = parent.value[path.at[level]];
    for (; --level > 0; index = nodes[index].value[0]) {
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
[[nodiscard]] Entry find_in(const Leaf& leaf, std::uint32_t first,
                            typename Leaf::Key key) noexcept {
  const auto found = leaf.lowest_from(key);
  if (found == Leaf::no_key) return {};
  const std::uint32_t at = leaf.position_of(found);
  return {leaf.value[at], first + at, found};
}

template <class Pool>
[[nodiscard]] Entry find_tall(const Pool& nodes, const typename Pool::Root& root,
                              typename Pool::Key key) noexcept {
  Path path;
  descend(nodes, root, key, path);
  const Entry found = find_in(nodes[path.node[0]], in_leaf + path.node[0] * 16, key);
  if (found.value != no_record || !next_leaf(nodes, root, path)) return found;
  return find_in(nodes[path.node[0]], in_leaf + path.node[0] * 16, 0);
}

/// Returns the entry with the lowest key that is at least `key`, or an empty one.
/// \param tree  the root's number
template <class Pool>
ALLOT_ALWAYS_INLINE [[nodiscard]] inline Entry find(const Pool& nodes,
                                                    const typename Pool::Root& root,
                                                    std::uint32_t tree,
                                                    typename Pool::Key key) noexcept {
  if (root.height == 0) [[likely]]
    return find_in(root, tree * 16, key);
  return find_tall(nodes, root, key);
}

/// Returns a leaf's entry with the lowest key that is at least `key` and whose value `accepts`.
/// \param first  the location of the first entry
template <class Leaf, class Predicate>
[[nodiscard]] Entry find_accepted_in(const Leaf& leaf, std::uint32_t first, typename Leaf::Key key,
                                     Predicate& accepts) noexcept {
  Entry found{no_record, first, Leaf::no_key};
  for (std::uint32_t i = 0; i < leaf.count; ++i) {
    if (leaf.key[i] >= key && leaf.key[i] < found.key && accepts(leaf.value[i]))
      found = {leaf.value[i], first + i, leaf.key[i]};
  }
  return found;
}

/// Returns the entry with the lowest key that is at least `key` and whose value `accepts`, or an
/// empty one. Complexity: O(log n), and constant for each value that is refused.
template <class Pool, class Predicate>
[[nodiscard]] Entry find_accepted(const Pool& nodes, const typename Pool::Root& root,
                                  std::uint32_t tree, typename Pool::Key key,
                                  Predicate accepts) noexcept {
  if (root.height == 0) return find_accepted_in(root, tree * 16, key, accepts);
  Path path;
  descend(nodes, root, key, path);
  Entry found;
  do {
    const std::uint32_t leaf = path.node[0];
    found = find_accepted_in(nodes[leaf], in_leaf + leaf * 16, key, accepts);
  } while (found.value == no_record && next_leaf(nodes, root, path));
  return found;
}

/// Entries taken out of nodes, to be distributed again.
template <class Pool>
class Gathered {
 public:
  using Key = typename Pool::Key;
  using Node = typename Pool::Node;

  void add(Key key, std::uint32_t value, Key size) noexcept {
    keys_[count] = key;
    sizes_[count] = size;
    values_[count] = value;
    order_[count] = static_cast<std::uint8_t>(count);
    ++count;
  }
  void add(const Node& node) noexcept {
    for (std::uint32_t i = 0; i < node.count; ++i) add(node.key[i], node.value[i], node.size(i));
  }

  /// Moves the last entry to before the entry at `at`.
  void move_last_to(std::uint32_t at) noexcept {
    for (std::uint32_t i = count - 1; i > at; --i) order_[i] = order_[i - 1];
    order_[at] = static_cast<std::uint8_t>(count - 1);
  }

  /// Sorts by key. Each entry's position is the number of keys below its own: no branch depends on
  /// the keys, which a branch predictor could not predict.
  void sort() noexcept {
    for (std::uint32_t i = count; i < most; ++i) keys_[i] = Node::no_key;
    for (std::uint32_t i = 0; i < count; ++i) {
      Key below = 0;
      for (const Key other : keys_) below += other < keys_[i] ? 1 : 0;
      order_[below] = static_cast<std::uint8_t>(i);
    }
  }

  /// Fills a node at `level` with the entries from `from` up to `to`.
  void give(Pool& nodes, std::uint32_t index, std::uint32_t level, std::uint32_t from,
            std::uint32_t to) const noexcept {
    Node& node = nodes[index];
    node.clear();
    for (; from < to; ++from) {
      const std::uint32_t at = order_[from];
      if (level == 0) nodes.track(values_[at], in_leaf + index * 16 + node.count);
      node.append(keys_[at], values_[at], sizes_[at]);
    }
  }

  std::uint32_t count = 0;

 private:
  static constexpr std::uint32_t most = 32;

  Key keys_[most];
  Key sizes_[most];
  std::uint32_t values_[most];
  std::uint8_t order_[most];
};

/// Brings the sizes above `level` up to date.
template <class Pool>
void refresh_sizes(Pool& nodes, typename Pool::Root& root, const Path& path,
                   std::uint32_t level) noexcept {
  if constexpr (Pool::is_sized) {
    for (; level < root.height; ++level) {
      const auto largest = nodes[path.node[level]].largest();
      const bool is_top = level + 1U == root.height;
      auto& size = is_top ? root.sizes[0] : nodes[path.node[level + 1]].sizes[path.at[level + 1]];
      if (size == largest) return;
      size = largest;
    }
  }
}

template <class Pool>
void set_top(const Pool& nodes, typename Pool::Root& root, std::uint32_t top,
             std::uint32_t height) noexcept {
  root.clear();
  root.append(0, top, nodes[top].largest());
  root.height = static_cast<std::uint16_t>(height);
}

/// Moves all entries of a tree between its root and its only leaf.
/// \param location  of the first one, when they have been moved
template <class Pool, class From, class To>
void move_entries(const Pool& nodes, const From& from, To& to, std::uint32_t location) noexcept {
  to.clear();
  for (std::uint32_t i = 0; i < from.count; ++i) {
    nodes.track(from.value[i], location + i);
    to.append(from.key[i], from.value[i], from.size(i));
  }
}

/// Splits the path's full leaf in two, one of them with a new entry; likewise the full nodes above
/// it.
template <class Pool>
[[gnu::noinline]] void split(Pool& nodes, typename Pool::Root& root, Path& path,
                             typename Pool::Key key, std::uint32_t value,
                             typename Pool::Key size) noexcept {
  Gathered<Pool> all;
  all.add(nodes[path.node[0]]);
  all.add(key, value, size);
  all.sort();
  for (std::uint32_t level = 0;; ++level) {
    const std::uint32_t left = path.node[level];
    const std::uint32_t right = nodes.make();
    all.give(nodes, left, level, 0, all.count / 2);
    all.give(nodes, right, level, all.count / 2, all.count);
    if (level + 1U == root.height) {
      path.node[level + 1] = nodes.make();
      path.at[level + 1] = 0;
      nodes[path.node[level + 1]].append(0, left, 0);
      set_top(nodes, root, path.node[level + 1], level + 2);
    }
    auto& parent = nodes[path.node[level + 1]];
    const std::uint32_t at = path.at[level + 1];
    const auto& added = nodes[right];
    parent.set_size(at, nodes[left].largest());
    if (parent.count < parent.most) {
      parent.insert_ordered(at + 1, added.key[0], right, added.largest());
      refresh_sizes(nodes, root, path, level + 1);
      return;
    }
    all.count = 0;
    all.add(parent);
    all.add(added.key[0], right, added.largest());
    all.move_last_to(at + 1);
  }
}

template <class Pool>
void insert_tall(Pool& nodes, typename Pool::Root& root, typename Pool::Key key,
                 std::uint32_t value, typename Pool::Key size) noexcept {
  if (root.height == 0) {
    const std::uint32_t leaf = nodes.make();
    move_entries(nodes, root, nodes[leaf], in_leaf + leaf * 16);
    set_top(nodes, root, leaf, 1);
  }
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
/// Requires: the tree does not have this key; room, as from `nodes_for`.
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

/// Refills the path's node, which has too few entries, from a neighboring node.
/// Returns true if the two were merged, so that the parent lost an entry.
template <class Pool>
[[nodiscard]] bool refill(Pool& nodes, Path& path, std::uint32_t level) noexcept {
  auto& parent = nodes[path.node[level + 1]];
  const std::uint32_t at = path.at[level + 1] == 0 ? 0 : path.at[level + 1] - 1U;
  path.at[level + 1] = static_cast<std::uint8_t>(at);
  const std::uint32_t left = parent.value[at];
  const std::uint32_t right = parent.value[at + 1];
  if (level != 0) nodes[right].key[0] = parent.key[at + 1];
  Gathered<Pool> all;
  all.add(nodes[left]);
  all.add(nodes[right]);
  const bool is_one = all.count <= parent.most;
  if (level == 0 && !is_one) all.sort();
  const std::uint32_t middle = is_one ? all.count : all.count / 2;
  all.give(nodes, left, level, 0, middle);
  parent.set_size(at, nodes[left].largest());
  if (is_one) {
    nodes.release(right);
    parent.remove_ordered(at + 1);
  } else {
    all.give(nodes, right, level, middle, all.count);
    parent.key[at + 1] = nodes[right].key[0];
    parent.set_size(at + 1, nodes[right].largest());
  }
  return is_one;
}

/// Restores the balance after an entry was removed from the path's leaf.
template <class Pool>
[[gnu::noinline]] void balance(Pool& nodes, typename Pool::Root& root, std::uint32_t tree,
                               Path& path) noexcept {
  std::uint32_t level = 0;
  while (level + 1U < root.height && nodes[path.node[level]].count < fewest<Pool::is_sized>) {
    if (!refill(nodes, path, level++)) break;
  }
  refresh_sizes(nodes, root, path, level);
  const std::uint32_t top = root.value[0];
  if (root.height == 1) {
    if (nodes[top].count >= fewest_alone) return;
    move_entries(nodes, nodes[top], root, tree * 16);
    root.height = 0;
  } else {
    if (nodes[top].count > 1) return;
    set_top(nodes, root, nodes[top].value[0], root.height - 1U);
  }
  nodes.release(top);
}

/// Removes an entry of a leaf or of a root without nodes, and moves the last one there.
template <class Pool, class Leaf>
void remove(Pool& nodes, Leaf& leaf, std::uint32_t location) noexcept {
  nodes.track(leaf.value[leaf.count - 1], location);
  leaf.remove_unordered(location % 16);
}

/// Returns the tree in whose root an entry is. Requires: `location` is below `in_leaf`.
[[nodiscard]] constexpr std::uint32_t tree_of(std::uint32_t location) noexcept {
  return location / 16;
}

/// Erases an entry of a leaf. Returns whether the caller must then call `balance_at`.
template <class Pool>
[[nodiscard]] bool erase_tall(Pool& nodes, std::uint32_t location) noexcept {
  auto& leaf = nodes[(location - in_leaf) / 16];
  remove(nodes, leaf, location);
  return leaf.count < fewest<Pool::is_sized>;
}

/// Restores the balance after an entry of this key was erased from its leaf.
template <class Pool>
void balance_at(Pool& nodes, typename Pool::Root& root, std::uint32_t tree,
                typename Pool::Key key) noexcept {
  if (root.height == 1 && nodes[root.value[0]].count >= fewest_alone) return;
  Path path;
  descend(nodes, root, key, path);
  balance(nodes, root, tree, path);
}

/// Returns where the highest of a leaf's keys is.
template <class KeyType>
[[nodiscard]] std::uint32_t highest_of(const KeyType* keys, std::uint32_t count) noexcept {
  std::uint32_t highest = 0;
  for (std::uint32_t i = 1; i < count; ++i) highest = keys[i] > keys[highest] ? i : highest;
  return highest;
}

/// Returns the highest key's value. Requires: not empty.
template <class Pool>
[[nodiscard]] std::uint32_t last(const Pool& nodes, const typename Pool::Root& root) noexcept {
  if (root.height == 0) return root.value[highest_of(root.key, root.count)];
  std::uint32_t index = root.value[0];
  for (std::uint32_t level = root.height; --level > 0;) {
    index = nodes[index].value[nodes[index].count - 1];
  }
  return nodes[index].value[highest_of(nodes[index].key, nodes[index].count)];
}

}  // namespace allot::detail::tree
