// SPDX-License-Identifier: MIT
/// \file
/// Where an arena's memory comes from: a compile-time policy. This header has its concept and the
/// null model; docs/policies.md lists the models.
#pragma once

#include <allot/core/version.hpp>

#include <concepts>
#include <cstdint>
#include <optional>
#include <type_traits>

namespace allot {

/// A memory policy with an `acquire` that does not throw: `m.try_acquire(bytes, alignment)`, which
/// returns nothing if the system refuses.
template <class MemoryType>
concept TryAcquirable = requires(MemoryType m, std::uint64_t bytes) {
  { m.try_acquire(bytes, bytes) }
  noexcept->std::same_as<std::optional<typename MemoryType::Region>>;
};

namespace detail {

/// `std::movable` without its look for a `swap`, which takes as long to compile as seven functions.
template <class Type>
concept Movable = std::is_move_constructible_v<Type> && std::is_move_assignable_v<Type>;

/// A memory policy that gives regions; without exceptions, in a way that does not throw.
template <class MemoryType>
#if defined(__cpp_exceptions)
concept Acquirable = requires(MemoryType m, std::uint64_t bytes) {
  { m.acquire(bytes, bytes) } -> std::same_as<typename MemoryType::Region>;
};
#else
concept Acquirable = TryAcquirable<MemoryType> || requires(MemoryType m, std::uint64_t bytes) {
  { m.acquire(bytes, bytes) }
  noexcept->std::same_as<typename MemoryType::Region>;
};
#endif

}  // namespace detail

/// What `Arena` requires of a memory policy.
///
/// | expression                    | meaning                                              |
/// |-------------------------------|------------------------------------------------------|
/// | `m.acquire(bytes, alignment)` | `M::Region`, which owns that much memory             |
/// | `region.alignment()`          | bytes: its base address is aligned to at least this  |
/// | `M::host_accessible`          | constant: whether the host may touch the bytes       |
/// | `M::device_accessible`        | constant: whether a device may                       |
///
/// `acquire` throws `OutOfMemory` of reason `source` if the system refuses. Each optional
/// capability of a memory has its own concept: those below, and `TryAcquirable` above.
template <class MemoryType>
concept Memory = detail::Movable<MemoryType> && detail::Movable<typename MemoryType::Region> &&
    std::default_initializable<typename MemoryType::Region> && detail::Acquirable<MemoryType> &&
    requires(const typename MemoryType::Region region) {
  typename std::bool_constant<MemoryType::host_accessible>;
  typename std::bool_constant<MemoryType::device_accessible>;
  { region.alignment() }
  noexcept->std::same_as<std::uint64_t>;
};

/// A memory that has addresses: `region.address()` returns its first one.
template <class MemoryType>
concept Addressable = Memory<MemoryType> && requires(const typename MemoryType::Region region) {
  { region.address() }
  noexcept->std::same_as<void*>;
};

/// A memory that can grow in place: `region.grow(bytes)`, to that many bytes in total.
template <class MemoryType>
concept GrowableMemory = Memory<MemoryType> &&
    requires(typename MemoryType::Region region, std::uint64_t bytes) {
  { region.grow(bytes) } -> std::same_as<void>;
};

/// A memory to be notified of which parts are in use: `region.mark_used(offset, size)` and
/// `region.mark_free(offset, size)`. All of a region is in use when it is acquired; an arena begins
/// by marking it free.
template <class MemoryType>
concept TracksUse = Memory<MemoryType> &&
    requires(typename MemoryType::Region region, std::uint64_t bytes) {
  requires noexcept(region.mark_used(bytes, bytes), region.mark_free(bytes, bytes));
};

/// Gives no memory: the arena hands out offsets, for memory that the caller owns. Takes no space in
/// the arena.
class OffsetsOnly {
 public:
  static constexpr bool host_accessible = false;
  static constexpr bool device_accessible = false;

  /// Owns nothing.
  struct Region {
    /// Offsets have no base, so every alignment holds.
    [[nodiscard]] static constexpr std::uint64_t alignment() noexcept {
      return std::uint64_t{1} << 63;
    }
    /// Offsets take no room.
    static constexpr void grow(std::uint64_t) noexcept {}
  };

  /// Complexity: constant, compiles to nothing. Throws: nothing.
  [[nodiscard]] static constexpr Region acquire(std::uint64_t, std::uint64_t) noexcept {
    return {};
  }
};

static_assert(Memory<OffsetsOnly>);

}  // namespace allot
