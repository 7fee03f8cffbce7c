// SPDX-License-Identifier: MIT
/// \file
/// Further operations of trees of sized entries: find the lowest key with at least a size, and
/// change an entry in place.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/strategy/detail/records.hpp>
#include <allot/strategy/detail/tree/node.hpp>
#include <allot/strategy/detail/tree/tree.hpp>

#include <cstdint>

namespace allot::detail::tree {

template <class Leaf, class Predicate>
[[nodiscard]] std::uint32_t find_sized_in(const Leaf& leaf, typename Leaf::Key size, Path& path,
                                          Predicate& accepts) noexcept {
  auto lowest = Leaf::no_key;
  for (std::uint32_t i = 0; i < Leaf::most; ++i) {
    const bool is_lower = leaf.size(i) >= size && leaf.key[i] < lowest;
    if (is_lower && accepts(leaf.key[i], leaf.size(i))) lowest = leaf.key[i];
  }
  if (lowest == Leaf::no_key) return no_record;
  const std::uint32_t at = leaf.position_of(lowest);
  path.at[0] = static_cast<std::uint8_t>(at);
  return leaf.value[at];
}

/// Returns the first entry from `at` on whose size is at least `size`, or `no_record`.
template <class Parent>
[[nodiscard]] std::uint32_t next_of_size(const Parent& parent, std::uint32_t at,
                                         typename Parent::Key size) noexcept {
  for (; at < parent.count; ++at) {
    if (parent.size(at) >= size) return at;
  }
  return no_record;
}

/// Returns the value of the lowest key whose size is at least `size` and for which `accepts(key,
/// size)` is true, with its path in `path`; or `no_record`. Complexity: O(log n) if `accepts`
/// refuses none.
template <class Pool, class Predicate>
[[nodiscard]] std::uint32_t find_sized(const Pool& nodes, const typename Pool::Root& root,
                                       std::uint64_t size, Path& path, Predicate accepts) noexcept {
  if (size >= root.no_key) return no_record;
  const auto wanted = static_cast<typename Pool::Key>(size);
  if (root.height == 0) return find_sized_in(root, wanted, path, accepts);
  std::uint32_t level = root.height - 1U;
  std::uint32_t at = 0;
  path.node[level] = root.value[0];
  for (;;) {
    const auto& node = nodes[path.node[level]];
    if (level == 0) {
      const std::uint32_t found = find_sized_in(node, wanted, path, accepts);
      if (found != no_record) return found;
    } else if ((at = next_of_size(node, at, wanted)) != no_record) {
      path.at[level] = static_cast<std::uint8_t>(at);
      path.node[--level] = node.value[at];
      at = 0;
      continue;
    }
    if (++level == root.height) return no_record;
    at = path.at[level] + 1U;
  }
}

/// Returns the path to a key. Requires: it is in the tree.
template <class Pool>
void seek(const Pool& nodes, const typename Pool::Root& root, typename Pool::Key key,
          Path& path) noexcept {
  if (root.height != 0) descend(nodes, root, key, path);
  path.at[0] = static_cast<std::uint8_t>(root.height != 0 ? nodes[path.node[0]].position_of(key)
                                                          : root.position_of(key));
}

/// Erases the entry at the path.
template <class Pool>
void erase_at(Pool& nodes, typename Pool::Root& root, std::uint32_t tree, Path& path) noexcept {
  if (root.height == 0) {
    root.remove_unordered(path.at[0]);
    return;
  }
  auto& leaf = nodes[path.node[0]];
  leaf.remove_unordered(path.at[0]);
  if (leaf.count < (root.height == 1 ? fewest_alone : fewest<true>)) [[unlikely]] {
    balance(nodes, root, tree, path);
  } else {
    refresh_sizes(nodes, root, path, 0);
  }
}

/// Lowers the bounds of the path's nodes to the key at the path, if they are above it.
template <class Pool>
void bound_below(Pool& nodes, const typename Pool::Root& root, const Path& path,
                 typename Pool::Key key) noexcept {
  for (std::uint32_t level = 1; level < root.height; ++level) {
    const std::uint32_t at = path.at[level];
    auto& bound = nodes[path.node[level]].key[at];
    bound = smaller(bound, key);
    if (at != 0) return;
  }
}

/// Raises the bound of the next node above the key at the path, if it is not.
template <class Pool>
void bound_above(Pool& nodes, const typename Pool::Root& root, const Path& path,
                 typename Pool::Key key) noexcept {
  for (std::uint32_t level = 1; level < root.height; ++level) {
    auto& parent = nodes[path.node[level]];
    const std::uint32_t next = path.at[level] + 1U;
    if (next == parent.count) continue;
    parent.key[next] = larger(parent.key[next], static_cast<typename Pool::Key>(key + 1));
    return;
  }
}

/// Changes the key, value and size of the entry at the path. Its place in the order must not
/// change.
template <class Pool>
void rekey_at(Pool& nodes, typename Pool::Root& root, const Path& path, typename Pool::Key key,
              std::uint32_t value, typename Pool::Key size) noexcept {
  const auto change = [&](auto& leaf) noexcept {
    leaf.key[path.at[0]] = key;
    leaf.value[path.at[0]] = value;
    leaf.set_size(path.at[0], size);
  };
  if (root.height == 0) {
    change(root);
    return;
  }
  change(nodes[path.node[0]]);
  bound_below(nodes, root, path, key);
  bound_above(nodes, root, path, key);
  refresh_sizes(nodes, root, path, 0);
}

}  // namespace allot::detail::tree
