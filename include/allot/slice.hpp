// SPDX-License-Identifier: MIT
/// \file
/// Blocks that keep their memory alive.
///
/// | type            | what it is                                                              |
/// |-----------------|-------------------------------------------------------------------------|
/// | `Shared<Arena>` | an arena that its slices keep alive: destroyed with the last of them    |
/// | `Slice<Access>` | bytes of such an arena: freed when the last slice of them is destroyed  |
///
/// The memory lives as long as any slice of it, in any order of destruction, on any thread.
/// `Access` says what may touch the bytes: `HostAccessible`, `DeviceAccessible` or
/// `HostAndDeviceAccessible`.
#pragma once

#include <allot/arena.hpp>
#include <allot/core/block.hpp>
#include <allot/core/deferred.hpp>
#include <allot/core/errors.hpp>
#include <allot/core/units.hpp>
#include <allot/memory/memory.hpp>
#include <allot/os/smart_pointers.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace allot {

/// Only the host may touch the bytes.
struct HostAccessible {
  static constexpr bool host = true;  ///< true if the host may
};
/// Only a device may touch the bytes.
struct DeviceAccessible {
  static constexpr bool host = false;  ///< true if the host may
};
/// Both host and device may touch the bytes.
struct HostAndDeviceAccessible {
  static constexpr bool host = true;  ///< true if the host may
};

/// What may touch the bytes of a memory policy.
template <Memory MemoryType>
using AccessOf = std::conditional_t<
    MemoryType::host_accessible && MemoryType::device_accessible, HostAndDeviceAccessible,
    std::conditional_t<MemoryType::host_accessible, HostAccessible, DeviceAccessible>>;

namespace detail {

/// True if `Other` allows everything that `Access` allows, and more.
template <class Other, class Access>
concept WiderThan = std::same_as<Other, HostAndDeviceAccessible> && !std::same_as<Access, Other>;

}  // namespace detail

/// Shares ownership of some bytes and of the memory that they are in. Cheap to copy: two words and
/// a shared count. Empty if default-constructed.
template <class Access>
class Slice {
 public:
  Slice() noexcept = default;

  /// \param owner  any object that keeps the bytes alive; destroyed with the last slice
  Slice(std::shared_ptr<const void> owner, void* address, std::uint64_t bytes) noexcept
      : owner_{std::move(owner)}, address_{static_cast<std::byte*>(address)}, bytes_{bytes} {}

  /// Converts to a slice with less access: what both may touch, either one may.
  template <detail::WiderThan<Access> Other>
  Slice(const Slice<Other>& other) noexcept  // NOLINT(google-explicit-constructor)
      : owner_{other.owner_}, address_{other.address_}, bytes_{other.bytes_} {}

  [[nodiscard]] void* address() const noexcept { return address_; }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] bool empty() const noexcept { return bytes_ == 0; }
  /// Returns what keeps the bytes alive, to hold them without a slice.
  [[nodiscard]] const std::shared_ptr<const void>& owner() const noexcept { return owner_; }

  /// Returns the bytes themselves, if the host may touch them.
  [[nodiscard]] Deferred<std::span<std::byte>, Access> span() const noexcept
      requires(Access::host) {
    return {address_, static_cast<std::size_t>(bytes_)};
  }

  /// Returns a slice of `bytes` bytes from `offset` on, with the same owner.
  /// Throws: `std::out_of_range` if they reach beyond this slice.
  [[nodiscard]] Slice part(std::uint64_t offset, std::uint64_t bytes) const {
    if (offset > bytes_ || bytes > bytes_ - offset) {
      throw std::out_of_range{
          FixedText<512>{}
              .fill_in(
                  "a part of # bytes at # reaches beyond a slice of # bytes; ask for at most #",
                  {bytes, offset, bytes_, offset > bytes_ ? 0 : bytes_ - offset})
              .c_str()};
    }
    return Slice{owner_, address_ + offset, bytes};
  }

 private:
  template <class Other>
  friend class Slice;

  std::shared_ptr<const void> owner_;
  std::byte* address_ = nullptr;
  std::uint64_t bytes_ = 0;
};

/// An arena whose blocks are slices. Copies share the arena.
///
/// It has neither `deallocate` nor `reset`: a block is freed when the last slice of it is
/// destroyed, which may be on any thread; hence the synchronization must be thread-safe.
template <class ArenaType>
class Shared {
  static constexpr std::uint64_t unit = ArenaType::alignment_type::value;

 public:
  using arena_type = ArenaType;
  using memory_type = typename ArenaType::memory_type;
  using slice_type = Slice<AccessOf<memory_type>>;

  static_assert(ArenaType::synchronization_type::is_thread_safe,
                "slices are freed from any thread: share an arena with Locked<Mutex>");
  static_assert(memory_type::host_accessible || memory_type::device_accessible,
                "slices have addresses: share an arena over a memory that has them");

  /// Arguments, effects and errors are those of `Arena`'s constructors.
  template <class... Arguments>
  requires std::constructible_from<ArenaType, std::uint64_t, Arguments...>
  explicit Shared(std::uint64_t capacity_bytes, Arguments&&... arguments)
      : arena_{std::make_shared<ArenaType>(capacity_bytes, std::forward<Arguments>(arguments)...)} {
  }

  /// Like `Arena::allocate`, in all its forms; the slice has exactly the bytes requested.
  [[nodiscard]] slice_type allocate(std::uint64_t bytes, std::uint64_t alignment = unit) {
    return allocate(detail::request_of(bytes, alignment));
  }
  [[nodiscard]] slice_type allocate(const Request& request) {
    const auto owner = std::make_shared<Owner>(arena_);
    owner->take(arena_->allocate(request));
    return slice_of(owner, request);
  }

  /// Like `Arena::try_allocate`.
  [[nodiscard]] std::optional<slice_type> try_allocate(std::uint64_t bytes,
                                                       std::uint64_t alignment = unit) {
    return try_allocate(detail::request_of(bytes, alignment));
  }
  [[nodiscard]] std::optional<slice_type> try_allocate(const Request& request) {
    const auto owner = std::make_shared<Owner>(arena_);
    const std::optional<Block> block = arena_->try_allocate(request);
    if (!block) return std::nullopt;
    owner->take(*block);
    return slice_of(owner, request);
  }

  /// Returns the address of the arena's memory.
  [[nodiscard]] void* base_address() const noexcept { return arena_->base_address(); }

  /// Returns the offset of a slice in the arena, in bytes.
  [[nodiscard]] std::uint64_t offset_of(const slice_type& slice) const noexcept {
    return static_cast<std::uint64_t>(static_cast<std::byte*>(slice.address()) -
                                      static_cast<std::byte*>(base_address()));
  }

  /// Returns the bytes in the arena: whole units.
  [[nodiscard]] std::uint64_t capacity() const noexcept { return arena_->capacity(); }

  /// Returns a consistent snapshot: a block counts as used until its last slice is destroyed.
  [[nodiscard]] Usage usage() const { return arena_->usage(); }

  /// `usage().fragmentation()`: external fragmentation.
  [[nodiscard]] double fragmentation() const { return arena_->fragmentation(); }

  /// Returns whether every invariant of the bookkeeping holds: for tests. Complexity: linear.
  [[nodiscard]] bool validate() const { return arena_->validate(); }

  /// Calls `visitor(offset, size, used)`, in bytes, for every block in address order, under the
  /// guard; it must not call the arena or drop the last slice of a block. Complexity: linear.
  template <class Visitor>
  void for_each(Visitor&& visitor) const {
    arena_->for_each(std::forward<Visitor>(visitor));
  }

  /// Calls `function(observer)` under the guard and returns what it returns.
  template <class Function>
  decltype(auto) with_observer(Function&& function) const requires requires(ArenaType& arena) {
    arena.with_observer(std::forward<Function>(function));
  }
  { return arena_->with_observer(std::forward<Function>(function)); }

 private:
  /// A block and the arena that it belongs to.
  class Owner {
   public:
    explicit Owner(std::shared_ptr<ArenaType> arena) noexcept : arena_{std::move(arena)} {}
    Owner(const Owner&) = delete;
    Owner& operator=(const Owner&) = delete;
    ~Owner() {
      if (block_) arena_->deallocate(*block_);
    }

    void take(const Block& block) noexcept { block_ = block; }
    [[nodiscard]] const Block& block() const noexcept { return *block_; }

   private:
    std::shared_ptr<ArenaType> arena_;
    std::optional<Block> block_;
  };

  [[nodiscard]] slice_type slice_of(const std::shared_ptr<Owner>& owner, const Request& request) {
    return slice_type{owner, arena_->address(owner->block()), request.bytes};
  }

  std::shared_ptr<ArenaType> arena_;
};

}  // namespace allot
