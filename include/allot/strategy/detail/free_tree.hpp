// SPDX-License-Identifier: MIT
/// \file
/// An ordered tree of free blocks inside their own records: a treap (Seidel and Aragon, 1996) whose
/// priorities are a hash of the record's index, so that it needs two 32-bit links and nothing else.
/// Depths are logarithmic in expectation.
#pragma once

#include <allot/strategy/detail/record_slab.hpp>

#include <cstdint>

namespace allot::detail {

/// Orders free blocks by size, equal sizes by offset.
struct BySizeThenOffset {
  [[nodiscard]] static bool less(const Record& a, const Record& b) noexcept {
    return a.size != b.size ? a.size < b.size : a.offset < b.offset;
  }
};

/// A permutation of the 32-bit numbers that looks random: distinct records, distinct priorities.
[[nodiscard]] constexpr std::uint32_t tree_priority(std::uint32_t index) noexcept {
  index ^= index >> 16;
  index *= 0x7feb'352dU;
  index ^= index >> 15;
  index *= 0x846c'a68bU;
  return index ^ (index >> 16);
}

/// The operations; the tree itself is a root index, `no_record` while empty.
template <class Order>
struct FreeTree {
  /// Complexity: O(log n) expected, like all below.
  static void insert(RecordSlab& records, std::uint32_t& root, std::uint32_t node) noexcept {
    const std::uint32_t priority = tree_priority(node);
    const Record& inserted = records[node];
    std::uint32_t* link = &root;
    while (*link != no_record && tree_priority(*link) > priority) {
      Record& here = records[*link];
      link = &here.child[Order::less(here, inserted)];
    }
    std::uint32_t rest = *link;
    *link = node;
    std::uint32_t* lower = &records[node].child[0];
    std::uint32_t* upper = &records[node].child[1];
    while (rest != no_record) {
      Record& here = records[rest];
      const bool below = Order::less(here, inserted);
      std::uint32_t*& side = below ? lower : upper;
      *side = rest;
      side = &here.child[below];
      rest = *side;
    }
    *lower = no_record;
    *upper = no_record;
  }

  /// Requires: `node` is in the tree under `root`, its key unchanged since it was inserted.
  static void erase(RecordSlab& records, std::uint32_t& root, std::uint32_t node) noexcept {
    const Record& erased = records[node];
    std::uint32_t* link = &root;
    while (*link != node) {
      Record& here = records[*link];
      link = &here.child[Order::less(here, erased)];
    }
    std::uint32_t left = erased.child[0];
    std::uint32_t right = erased.child[1];
    while (left != no_record && right != no_record) {
      const bool take_left = tree_priority(left) > tree_priority(right);
      std::uint32_t& taken = take_left ? left : right;
      *link = taken;
      link = &records[taken].child[take_left];
      taken = *link;
    }
    *link = left != no_record ? left : right;
  }

  /// The lowest block (`side` 0) or the highest (`side` 1). Requires: the tree is not empty.
  [[nodiscard]] static std::uint32_t extreme(const RecordSlab& records, std::uint32_t root,
                                             int side) noexcept {
    while (records[root].child[side] != no_record) root = records[root].child[side];
    return root;
  }

  /// Whether the tree is ordered, heap-ordered and made of free records; adds its size to `count`.
  [[nodiscard]] static bool is_valid(const RecordSlab& records, std::uint32_t root,
                                     std::uint64_t& count) noexcept {
    if (root == no_record) return true;
    ++count;
    const Record& here = records[root];
    if (here.state > highest_free_state) return false;
    const std::uint32_t left = here.child[0];
    const std::uint32_t right = here.child[1];
    if (left != no_record) {
      if (tree_priority(left) > tree_priority(root)) return false;
      if (!Order::less(records[extreme(records, left, 1)], here)) return false;
    }
    if (right != no_record) {
      if (tree_priority(right) > tree_priority(root)) return false;
      if (!Order::less(here, records[extreme(records, right, 0)])) return false;
    }
    return is_valid(records, left, count) && is_valid(records, right, count);
  }
};

}  // namespace allot::detail
