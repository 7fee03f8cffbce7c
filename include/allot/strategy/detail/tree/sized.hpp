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

/// A node whose entries have a size each; unused ones have 0. As it is larger, it may be filled less
/// loosely.
template <class KeyType>
struct SizedNode : Node<KeyType> {
  using Base = Node<KeyType>;
  using Key = KeyType;

  /// An entry by itself.
  struct Item {
    Key key;
    std::uint32_t value;
    Key size;
  };

  static constexpr std::uint32_t fewest = (Base::most + 1) / 2;
  static constexpr bool has_sizes = true;

  Key sizes[Base::most + 1];

  void clear() noexcept {
    Base::clear();
    for (Key& each : sizes) each = 0;
  }

  [[nodiscard]] Key largest() const noexcept {
    Key largest = 0;
    for (const Key size : sizes) largest = size > largest ? size : largest;
    return largest;
  }

  [[nodiscard]] Item item(std::uint32_t at) const noexcept {
    return {this->key[at], this->value[at], sizes[at]};
  }
  [[nodiscard]] Item item_above(std::uint32_t index) const noexcept {
    return {this->lowest_from(0), index, largest()};
  }

  /// Brings the size of the entry of a node below up to date, and returns whether it changed.
  bool sum_up(std::uint32_t at, const SizedNode& below) noexcept {
    const Key before = sizes[at];
    sizes[at] = below.largest();
    return sizes[at] != before;
  }

  void insert(std::uint32_t at, const Item& item) noexcept {
    for (std::uint32_t i = this->count; i > at; --i) sizes[i] = sizes[i - 1];
    sizes[at] = item.size;
    Base::insert(at, {item.key, item.value});
  }

  void remove_unordered(std::uint32_t at) noexcept {
    Base::remove_unordered(at);
    sizes[at] = sizes[this->count];
    sizes[this->count] = 0;
  }

  void remove_ordered(std::uint32_t at) noexcept {
    Base::remove_ordered(at);
    for (; at < this->count; ++at) sizes[at] = sizes[at + 1];
    sizes[at] = 0;
  }

  /// Changes an entry whose place in the order does not change.
  void replace(std::uint32_t at, const Item& item) noexcept {
    this->key[at] = item.key;
    this->value[at] = item.value;
    sizes[at] = item.size;
  }

  [[nodiscard]] bool ends_well() const noexcept {
    for (std::uint32_t i = this->count; i <= Base::most; ++i) {
      if (sizes[i] != 0) return false;
    }
    return Base::ends_well();
  }
};

/// From a leaf up to the root: the entry `at[0]` of the leaf `node[0]`, the entry `at[1]` of its
/// parent `node[1]`, ...
struct Path {
  static constexpr std::uint32_t highest = 17;  ///< 4^16 = 2^32 entries, and the root

  std::uint32_t node[highest];
  std::uint8_t at[highest];
};

template <class KeyType>
class SizedTrees : public Trees<SizedNode<KeyType>> {
  using Base = Trees<SizedNode<KeyType>>;

 public:
  using Key = KeyType;
  using Node = typename Base::Node;
  using Item = typename Base::Item;

  using Base::Base;

  /// Returns the largest size, 0 if there is none.
  [[nodiscard]] Key largest(std::uint32_t tree) const noexcept { return node(tree).largest(); }

  /// Returns the value of the lowest key whose size is at least `size` and for which `accepts(key,
  /// size)` is true, with its path in `path`; or `no_record`. Complexity: O(log n) if `accepts`
  /// refuses none.
  template <class Predicate>
  [[nodiscard]] std::uint32_t find_sized(std::uint32_t tree, std::uint64_t size, Path& path,
                                         Predicate accepts) const noexcept {
    if (size >= Node::no_key) return no_record;
    const auto wanted = static_cast<Key>(size);
    const std::uint32_t height = node(tree).height;
    std::uint32_t level = height;
    std::uint32_t at = 0;
    path.node[level] = tree;
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
      if (level++ == height) return no_record;
      at = path.at[level] + 1U;
    }
  }

  /// Returns the path to a key. Requires: it is in the tree.
  void seek(std::uint32_t tree, Key key, Path& path) const noexcept {
    std::uint32_t index = tree;
    for (std::uint32_t level = node(tree).height; level != 0; --level) {
      const std::uint32_t at = node(index).child_of(key);
      path.node[level] = index;
      path.at[level] = static_cast<std::uint8_t>(at);
      index = node(index).value[at];
    }
    path.node[0] = index;
    path.at[0] = static_cast<std::uint8_t>(node(index).position_of(key));
  }

  /// Erases the entry at the path.
  void erase_at(std::uint32_t tree, const Path& path) noexcept {
    Node& leaf = node(path.node[0]);
    const Key key = leaf.key[path.at[0]];
    leaf.remove_unordered(path.at[0]);
    if (leaf.count < Node::fewest) [[unlikely]] {
      this->balance_at(tree, key);
    } else {
      sum_up(tree, path);
    }
  }

  /// Changes the entry at the path. Its place in the order must not change.
  void rekey_at(std::uint32_t tree, const Path& path, const Item& item) noexcept {
    node(path.node[0]).replace(path.at[0], item);
    bound_below(tree, path, item.key);
    bound_above(tree, path, item.key);
    sum_up(tree, path);
  }

 protected:
  using Base::node;

 private:
  template <class Predicate>
  [[nodiscard]] static std::uint32_t find_sized_in(const Node& leaf, Key size, Path& path,
                                                   Predicate& accepts) noexcept {
    Key lowest = Node::no_key;
    for (std::uint32_t i = 0; i < Node::most; ++i) {
      const bool is_lower = leaf.sizes[i] >= size && leaf.key[i] < lowest;
      if (is_lower && accepts(leaf.key[i], leaf.sizes[i])) lowest = leaf.key[i];
    }
    if (lowest == Node::no_key) return no_record;
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

  /// Brings the sizes above the path's leaf up to date.
  void sum_up(std::uint32_t tree, const Path& path) noexcept {
    for (std::uint32_t level = 1; level <= node(tree).height; ++level) {
      if (!node(path.node[level]).sum_up(path.at[level], node(path.node[level - 1]))) return;
    }
  }

  /// Lowers the bounds of the path's nodes to the key at the path, if they are above it.
  void bound_below(std::uint32_t tree, const Path& path, Key key) noexcept {
    for (std::uint32_t level = 1; level <= node(tree).height; ++level) {
      const std::uint32_t at = path.at[level];
      Key& bound = node(path.node[level]).key[at];
      bound = smaller(bound, key);
      if (at != 0) return;
    }
  }

  /// Raises the bound of the next node above the key at the path, if it is not.
  void bound_above(std::uint32_t tree, const Path& path, Key key) noexcept {
    for (std::uint32_t level = 1; level <= node(tree).height; ++level) {
      Node& parent = node(path.node[level]);
      const std::uint32_t next = path.at[level] + 1U;
      if (next == parent.count) continue;
      parent.key[next] = larger(parent.key[next], static_cast<Key>(key + 1));
      return;
    }
  }
};

}  // namespace allot::detail::tree
