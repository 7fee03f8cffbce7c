// SPDX-License-Identifier: MIT
/// \file
/// What trees of sized entries can do besides: find the lowest key of at least a size, and change
/// an entry in its place.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/strategy/detail/records.hpp>
#include <allot/strategy/detail/tree/balance.hpp>
#include <allot/strategy/detail/tree/node.hpp>
#include <allot/strategy/detail/tree/search.hpp>

#include <cstdint>

namespace allot::detail::tree {

template <class Leaf, class Predicate>
[[nodiscard]] std::uint32_t find_sized_in(const Leaf& leaf, typename Leaf::Key size, Path& path,
                                          Predicate& accepts) noexcept {
  auto lowest = Leaf::no_key;
  for (std::uint32_t i = 0; i < Leaf::most; ++i) {
    const bool is_lower = leaf.sizes.get(i) >= size && leaf.key[i] < lowest;
    if (is_lower && accepts(leaf.key[i], leaf.sizes.get(i))) lowest = leaf.key[i];
  }
  if (lowest == Leaf::no_key) return no_record;
  const std::uint32_t at = leaf.position_of(lowest);
  path.at[0] = static_cast<std::uint8_t>(at);
  return leaf.value[at];
}

/// The first entry from `at` on that has such a size below it, or `no_record`.
template <class Parent>
[[nodiscard]] std::uint32_t next_of_size(const Parent& parent, std::uint32_t at,
                                         typename Parent::Key size) noexcept {
  for (; at < parent.count; ++at) {
    if (parent.sizes.get(at) >= size) return at;
  }
  return no_record;
}

/// The value of the lowest key whose size is at least `size` and for which `accepts(key, size)`, or
/// `no_record`; `path` is there. Complexity: O(log n) if `accepts` refuses none.
template <class Pool, class Predicate>
[[nodiscard]] std::uint32_t find_sized(const Pool& nodes, const typename Pool::Root& root,
                                       std::uint64_t size, Path& path, Predicate accepts) noexcept {
  if (size >= root.no_key) return no_record;
  const auto wanted = static_cast<typename Pool::Key>(size);
  if (root.height == 0) return find_sized_in(root, wanted, path, accepts);
  std::uint32_t level = root.height;
  std::uint32_t at = 0;
  for (;;) {
    if (level == 0) {
      const std::uint32_t found = find_sized_in(nodes[path.node[0]], wanted, path, accepts);
      if (found != no_record) return found;
      at = path.at[++level] + 1U;
      continue;
    }
    const bool is_root = level == root.height;
    at = is_root ? next_of_size(root, at, wanted)
                 : next_of_size(nodes[path.node[level]], at, wanted);
    if (at == no_record) {
      if (is_root) return no_record;
      at = path.at[++level] + 1U;
      continue;
    }
    path.at[level] = static_cast<std::uint8_t>(at);
    const std::uint32_t child = is_root ? root.value[at] : nodes[path.node[level]].value[at];
    path.node[--level] = child;
    at = 0;
  }
}

/// The path to a key. Requires: it is in the tree.
template <class Pool>
void seek(const Pool& nodes, const typename Pool::Root& root, typename Pool::Key key,
          Path& path) noexcept {
  path.at[0] = static_cast<std::uint8_t>(
      root.height != 0 ? descend(nodes, root, key, path).position_of(key) : root.position_of(key));
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
  if (leaf.count < (root.has_one_leaf() ? fewest_alone : fewest<true>)) [[unlikely]] {
    balance(nodes, root, tree, path);
  } else {
    refresh_sizes(nodes, root, path, 0);
  }
}

/// Keeps the key at the path from being below the bound of its node.
template <class Pool>
void bound_below(Pool& nodes, typename Pool::Root& root, const Path& path,
                 typename Pool::Key key) noexcept {
  for (std::uint32_t level = 1; level <= root.height; ++level) {
    const std::uint32_t at = path.at[level];
    auto& bound = level == root.height ? root.key[at] : nodes[path.node[level]].key[at];
    bound = smaller(bound, key);
    if (at != 0) return;
  }
}

/// Keeps the key at the path below the bound of the next node.
template <class Pool>
void bound_above(Pool& nodes, typename Pool::Root& root, const Path& path,
                 typename Pool::Key key) noexcept {
  for (std::uint32_t level = 1; level <= root.height; ++level) {
    const bool is_root = level == root.height;
    const std::uint32_t next = path.at[level] + 1U;
    if (next == (is_root ? root.count : nodes[path.node[level]].count)) continue;
    auto& bound = is_root ? root.key[next] : nodes[path.node[level]].key[next];
    bound = larger(bound, static_cast<typename Pool::Key>(key + 1));
    return;
  }
}

/// Gives the entry at the path another key, in the same place in the order, value and size.
template <class Pool>
void rekey_at(Pool& nodes, typename Pool::Root& root, const Path& path, typename Pool::Key key,
              std::uint32_t value, typename Pool::Key size) noexcept {
  const auto change = [&](auto& leaf) noexcept {
    leaf.key[path.at[0]] = key;
    leaf.value[path.at[0]] = value;
    leaf.sizes.set(path.at[0], size);
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
