// SPDX-License-Identifier: MIT
/// \file
/// `Trees`: the B+-trees (Bayer and McCreight, 1972; Comer, 1979) of a free index.
///
/// The nodes above the leaves are sorted. Leaves are not: one pass finds the least entry, a new entry
/// goes to a leaf's end, and a removed one is replaced by the last. A tree's root never moves; it is
/// the only leaf of a small tree. Every other node stays about half full at least.
#pragma once

#include <allot/core/units.hpp>
#include <allot/strategy/detail/records.hpp>
#include <allot/strategy/detail/tree/node.hpp>

#include <cstdint>

namespace allot::detail::tree {

/// A number of trees in one memory: node t is the root of tree t, and those behind the roots belong to
/// any tree. An entry's location is 16 times the index of its leaf, plus its position there. A value
/// is the index of a record, whose state is the location of the entry, if entries have no sizes.
/// \tparam NodeType  `Node`; or `SizedNode`, whose entries each have a size, and those above the
/// leaves the largest below
template <class NodeType>
class Trees : public GrowingMemory {
 public:
  using Node = NodeType;
  using Key = typename Node::Key;
  using Item = typename Node::Item;

  /// \param trees  how many; all are empty
  /// Needs `try_hold` before anything else.
  Trees(RecordSlab& records, std::uint32_t trees) noexcept
      : GrowingMemory{sizeof(Node), 32, used_state / 16 - 1}, records_{&records}, trees_{trees} {}

  /// Makes every tree empty. Complexity: linear in the trees.
  void clear() noexcept {
    first_vacant_ = no_record;
    touched_ = trees_;
    for (std::uint32_t tree = 0; tree < trees_; ++tree) node(tree).clear();
  }

  /// Makes room for `entries` entries in all trees together. Returns false, and changes nothing, if
  /// that cannot be.
  [[nodiscard]] bool try_hold(std::uint64_t entries) noexcept {
    if (!try_ensure(trees_ + nodes_for(entries))) return false;
    if (touched_ == 0) clear();  // the first time
    return true;
  }

  /// Returns the most nodes behind the roots: leaves have at least `fewest` entries, and with the
  /// nodes between them and the root there is at most one node for each `fewest` - 1.
  [[nodiscard]] static constexpr std::uint64_t nodes_for(std::uint64_t entries) noexcept {
    return entries / (Node::fewest - 1);
  }

  [[nodiscard]] bool is_empty(std::uint32_t tree) const noexcept { return node(tree).count == 0; }

  /// Returns whether an entry is in its tree's root; the tree is then location / 16.
  [[nodiscard]] bool is_in_root(std::uint32_t location) const noexcept {
    return location / 16 < trees_;
  }

  /// Returns the entry with the lowest key that is at least `key`, or an empty one.
  ALLOT_ALWAYS_INLINE [[nodiscard]] Entry find(std::uint32_t tree, Key key) const noexcept {
    if (node(tree).height == 0) [[likely]]
      return find_in(tree, key);
    return find_tall(tree, key);
  }

  /// Returns the entry with the lowest key that is at least `key` and whose value `accepts`, or an
  /// empty one. Complexity: O(log n), and constant for each value that is refused.
  template <class Predicate>
  [[nodiscard]] Entry find_accepted(std::uint32_t tree, Key key, Predicate accepts) const noexcept {
    return find_below(tree, node(tree).height, key, [&](std::uint32_t index, Key lowest) noexcept {
      const Node& leaf = node(index);
      Entry found{no_record, 0, Node::no_key};
      for (std::uint32_t i = 0; i < leaf.count; ++i) {
        if (leaf.key[i] >= lowest && leaf.key[i] < found.key && accepts(leaf.value[i]))
          found = {leaf.value[i], index * 16 + i, leaf.key[i]};
      }
      return found;
    });
  }

  /// Returns the highest key's value. Requires: not empty.
  [[nodiscard]] std::uint32_t last(std::uint32_t tree) const noexcept {
    std::uint32_t index = tree;
    for (std::uint32_t level = node(tree).height; level != 0; --level)
      index = node(index).value[node(index).count - 1];
    return node(index).value[node(index).highest()];
  }

  /// Requires: the tree does not have this key; room, as from `try_hold`.
  ALLOT_ALWAYS_INLINE void insert(std::uint32_t tree, const Item& item) noexcept {
    Node& root = node(tree);
    if (root.height == 0 && !root.is_full()) [[likely]] {
      track(item.value, tree * 16 + root.count);
      root.insert(root.count, item);
      return;
    }
    insert_tall(tree, item);
  }

  /// Removes an entry and moves the last one of its leaf there. Returns whether the leaf has too few
  /// entries now: unless it is a root, the caller must then call `balance_at`.
  bool remove(std::uint32_t location) noexcept {
    Node& leaf = node(location / 16);
    track(leaf.value[leaf.count - 1], location);
    leaf.remove_unordered(location % 16);
    return leaf.count < Node::fewest;
  }

  /// Restores the balance after an entry of this key was removed from its leaf.
  [[gnu::noinline]] void balance_at(std::uint32_t tree, Key key) noexcept {
    const Node& root = node(tree);
    balance_below(tree, root.height, key);
    if (root.height != 0 && root.count == 1 && is_short(root.value[0])) lower(tree);
  }

  /// Returns whether nodes are filled, ordered and summed up correctly, and `visitor(item)` is true
  /// for every entry. Complexity: linear.
  template <class Visitor>
  [[nodiscard]] bool is_valid(std::uint32_t tree, Visitor visitor) const {
    return is_valid_node(tree, node(tree).height, 0, Node::no_key, visitor);
  }

 protected:
  [[nodiscard]] Node& node(std::uint32_t index) const noexcept {
    return reinterpret_cast<Node*>(begin_)[index];
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
  void track(std::uint32_t record, std::uint32_t location) const noexcept {
    if constexpr (!Node::has_sizes) (*records_)[record].state = location;
  }

  /// Returns the entry with the lowest key from `key` on of a leaf.
  ALLOT_ALWAYS_INLINE [[nodiscard]] Entry find_in(std::uint32_t index, Key key) const noexcept {
    const Node& leaf = node(index);
    const Key found = leaf.lowest_from(key);
    if (found == Node::no_key) return {};
    const std::uint32_t at = leaf.position_of(found);
    return {leaf.value[at], index * 16 + at, found};
  }

  [[gnu::noinline]] [[nodiscard]] Entry find_tall(std::uint32_t tree, Key key) const noexcept {
    return find_below(
        tree, node(tree).height, key,
        [this](std::uint32_t leaf, Key lowest) noexcept { return find_in(leaf, lowest); });
  }

  /// Returns what `search(leaf, key)` finds in the leaf that has the key or should have it, or else in
  /// the first one behind that in which it finds anything, of those below a node at `level`.
  template <class Search>
  [[nodiscard]] Entry find_below(std::uint32_t index, std::uint32_t level, Key key,
                                 const Search& search) const noexcept {
    if (level == 0) return search(index, key);
    const Node& here = node(index);
    Entry found;
    for (std::uint32_t at = here.child_of(key); at < here.count; ++at) {
      found = find_below(here.value[at], level - 1, key, search);
      if (found.value != no_record) break;
      key = 0;  // what is behind has higher ones only
    }
    return found;
  }

  void insert_tall(std::uint32_t tree, const Item& item) noexcept {
    if (node(tree).is_full()) raise(tree);
    static_cast<void>(insert_below(tree, node(tree).height, item));
  }

  /// Returns the node that comes behind this one now if it was full and became two, or `no_record`.
  std::uint32_t insert_below(std::uint32_t index, std::uint32_t level, Item item) noexcept {
    Node& here = node(index);
    if (level != 0) {
      const std::uint32_t at = here.child_of(item.key);
      const std::uint32_t upper = insert_below(here.value[at], level - 1, item);
      here.sum_up(at, node(here.value[at]));
      if (upper == no_record) return no_record;
      item = node(upper).item_above(upper);
    }
    if (here.is_full()) return split(index, level, item);
    put(index, level, item);
    return no_record;
  }

  [[nodiscard]] bool is_short(std::uint32_t index) const noexcept {
    return node(index).count < Node::fewest;
  }

  /// Gives the nodes below one, on the way to a key, enough entries.
  void balance_below(std::uint32_t index, std::uint32_t level, Key key) noexcept {
    if (level == 0) return;
    Node& here = node(index);
    const std::uint32_t at = here.child_of(key);
    balance_below(here.value[at], level - 1, key);
    here.sum_up(at, node(here.value[at]));
    if (is_short(here.value[at]) && here.count != 1) refill(here, level - 1, at);
  }

  /// Adds an entry to a node that is not full.
  void put(std::uint32_t index, std::uint32_t level, const Item& item) noexcept {
    Node& to = node(index);
    const std::uint32_t at = level == 0 ? to.count : to.keys_up_to(item.key);
    if (level == 0) track(item.value, index * 16 + at);
    to.insert(at, item);
  }

  /// Removes all entries of a node and returns them.
  [[nodiscard]] Node take(std::uint32_t index) noexcept {
    const Node taken = node(index);
    node(index).clear();
    return taken;
  }

  /// Puts the `count` entries with the lowest keys in the node `left` and the others in `right`. No
  /// branch depends on the keys, which a branch predictor could not predict.
  void deal(const Node& all, std::uint32_t level, std::uint32_t count, std::uint32_t left,
            std::uint32_t right) noexcept {
    for (std::uint32_t i = 0; i < all.count; ++i) {
      const bool is_left = all.count <= count || all.keys_up_to(all.key[i]) <= count;
      put(is_left ? left : right, level, all.item(i));
    }
  }

  /// Moves the entries of a root to a node below it.
  void raise(std::uint32_t tree) noexcept {
    Node& root = node(tree);
    const std::uint32_t level = root.height;
    const std::uint32_t below = make();
    deal(take(tree), level, Node::most, below, below);
    root.insert(0, node(below).item_above(below));
    root.key[0] = 0;
    root.height = static_cast<std::uint16_t>(level + 1);
  }

  /// Moves the entries of the root's only node to the root.
  void lower(std::uint32_t tree) noexcept {
    Node& root = node(tree);
    const std::uint32_t below = root.value[0];
    const std::uint32_t level = root.height - 1U;
    root.clear();
    deal(take(below), level, Node::most, tree, tree);
    root.height = static_cast<std::uint16_t>(level);
    release(below);
  }

  /// Makes two of a full node, half of the entries in each, a new one included. Returns the upper one.
  [[gnu::noinline]] std::uint32_t split(std::uint32_t left, std::uint32_t level,
                                        const Item& item) noexcept {
    const std::uint32_t right = make();
    const Node all = take(left);
    constexpr std::uint32_t half = (Node::most + 1) / 2;
    const bool is_lower = all.keys_up_to(item.key) < half;
    deal(all, level, is_lower ? half - 1 : half, left, right);
    put(is_lower ? left : right, level, item);
    return right;
  }

  /// Refills a parent's node at `level`, which has too few entries, from a neighboring one, or merges
  /// both.
  void refill(Node& parent, std::uint32_t level, std::uint32_t at) noexcept {
    if (at != 0) --at;
    const std::uint32_t left = parent.value[at];
    const std::uint32_t right = parent.value[at + 1];
    if (level != 0) node(right).key[0] = parent.key[at + 1];
    const Node lower = take(left);
    const Node upper = take(right);
    const std::uint32_t all = lower.count + upper.count;
    const std::uint32_t count = all <= Node::most ? all : all / 2;
    deal(lower, level, count, left, right);
    deal(upper, level, count > lower.count ? count - lower.count : 0, left, right);
    parent.sum_up(at, node(left));
    if (count == all) {
      release(right);
      parent.remove_ordered(at + 1);
    } else {
      parent.key[at + 1] = node(right).lowest_from(0);
      parent.sum_up(at + 1, node(right));
    }
  }

  /// Checks a node at `level`, its keys from `lowest` on and below `bound`.
  template <class Visitor>
  [[nodiscard]] bool is_valid_node(std::uint32_t index, std::uint32_t level, Key lowest, Key bound,
                                   Visitor& visitor) const {
    const Node& checked = node(index);
    for (std::uint32_t i = 0; i < checked.count; ++i) {
      const Item item = checked.item(i);
      if (level == 0) {
        if (item.key < lowest || item.key >= bound || !visitor(item)) return false;
        if (!Node::has_sizes && (*records_)[item.value].state != index * 16 + i) return false;
        continue;
      }
      const Node& child = node(item.value);
      const Key low = i == 0 ? lowest : item.key;
      const Key high = i + 1U < checked.count ? checked.key[i + 1] : bound;
      if (item.key > low || low < lowest || low >= high) return false;
      if (child.count < Node::fewest) return false;
      if constexpr (Node::has_sizes) {
        if (item.size != child.largest()) return false;
      }
      if (!is_valid_node(item.value, level - 1, low, high, visitor)) return false;
    }
    return checked.ends_well();
  }

  RecordSlab* records_;
  std::uint32_t trees_;
};

}  // namespace allot::detail::tree
