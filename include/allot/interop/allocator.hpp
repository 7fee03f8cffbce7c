// SPDX-License-Identifier: MIT
/// \file
/// `Allocator`: an arena as the allocator of a container.
#pragma once

#include <allot/core/units.hpp>
#include <allot/interop/detail/addressed_arena.hpp>

#include <cstddef>
#include <new>
#include <type_traits>

namespace allot {

/// Allocates from an arena over memory that the host may touch, for the containers of the standard
/// library, of Boost.Container, and others that take an allocator. It has the arena's alignment and
/// its thread safety.
///
/// The arena outlives the containers. A container that is moved or swapped takes its allocator along;
/// one that is copied or assigned to keeps it. With the observer `AddressIndex` in the arena, all
/// allocators of it are equal and have the size of a pointer; without it, an allocator keeps an index
/// of 43 to 86 bytes a block, which it shares with its copies: only they are equal.
///
/// \tparam ValueType  what the container allocates
template <class ValueType, class ArenaType>
class Allocator {
  static_assert(ArenaType::memory_type::host_accessible,
                "containers touch their memory: use an arena over HostMemory, hip::PinnedMemory or "
                "hip::ManagedMemory");

 public:
  using value_type = ValueType;
  using propagate_on_container_move_assignment = std::true_type;
  using propagate_on_container_swap = std::true_type;
  using is_always_equal = std::false_type;

  /// Throws: `std::bad_alloc` for its index.
  explicit Allocator(ArenaType& arena) : arena_{arena} {}
  template <class Other>
  Allocator(
      const Allocator<Other, ArenaType>& other) noexcept  // NOLINT(google-explicit-constructor)
      : arena_{other.arena_} {}

  /// Throws: `std::bad_array_new_length` for more than memory can hold, otherwise as
  /// `ArenaType::allocate`: `OutOfMemory` as a rule, which is a `std::bad_alloc`.
  [[nodiscard]] ValueType* allocate(std::size_t count) {
    if (count > largest_of<std::size_t> / sizeof(ValueType)) throw std::bad_array_new_length{};
    return static_cast<ValueType*>(arena_.allocate(count * sizeof(ValueType), alignof(ValueType)));
  }

  /// Throws: `InvalidBlock` for an address where no live block starts.
  void deallocate(ValueType* address, std::size_t) { arena_.deallocate(address); }

  template <class Other>
  [[nodiscard]] bool operator==(const Allocator<Other, ArenaType>& other) const noexcept {
    return arena_ == other.arena_;
  }

 private:
  template <class Other, class OtherArena>
  friend class Allocator;

  detail::AddressedArena<ArenaType> arena_;
};

}  // namespace allot
