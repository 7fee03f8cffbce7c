// SPDX-License-Identifier: MIT
/// \file
/// Finding an entry of a tree by its key. In B+-trees (Bayer and McCreight, 1972; Comer, 1979) the
/// nodes above the leaves are sorted; leaves are not: the least entry is found in one pass.
#pragma once

#include <allot/core/inline.hpp>
#include <allot/strategy/detail/records.hpp>
#include <allot/strategy/detail/tree/node.hpp>

#include <cstdint>

namespace allot::detail::tree {

/// From a leaf up to the root: the entry `at[0]` of leaf `node[0]`, the entry `at[1]` of its parent
/// `node[1]`, ... The root has no `node`; in a tree without nodes there is only `at[0]`.
struct Path {
  static constexpr std::uint32_t highest = 13;  ///< 7^12 > 2^32 entries

  std::uint32_t node[highest];
  std::uint8_t at[highest];
};

/// What a search found.
struct Entry {
  std::uint32_t value = no_record;  ///< `no_record`: nothing
  std::uint32_t location = 0;
  std::uint64_t key = 0;
};

/// The leaf that has the key or is where it belongs; all of the path but `at[0]`.
template <class Pool>
const auto& descend(const Pool& nodes, const typename Pool::Root& root, typename Pool::Key key,
                    Path& path) noexcept {
  std::uint32_t level = root.height;
  std::uint32_t at = root.child_of(key);
  std::uint32_t index = root.value[at];
  for (;;) {
    path.at[level] = static_cast<std::uint8_t>(at);
    path.node[--level] = index;
    const auto& node = nodes[index];
    if (level == 0) return node;
    at = node.child_of(key);
    index = node.value[at];
  }
}

/// The leaf with the lowest key; all of the path but `at[0]`.
template <class Pool>
const auto& descend_first(const Pool& nodes, const typename Pool::Root& root, Path& path) noexcept {
  std::uint32_t index = root.value[0];
  path.at[root.height] = 0;
  for (std::uint32_t level = root.height - 1U; level != 0; --level) {
    path.node[level] = index;
    path.at[level] = 0;
    index = nodes[index].value[0];
  }
  path.node[0] = index;
  return nodes[index];
}

/// Moves the path to the next leaf. Returns false if there is none.
template <class Pool>
bool next_leaf(const Pool& nodes, const typename Pool::Root& root, Path& path) noexcept {
  for (std::uint32_t level = 1; level <= root.height; ++level) {
    const bool is_root = level == root.height;
    const std::uint32_t at = ++path.at[level];
    if (at == (is_root ? root.count : nodes[path.node[level]].count)) continue;
    std::uint32_t index = is_root ? root.value[at] : nodes[path.node[level]].value[at];
    for (; --level > 0; index = nodes[index].value[0]) {
      path.node[level] = index;
      path.at[level] = 0;
    }
    path.node[0] = index;
    return true;
  }
  return false;
}

/// The entry with the lowest key from `key` on of a leaf, or of a root without nodes.
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
  const auto& leaf = key == 0 ? descend_first(nodes, root, path) : descend(nodes, root, key, path);
  const Entry found = find_in(leaf, in_leaf + path.node[0] * 16, key);
  if (found.value != no_record || !next_leaf(nodes, root, path)) return found;
  return find_in(nodes[path.node[0]], in_leaf + path.node[0] * 16, 0);
}

/// The entry with the lowest key that is at least `key`, if there is one.
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

template <class Leaf, class Predicate>
[[nodiscard]] Entry find_accepted_in(const Leaf& leaf, std::uint32_t first, typename Leaf::Key key,
                                     Predicate& accepts) noexcept {
  auto lowest = Leaf::no_key;
  std::uint32_t at = 0;
  for (std::uint32_t i = 0; i < leaf.count; ++i) {
    if (leaf.key[i] < key || leaf.key[i] >= lowest || !accepts(leaf.value[i])) continue;
    lowest = leaf.key[i];
    at = i;
  }
  if (lowest == Leaf::no_key) return {};
  return {leaf.value[at], first + at, lowest};
}

/// The entry with the lowest key that is at least `key` and whose value `accepts`, if there is one.
/// Complexity: O(log n), and a look at each value that is refused.
template <class Pool, class Predicate>
[[nodiscard]] Entry find_accepted(const Pool& nodes, const typename Pool::Root& root,
                                  std::uint32_t tree, typename Pool::Key key,
                                  Predicate accepts) noexcept {
  if (root.height == 0) return find_accepted_in(root, tree * 16, key, accepts);
  Path path;
  descend(nodes, root, key, path);
  do {
    const std::uint32_t leaf = path.node[0];
    const Entry found = find_accepted_in(nodes[leaf], in_leaf + leaf * 16, key, accepts);
    if (found.value != no_record) return found;
  } while (next_leaf(nodes, root, path));
  return {};
}

template <class Leaf>
[[nodiscard]] std::uint32_t last_in(const Leaf& leaf) noexcept {
  std::uint32_t last = 0;
  for (std::uint32_t i = 1; i < leaf.count; ++i) {
    if (leaf.key[i] > leaf.key[last]) last = i;
  }
  return leaf.value[last];
}

/// The value of the highest key. Requires: not empty.
template <class Pool>
[[nodiscard]] std::uint32_t last(const Pool& nodes, const typename Pool::Root& root) noexcept {
  if (root.height == 0) return last_in(root);
  const auto* node = &nodes[root.value[root.count - 1]];
  for (std::uint32_t level = root.height; --level > 0;) {
    node = &nodes[node->value[node->count - 1]];
  }
  return last_in(*node);
}

}  // namespace allot::detail::tree
