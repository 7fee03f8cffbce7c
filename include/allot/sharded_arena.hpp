// SPDX-License-Identifier: MIT
/// \file
/// `ShardedArena<Arena, N>`: an arena of arenas, for threads that would wait for one lock. One
/// memory in N ranges, each a shard with a strategy, a lock and an observer of its own.
#pragma once

#include <allot/arena.hpp>
#include <allot/core/arguments.hpp>
#include <allot/core/block.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/errors.hpp>
#include <allot/memory/memory.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace allot {

namespace detail {

/// A part of a region that someone else owns, and keeps where it is: a memory policy.
template <Memory M>
class PartOf {
 public:
  static constexpr bool host_accessible = M::host_accessible;
  static constexpr bool device_accessible = M::device_accessible;

  class Region {
   public:
    Region() noexcept = default;
    Region(typename M::Region& whole, std::uint64_t offset) noexcept
        : whole_{&whole}, offset_{offset} {}

    /// What both the whole and the distance from its base allow.
    [[nodiscard]] std::uint64_t alignment() const noexcept {
      const std::uint64_t natural = offset_ & (0 - offset_);
      return natural == 0 ? whole_->alignment() : std::min(whole_->alignment(), natural);
    }
    [[nodiscard]] void* address() const noexcept requires
        requires(const typename M::Region region) {
      region.address();
    }
    { return static_cast<std::byte*>(whole_->address()) + offset_; }

    void mark_used(std::uint64_t offset, std::uint64_t size) noexcept requires
        requires(typename M::Region region) {
      region.mark_used(offset, size);
    }
    { whole_->mark_used(offset_ + offset, size); }
    void mark_free(std::uint64_t offset, std::uint64_t size) noexcept requires
        requires(typename M::Region region) {
      region.mark_free(offset, size);
    }
    { whole_->mark_free(offset_ + offset, size); }

   private:
    typename M::Region* whole_ = nullptr;
    std::uint64_t offset_ = 0;
  };

  PartOf(typename M::Region& whole, std::uint64_t offset) noexcept : region_{whole, offset} {}

  [[nodiscard]] Region acquire(std::uint64_t, std::uint64_t) noexcept { return region_; }

 private:
  Region region_;
};

/// A number for each thread that lives, from 0 on: a thread that ends gives its number back, and
/// the lowest free one is taken, so that as many threads as shards have one each.
class ThreadNumbers {
 public:
  /// That of this thread. Complexity: constant, but for its first call in each thread.
  [[nodiscard]] static std::uint32_t own() {
    thread_local const Holder holder{numbers()};
    return holder.number;
  }

 private:
  struct Holder {
    explicit Holder(ThreadNumbers& all) : numbers{all}, number{all.take()} {}
    Holder(const Holder&) = delete;
    Holder& operator=(const Holder&) = delete;
    ~Holder() { numbers.give_back(number); }

    ThreadNumbers& numbers;
    const std::uint32_t number;
  };

  /// Never destroyed: threads may outlive what is.
  [[nodiscard]] static ThreadNumbers& numbers() {
    static ThreadNumbers& all = *new ThreadNumbers;
    return all;
  }

  [[nodiscard]] std::uint32_t take() {
    const std::lock_guard lock{mutex_};
    const auto free = std::find(is_taken_.begin(), is_taken_.end(), false);
    const auto number = static_cast<std::uint32_t>(free - is_taken_.begin());
    if (free == is_taken_.end()) {
      is_taken_.push_back(true);
    } else {
      *free = true;
    }
    return number;
  }

  void give_back(std::uint32_t number) {
    const std::lock_guard lock{mutex_};
    is_taken_[number] = false;
  }

  std::mutex mutex_;
  std::vector<bool> is_taken_;
};

}  // namespace detail

/// A thread allocates in its own shard, and where that has no room, in the others; a block is freed
/// from any thread. As many threads as there are shards have one each. No block crosses the border
/// of two shards: `shard_capacity` limits requests.
///
/// The members are those of `Arena`, with its guarantees; what sums up several shards is a snapshot
/// of each, taken one after the other. An observer is told what its shard grants and refuses.
///
/// \tparam ArenaType  an `Arena` with a synchronization that is thread-safe
/// \tparam N          shards; as many as threads that allocate at once
template <class ArenaType, std::uint32_t N>
class ShardedArena {
 public:
  using strategy_type = typename ArenaType::strategy_type;
  using alignment_type = typename ArenaType::alignment_type;
  using synchronization_type = typename ArenaType::synchronization_type;
  using memory_type = typename ArenaType::memory_type;
  using observer_type = typename ArenaType::observer_type;

  static_assert(N != 0, "an arena has at least one shard");
  static_assert(synchronization_type::is_thread_safe,
                "shards are for threads: use an arena with Locked<Mutex>");

  /// Takes `capacity_bytes` from the memory policy in one piece and divides it: the last shard has
  /// what is left over, up to 1/256 for each of the others.
  /// Throws: `std::invalid_argument` for less than one unit a shard; what the memory throws;
  /// `std::bad_alloc` for the bookkeeping.
  explicit ShardedArena(
      std::uint64_t capacity_bytes) requires std::default_initializable<memory_type>
      : ShardedArena{capacity_bytes, memory_type{}} {}

  ShardedArena(std::uint64_t capacity_bytes,
               memory_type memory) requires std::default_initializable<observer_type>
      : capacity_{capacity_bytes / unit * unit},
        stride_{stride_for(capacity_)},
        region_{memory.acquire(capacity_, alignment_type::value)},
        shards_{make_shards(std::make_index_sequence<N>{})} {}

  ShardedArena(const ShardedArena&) = delete;
  ShardedArena& operator=(const ShardedArena&) = delete;

  /// As `Arena::allocate`. Complexity: the strategy's, times the shards where the first has no
  /// room.
  [[nodiscard]] Block allocate(std::uint64_t bytes) { return allocate(Request{bytes}); }
  [[nodiscard]] Block allocate(std::uint64_t bytes, std::uint64_t alignment) {
    return allocate(detail::request_of(bytes, alignment));
  }
  [[nodiscard]] Block allocate(const Request& request) {
    if (const std::optional<Block> block = try_allocate(request)) [[likely]]
      return *block;
    throw refusal(request);
  }

  [[nodiscard]] std::optional<Block> try_allocate(std::uint64_t bytes) {
    return try_allocate(Request{bytes});
  }
  [[nodiscard]] std::optional<Block> try_allocate(std::uint64_t bytes, std::uint64_t alignment) {
    return try_allocate(detail::request_of(bytes, alignment));
  }
  [[nodiscard]] std::optional<Block> try_allocate(const Request& request) {
    const std::uint32_t own = detail::ThreadNumbers::own() % N;
    for (std::uint32_t i = 0; i < N; ++i) {
      const std::uint32_t shard = own + i < N ? own + i : own + i - N;
      if (const std::optional<Block> block = shards_[shard].arena.try_allocate(request)) [[likely]]
        return whole(*block, shard);
    }
    return std::nullopt;
  }

  /// As the members of `Arena`; a block stays in its shard.
  void deallocate(const Block& block) {
    in_shard(block, [](auto& arena, const Block& part, std::uint32_t) { arena.deallocate(part); });
  }
  [[nodiscard]] std::optional<Block> try_expand(const Block& block, std::uint64_t bytes) requires
      requires(ArenaType arena) {
    arena.try_expand(block, bytes);
  }
  {
    return in_shard(block, [&](auto& arena, const Block& part, std::uint32_t shard) {
      std::optional<Block> expanded = arena.try_expand(part, bytes);
      if (expanded) expanded = whole(*expanded, shard);
      return expanded;
    });
  }
  Block shrink(const Block& block, std::uint64_t bytes) requires requires(ArenaType arena) {
    arena.shrink(block, bytes);
  }
  {
    return in_shard(block, [&](auto& arena, const Block& part, std::uint32_t shard) {
      return whole(arena.shrink(part, bytes), shard);
    });
  }

  [[nodiscard]] bool owns(const Block& block) const {
    const std::uint32_t shard = shard_of(block);
    return shards_[shard].arena.owns(part_of(block, shard));
  }

  [[nodiscard]] void* address(const Block& block) const requires requires(const ArenaType arena) {
    arena.address(block);
  }
  {
    return in_shard(block, [](const auto& arena, const Block& part, std::uint32_t) {
      return arena.address(part);
    });
  }
  [[nodiscard]] void* base_address() const noexcept requires requires(const ArenaType arena) {
    arena.base_address();
  }
  { return region_.address(); }

  /// Bytes in all shards.
  [[nodiscard]] std::uint64_t capacity() const noexcept {
    return (N - 1) * stride_ + shards_[N - 1].arena.capacity();
  }

  /// Bytes of the largest shard: no request may exceed it.
  [[nodiscard]] std::uint64_t shard_capacity() const noexcept {
    return shards_[N - 1].arena.capacity();
  }

  /// Which shard a block is of. Complexity: constant.
  [[nodiscard]] std::uint32_t shard_of(const Block& block) const noexcept {
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(block.offset / stride_, N - 1));
  }

  /// Sums of the shards; `largest_free` is the largest of any, `peak_used` the sum of the peaks,
  /// which need not have been at the same time.
  [[nodiscard]] Usage usage() const {
    Usage all{};
    for (const Shard& shard : shards_) {
      const Usage usage = shard.arena.usage();
      all.capacity += usage.capacity;
      all.used += usage.used;
      all.requested += usage.requested;
      all.padding += usage.padding;
      all.free += usage.free;
      all.largest_free = std::max(all.largest_free, usage.largest_free);
      all.free_blocks += usage.free_blocks;
      all.live_blocks += usage.live_blocks;
      all.peak_used += usage.peak_used;
    }
    return all;
  }

  [[nodiscard]] double fragmentation() const requires requires(const ArenaType arena) {
    arena.fragmentation();
  }
  {
    const Usage all = usage();
    if (all.free == 0) return 0;
    return 1 - static_cast<double>(all.largest_free) / static_cast<double>(all.free);
  }

  [[nodiscard]] std::uint64_t bookkeeping_bytes() const {
    std::uint64_t bytes = 0;
    for (const Shard& shard : shards_) bytes += shard.arena.bookkeeping_bytes();
    return bytes;
  }

  template <class Visitor>
  void for_each(Visitor&& visitor) const {
    for (std::uint32_t i = 0; i < N; ++i) {
      shards_[i].arena.for_each([&](std::uint64_t offset, std::uint64_t size, bool used) {
        visitor(i * stride_ + offset, size, used);
      });
    }
  }

  [[nodiscard]] bool validate() const {
    return std::all_of(shards_.begin(), shards_.end(),
                       [](const Shard& shard) { return shard.arena.validate(); });
  }

  void reset() requires requires(ArenaType arena) { arena.reset(); }
  {
    for (Shard& shard : shards_) shard.arena.reset();
  }

  /// Each shard makes room for as many: all may come to be in one.
  void reserve(std::uint64_t blocks) requires requires(ArenaType arena) { arena.reserve(blocks); }
  {
    for (Shard& shard : shards_) shard.arena.reserve(blocks);
  }

  /// Calls `f(observer)` for the observer of each shard, under its guard.
  template <class F>
  void with_observers(F&& f) requires requires(ArenaType arena) {
    arena.with_observer(f);
  }
  {
    for (Shard& shard : shards_) shard.arena.with_observer(f);
  }

 private:
  /// Bytes that no shard divides.
  static constexpr std::uint64_t unit = alignment_type::value * granularity_of<strategy_type>;

  using Part = detail::PartOf<memory_type>;
  using PartArena = Arena<strategy_type, alignment_type, synchronization_type, Part, observer_type>;

  /// On cache lines of its own, and the neighbours that are fetched with them.
  struct alignas(128) Shard {
    Shard(std::uint64_t capacity, Part part) : arena{capacity, part} {}

    PartArena arena;
  };

  /// Bytes from one shard to the next: where it can be, a multiple of a power of two, so that
  /// shards are well aligned.
  [[nodiscard]] static std::uint64_t stride_for(std::uint64_t capacity) {
    const std::uint64_t share = capacity / N;
    if (share < unit) detail::throw_too_small(share, unit);
    const std::uint64_t coarse = std::bit_floor(share) / 256;
    const std::uint64_t step = std::has_single_bit(unit) ? std::max(unit, coarse) : unit;
    return share / step * step;
  }

  template <std::size_t... I>
  [[nodiscard]] std::array<Shard, N> make_shards(std::index_sequence<I...>) {
    return {{Shard{I == N - 1 ? capacity_ - I * stride_ : stride_, Part{region_, I * stride_}}...}};
  }

  [[nodiscard]] Block whole(const Block& part, std::uint32_t shard) const noexcept {
    return {part.offset + shard * stride_, part.size, part.handle};
  }
  [[nodiscard]] Block part_of(const Block& block, std::uint32_t shard) const noexcept {
    return {block.offset - shard * stride_, block.size, block.handle};
  }

  /// `f(arena, block there, shard)`; what it throws names the block as the caller knows it.
  template <class F>
  decltype(auto) in_shard(const Block& block, F&& f) {
    return in_shard_of(*this, block, f);
  }
  template <class F>
  decltype(auto) in_shard(const Block& block, F&& f) const {
    return in_shard_of(*this, block, f);
  }
  template <class Self, class F>
  static decltype(auto) in_shard_of(Self& self, const Block& block, F&& f) {
    const std::uint32_t shard = self.shard_of(block);
    try {
      return f(self.shards_[shard].arena, self.part_of(block, shard), shard);
    } catch (const InvalidBlock& error) {
      throw InvalidBlock{error.defect(), block.offset, block.size};
    }
  }

  [[nodiscard]] OutOfMemory refusal(const Request& request) const {
    const Usage all = usage();
    const std::uint64_t alignment = std::max(request.alignment, alignment_type::value);
    const std::uint64_t limit = shard_capacity();
    Reason reason = Reason::alignment;
    if (request.bytes > limit || request.bytes > all.free) {
      reason = Reason::too_large;
    } else if (request.bytes > all.largest_free) {
      reason = Reason::fragmented;
    }
    return {reason, request.bytes, alignment, all.free, all.largest_free, all.capacity, limit};
  }

  std::uint64_t capacity_;
  std::uint64_t stride_;
  [[no_unique_address]] typename memory_type::Region region_;
  std::array<Shard, N> shards_;
};

}  // namespace allot
