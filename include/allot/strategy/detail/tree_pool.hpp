// SPDX-License-Identifier: MIT
/// \file
/// Maps from keys to 32-bit values, many of them over one pool of nodes: B+-trees (Bayer and
/// McCreight, 1972; Comer, 1979) whose leaves are not sorted inside. Free indices are made of them.
///
/// A leaf takes an entry at its end and gives one up by moving its last; its least entry is found
/// in one pass. A map of up to seven entries has no node. Nothing here calls the system allocator
/// but `ensure`.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/strategy/detail/record_slab.hpp>
#include <allot/strategy/detail/tree_node.hpp>
#include <allot/strategy/detail/tree_shape.hpp>

#include <cstdint>

namespace allot::detail {

/// \tparam KeyType  unsigned; its highest value is no key
/// \tparam IsSized  whether each entry has a size, too, and each node above the leaves knows the
///                  largest below each of its entries
///
/// A value is a record's index. Where entries have no sizes, the record's state says where its
/// entry is, so that it is erased without a search: entry n of map m is at 16 m + n, that of leaf l
/// at in_leaf + 16 l + n.
template <class KeyType, bool IsSized = false>
class TreePool : public TreeShape<KeyType, IsSized> {
  using Shape = TreeShape<KeyType, IsSized>;

 public:
  using Shape::in_leaf;
  using typename Shape::Key;
  using typename Shape::Root;

  /// \param map  the root's number
  /// Requires: no such key in the map; room, as `nodes_for` says.
  [[gnu::always_inline]] void insert(RecordSlab& records, Root& root, std::uint32_t map, Key key,
                                     std::uint32_t value, Key size = 0) noexcept {
    if (root.height == 0 && root.count < Root::most) [[likely]] {
      track(records, value, map * 16 + root.count);
      append(root, key, value, size);
      return;
    }
    insert_tall(records, root, key, value, size);
  }

  [[nodiscard]] static constexpr std::uint32_t map_of(std::uint32_t location) noexcept {
    return location / 16;
  }

  /// Erases an entry of a map without nodes.
  void erase_short(RecordSlab& records, Root& root, std::uint32_t location) noexcept
      requires(!IsSized) {
    remove(records, root, location);
  }

  /// Erases an entry of a leaf. Returns whether `balance_at` must follow.
  [[nodiscard]] bool erase_tall(RecordSlab& records, std::uint32_t location) noexcept
      requires(!IsSized) {
    Node& leaf = nodes_[(location - in_leaf) / 16];
    remove(records, leaf, location);
    return leaf.count < fewest;
  }

  /// After an entry of this key was erased from its leaf.
  void balance_at(RecordSlab& records, Root& root, std::uint32_t map, Key key) noexcept {
    if (is_alone(root) && nodes_[root.value[0]].count >= fewest_alone) return;
    TreeCursor cursor;
    descend(root, key, cursor);
    balance(records, root, map, cursor);
  }

  /// The value of the lowest key that is at least `key`, or `no_record`; `cursor` is there.
  [[gnu::always_inline]] [[nodiscard]] std::uint32_t find(const Root& root, Key key,
                                                          TreeCursor& cursor) const noexcept {
    if (root.height == 0) [[likely]]
      return find_in(root, key, cursor);
    const Node& leaf = key == 0 ? descend_first(root, cursor) : descend(root, key, cursor);
    const std::uint32_t found = find_in(leaf, key, cursor);
    return found != no_record ? found : find_in_next_leaf(root, cursor);
  }

  /// The value of the lowest key that is at least `key` and whose value `accepts`, or `no_record`;
  /// `cursor` is there. Complexity: O(log n), and a look at each value that is refused.
  template <class Predicate>
  [[nodiscard]] std::uint32_t find_accepted(const Root& root, Key key, TreeCursor& cursor,
                                            Predicate accepts) const noexcept {
    if (root.height == 0) return find_accepted_in(root, key, cursor, accepts);
    const Node* leaf = &descend(root, key, cursor);
    for (; leaf != nullptr; leaf = next_leaf(root, cursor)) {
      const std::uint32_t found = find_accepted_in(*leaf, key, cursor, accepts);
      if (found != no_record) return found;
    }
    return no_record;
  }

  /// The value of the highest key. Requires: not empty.
  [[nodiscard]] std::uint32_t last(const Root& root) const noexcept {
    if (root.height == 0) return last_in(root);
    const Node* node = &nodes_[root.value[root.count - 1]];
    for (std::uint32_t level = root.height; --level > 0;) {
      node = &nodes_[node->value[node->count - 1]];
    }
    return last_in(*node);
  }

  /// Erases the entry under the cursor.
  [[gnu::always_inline]] void erase_at(RecordSlab& records, Root& root, std::uint32_t map,
                                       TreeCursor& cursor) noexcept {
    if (root.height == 0) [[likely]] {
      remove(records, root, map * 16 + cursor.at[0]);
      return;
    }
    Node& leaf = nodes_[cursor.node[0]];
    remove(records, leaf, in_leaf + cursor.node[0] * 16 + cursor.at[0]);
    if (leaf.count < (is_alone(root) ? fewest_alone : fewest)) [[unlikely]] {
      balance(records, root, map, cursor);
    } else {
      refresh_sizes(root, cursor, 0);
    }
  }

  /// Where a key is. Requires: it is in the map.
  void seek(const Root& root, Key key, TreeCursor& cursor) const noexcept requires IsSized {
    cursor.at[0] = static_cast<std::uint8_t>(
        root.height != 0 ? position_of(descend(root, key, cursor), key) : position_of(root, key));
  }

  /// Gives the entry under the cursor another key, in the same place in the order, value and size.
  void rekey_at(Root& root, const TreeCursor& cursor, Key key, std::uint32_t value,
                Key size) noexcept requires IsSized {
    if (root.height == 0) {
      root.key[cursor.at[0]] = key;
      root.value[cursor.at[0]] = value;
      root.size[cursor.at[0]] = size;
      return;
    }
    Node& leaf = nodes_[cursor.node[0]];
    leaf.key[cursor.at[0]] = key;
    leaf.value[cursor.at[0]] = value;
    leaf.size[cursor.at[0]] = size;
    bound_below(root, cursor, key);
    bound_above(root, cursor, key);
    refresh_sizes(root, cursor, 0);
  }

  /// The value of the lowest key whose size is at least `size` and for which `accepts(key, size)`,
  /// or `no_record`; `cursor` is there. Complexity: O(log n) where `accepts` refuses none.
  template <class Predicate>
  [[nodiscard]] std::uint32_t find_sized(const Root& root, std::uint64_t size, TreeCursor& cursor,
                                         Predicate accepts) const noexcept requires IsSized {
    if (size >= Root::no_key) return no_record;
    const Key wanted = static_cast<Key>(size);
    if (root.height == 0) return find_sized_in(root, wanted, cursor, accepts);
    std::uint32_t level = root.height;
    std::uint32_t at = 0;
    for (;;) {
      if (level == 0) {
        const std::uint32_t found = find_sized_in(nodes_[cursor.node[0]], wanted, cursor, accepts);
        if (found != no_record) return found;
        at = cursor.at[++level] + 1U;
        continue;
      }
      const bool is_root = level == root.height;
      at = is_root ? next_of_size(root, at, wanted)
                   : next_of_size(nodes_[cursor.node[level]], at, wanted);
      if (at == no_record) {
        if (is_root) return no_record;
        at = cursor.at[++level] + 1U;
        continue;
      }
      cursor.at[level] = static_cast<std::uint8_t>(at);
      const std::uint32_t child = is_root ? root.value[at] : nodes_[cursor.node[level]].value[at];
      cursor.node[--level] = child;
      at = 0;
    }
  }

  /// The largest size, 0 where there is none.
  [[nodiscard]] Key largest(const Root& root) const noexcept requires IsSized {
    return largest_size(root);
  }

 private:
  using Shape::balance;
  using Shape::descend;
  using Shape::descend_first;
  using Shape::fewest;
  using Shape::fewest_alone;
  using Shape::lower_entries;
  using Shape::nodes_;
  using Shape::refresh_sizes;
  using Shape::remove;
  using Shape::split;
  using Shape::track;
  using typename Shape::Node;

  /// Whether the map is one leaf.
  [[nodiscard]] static bool is_alone(const Root& root) noexcept {
    return root.height == 1 && root.count == 1;
  }

  /// The first entry from `at` on that has such a size below it, or `no_record`.
  template <class Parent>
  [[nodiscard]] static std::uint32_t next_of_size(const Parent& parent, std::uint32_t at,
                                                  Key size) noexcept {
    for (; at < parent.count; ++at) {
      if (parent.size[at] >= size) return at;
    }
    return no_record;
  }

  template <class Leaf>
  [[nodiscard]] static std::uint32_t find_in(const Leaf& leaf, Key key,
                                             TreeCursor& cursor) noexcept {
    const Key found = lowest_from(leaf, key);
    if (found == Leaf::no_key) return no_record;
    cursor.key = found;
    const std::uint32_t at = position_of(leaf, found);
    cursor.at[0] = static_cast<std::uint8_t>(at);
    return leaf.value[at];
  }

  template <class Leaf, class Predicate>
  [[nodiscard]] static std::uint32_t find_sized_in(const Leaf& leaf, Key size, TreeCursor& cursor,
                                                   Predicate accepts) noexcept {
    Key lowest = Leaf::no_key;
    for (std::uint32_t i = 0; i < Leaf::most; ++i) {
      const bool is_lower = leaf.size[i] >= size && leaf.key[i] < lowest;
      if (is_lower && accepts(leaf.key[i], leaf.size[i])) lowest = leaf.key[i];
    }
    if (lowest == Leaf::no_key) return no_record;
    const std::uint32_t at = position_of(leaf, lowest);
    cursor.at[0] = static_cast<std::uint8_t>(at);
    return leaf.value[at];
  }

  template <class Leaf>
  [[nodiscard]] static std::uint32_t last_in(const Leaf& leaf) noexcept {
    std::uint32_t last = 0;
    for (std::uint32_t i = 1; i < leaf.count; ++i) {
      if (leaf.key[i] > leaf.key[last]) last = i;
    }
    return leaf.value[last];
  }

  /// Moves the cursor to the next leaf and returns it; null where there is none.
  [[nodiscard]] const Node* next_leaf(const Root& root, TreeCursor& cursor) const noexcept {
    for (std::uint32_t level = 1; level <= root.height; ++level) {
      const bool is_root = level == root.height;
      const std::uint32_t at = ++cursor.at[level];
      if (at == (is_root ? root.count : nodes_[cursor.node[level]].count)) continue;
      std::uint32_t index = is_root ? root.value[at] : nodes_[cursor.node[level]].value[at];
      for (; --level > 0; index = nodes_[index].value[0]) {
        cursor.node[level] = index;
        cursor.at[level] = 0;
      }
      cursor.node[0] = index;
      return &nodes_[index];
    }
    return nullptr;
  }

  /// The value of the least key of the leaf after the cursor's, or `no_record`.
  [[nodiscard]] std::uint32_t find_in_next_leaf(const Root& root,
                                                TreeCursor& cursor) const noexcept {
    const Node* const leaf = next_leaf(root, cursor);
    return leaf == nullptr ? no_record : find_in(*leaf, 0, cursor);
  }

  /// The value of the lowest key from `key` on that `accepts`.
  template <class Leaf, class Predicate>
  [[nodiscard]] static std::uint32_t find_accepted_in(const Leaf& leaf, Key key, TreeCursor& cursor,
                                                      Predicate& accepts) noexcept {
    Key lowest = Leaf::no_key;
    std::uint32_t at = 0;
    for (std::uint32_t i = 0; i < leaf.count; ++i) {
      if (leaf.key[i] < key || leaf.key[i] >= lowest || !accepts(leaf.value[i])) continue;
      lowest = leaf.key[i];
      at = i;
    }
    if (lowest == Leaf::no_key) return no_record;
    cursor.key = lowest;
    cursor.at[0] = static_cast<std::uint8_t>(at);
    return leaf.value[at];
  }

  void insert_tall(RecordSlab& records, Root& root, Key key, std::uint32_t value,
                   Key size) noexcept {
    if (root.height == 0) lower_entries(records, root);
    TreeCursor cursor;
    Node& leaf = descend(root, key, cursor);
    if (leaf.count == Node::most) [[unlikely]] {
      split(records, root, cursor, key, value, size);
      return;
    }
    track(records, value, in_leaf + cursor.node[0] * 16 + leaf.count);
    append(leaf, key, value, size);
    refresh_sizes(root, cursor, 0);
  }

  /// Keeps the key under the cursor from being below the bound of its node.
  void bound_below(Root& root, const TreeCursor& cursor, Key key) noexcept {
    for (std::uint32_t level = 1; level <= root.height; ++level) {
      const std::uint32_t at = cursor.at[level];
      Key& bound = level == root.height ? root.key[at] : nodes_[cursor.node[level]].key[at];
      bound = smaller(bound, key);
      if (at != 0) return;
    }
  }

  /// Keeps the key under the cursor below the bound of the next node.
  void bound_above(Root& root, const TreeCursor& cursor, Key key) noexcept {
    for (std::uint32_t level = 1; level <= root.height; ++level) {
      const bool is_root = level == root.height;
      const std::uint32_t next = cursor.at[level] + 1U;
      if (next == (is_root ? root.count : nodes_[cursor.node[level]].count)) continue;
      Key& bound = is_root ? root.key[next] : nodes_[cursor.node[level]].key[next];
      bound = larger(bound, static_cast<Key>(key + 1));
      return;
    }
  }
};

}  // namespace allot::detail
