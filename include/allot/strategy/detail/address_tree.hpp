// SPDX-License-Identifier: MIT
/// \file
/// Free blocks by offset, each part of the map knowing its largest size, so that the lowest block
/// which can hold a request is found in O(log n).
#pragma once

#include <allot/strategy/detail/block_sequence.hpp>
#include <allot/strategy/detail/record_slab.hpp>
#include <allot/strategy/detail/tree_pool.hpp>

#include <cstdint>

namespace allot::detail {

/// \tparam Key  unsigned, its highest value not below the capacity
template <class Key>
class AddressTree {
 public:
  explicit AddressTree(std::uint64_t) noexcept {}

  /// Makes room for all the free blocks that a slab of so many records can come to hold.
  /// Throws: `std::bad_alloc`.
  void ensure(std::uint64_t records) { trees_.ensure(Trees::nodes_for((records + 1) / 2, 1)); }

  /// Forgets every block. Complexity: constant.
  void clear() noexcept {
    root_ = {};
    trees_.clear();
  }

  /// Complexity: O(log n), like all below but `is_valid`.
  void insert(RecordSlab& records, std::uint32_t record, std::uint64_t offset,
              std::uint64_t size) noexcept {
    records[record].free_size = size;
    trees_.insert(records, root_, 0, static_cast<Key>(offset), record, static_cast<Key>(size));
  }

  void erase(RecordSlab& records, std::uint32_t record) noexcept {
    TreeCursor cursor;
    trees_.seek(root_, static_cast<Key>(records[record].offset), cursor);
    trees_.erase_at(records, root_, 0, cursor);
  }

  /// Moves or resizes a block, which is still what it was; its place in the order stays the same.
  void rekey(RecordSlab& records, std::uint32_t record, std::uint64_t offset,
             std::uint64_t size) noexcept {
    TreeCursor cursor;
    trees_.seek(root_, static_cast<Key>(records[record].offset), cursor);
    records[record].free_size = size;
    trees_.rekey_at(root_, cursor, static_cast<Key>(offset), record, static_cast<Key>(size));
  }

  /// The block with the lowest offset that holds `size` units at a multiple of `alignment`, or
  /// `no_record`. What was found may be erased or replaced by the members below. For alignments
  /// above one unit, blocks below size + alignment - 1 units are looked at one by one.
  [[nodiscard]] std::uint32_t find(const RecordSlab&, std::uint64_t size,
                                   std::uint64_t alignment) noexcept {
    if (alignment == 1)
      return trees_.find_sized(root_, size, found_, [](Key, Key) noexcept { return true; });
    return trees_.find_sized(root_, size, found_, [&](Key offset, Key available) noexcept {
      return fits(offset, available, size, alignment);
    });
  }

  /// The size of a block that is in the index.
  [[nodiscard]] static std::uint64_t size(const RecordSlab& records,
                                          std::uint32_t record) noexcept {
    return records[record].free_size;
  }

  /// The size of what the last `find` returned.
  [[nodiscard]] static std::uint64_t found_size(const RecordSlab& records,
                                                std::uint32_t found) noexcept {
    return records[found].free_size;
  }

  /// Whether a block behind all others comes before what was found: never.
  [[nodiscard]] static bool prefers(const RecordSlab&, std::uint64_t, std::uint32_t) noexcept {
    return false;
  }

  /// Erases the block that the last `find` returned. Requires: nothing has changed since.
  void erase_found(RecordSlab& records) noexcept { trees_.erase_at(records, root_, 0, found_); }

  /// Another block takes the place of what the last `find` returned: a part of it.
  /// Requires: nothing has changed since.
  void replace_found(RecordSlab& records, std::uint32_t record, std::uint64_t offset,
                     std::uint64_t size) noexcept {
    records[record].free_size = size;
    trees_.rekey_at(root_, found_, static_cast<Key>(offset), record, static_cast<Key>(size));
  }

  /// Size of the largest block, 0 where there is none.
  [[nodiscard]] std::uint64_t largest(const RecordSlab&) const noexcept {
    return trees_.largest(root_);
  }

  /// Bytes of bookkeeping on the heap.
  [[nodiscard]] std::uint64_t bytes() const noexcept { return trees_.bytes(); }

  /// Whether the map is right and holds `expected` free blocks. Complexity: linear.
  [[nodiscard]] bool is_valid(const RecordSlab& records, std::uint64_t expected) const noexcept {
    std::uint64_t count = 0;
    const bool right =
        trees_.is_valid(records, root_, 0, [&](Key key, std::uint32_t value, Key size) {
          ++count;
          return records[value].state <= highest_free_state && records[value].offset == key &&
                 size_of(records, records[value]) == size && records[value].free_size == size;
        });
    return right && count == expected;
  }

 private:
  using Trees = TreePool<Key, true>;

  typename Trees::Root root_;
  TreeCursor found_;
  Trees trees_;
};

}  // namespace allot::detail
