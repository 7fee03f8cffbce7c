// SPDX-License-Identifier: MIT
/// \file
/// Maps from keys to 32-bit values, many of them over one pool of nodes: B+-trees (Bayer and
/// McCreight, 1972; Comer, 1979) whose leaves are not sorted inside. Free indices are made of them.
///
/// A leaf takes an entry at its end and gives one up by moving its last; its least entry is found in
/// one pass. A map of up to seven entries has no node. Nothing here calls the system allocator but
/// `ensure`.
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
/// A value is a record's index. Where entries have no sizes, the record's state says where its entry
/// is, so that it is erased without a search: entry n of map m is at 16 m + n, that of leaf l at
/// in_leaf + 16 l + n.
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
    if (root.count < Root::most) [[likely]] {
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
    if (root.count == Root::tall && nodes_[root.value[0]].count >= fewest_alone) return;
    TreeCursor cursor;
    descend(root, key, cursor);
    balance(records, root, map, cursor);
  }

  /// The value of the lowest key that is at least `key`, or `no_record`; `cursor` is there.
  [[gnu::always_inline]] [[nodiscard]] std::uint32_t find(const Root& root, Key key,
                                                          TreeCursor& cursor) const noexcept {
    if (root.count <= Root::most) [[likely]]
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
    if (root.count <= Root::most) return find_accepted_in(root, key, cursor, accepts);
    const Node* leaf = &descend(root, key, cursor);
    for (; leaf != nullptr; leaf = next_leaf(root, cursor)) {
      const std::uint32_t found = find_accepted_in(*leaf, key, cursor, accepts);
      if (found != no_record) return found;
    }
    return no_record;
  }

  /// The value of the highest key. Requires: not empty.
  [[nodiscard]] std::uint32_t last(const Root& root) const noexcept {
    if (root.count <= Root::most) return last_in(root);
    const Node* node = &nodes_[root.value[0]];
    for (std::uint32_t level = root.height(); --level > 0;) {
      node = &nodes_[node->value[node->count - 1]];
    }
    return last_in(*node);
  }

  /// Erases the entry under the cursor.
  [[gnu::always_inline]] void erase_at(RecordSlab& records, Root& root, std::uint32_t map,
                                       TreeCursor& cursor) noexcept {
    if (root.count <= Root::most) [[likely]] {
      remove(records, root, map * 16 + cursor.at[0]);
      return;
    }
    Node& leaf = nodes_[cursor.node[0]];
    remove(records, leaf, in_leaf + cursor.node[0] * 16 + cursor.at[0]);
    const bool is_alone = root.count == Root::tall;
    if (leaf.count < (is_alone ? fewest_alone : fewest)) [[unlikely]] {
      balance(records, root, map, cursor);
    } else {
      refresh_sizes(root, cursor, 0);
    }
  }

  /// Where a key is. Requires: it is in the map.
  void seek(const Root& root, Key key, TreeCursor& cursor) const noexcept requires IsSized {
    const bool is_tall = root.count > Root::most;
    cursor.at[0] = static_cast<std::uint8_t>(is_tall ? position_of(descend(root, key, cursor), key)
                                                     : position_of(root, key));
  }

  /// Gives the entry under the cursor another key, in the same place in the order, value and size.
  void rekey_at(Root& root, const TreeCursor& cursor, Key key, std::uint32_t value,
                Key size) noexcept requires IsSized {
    if (root.count <= Root::most) {
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
    if (root.count <= Root::most) return find_sized_in(root, wanted, cursor, accepts);
    const std::uint32_t height = root.height();
    std::uint32_t level = height - 1;
    cursor.node[level] = root.value[0];
    std::uint32_t at = 0;
    for (;;) {
      const Node& node = nodes_[cursor.node[level]];
      if (level == 0) {
        const std::uint32_t found = find_sized_in(node, wanted, cursor, accepts);
        if (found != no_record) return found;
        at = cursor.at[++level] + 1U;
        if (height == 1) return no_record;
        continue;
      }
      while (at < node.count && node.size[at] < wanted) ++at;
      if (at == node.count) {
        if (++level == height) return no_record;
        at = cursor.at[level] + 1U;
        continue;
      }
      cursor.at[level] = static_cast<std::uint8_t>(at);
      cursor.node[--level] = node.value[at];
      at = 0;
    }
  }

  /// The largest size, 0 where there is none.
  [[nodiscard]] Key largest(const Root& root) const noexcept requires IsSized {
    return root.count <= Root::most ? largest_size(root) : largest_size(nodes_[root.value[0]]);
  }

 private:
  using Shape::balance;
  using Shape::descend;
  using Shape::descend_first;
  using Shape::fewest;
  using Shape::fewest_alone;
  using Shape::nodes_;
  using Shape::raise;
  using Shape::refresh_sizes;
  using Shape::remove;
  using Shape::split;
  using Shape::track;
  using typename Shape::Node;

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
    const std::uint32_t height = root.height();
    for (std::uint32_t level = 1; level < height; ++level) {
      const Node& node = nodes_[cursor.node[level]];
      if (++cursor.at[level] == node.count) continue;
      std::uint32_t index = node.value[cursor.at[level]];
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
    if (root.count == Root::most) raise(records, root);
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
  void bound_below(const Root& root, const TreeCursor& cursor, Key key) noexcept {
    for (std::uint32_t level = 1; level < root.height(); ++level) {
      Key& bound = nodes_[cursor.node[level]].key[cursor.at[level]];
      bound = smaller(bound, key);
      if (cursor.at[level] != 0) return;
    }
  }

  /// Keeps the key under the cursor below the bound of the next node.
  void bound_above(const Root& root, const TreeCursor& cursor, Key key) noexcept {
    for (std::uint32_t level = 1; level < root.height(); ++level) {
      Node& node = nodes_[cursor.node[level]];
      const std::uint32_t next = cursor.at[level] + 1U;
      if (next == node.count) continue;
      node.key[next] = larger(node.key[next], static_cast<Key>(key + 1));
      return;
    }
  }
};

}  // namespace allot::detail
