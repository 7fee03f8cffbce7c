// SPDX-License-Identifier: MIT
/// \file
/// `ShardedArena<Arena, N>`: an arena of N arenas, for threads that would contend for one lock. It
/// divides one memory into N ranges (shards), each with its own strategy, lock and observer.
#pragma once

#include <allot/arena.hpp>
#include <allot/core/block.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/errors.hpp>
#include <allot/memory/memory.hpp>
#include <allot/memory/part_of.hpp>
#include <allot/os/thread_numbers.hpp>
#include <allot/strategy/remembers_refusal.hpp>
#include <allot/strategy/rounding.hpp>

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

namespace allot {

/// A thread allocates in its own shard, or if that has no room, in another; any thread may free a
/// block. Up to `ShardCount` threads have a shard each. A block never spans two shards:
/// `shard_capacity` limits requests.
///
/// Its members do what those of `Arena` do, with the same guarantees; a sum over several shards is a
/// snapshot of each, taken one after the other. An observer is notified of what its shard grants
/// and refuses.
///
/// \tparam ArenaType  an `Arena` with a synchronization that is thread-safe
/// \tparam ShardCount  the number of shards: about the number of threads that allocate at once
template <class ArenaType, std::uint32_t ShardCount>
class ShardedArena {
 public:
  using strategy_type = typename ArenaType::strategy_type;
  using alignment_type = typename ArenaType::alignment_type;
  using synchronization_type = typename ArenaType::synchronization_type;
  using memory_type = typename ArenaType::memory_type;
  using observer_type = typename ArenaType::observer_type;

  static_assert(ShardCount != 0, "an arena has at least one shard");
  static_assert(synchronization_type::is_thread_safe,
                "shards are for threads: use an arena with Locked<Mutex>");

  /// Acquires `capacity_bytes` from the memory policy as one region and divides it: the last shard
  /// also has the remainder, up to 1/256 for each of the others.
  /// Throws: `std::invalid_argument` for less than one unit a shard; `std::length_error` for more
  /// units a shard than the strategy takes; whatever the memory throws; `std::bad_alloc` for the
  /// bookkeeping.
  explicit ShardedArena(
      std::uint64_t capacity_bytes) requires std::default_initializable<memory_type>
      : ShardedArena{capacity_bytes, memory_type{}} {}

  ShardedArena(std::uint64_t capacity_bytes,
               memory_type memory) requires std::default_initializable<observer_type>
      : capacity_{capacity_bytes / unit * unit},
        stride_{stride_for(capacity_)},
        region_{memory.acquire(capacity_, alignment_type::value)},
        shards_{make_shards(std::make_index_sequence<ShardCount>{})} {}

  ShardedArena(const ShardedArena&) = delete;
  ShardedArena& operator=(const ShardedArena&) = delete;

  /// Like `Arena::allocate`. Complexity: the strategy's, times the number of shards if the thread's
  /// own has no room.
  [[nodiscard]] Block allocate(std::uint64_t bytes,
                               std::uint64_t alignment = alignment_type::value) {
    return allocate(detail::request_of(bytes, alignment));
  }
  [[nodiscard]] Block allocate(const Request& request) {
    if (const std::optional<Block> block = try_allocate(request)) [[likely]]
      return *block;
    throw refusal(request);
  }

  /// Like `Arena::try_allocate`: returns nothing if no shard has room. Each shard reports its refusal
  /// to its observer; without observers, a shard that has not changed since it refused as much is not
  /// locked again, if its strategy `keeps_refusing`.
  [[nodiscard]] std::optional<Block> try_allocate(std::uint64_t bytes,
                                                  std::uint64_t alignment = alignment_type::value) {
    return try_allocate(detail::request_of(bytes, alignment));
  }
  [[nodiscard]] std::optional<Block> try_allocate(const Request& request) {
    const std::uint64_t units = (request.bytes - 1) / alignment_type::value + 1;
    const std::uint32_t own = detail::ThreadNumbers<>::own() % ShardCount;
    for (std::uint32_t i = 0; i < ShardCount; ++i) {
      const std::uint32_t shard = own + i < ShardCount ? own + i : own + i - ShardCount;
      if (shards_[shard].surely_refuses(units)) continue;
      if (const std::optional<Block> block = shards_[shard].arena.try_allocate(request)) [[likely]]
        return whole(*block, shard);
    }
    // No shard has looked at it, if all of them were passed over: throws if it is not valid.
    static_cast<void>(detail::units_of(request, alignment_type::value));
    return std::nullopt;
  }

  /// Like `Arena::deallocate`, from any thread; frees the block in its shard.
  void deallocate(const Block& block) {
    in_shard(block, [](auto& arena, const Block& part, std::uint32_t) { arena.deallocate(part); });
  }

  /// Like `Arena::try_expand`, within the block's shard.
  [[nodiscard]] std::optional<Block> try_expand(
      const Block& block, std::uint64_t bytes) requires Resizable<strategy_type> {
    return in_shard(block, [&](auto& arena, const Block& part, std::uint32_t shard) {
      std::optional<Block> expanded = arena.try_expand(part, bytes);
      if (expanded) expanded = whole(*expanded, shard);
      return expanded;
    });
  }

  /// Like `Arena::shrink`.
  Block shrink(const Block& block, std::uint64_t bytes) requires Resizable<strategy_type> {
    return in_shard(block, [&](auto& arena, const Block& part, std::uint32_t shard) {
      return whole(arena.shrink(part, bytes), shard);
    });
  }

  /// Returns whether the block is live in one of the shards. Complexity: constant.
  [[nodiscard]] bool owns(const Block& block) const {
    const std::uint32_t shard = shard_of(block);
    return shards_[shard].arena.owns(part_of(block, shard));
  }

  /// Returns the address of a live block. Complexity: constant.
  /// Throws: `InvalidBlock`.
  [[nodiscard]] void* address(const Block& block) const requires Addressable<memory_type> {
    return in_shard(block, [](const auto& arena, const Block& part, std::uint32_t) {
      return arena.address(part);
    });
  }

  /// Like `Arena::block_at_offset` and `block_at`: one shard is asked.
  [[nodiscard]] std::optional<Block> block_at_offset(std::uint64_t offset) const requires
      IndexesBlocks<observer_type> {
    const std::uint32_t shard = shard_of(Block{offset, 0, {}});
    const auto part = shards_[shard].arena.block_at_offset(offset - shard * stride_);
    if (!part) return std::nullopt;
    return whole(*part, shard);
  }
  /// Returns the live block that starts at an address. One shard is asked.
  [[nodiscard]] std::optional<Block> block_at(const void* address) const requires
      IndexesBlocks<observer_type> && Addressable<memory_type> {
    return block_at_offset(reinterpret_cast<std::uintptr_t>(address) -
                           reinterpret_cast<std::uintptr_t>(base_address()));
  }

  /// Returns the address of the whole memory, which is that of the first shard.
  [[nodiscard]] void* base_address() const noexcept requires Addressable<memory_type> {
    return region_.address();
  }

  /// Returns the bytes in all shards.
  [[nodiscard]] std::uint64_t capacity() const noexcept {
    return (ShardCount - 1) * stride_ + shards_[ShardCount - 1].arena.capacity();
  }

  /// Returns the bytes of the largest shard: no request may exceed it.
  [[nodiscard]] std::uint64_t shard_capacity() const noexcept {
    return shards_[ShardCount - 1].arena.capacity();
  }

  /// Returns the number of the shard that a block is in. Complexity: constant.
  [[nodiscard]] std::uint32_t shard_of(const Block& block) const noexcept {
    return static_cast<std::uint32_t>(
        smaller<std::uint64_t>(block.offset / stride_, ShardCount - 1));
  }

  /// Returns the sum of the shards' usage; `largest_free` is the largest of any, `peak_used` the
  /// sum of the peaks, which may have been at different times.
  /// Complexity: the strategy's `largest_free`, for each shard.
  [[nodiscard]] Usage usage() const {
    Usage all{};
    for (const Shard& shard : shards_) all += shard.arena.usage();
    return all;
  }

  /// `usage().fragmentation()`: shard borders count as fragmentation, as no block spans them.
  [[nodiscard]] double fragmentation() const requires(!OneSized<strategy_type>) {
    return usage().fragmentation();
  }

  /// Returns the bytes of bookkeeping on the heap, of all shards. Complexity: linear in the shards.
  [[nodiscard]] std::uint64_t bookkeeping_bytes() const requires CountsBookkeeping<strategy_type> {
    std::uint64_t bytes = 0;
    for (const Shard& shard : shards_) bytes += shard.arena.bookkeeping_bytes();
    return bytes;
  }

  /// Like `Arena::for_each`, shard after shard, each under its own guard.
  template <class Visitor>
  void for_each(Visitor&& visitor) const {
    for (std::uint32_t i = 0; i < ShardCount; ++i) {
      shards_[i].arena.for_each([&](std::uint64_t offset, std::uint64_t size, bool used) {
        visitor(i * stride_ + offset, size, used);
      });
    }
  }

  /// Returns whether every invariant of every shard holds: for tests. Complexity: linear.
  [[nodiscard]] bool validate() const {
    for (const Shard& shard : shards_) {
      if (!shard.arena.validate()) return false;
    }
    return true;
  }

  /// Frees every block, shard after shard. Complexity: linear in the blocks.
  void reset() requires Resettable<strategy_type> {
    for (Shard& shard : shards_) shard.arena.reset();
  }

  /// Like `Arena::reserve`, in each shard, as all `blocks` may end up in one.
  void reserve(std::uint64_t blocks) requires Reservable<strategy_type> {
    for (Shard& shard : shards_) shard.arena.reserve(blocks);
  }

  /// Calls `function(observer)` for the observer of each shard, under its guard.
  /// Complexity: linear in the shards.
  template <class Function>
  void with_observers(Function&& function) requires(!std::same_as<observer_type, Unobserved>) {
    for (Shard& shard : shards_) shard.arena.with_observer(function);
  }

 private:
  /// Shard sizes are multiples of this many bytes.
  static constexpr std::uint64_t unit = alignment_type::value * granularity_of<strategy_type>;

  using Part = detail::PartOf<memory_type>;
  /// An observer is notified of each refusal.
  static constexpr bool remembers_refusals =
      std::same_as<observer_type, Unobserved> && keeps_refusing<strategy_type>;
  using ShardStrategy = std::conditional_t<remembers_refusals,
                                           detail::RemembersRefusal<strategy_type>, strategy_type>;
  using PartArena = Arena<ShardStrategy, alignment_type, synchronization_type, Part, observer_type>;

  /// Alone on its cache lines, and on the adjacent lines that are fetched with them.
  struct alignas(128) Shard {
    Shard(std::uint64_t capacity, Part part) : arena{capacity, part} {}

    /// Returns whether it refuses a request of `units` units now, without its lock.
    [[nodiscard]] bool surely_refuses([[maybe_unused]] std::uint64_t units) const noexcept {
      if constexpr (remembers_refusals) {
        return arena.range_.strategy().surely_refuses(units);
      } else {
        return false;
      }
    }

    PartArena arena;
  };

  /// Returns the bytes from one shard to the next: a multiple of a power of two if possible, so
  /// that shards are well aligned.
  [[nodiscard]] static std::uint64_t stride_for(std::uint64_t capacity) {
    const std::uint64_t share = capacity / ShardCount;
    if (share < unit) detail::reject_capacity(share, unit);
    const std::uint64_t coarse = std::bit_floor(share) / 256;
    const std::uint64_t step = std::has_single_bit(unit) ? larger(unit, coarse) : unit;
    return share / step * step;
  }

  template <std::size_t... Indices>
  [[nodiscard]] std::array<Shard, ShardCount> make_shards(std::index_sequence<Indices...>) {
    return {{Shard{Indices == ShardCount - 1 ? capacity_ - Indices * stride_ : stride_,
                   Part{region_, Indices * stride_}}...}};
  }

  [[nodiscard]] Block whole(const Block& part, std::uint32_t shard) const noexcept {
    return {part.offset + shard * stride_, part.size, part.handle};
  }
  [[nodiscard]] Block part_of(const Block& block, std::uint32_t shard) const noexcept {
    return {block.offset - shard * stride_, block.size, block.handle};
  }

  /// Calls `function(arena, block in it, shard)`; an `InvalidBlock` names the block as the caller
  /// knows it.
  template <class Function>
  decltype(auto) in_shard(const Block& block, Function&& function) {
    return in_shard_of(*this, block, function);
  }
  template <class Function>
  decltype(auto) in_shard(const Block& block, Function&& function) const {
    return in_shard_of(*this, block, function);
  }
  template <class Self, class Function>
  static decltype(auto) in_shard_of(Self& self, const Block& block, Function&& function) {
    const std::uint32_t shard = self.shard_of(block);
    try {
      return function(self.shards_[shard].arena, self.part_of(block, shard), shard);
    } catch (const InvalidBlock& error) {
      throw InvalidBlock{error.defect(), block.offset, block.size};
    }
  }

  [[nodiscard]] OutOfMemory refusal(const Request& request) const {
    const Usage all = usage();
    const std::uint64_t alignment = larger(request.alignment, alignment_type::value);
    const std::uint64_t limit = shard_capacity();
    // Another thread may have freed a block meanwhile: what is free now may seem to be enough.
    RefusalReason reason = RefusalReason::fragmented;
    if (request.bytes > limit || request.bytes > all.free) {
      reason = RefusalReason::too_large;
    } else if (request.bytes <= all.largest_free && alignment > alignment_type::value) {
      reason = RefusalReason::alignment;
    }
    const std::uint64_t rounded =
        detail::refused_rounding(detail::whole_bytes_for<ArenaType>(request.bytes),
                                 detail::block_bytes_for<ArenaType>(request.bytes),
                                 smaller(all.free, limit), all.largest_free);
    return {reason,       request.bytes, alignment, all.free, all.largest_free,
            all.capacity, limit,         0,         rounded};
  }

  std::uint64_t capacity_;
  std::uint64_t stride_;
  [[no_unique_address]] typename memory_type::Region region_;
  std::array<Shard, ShardCount> shards_;
};

}  // namespace allot
