// SPDX-License-Identifier: MIT
/// \file
/// Where in a range a block goes: a compile-time policy. A strategy counts in units, knows neither
/// bytes, pointers nor devices, and never touches what it hands out. This header has the concepts;
/// docs/policies.md lists the models.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/errors.hpp>

#include <concepts>
#include <cstdint>
#include <new>
#include <optional>
#include <type_traits>

namespace allot {

/// What `Arena` requires of a strategy. `s` is a strategy, `cs` a const one; sizes, offsets and
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
/// Each optional capability has its own concept, below; an arena has the capabilities of its
/// strategy (`grow` only if its memory can, too). Limits are constants:
///
/// | expression                | meaning                                            |
/// |---------------------------|----------------------------------------------------|
/// | `S::granularity`          | the capacity and all sizes are multiples of it     |
/// | `S::largest_size`         | the most units of a request                        |
/// | `S::largest_capacity`     | the most units of a range                          |
/// | `S::Wide` `S::wide_name`  | the same strategy for longer ranges, and its name  |
template <class StrategyType>
concept Strategy = std::constructible_from<StrategyType, std::uint64_t> &&
    requires(StrategyType s, const StrategyType cs, std::uint64_t units, Handle handle,
             void (*visitor)(std::uint64_t, std::uint64_t, bool)) {
  { s.allocate(units, units) } -> std::same_as<std::optional<Placement>>;
  { s.deallocate(handle, units) } -> std::same_as<bool>;
  { s.word(handle) } -> std::same_as<std::uint64_t&>;
  { cs.block_size(handle) } -> std::same_as<std::uint64_t>;
  { cs.is_live(handle, units) } -> std::same_as<bool>;
  { cs.capacity() } -> std::same_as<std::uint64_t>;
  { cs.used() } -> std::same_as<std::uint64_t>;
  { cs.largest_free() } -> std::same_as<std::uint64_t>;
  { cs.free_blocks() } -> std::same_as<std::uint64_t>;
  { cs.live_blocks() } -> std::same_as<std::uint64_t>;
  requires noexcept(s.deallocate(handle, units), s.word(handle), cs.block_size(handle));
  requires noexcept(cs.is_live(handle, units), cs.capacity(), cs.used(), cs.largest_free());
  requires noexcept(cs.free_blocks(), cs.live_blocks());
  { cs.for_each(visitor) } -> std::same_as<void>;
  { cs.validate() } -> std::same_as<bool>;
};

/// A strategy whose live blocks can change their size in place.
///
/// | expression                   | meaning                                                       |
/// |------------------------------|---------------------------------------------------------------|
/// | `s.try_expand(handle, size)` | grows a live block at its end; false: nothing changed         |
/// | `s.shrink(handle, size)`     | frees the end of a live block; at least one unit stays        |
template <class StrategyType>
concept Resizable = Strategy<StrategyType> &&
    requires(StrategyType s, Handle handle, std::uint64_t units) {
  { s.try_expand(handle, units) } -> std::same_as<bool>;
  { s.shrink(handle, units) } -> std::same_as<void>;
};

/// A strategy that can free all blocks at once.
///
/// | expression                  | meaning                                                        |
/// |-----------------------------|----------------------------------------------------------------|
/// | `s.reset()`                 | frees every block; their handles are stale                     |
/// | `cs.for_each_live(visitor)` | `visitor(placement)` for every live block                      |
template <class StrategyType>
concept Resettable = Strategy<StrategyType> &&
    requires(StrategyType s, const StrategyType cs, void (*visitor)(const Placement&)) {
  { s.reset() } -> std::same_as<void>;
  { cs.for_each_live(visitor) } -> std::same_as<void>;
};

/// A strategy that can reserve its bookkeeping: after `s.reserve(blocks)`, and while at most
/// `blocks` blocks are live, only `grow` calls the system allocator. It may also have
/// `s.try_reserve(blocks)`, which returns whether it could, and throws nothing: without exceptions an
/// arena's `try_reserve` needs that to return at all if there is no memory.
template <class StrategyType>
concept Reservable = Strategy<StrategyType> && requires(StrategyType s, std::uint64_t blocks) {
  { s.reserve(blocks) } -> std::same_as<void>;
};

/// A strategy that is made without throwing, `S{capacity, std::nothrow}`: its capacity is 0, and only
/// its destructor is called then, if the host has no memory for its bookkeeping. Without exceptions
/// an arena's `try_make` needs that to return at all if there is none.
template <class StrategyType>
concept MadeWithoutThrowing = Strategy<StrategyType> && requires(std::uint64_t capacity) {
  requires noexcept(StrategyType(capacity, std::nothrow));
};

/// A strategy whose range can grow at its end: `s.grow(capacity)`, in total units, not below the
/// present capacity. It may also have `s.try_grow(capacity)`, like `try_reserve`.
template <class StrategyType>
concept Growable = Strategy<StrategyType> && requires(StrategyType s, std::uint64_t capacity) {
  { s.grow(capacity) } -> std::same_as<void>;
};

/// A strategy that can also allocate at the upper end: `s.allocate_upper(size, alignment)`,
/// otherwise like `allocate`.
template <class StrategyType>
concept DoubleEnded = Strategy<StrategyType> && requires(StrategyType s, std::uint64_t units) {
  { s.allocate_upper(units, units) } -> std::same_as<std::optional<Placement>>;
};

/// A strategy that is a stack: it can free at once what was allocated since a mark.
///
/// | expression                    | meaning                                                      |
/// |-------------------------------|--------------------------------------------------------------|
/// | `cs.mark()`                   | how far allocations have reached                             |
/// | `s.release_to(mark, visitor)` | frees what was allocated since the mark; `visitor(placement, word)` for each before it is freed. False: the mark belongs to another range, nothing changed |
template <class StrategyType>
concept Markable = Strategy<StrategyType> &&
    requires(StrategyType s, const StrategyType cs,
             void (*visitor)(const Placement&, std::uint64_t)) {
  { s.release_to(cs.mark(), visitor) } -> std::same_as<bool>;
};

/// A strategy whose blocks all have one size, `S::largest_size` units, which no request may exceed.
template <class StrategyType>
concept OneSized = Strategy<StrategyType> && requires {
  typename std::integral_constant<std::uint64_t, StrategyType::largest_size>;
};

/// A strategy that rounds sizes up by more than whole units: `S::rounded(units)`, the size of the
/// block that it takes for a request; 0 if there is none.
template <class StrategyType>
concept Rounding = Strategy<StrategyType> && requires(std::uint64_t units) {
  { StrategyType::rounded(units) } -> std::same_as<std::uint64_t>;
};

/// A strategy that says what is wrong with a block that is not live: `cs.defect(handle, offset)`.
template <class StrategyType>
concept ExplainsDefects = Strategy<StrategyType> &&
    requires(const StrategyType cs, Handle handle, std::uint64_t offset) {
  { cs.defect(handle, offset) } -> std::same_as<BlockDefect>;
};

/// A strategy that counts the bytes of its bookkeeping on the heap: `cs.bookkeeping_bytes()`.
template <class StrategyType>
concept CountsBookkeeping = Strategy<StrategyType> && requires(const StrategyType cs) {
  { cs.bookkeeping_bytes() } -> std::same_as<std::uint64_t>;
};

/// The granularity of a strategy in units, one unless it says more: its capacity and all sizes are
/// multiples of it.
template <Strategy StrategyType>
inline constexpr std::uint64_t granularity_of = 1;
/// For a strategy that says more.
template <Strategy StrategyType>
requires requires { StrategyType::granularity; }
inline constexpr std::uint64_t granularity_of<StrategyType> = StrategyType::granularity;

/// The most units of a range of the strategy: an arena refuses more.
template <Strategy StrategyType>
inline constexpr std::uint64_t largest_capacity_of = ~std::uint64_t{0};
/// For a strategy with a limit.
template <Strategy StrategyType>
requires requires { StrategyType::largest_capacity; }
inline constexpr std::uint64_t largest_capacity_of<StrategyType> = StrategyType::largest_capacity;

/// Whether a strategy that has refused a size at alignment 1 refuses it, and every larger size, at any
/// alignment, until it grants or frees something: then a shard of a `ShardedArena` refuses that
/// without its lock. True only for the types that it is specialized for, not for those derived from
/// them, which may grant something else.
template <class StrategyType>
inline constexpr bool keeps_refusing = false;

/// Returns the generation for a range to start with, far from that of the previous range, so that
/// handles of two arenas differ even for blocks with the same offset and index.
///
/// A strategy draws one when it is constructed. From there on its generations rise with every use
/// of an index, through `reset` too, and no index is used under its first generation again. Several
/// threads may call this at once. Complexity: constant.
[[nodiscard]] inline std::uint32_t next_first_generation() noexcept {
  // A builtin of g++ and clang++: <atomic> takes as long to compile as all the rest of an arena.
  static constinit std::uint32_t ranges = 0;
  return __atomic_add_fetch(&ranges, 1, __ATOMIC_RELAXED) * 0x9e37'79b1U;
}

}  // namespace allot
