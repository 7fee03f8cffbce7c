// SPDX-License-Identifier: MIT
/// \file
/// Where in a range a block goes: a compile-time policy. A strategy counts in units; it knows of no
/// bytes, pointers or devices, and never touches what it hands out.
///
/// | policy     | takes                                    | allocate            | deallocate |
/// |------------|------------------------------------------|---------------------|------------|
/// | `BestFit`  | the smallest free block, lowest offset   | O(1) bin + O(log m) | O(log m)   |
/// | `FirstFit` | the free block with the lowest offset    | O(log n)            | O(log n)   |
/// | `GoodFit`  | one about as large as the request        | O(1)                | O(1)       |
/// | `Buddy`    | a power of two, split from the smallest  | O(log n)            | O(log n)   |
/// | `Linear`   | what follows the last block              | O(1)                | O(1)       |
/// | `FixedBlocks<N>` | the lowest free block of N units   | O(1)                | O(1)       |
///
/// n: free blocks; m: free blocks whose sizes share a bin (within 1/32 of each other).
///
/// `BestFit`, `FirstFit` and `Buddy` take ranges of up to 2^32 - 2 units (1 TiB in units of 256
/// bytes); `WideBestFit`, `WideFirstFit` and `WideBuddy` place blocks the same in longer ones.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/errors.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace allot {

namespace detail {

/// Stands for any visitor of `for_each` in the concept.
struct AnyVisitor {
  void operator()(std::uint64_t, std::uint64_t, bool) const noexcept {}
};

}  // namespace detail

/// What `Arena` asks of a strategy. `s` is a strategy, `cs` a const one; sizes, offsets and
/// alignments are units, alignments powers of two.
///
/// | expression                     | meaning                                                |
/// |--------------------------------|--------------------------------------------------------|
/// | `S{capacity}`                  | a range of `capacity` units (at least one), all free   |
/// | `s.allocate(size, alignment)`  | `std::optional<Placement>`; empty: nothing changed     |
/// | `s.deallocate(handle, offset)` | false: no live block, nothing changed; never allocates |
/// | `s.word(handle)`               | a 64-bit word of a live block; until the next allocate |
/// | `cs.block_size(handle)`        | the size of a live block                               |
/// | `cs.is_live(handle, offset)`   | whether a block with this handle lives there           |
/// | `cs.capacity()` `cs.used()`    | units in the range; in live blocks                     |
/// | `cs.largest_free()`            | the largest size that can be allocated now             |
/// | `cs.free_blocks()`             | how many free blocks there are, the tail included      |
/// | `cs.live_blocks()`             | how many blocks are live                               |
/// | `cs.for_each(visitor)`         | `visitor(offset, size, used)` in address order         |
/// | `cs.validate()`                | whether every invariant holds; linear                  |
///
/// Where a strategy can, it has members for what follows, and an arena of it then has them, too.
///
/// | expression                        | meaning                                                  |
/// |-----------------------------------|----------------------------------------------------------|
/// | `cs.defect(handle, offset)`       | what is wrong with a block that is not live              |
/// | `cs.bookkeeping_bytes()`          | what it holds on the heap                                |
/// | `cs.for_each_live(visitor)`       | `visitor(placement)` for every live block                |
/// | `s.try_expand(handle, size)`      | a live block grows at its end; false: nothing changed    |
/// | `s.shrink(handle, size)`          | a live block gives up its end; at least one unit stays   |
/// | `s.reset()`                       | frees every block                                        |
/// | `s.grow(capacity)`                | makes the range longer, at its end                       |
/// | `s.reserve(blocks)`               | no system allocator while so many blocks are live        |
/// | `s.allocate_upper(size, alignment)` | as `allocate`, from the upper end                      |
/// | `cs.mark()` `s.release_to(mark)`  | frees what was made since; false: of another range       |
/// | `S::granularity`                  | units that it cannot divide                              |
/// | `S::largest_size`                 | units that no request may exceed                         |
/// | `S::largest_capacity`             | units that no range may exceed                           |
/// | `S::Wide` `S::wide_name`          | the same strategy for longer ranges, and its name        |
template <class S>
concept Strategy = std::constructible_from<S, std::uint64_t> &&
    requires(S s, const S cs, std::uint64_t units, Handle handle, detail::AnyVisitor visitor) {
  { s.allocate(units, units) } -> std::same_as<std::optional<Placement>>;
  { s.deallocate(handle, units) }
  noexcept->std::same_as<bool>;
  { s.word(handle) }
  noexcept->std::same_as<std::uint64_t&>;
  { cs.block_size(handle) }
  noexcept->std::same_as<std::uint64_t>;
  { cs.is_live(handle, units) }
  noexcept->std::same_as<bool>;
  { cs.capacity() }
  noexcept->std::same_as<std::uint64_t>;
  { cs.used() }
  noexcept->std::same_as<std::uint64_t>;
  { cs.largest_free() }
  noexcept->std::same_as<std::uint64_t>;
  { cs.free_blocks() }
  noexcept->std::same_as<std::uint64_t>;
  { cs.live_blocks() }
  noexcept->std::same_as<std::uint64_t>;
  { cs.for_each(visitor) } -> std::same_as<void>;
  { cs.validate() } -> std::same_as<bool>;
};

/// Units that a strategy cannot divide: its capacity and all sizes are multiples of it.
template <Strategy S>
inline constexpr std::uint64_t granularity_of = [] {
  if constexpr (requires { S::granularity; }) {
    return std::uint64_t{S::granularity};
  } else {
    return std::uint64_t{1};
  }
}();

/// The most units that a range of the strategy may have: an arena refuses more.
template <Strategy StrategyType>
inline constexpr std::uint64_t largest_capacity_of = [] {
  if constexpr (requires { StrategyType::largest_capacity; }) {
    return std::uint64_t{StrategyType::largest_capacity};
  } else {
    return ~std::uint64_t{0};
  }
}();

namespace detail {

template <class StrategyType>
struct WideStrategy {
  using type = StrategyType;
};

template <class StrategyType>
requires requires { typename StrategyType::Wide; }
struct WideStrategy<StrategyType> {
  using type = typename StrategyType::Wide;
};

}  // namespace detail

/// The strategy that puts blocks where `StrategyType` does, in ranges of any length: `WideBestFit`
/// of `BestFit`; itself where its ranges may have any length.
template <Strategy StrategyType>
using WideOf = typename detail::WideStrategy<StrategyType>::type;

}  // namespace allot
