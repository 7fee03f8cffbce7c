// SPDX-License-Identifier: MIT
/// \file
/// Whose bytes an arena hands out: a compile-time policy.
///
/// | policy        | memory                                   | host may touch it |
/// |---------------|------------------------------------------|-------------------|
/// | `OffsetsOnly` | none: offsets into what someone else has | -                 |
/// | `HostMemory`  | one anonymous mapping (`host_memory.hpp`)| yes               |
#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>

namespace allot {

/// What `Arena` asks of a memory policy.
///
/// | expression                    | meaning                                              |
/// |-------------------------------|------------------------------------------------------|
/// | `m.acquire(bytes, alignment)` | `M::Region`, which owns that much memory             |
/// | `region.alignment()`          | bytes: what its base address is aligned to, at least |
/// | `M::host_accessible`          | constant: whether the host may touch the bytes       |
/// | `M::device_accessible`        | constant: whether a device may                       |
///
/// Where the memory has addresses: `region.address()` (`void*`) and `region.bytes()`. Where it
/// wants to know which parts are in use: `region.mark_used(offset, size)` and
/// `region.mark_free(offset, size)`, noexcept. Where it can become longer in place:
/// `region.grow(bytes)`, bytes in all. `acquire` throws `OutOfMemory` of reason `source`
/// where the system refuses.
template <class M>
concept Memory = std::movable<M> && std::movable<typename M::Region> &&
    std::default_initializable<typename M::Region> &&
    requires(M m, const typename M::Region region, std::uint64_t bytes) {
  typename std::bool_constant<M::host_accessible>;
  typename std::bool_constant<M::device_accessible>;
  { m.acquire(bytes, bytes) } -> std::same_as<typename M::Region>;
  { region.alignment() }
  noexcept->std::same_as<std::uint64_t>;
};

/// No memory at all: the arena hands out offsets, for memory that someone else holds. Takes no
/// space in the arena.
class OffsetsOnly {
 public:
  static constexpr bool host_accessible = false;
  static constexpr bool device_accessible = false;

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
