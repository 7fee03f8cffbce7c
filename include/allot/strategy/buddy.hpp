// SPDX-License-Identifier: MIT
/// \file
/// `Buddy`: blocks of 2^k units, split in halves and merged with their other half (Knowlton, 1965).
/// Every block is aligned to its own size; what a request loses to rounding is reported as padding.
#pragma once

#include <allot/core/block.hpp>
#include <allot/strategy/detail/block_sequence.hpp>
#include <allot/strategy/detail/free_tree.hpp>
#include <allot/strategy/strategy.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <optional>

namespace allot {

/// Takes the smallest free order that is at least the request's and its alignment's, there the
/// block with the lowest offset, and keeps the lower half until the size is right. A capacity that
/// is no power of two starts as its binary decomposition, largest block first.
///
/// Complexity: O(log n) for allocate and deallocate, and one split or merge for each order between.
/// 40 bytes a block.
class Buddy : public detail::BlockSequence {
 public:
  /// \param capacity  units, at least one
  /// Throws: `std::bad_alloc`.
  explicit Buddy(std::uint64_t capacity) : BlockSequence{capacity} {
    roots_.fill(detail::no_record);
    records_.ensure(static_cast<std::uint64_t>(std::popcount(capacity)));
    std::uint64_t offset = 0;
    for (int order = 63; order >= 0; --order) {
      const std::uint64_t size = std::uint64_t{1} << order;
      if ((capacity & size) == 0) continue;
      add_free(insert_before(list_head, offset, size));
      offset += size;
    }
  }

  /// Grants the size rounded up to a power of two.
  /// Throws: `std::bad_alloc` where bookkeeping needs memory; nothing has changed.
  [[nodiscard]] std::optional<Placement> allocate(std::uint64_t size, std::uint64_t alignment) {
    if (size > (std::uint64_t{1} << 63)) return std::nullopt;
    const std::uint64_t granted = std::bit_ceil(size);
    const std::uint64_t orders = orders_ & (0 - std::max(granted, alignment));
    if (orders == 0) return std::nullopt;
    const int order = std::countr_zero(orders);
    records_.ensure(static_cast<std::uint64_t>(order) + spare_records);
    std::uint32_t chosen = Tree::extreme(records_, root(order), 0);
    remove_free(chosen);
    for (std::uint64_t half = std::uint64_t{1} << order >> 1; half >= granted; half >>= 1) {
      detail::Record& lower = records_[chosen];
      lower.size = half;
      add_free(insert_before(lower.next, lower.offset + half, half));
    }
    if (!records_.has_unused_generation(chosen)) [[unlikely]] {
      const std::uint32_t fresh = insert_before(chosen, records_[chosen].offset, granted);
      remove(chosen);
      chosen = fresh;
    }
    return make_used(chosen);
  }

  /// Returns false, and changes nothing, where no such block is live.
  bool deallocate(Handle handle, std::uint64_t offset) noexcept {
    if (!is_live(handle, offset)) return false;
    std::uint32_t index = handle.index;
    end_use(index);
    for (;;) {
      const detail::Record& freed = records_[index];
      const bool is_upper = (freed.offset & freed.size) != 0;
      const std::uint32_t buddy = is_upper ? freed.previous : freed.next;
      if (!is_free(buddy) || records_[buddy].size != freed.size) break;
      if (records_[buddy].offset != (freed.offset ^ freed.size)) break;
      remove_free(buddy);
      const std::uint32_t lower = is_upper ? buddy : index;
      remove(is_upper ? index : buddy);
      records_[lower].size *= 2;
      index = lower;
    }
    add_free(index);
    return true;
  }

  /// Complexity: constant.
  [[nodiscard]] std::uint64_t largest_free() const noexcept { return std::bit_floor(orders_); }

  /// Complexity: O(n log n).
  [[nodiscard]] bool validate() const noexcept {
    if (!sequence_is_valid()) return false;
    bool valid = true;
    for_each([&](std::uint64_t offset, std::uint64_t size, bool) {
      valid = valid && std::has_single_bit(size) && (offset & (size - 1)) == 0;
    });
    std::uint64_t count = 0;
    for (int order = 0; order < 64; ++order) {
      const std::uint32_t tree = roots_[static_cast<std::size_t>(order)];
      if ((tree != detail::no_record) != ((orders_ >> order & 1) != 0)) return false;
      if (tree == detail::no_record) continue;
      valid = valid && Tree::is_valid(records_, tree, count);
      for (const int side : {0, 1}) {
        const std::uint32_t end = Tree::extreme(records_, tree, side);
        valid = valid && records_[end].size == std::uint64_t{1} << order;
      }
    }
    return valid && count == free_blocks_ && buddies_are_merged();
  }

 private:
  using Tree = detail::FreeTree<detail::BySizeThenOffset>;  // one size a tree: by offset

  [[nodiscard]] std::uint32_t& root(int order) noexcept {
    return roots_[static_cast<std::size_t>(order)];
  }

  void add_free(std::uint32_t index) noexcept {
    make_free(index);
    const int order = std::countr_zero(records_[index].size);
    Tree::insert(records_, root(order), index);
    orders_ |= std::uint64_t{1} << order;
  }

  void remove_free(std::uint32_t index) noexcept {
    const int order = std::countr_zero(records_[index].size);
    Tree::erase(records_, root(order), index);
    if (root(order) == detail::no_record) orders_ &= ~(std::uint64_t{1} << order);
    --free_blocks_;
  }

  [[nodiscard]] bool buddies_are_merged() const noexcept {
    for (std::uint32_t i = records_[list_head].next; i != list_head; i = records_[i].next) {
      const detail::Record& lower = records_[i];
      if (!is_free(i) || !is_free(lower.next) || (lower.offset & lower.size) != 0) continue;
      if (records_[lower.next].size == lower.size) return false;
    }
    return true;
  }

  std::uint64_t orders_ = 0;  // bit k: a block of 2^k units is free
  std::array<std::uint32_t, 64> roots_;
};

static_assert(Strategy<Buddy>);

}  // namespace allot
