// SPDX-License-Identifier: MIT
/// \file
/// Free blocks of 2^k units, a map by offset for each order k, and a bitmap of the orders that are
/// not empty.
#pragma once

#include <allot/strategy/detail/block_sequence.hpp>
#include <allot/strategy/detail/record_slab.hpp>
#include <allot/strategy/detail/tree_pool.hpp>

#include <bit>
#include <cstdint>

namespace allot::detail {

/// \tparam Key  unsigned, its highest value not below the capacity
template <class Key>
class OrderTrees {
 public:
  explicit OrderTrees(std::uint64_t) noexcept {}

  /// Makes room for all the free blocks that a slab of so many records can come to hold.
  /// Throws: `std::bad_alloc`.
  void ensure(std::uint64_t records) { trees_.ensure(Trees::nodes_for(records, most_orders)); }

  /// Forgets every block. Complexity: constant.
  void clear() noexcept {
    for (Root& root : roots_) root = {};
    orders_ = 0;
    trees_.clear();
  }

  /// Bit k: a block of 2^k units is free.
  [[nodiscard]] std::uint64_t orders() const noexcept { return orders_; }

  /// Complexity: O(log n), like all below but `is_valid`.
  void insert(RecordSlab& records, int order, std::uint32_t record) noexcept {
    const Key key = key_of(records[record].offset, order);
    records[record].free_size = std::uint64_t{1} << order;
    trees_.insert(records, root(order), static_cast<std::uint32_t>(order), key, record);
    orders_ |= std::uint64_t{1} << order;
  }

  void erase(RecordSlab& records, int order, std::uint32_t record) noexcept {
    const auto map = static_cast<std::uint32_t>(order);
    const std::uint32_t location = records[record].state;
    if (location < Trees::in_leaf) {
      trees_.erase_short(records, root(order), location);
      if (root(order).is_empty()) orders_ &= ~(std::uint64_t{1} << order);
    } else if (trees_.erase_tall(records, location)) {
      trees_.balance_at(records, root(order), map, key_of(records[record].offset, order));
    }
  }

  /// Erases the block with the lowest offset and returns it. Requires: there is one.
  [[nodiscard]] std::uint32_t take_lowest(RecordSlab& records, int order) noexcept {
    TreeCursor cursor;
    const std::uint32_t lowest = trees_.find(root(order), 0, cursor);
    erase(records, order, lowest);
    return lowest;
  }

  /// Bytes of bookkeeping on the heap.
  [[nodiscard]] std::uint64_t bytes() const noexcept { return trees_.bytes(); }

  /// Whether maps and bitmap agree and hold `expected` free blocks. Complexity: linear.
  [[nodiscard]] bool is_valid(const RecordSlab& records, std::uint64_t expected) const noexcept {
    std::uint64_t count = 0;
    for (int order = 0; order < most_orders; ++order) {
      const Root& tree = roots_[static_cast<std::size_t>(order)];
      if (tree.is_empty() == ((orders_ >> order & 1) != 0)) return false;
      const bool right = trees_.is_valid(records, tree, static_cast<std::uint32_t>(order),
                                         [&](Key key, std::uint32_t value, Key) {
                                           ++count;
                                           const Record& record = records[value];
                                           return record.state <= highest_free_state &&
                                                  record.free_size == std::uint64_t{1} << order &&
                                                  size_of(records, record) == record.free_size &&
                                                  key_of(record.offset, order) == key;
                                         });
      if (!right) return false;
    }
    return count == expected;
  }

 private:
  using Trees = TreePool<Key>;
  using Root = typename Trees::Root;

  [[nodiscard]] static Key key_of(std::uint64_t offset, int order) noexcept {
    return static_cast<Key>(offset >> order);
  }

  [[nodiscard]] Root& root(int order) noexcept { return roots_[static_cast<std::size_t>(order)]; }

  static constexpr int most_orders = 64;

  std::uint64_t orders_ = 0;
  Root roots_[most_orders];
  Trees trees_;
};

}  // namespace allot::detail
