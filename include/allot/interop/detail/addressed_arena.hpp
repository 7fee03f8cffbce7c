// SPDX-License-Identifier: MIT
/// \file
/// `AddressedArena`: allocates from an arena by address, as `malloc` does.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/block_table.hpp>
#include <allot/core/errors.hpp>
#include <allot/os/smart_pointers.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>

namespace allot::detail {

/// An arena whose own index finds blocks by address.
template <class ArenaType>
concept FindsAddresses = requires(const ArenaType arena, const void* address) {
  { arena.block_at(address) } -> std::same_as<std::optional<Block>>;
};

/// Refers to an arena. Copies are equal: what one allocates, the other can free. If the arena has no
/// index, copies share one, behind the arena's kind of synchronization: 43 to 86 bytes for each of
/// the most blocks that were ever live at once, and a search for each call.
template <class ArenaType>
class AddressedArena {
 public:
  /// Throws: `std::bad_alloc` for the index.
  explicit AddressedArena(ArenaType& arena) requires FindsAddresses<ArenaType> : arena_{&arena} {}
  explicit AddressedArena(ArenaType& arena) : arena_{&arena}, index_{std::make_shared<Index>()} {}

  /// Returns the address of at least `bytes` bytes; of one byte for none.
  /// Throws: as `ArenaType::allocate`; `std::bad_alloc` for the index; nothing has changed.
  [[nodiscard]] void* allocate(std::size_t bytes, std::size_t alignment) const {
    const Block block = arena_->allocate(bytes == 0 ? 1 : bytes, alignment);
    void* const address = arena_->address(block);
    if constexpr (!FindsAddresses<ArenaType>) {
      if (!completes([&] { index_->add(key_of(address), block); })) {
        arena_->deallocate(block);
        throw std::bad_alloc{};
      }
    }
    return address;
  }

  /// Throws: `InvalidBlock` if no live block starts there; nothing has changed.
  void deallocate(const void* address) const {
    std::optional<Block> block;
    if constexpr (FindsAddresses<ArenaType>) {
      block = arena_->block_at(address);
    } else {
      block = index_->take(key_of(address));
    }
    if (!block) throw InvalidBlock{address};
    arena_->deallocate(*block);
  }

  friend bool operator==(const AddressedArena& a, const AddressedArena& b) noexcept {
    return a.arena_ == b.arena_ && a.index_ == b.index_;
  }

 private:
  using Synchronization = typename ArenaType::synchronization_type;

  class Index {
   public:
    void add(std::uint64_t key, const Block& block) {
      [[maybe_unused]] const auto guard = synchronization_.guard();
      blocks_.make_room();
      blocks_.insert(key, block);
    }
    [[nodiscard]] std::optional<Block> take(std::uint64_t key) {
      [[maybe_unused]] const auto guard = synchronization_.guard();
      return blocks_.take(key);
    }

   private:
    [[no_unique_address]] Synchronization synchronization_;
    BlockTable<> blocks_;
  };
  struct NoIndex {
    friend bool operator==(NoIndex, NoIndex) noexcept = default;
  };

  [[nodiscard]] static std::uint64_t key_of(const void* address) noexcept {
    return reinterpret_cast<std::uintptr_t>(address);
  }

  ArenaType* arena_;
  [[no_unique_address]] std::conditional_t<FindsAddresses<ArenaType>, NoIndex,
                                           std::shared_ptr<Index>>
      index_;
};

}  // namespace allot::detail
