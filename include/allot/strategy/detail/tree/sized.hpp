// SPDX-License-Identifier: MIT
/// \file
/// `SizedTrees`: trees of sized entries, in which the lowest key with at least a size can be found and
/// an entry changed in place.
#pragma once

#include <allot/core/units.hpp>
#include <allot/strategy/detail/records.hpp>
#include <allot/strategy/detail/tree/node.hpp>
#include <allot/strategy/detail/tree/tree.hpp>

#include <cstdint>

namespace allot::detail::tree {

template <class KeyType>
class SizedTrees : public Trees<KeyType, true> {
  using Base = Trees<KeyType, true>;

 public:
  using Key = KeyType;
  using Node = typename Base::Node;
  using Root = typename Base::Root;

  using Base::Base;

  /// Returns the largest size, 0 if there is none.
  [[nodiscard]] Key largest(const Root& root) const noexcept {
    return root.height == 0 ? root.largest() : node(root.value[0]).largest();
  }

  /// Returns the value of the lowest key whose size is at least `size` and for which `accepts(key,
  /// size)` is true, with its path in `path`; or `no_record`. Complexity: O(log n) if `accepts`
  /// refuses none.
  template <class Predicate>
  [[nodiscard]] std::uint32_t find_sized(const Root& root, std::uint64_t size, Path& path,
                                         Predicate accepts) const noexcept {
    if (size >= Root::no_key) return no_record;
    const auto wanted = static_cast<Key>(size);
    if (root.height == 0) return find_sized_in(root, wanted, path, accepts);
    std::uint32_t level = root.height - 1U;
    std::uint32_t at = 0;
    path.node[level] = root.value[0];
    for (;;) {
      const Node& here = node(path.node[level]);
      if (level == 0) {
        const std::uint32_t found = find_sized_in(here, wanted, path, accepts);
        if (found != no_record) return found;
      } else if ((at = next_of_size(here, at, wanted)) != no_record) {
        path.at[level] = static_cast<std::uint8_t>(at);
        path.node[--level] = here.value[at];
        at = 0;
        continue;
      }
      if (++level == root.height) return no_record;
      at = path.at[level] + 1U;
    }
  }

  /// Returns the path to a key. Requires: it is in the tree.
  void seek(const Root& root, Key key, Path& path) const noexcept {
    if (root.height != 0) this->descend(root, key, path);
    path.at[0] = static_cast<std::uint8_t>(root.height != 0 ? node(path.node[0]).position_of(key)
                                                            : root.position_of(key));
  }

  /// Erases the entry at the path.
  /// \param tree  the root's number
  void erase_at(Root& root, std::uint32_t tree, Path& path) noexcept {
    if (root.height == 0) {
      root.remove_unordered(path.at[0]);
      return;
    }
    Node& leaf = node(path.node[0]);
    leaf.remove_unordered(path.at[0]);
    if (leaf.count < (root.height == 1 ? Base::fewest_alone : Base::fewest)) [[unlikely]] {
      this->balance(root, tree, path);
    } else {
      this->refresh_sizes(root, path, 0);
    }
  }

  /// Changes the key, value and size of the entry at the path. Its place in the order must not
  /// change.
  void rekey_at(Root& root, const Path& path, Key key, std::uint32_t value, Key size) noexcept {
    if (root.height == 0) {
      replace(root, path.at[0], key, value, size);
      return;
    }
    replace(node(path.node[0]), path.at[0], key, value, size);
    bound_below(root, path, key);
    bound_above(root, path, key);
    this->refresh_sizes(root, path, 0);
  }

 protected:
  using Base::node;

 private:
  template <class Leaf, class Predicate>
  [[nodiscard]] static std::uint32_t find_sized_in(const Leaf& leaf, Key size, Path& path,
                                                   Predicate& accepts) noexcept {
    Key lowest = Leaf::no_key;
    for (std::uint32_t i = 0; i < Leaf::most; ++i) {
      const bool is_lower = leaf.sizes[i] >= size && leaf.key[i] < lowest;
      if (is_lower && accepts(leaf.key[i], leaf.sizes[i])) lowest = leaf.key[i];
    }
    if (lowest == Leaf::no_key) return no_record;
    const std::uint32_t at = leaf.position_of(lowest);
    path.at[0] = static_cast<std::uint8_t>(at);
    return leaf.value[at];
  }

  /// Returns the first position from `at` on whose size is at least `size`, or `no_record`. No branch
  /// depends on the sizes, which a branch predictor could not predict.
  [[nodiscard]] static std::uint32_t next_of_size(const Node& parent, std::uint32_t at,
                                                  Key size) noexcept {
    for (; at < parent.count; ++at) {
      if (parent.sizes[at] >= size) return at;
    }
    return no_record;
  }

  template <class Leaf>
  static void replace(Leaf& leaf, std::uint32_t at, Key key, std::uint32_t value,
                      Key size) noexcept {
    leaf.key[at] = key;
    leaf.value[at] = value;
    leaf.sizes[at] = size;
  }

  /// Lowers the bounds of the path's nodes to the key at the path, if they are above it.
  void bound_below(const Root& root, const Path& path, Key key) noexcept {
    for (std::uint32_t level = 1; level < root.height; ++level) {
      const std::uint32_t at = path.at[level];
      Key& bound = node(path.node[level]).key[at];
      bound = smaller(bound, key);
      if (at != 0) return;
    }
  }

  /// Raises the bound of the next node above the key at the path, if it is not.
  void bound_above(const Root& root, const Path& path, Key key) noexcept {
    for (std::uint32_t level = 1; level < root.height; ++level) {
      Node& parent = node(path.node[level]);
      const std::uint32_t next = path.at[level] + 1U;
      if (next == parent.count) continue;
      parent.key[next] = larger(parent.key[next], static_cast<Key>(key + 1));
      return;
    }
  }
};

}  // namespace allot::detail::tree
