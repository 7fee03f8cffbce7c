// SPDX-License-Identifier: MIT
/// \file
/// Free blocks by offset, in a tree of which each part keeps its largest size, so that the lowest
/// block that can hold a request is found in O(log n).
#pragma once

#include <allot/strategy/detail/block_sequence.hpp>
#include <allot/strategy/detail/records.hpp>
#include <allot/strategy/detail/tree/node.hpp>
#include <allot/strategy/detail/tree/sized.hpp>

#include <cstdint>

namespace allot::detail {

/// \tparam KeyType  unsigned, its highest value above the capacity
template <class KeyType>
class AddressTree {
 public:
  struct Found {
    std::uint32_t record = no_record;  ///< `no_record` if nothing was found
    std::uint64_t size = 0;
    tree::Path path;

    explicit operator bool() const noexcept { return record != no_record; }
  };

  AddressTree(RecordSlab& records, std::uint64_t) noexcept
      : records_{&records}, trees_{records, 1} {}

  /// Makes room for all the free blocks that a slab of `records` records can ever hold. Returns
  /// false, and changes nothing, if that cannot be.
  [[nodiscard]] bool try_ensure(std::uint64_t records) noexcept {
    return trees_.try_hold((records + 1) / 2);
  }

  /// Forgets every block. Complexity: constant.
  void clear() noexcept { trees_.clear(); }

  /// Complexity: O(log n), like all below but `is_valid`.
  void insert(std::uint32_t record, std::uint64_t offset, std::uint64_t size) noexcept {
    (*records_)[record].free_size = size;
    trees_.insert(tree, {static_cast<Key>(offset), record, static_cast<Key>(size)});
  }

  void erase(std::uint32_t record) noexcept {
    tree::Path path;
    trees_.seek(tree, static_cast<Key>((*records_)[record].offset), path);
    trees_.erase_at(tree, path);
  }
  void erase(const Found& found) noexcept { trees_.erase_at(tree, found.path); }

  void replace(std::uint32_t old, std::uint32_t record, std::uint64_t offset,
               std::uint64_t size) noexcept {
    tree::Path path;
    trees_.seek(tree, static_cast<Key>((*records_)[old].offset), path);
    change(path, record, offset, size);
  }
  void replace(const Found& found, std::uint32_t record, std::uint64_t offset,
               std::uint64_t size) noexcept {
    change(found.path, record, offset, size);
  }

  /// Finds the block with the lowest offset that holds `size` units at a multiple of `alignment`.
  /// For alignments above one unit, blocks below size + alignment - 1 units are checked one by one.
  [[nodiscard]] Found find(std::uint64_t size, std::uint64_t alignment) const noexcept {
    if (alignment == 1) return find_accepted(size, [](Key, Key) noexcept { return true; });
    return find_accepted(size, [&](Key offset, Key available) noexcept {
      return fits(offset, available, size, alignment);
    });
  }

  /// Returns the size of a block that is in the index.
  [[nodiscard]] std::uint64_t size(std::uint32_t record) const noexcept {
    return (*records_)[record].free_size;
  }

  /// Returns whether a block behind all others comes before what was found: never.
  [[nodiscard]] static bool prefers(std::uint64_t, const Found&) noexcept { return false; }

  /// Returns the size of the largest block, 0 if there is none.
  [[nodiscard]] std::uint64_t largest() const noexcept { return trees_.largest(tree); }

  /// Returns the bytes of bookkeeping on the heap.
  [[nodiscard]] std::uint64_t bytes() const noexcept { return trees_.bytes(); }

  /// Returns whether the tree is valid and holds `expected` free blocks. Complexity: linear.
  [[nodiscard]] bool is_valid(std::uint64_t expected) const noexcept {
    std::uint64_t count = 0;
    const auto is_right = [&](const typename Trees::Item& item) {
      const Record& record = (*records_)[item.value];
      ++count;
      return record.state <= highest_free_state && record.offset == item.key &&
             size_of(*records_, record) == item.size && record.free_size == item.size;
    };
    return trees_.is_valid(tree, is_right) && count == expected;
  }

 private:
  using Key = KeyType;
  using Trees = tree::SizedTrees<Key>;

  static constexpr std::uint32_t tree = 0;  // the only one

  template <class Predicate>
  [[nodiscard]] Found find_accepted(std::uint64_t size, Predicate accepts) const noexcept {
    Found found;
    found.record = trees_.find_sized(tree, size, found.path, accepts);
    if (found) found.size = this->size(found.record);
    return found;
  }

  void change(const tree::Path& path, std::uint32_t record, std::uint64_t offset,
              std::uint64_t size) noexcept {
    (*records_)[record].free_size = size;
    trees_.rekey_at(tree, path, {static_cast<Key>(offset), record, static_cast<Key>(size)});
  }

  RecordSlab* records_;
  Trees trees_;
};

}  // namespace allot::detail
