// SPDX-License-Identifier: MIT
/// \file
/// Free blocks of 2^k units: a tree by offset for each order k, and a bitmap of the orders that are
/// not empty.
#pragma once

#include <allot/strategy/detail/block_sequence.hpp>
#include <allot/strategy/detail/records.hpp>
#include <allot/strategy/detail/tree/node.hpp>
#include <allot/strategy/detail/tree/tree.hpp>

#include <bit>
#include <cstdint>

namespace allot::detail {

/// \tparam KeyType  unsigned, its highest value above the capacity
template <class KeyType>
class OrderTrees {
 public:
  OrderTrees(RecordSlab& records, std::uint64_t) noexcept
      : records_{&records}, trees_{records, most_orders} {}

  /// Makes room for all the free blocks that a slab of `records` records can ever hold. Returns
  /// false, and changes nothing, if that cannot be.
  [[nodiscard]] bool try_ensure(std::uint64_t records) noexcept { return trees_.try_hold(records); }

  /// Forgets every block. Complexity: constant.
  void clear() noexcept {
    orders_ = 0;
    trees_.clear();
  }

  /// Bit k is set if a block of 2^k units is free.
  [[nodiscard]] std::uint64_t orders() const noexcept { return orders_; }

  /// Requires: `size` is a power of two. Complexity: O(log n), like all below but `is_valid`.
  void insert(std::uint32_t record, std::uint64_t offset, std::uint64_t size) noexcept {
    const auto order = static_cast<std::uint32_t>(std::countr_zero(size));
    (*records_)[record].free_size = size;
    trees_.insert(order, {key_of(offset, order), record});
    orders_ |= size;
  }

  void erase(std::uint32_t record) noexcept {
    const Record& erased = (*records_)[record];
    const auto order = static_cast<std::uint32_t>(std::countr_zero(erased.free_size));
    erase_at(order, erased.state, key_of(erased.offset, order));
  }

  /// Erases the block of 2^order units with the lowest offset and returns it. Requires: there is
  /// one.
  [[nodiscard]] std::uint32_t take_lowest(std::uint32_t order) noexcept {
    const tree::Entry lowest = trees_.find(order, 0);
    erase_at(order, lowest.location, static_cast<Key>(lowest.key));
    return lowest.value;
  }

  /// Returns the bytes of bookkeeping on the heap.
  [[nodiscard]] std::uint64_t bytes() const noexcept { return trees_.bytes(); }

  /// Returns whether trees and bitmap agree and hold `expected` free blocks. Complexity: linear.
  [[nodiscard]] bool is_valid(std::uint64_t expected) const noexcept {
    std::uint64_t count = 0;
    for (std::uint32_t order = 0; order < most_orders; ++order) {
      if (trees_.is_empty(order) == ((orders_ >> order & 1) != 0)) return false;
      const auto is_right = [&](const typename Trees::Item& item) {
        const Record& record = (*records_)[item.value];
        ++count;
        return record.state <= highest_free_state &&
               record.free_size == std::uint64_t{1} << order &&
               size_of(*records_, record) == record.free_size &&
               key_of(record.offset, order) == item.key;
      };
      if (!trees_.is_valid(order, is_right)) return false;
    }
    return count == expected;
  }

 private:
  using Key = KeyType;
  using Trees = tree::Trees<tree::Node<Key>>;

  static constexpr std::uint32_t most_orders = 64;

  [[nodiscard]] static Key key_of(std::uint64_t offset, std::uint32_t order) noexcept {
    return static_cast<Key>(offset >> order);
  }

  void erase_at(std::uint32_t order, std::uint32_t location, Key key) noexcept {
    const bool is_short = trees_.remove(location);
    if (trees_.is_in_root(location)) {
      if (trees_.is_empty(order)) orders_ &= ~(std::uint64_t{1} << order);
    } else if (is_short) {
      trees_.balance_at(order, key);
    }
  }

  RecordSlab* records_;
  std::uint64_t orders_ = 0;
  Trees trees_;
};

}  // namespace allot::detail
