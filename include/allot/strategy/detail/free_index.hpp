// SPDX-License-Identifier: MIT
/// \file
/// `FreeIndex`: what a `CoalescingRange` requires of its index. tests/strategy/test_strategy.cpp checks
/// each index with it; a range does not, as that would cost every program that uses one.
#pragma once

#include <allot/strategy/detail/records.hpp>

#include <concepts>
#include <cstdint>

namespace allot::detail {

/// What decides which free block a request takes: the difference between `BestFit`, `FirstFit` and
/// `GoodFit`.
///
/// `i` is an index, `ci` a const one, over the slab `records`; `record` names a free block by its
/// record. Sizes, offsets and alignments are units.
///
/// | expression                        | meaning                                                   |
/// |-----------------------------------|-----------------------------------------------------------|
/// | `I{records, capacity}`            | empty; needs `try_ensure` before anything else            |
/// | `i.try_ensure(count)`             | makes room for the free blocks of a slab of `count` records; false if it cannot, with nothing changed |
/// | `i.clear()`                       | forgets every block                                       |
/// | `i.insert(record, offset, size)`  | adds a block; its record's state and union belong to the index until `erase` |
/// | `i.erase(record)`                 | removes it                                                |
/// | `ci.find(size, alignment)`        | the block to take, an `I::Found`: `record`, `size`, and where the index has it; false if there is none |
/// | `i.erase(found)`                  | removes what `find` found                                 |
/// | `i.replace(old, record, offset, size)` | erases `old`, a record (which still has its old offset) or what `find` found, and adds a block at the same place in the address order |
/// | `ci.prefers(size, found)`         | whether a block of `size` behind all others is the better choice |
/// | `ci.size(record)`                 | the size of a block that is in the index                  |
/// | `ci.largest()`                    | the size of the largest block; 0 if it has none           |
/// | `ci.bytes()`                      | its bytes on the heap                                     |
/// | `ci.is_valid(count)`              | whether every invariant holds, with `count` blocks; linear |
///
/// A `Found` may be erased or replaced until the index changes.
template <class Index>
concept FreeIndex = requires(Index i, const Index ci, const typename Index::Found found,
                             RecordSlab& records, std::uint32_t record, std::uint64_t units) {
  requires noexcept(Index{records, units});
  static_cast<bool>(found);
  { found.record } -> std::same_as<const std::uint32_t&>;
  { found.size } -> std::same_as<const std::uint64_t&>;
  { i.try_ensure(units) }
  noexcept->std::same_as<bool>;
  requires noexcept(i = static_cast<Index&&>(i));
  requires noexcept(i.clear(), i.insert(record, units, units),
                    i.replace(record, record, units, units));
  requires noexcept(i.erase(record), i.erase(found), i.replace(found, record, units, units));
  { ci.find(units, units) }
  noexcept->std::same_as<typename Index::Found>;
  { ci.prefers(units, found) }
  noexcept->std::same_as<bool>;
  { ci.size(record) }
  noexcept->std::same_as<std::uint64_t>;
  { ci.largest() }
  noexcept->std::same_as<std::uint64_t>;
  { ci.bytes() }
  noexcept->std::same_as<std::uint64_t>;
  { ci.is_valid(units) } -> std::same_as<bool>;
};

}  // namespace allot::detail
