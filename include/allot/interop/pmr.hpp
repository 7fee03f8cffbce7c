// SPDX-License-Identifier: MIT
/// \file
/// `pmr::Resource`: an arena as a `std::pmr::memory_resource`.
#pragma once

#include <allot/interop/detail/addressed_arena.hpp>

#include <cstddef>
#include <memory_resource>

namespace allot::pmr {

/// Allocates from an arena over memory that the host may touch, for `std::pmr` containers and
/// `std::pmr::polymorphic_allocator`. It has the arena's alignment and its thread safety, and takes
/// any alignment that the arena takes.
///
/// The arena outlives the resource, and the resource outlives what was allocated from it. With the
/// observer `AddressIndex` in the arena, a call costs the arena's own and a search; without it, the
/// resource keeps an index, of 43 to 86 bytes a block, and is equal only to itself.
///
/// Errors: `allocate` throws what the arena throws, `OutOfMemory` as a rule, which is a
/// `std::bad_alloc`; `deallocate` throws `InvalidBlock` for an address where no live block starts.
template <class ArenaType>
class Resource final : public std::pmr::memory_resource {
  static_assert(ArenaType::memory_type::host_accessible,
                "containers touch their memory: use an arena over HostMemory, hip::PinnedMemory or "
                "hip::ManagedMemory");

 public:
  /// Throws: `std::bad_alloc` for its index.
  explicit Resource(ArenaType& arena) : arena_{arena} {}
  Resource(const Resource&) = delete;
  Resource& operator=(const Resource&) = delete;

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    return arena_.allocate(bytes, alignment);
  }
  void do_deallocate(void* address, std::size_t, std::size_t) override {
    arena_.deallocate(address);
  }
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
#if defined(__cpp_rtti)
    const auto* const resource = dynamic_cast<const Resource*>(&other);
    return resource != nullptr && resource->arena_ == arena_;
#else
    return this == &other;
#endif
  }

  detail::AddressedArena<ArenaType> arena_;
};

}  // namespace allot::pmr
