// SPDX-License-Identifier: MIT
/// \file
/// Free blocks by offset, each knowing the largest size below it in the tree, so that the lowest
/// block which can hold a request is found in O(log n).
///
/// The largest size is kept as a 32-bit floating-point number with a 26-bit mantissa, rounded down:
/// exact below 2^27 units. Above, a subtree may be searched in vain where its largest block agrees
/// with the request in the leading 27 bits; the answer is exact all the same.
#pragma once

#include <allot/strategy/detail/block_sequence.hpp>
#include <allot/strategy/detail/free_tree.hpp>
#include <allot/strategy/detail/record_slab.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>

namespace allot::detail {

class AddressTree {
 public:
  /// Complexity: O(log n) expected, like all below but `is_valid`.
  void insert(RecordSlab& records, std::uint32_t index) noexcept {
    Record& inserted = records[index];
    const std::uint32_t magnitude = magnitude_of(inserted.size);
    const std::uint32_t priority = tree_priority(index);
    std::uint32_t* link = &root_;
    while (*link != no_record && tree_priority(*link) > priority) {
      Record& here = records[*link];
      here.state = std::max(here.state, magnitude);
      link = &here.child[here.offset < inserted.offset];
    }
    split(records, *link, inserted.offset, inserted.child[0], inserted.child[1]);
    *link = index;
    update(records, index);
  }

  void erase(RecordSlab& records, std::uint32_t index) noexcept {
    root_ = without(records, root_, index);
  }

  /// Moves or resizes a block whose place in the address order stays the same.
  void rekey(RecordSlab& records, std::uint32_t index, std::uint64_t offset,
             std::uint64_t size) noexcept {
    records[index].offset = offset;
    records[index].size = size;
    refresh(records, root_, index);
  }

  /// The block with the lowest offset that holds `size` units at a multiple of `alignment`, or
  /// `no_record`. `tail` (or `no_record`) takes part though it is not in the tree; its offset is
  /// above all others. For alignments above one unit, blocks below size + alignment - 1 units are
  /// looked at one by one.
  [[nodiscard]] std::uint32_t find(const RecordSlab& records, std::uint32_t tail,
                                   std::uint64_t size, std::uint64_t alignment) const noexcept {
    const std::uint32_t found = first(records, root_, size, alignment);
    if (found != no_record || tail == no_record) return found;
    return fits(records[tail].offset, records[tail].size, size, alignment) ? tail : no_record;
  }

  /// Size of the largest block, 0 where there is none.
  [[nodiscard]] std::uint64_t largest(const RecordSlab& records) const noexcept {
    return root_ == no_record ? 0 : largest(records, root_);
  }

  /// Whether the tree is ordered, its summaries are right, and it holds `expected` blocks.
  [[nodiscard]] bool is_valid(const RecordSlab& records, std::uint64_t expected) const noexcept {
    std::uint64_t count = 0;
    return FreeTree<ByOffset>::is_valid(records, root_, count) && count == expected &&
           summaries_are_valid(records, root_);
  }

  /// Monotone; exact below 2^27.
  [[nodiscard]] static constexpr std::uint32_t magnitude_of(std::uint64_t size) noexcept {
    if (size < (std::uint64_t{1} << mantissa_bits)) return static_cast<std::uint32_t>(size);
    const auto exponent = static_cast<std::uint32_t>(std::bit_width(size)) - 1;
    const auto mantissa = static_cast<std::uint32_t>(size >> (exponent - mantissa_bits)) &
                          ((1U << mantissa_bits) - 1);
    return std::min(((exponent - mantissa_bits + 1) << mantissa_bits) + mantissa,
                    highest_free_state);
  }

 private:
  static constexpr std::uint32_t mantissa_bits = 26;

  struct ByOffset {
    [[nodiscard]] static bool less(const Record& a, const Record& b) noexcept {
      return a.offset < b.offset;
    }
  };

  [[nodiscard]] static std::uint32_t magnitude(const RecordSlab& records,
                                               std::uint32_t index) noexcept {
    return index == no_record ? 0 : records[index].state;
  }

  static void update(RecordSlab& records, std::uint32_t index) noexcept {
    Record& here = records[index];
    here.state = std::max({magnitude_of(here.size), magnitude(records, here.child[0]),
                           magnitude(records, here.child[1])});
  }

  /// Parts the tree at `offset` into what lies below and what lies above.
  static void split(RecordSlab& records, std::uint32_t root, std::uint64_t offset,
                    std::uint32_t& below, std::uint32_t& above) noexcept {
    if (root == no_record) {
      below = no_record;
      above = no_record;
      return;
    }
    Record& here = records[root];
    if (here.offset < offset) {
      std::uint32_t rest = here.child[1];
      split(records, rest, offset, here.child[1], above);
      below = root;
    } else {
      std::uint32_t rest = here.child[0];
      split(records, rest, offset, below, here.child[0]);
      above = root;
    }
    update(records, root);
  }

  /// Requires: all of `below` lies below all of `above`.
  [[nodiscard]] static std::uint32_t merge(RecordSlab& records, std::uint32_t below,
                                           std::uint32_t above) noexcept {
    if (below == no_record) return above;
    if (above == no_record) return below;
    const bool lower_leads = tree_priority(below) > tree_priority(above);
    const std::uint32_t top = lower_leads ? below : above;
    Record& here = records[top];
    if (lower_leads) {
      here.child[1] = merge(records, here.child[1], above);
    } else {
      here.child[0] = merge(records, below, here.child[0]);
    }
    update(records, top);
    return top;
  }

  [[nodiscard]] static std::uint32_t without(RecordSlab& records, std::uint32_t root,
                                             std::uint32_t index) noexcept {
    Record& here = records[root];
    if (root == index) return merge(records, here.child[0], here.child[1]);
    std::uint32_t& side = here.child[here.offset < records[index].offset];
    side = without(records, side, index);
    update(records, root);
    return root;
  }

  static void refresh(RecordSlab& records, std::uint32_t root, std::uint32_t index) noexcept {
    if (root != index) {
      const Record& here = records[root];
      refresh(records, here.child[here.offset < records[index].offset], index);
    }
    update(records, root);
  }

  [[nodiscard]] static std::uint32_t first(const RecordSlab& records, std::uint32_t root,
                                           std::uint64_t size, std::uint64_t alignment) noexcept {
    if (root == no_record || records[root].state < magnitude_of(size)) return no_record;
    const Record& here = records[root];
    const std::uint32_t found = first(records, here.child[0], size, alignment);
    if (found != no_record) return found;
    if (fits(here.offset, here.size, size, alignment)) return root;
    return first(records, here.child[1], size, alignment);
  }

  /// Exact also where several blocks share the highest magnitude.
  [[nodiscard]] static std::uint64_t largest(const RecordSlab& records,
                                             std::uint32_t root) noexcept {
    const Record& here = records[root];
    std::uint64_t found = magnitude_of(here.size) == here.state ? here.size : 0;
    for (const std::uint32_t side : here.child) {
      if (side != no_record && records[side].state == here.state &&
          (found == 0 || here.state >= inexact_magnitude))
        found = std::max(found, largest(records, side));
    }
    return found;
  }

  static constexpr std::uint32_t inexact_magnitude = 2U << mantissa_bits;

  [[nodiscard]] static bool summaries_are_valid(const RecordSlab& records,
                                                std::uint32_t root) noexcept {
    if (root == no_record) return true;
    const Record& here = records[root];
    const std::uint32_t expected =
        std::max({magnitude_of(here.size), magnitude(records, here.child[0]),
                  magnitude(records, here.child[1])});
    return here.state == expected && summaries_are_valid(records, here.child[0]) &&
           summaries_are_valid(records, here.child[1]);
  }

  std::uint32_t root_ = no_record;
};

}  // namespace allot::detail
