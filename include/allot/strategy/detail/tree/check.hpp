// SPDX-License-Identifier: MIT
/// \file
/// Checks whether a tree is valid: the part of a free index in a strategy's `validate`.
#pragma once

#include <allot/strategy/detail/tree/node.hpp>

#include <cstdint>

namespace allot::detail::tree {

/// \tparam Visitor  `visitor(key, value, size)` returns true for a valid entry
template <class Pool, class Visitor>
class Check {
  using Key = typename Pool::Key;
  using Root = typename Pool::Root;

 public:
  Check(const Pool& nodes, Visitor& visitor) noexcept : nodes_{nodes}, visitor_{visitor} {}

  [[nodiscard]] bool is_right(const Root& root, std::uint32_t tree) const {
    if (root.height == 0) return is_right_leaf(root, tree * 16, 0, Root::no_key);
    return root.count == 1 && root.size(0) == nodes_[root.value[0]].largest() &&
           has_right_end(root) &&
           is_right_node(root.value[0], root.height - 1U, true, 0, Root::no_key);
  }

 private:
  /// Checks a node at `level`, its keys from `lowest` on and below `bound`.
  [[nodiscard]] bool is_right_node(std::uint32_t index, std::uint32_t level, bool is_top,
                                   Key lowest, Key bound) const {
    const auto& node = nodes_[index];
    const std::uint32_t fewest_at_top = level == 0 ? fewest_alone : 2;
    if (node.count < (is_top ? fewest_at_top : fewest<Pool::is_sized>)) return false;
    return level == 0 ? is_right_leaf(node, in_leaf + index * 16, lowest, bound)
                      : has_right_children(node, level - 1, lowest, bound);
  }

  /// Checks the children, at `level`, of a node.
  template <class Parent>
  [[nodiscard]] bool has_right_children(const Parent& parent, std::uint32_t level, Key lowest,
                                        Key bound) const {
    if (!has_right_end(parent) || parent.key[0] > lowest) return false;
    for (std::uint32_t i = 0; i < parent.count; ++i) {
      const Key low = i == 0 ? lowest : parent.key[i];
      const Key high = i + 1U < parent.count ? parent.key[i + 1] : bound;
      if (low < lowest || low >= high) return false;
      if (parent.size(i) != nodes_[parent.value[i]].largest()) return false;
      if (!is_right_node(parent.value[i], level, false, low, high)) return false;
    }
    return true;
  }

  template <class Leaf>
  [[nodiscard]] bool is_right_leaf(const Leaf& leaf, std::uint32_t location, Key lowest,
                                   Key bound) const {
    if (!has_right_end(leaf)) return false;
    for (std::uint32_t i = 0; i < leaf.count; ++i) {
      if (leaf.key[i] < lowest || leaf.key[i] >= bound) return false;
      if (!nodes_.tracks(leaf.value[i], location + i)) return false;
      if (!visitor_(leaf.key[i], leaf.value[i], leaf.size(i))) return false;
    }
    return true;
  }

  template <class Node>
  [[nodiscard]] static bool has_right_end(const Node& node) noexcept {
    if (node.count > Node::most) return false;
    for (std::uint32_t i = node.count; i <= Node::most; ++i) {
      if (node.key[i] != Node::no_key || node.size(i) != 0) return false;
    }
    return true;
  }

  const Pool& nodes_;
  Visitor& visitor_;
};

/// Returns whether nodes are filled, ordered and summed up correctly, and `visitor(key, value,
/// size)` is true for every entry. Complexity: linear.
template <class Pool, class Visitor>
[[nodiscard]] bool is_valid(const Pool& nodes, const typename Pool::Root& root, std::uint32_t tree,
                            Visitor visitor) {
  return Check<Pool, Visitor>{nodes, visitor}.is_right(root, tree);
}

}  // namespace allot::detail::tree
