// SPDX-License-Identifier: MIT
/// \file
/// `Arena`: combines a strategy, an alignment, a synchronization, a memory and an observer, all
/// chosen as types. Its bookkeeping lives outside the memory that it hands out, which it never
/// touches.
/// Without exceptions (`-fno-exceptions`) the members that throw are absent: make an arena with
/// `try_make` and use the `try_` members. There, invalid arguments give nothing or false.
#pragma once

#include <allot/alignment/alignment.hpp>
#include <allot/core/block.hpp>
#include <allot/core/errors.hpp>
#include <allot/memory/memory.hpp>
#include <allot/observer/observer.hpp>
#include <allot/strategy/byte_range.hpp>
#include <allot/strategy/strategy.hpp>
#include <allot/synchronization/synchronization.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <utility>

#if !defined(__cpp_exceptions)
#include <memory>
#endif

namespace allot {

/// Hands out blocks of a range of memory, or of bare offsets. Every member that changes the arena
/// gives the strong guarantee: if it throws, or returns nothing or false, nothing has changed. The
/// synchronization policy decides whether several threads may call members at once. If a policy
/// lacks a capability, so does the arena: `address` exists only if the memory has addresses,
/// `with_observer` only if there is an observer. Visitors and observers must not call the arena.
template <Strategy StrategyType, Alignment AlignmentType = AlignTo<256>,
          Synchronization SynchronizationType = Unsynchronized, Memory MemoryType = OffsetsOnly,
          Observer ObserverType = Unobserved>
class Arena {
  using Region = typename MemoryType::Region;
  using Range = detail::ByteRange<StrategyType, AlignmentType::value>;
  using Units = detail::RequestedUnits;
  static constexpr std::uint64_t unit = AlignmentType::value;
  static constexpr bool is_observed = !std::same_as<ObserverType, Unobserved>;
  static constexpr bool can_grow = Growable<StrategyType> && GrowableMemory<MemoryType>;

 public:
  using strategy_type = StrategyType;
  using alignment_type = AlignmentType;
  using synchronization_type = SynchronizationType;
  using memory_type = MemoryType;
  using observer_type = ObserverType;

  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

#if defined(__cpp_exceptions)
  /// Acquires `capacity_bytes`, rounded down to whole units, from the memory policy as one region.
  /// Throws: `std::invalid_argument` for less than one unit; `std::length_error` for more units
  /// than the strategy takes; whatever the memory throws (`OutOfMemory` of reason `source`);
  /// `std::bad_alloc` for the bookkeeping.
  explicit Arena(std::uint64_t capacity_bytes) requires std::default_initializable<MemoryType> &&
      std::default_initializable<ObserverType>
      : Arena{capacity_bytes, MemoryType{}, ObserverType{}} {}
  Arena(std::uint64_t capacity_bytes,
        MemoryType memory) requires std::default_initializable<ObserverType>
      : Arena{capacity_bytes, std::move(memory), ObserverType{}} {}
  Arena(std::uint64_t capacity_bytes, MemoryType memory, ObserverType observer)
      : Arena{memory.acquire(Range::checked_units_in(capacity_bytes) * unit, unit),
              std::move(observer), Range::checked_units_in(capacity_bytes)} {
    if (range_.capacity() == 0) throw std::bad_alloc{};
  }

  /// Allocates at least `bytes` bytes at a multiple of `alignment` (at least of the arena's own).
  /// Complexity: the strategy's.
  /// Throws: `OutOfMemory` with its reason and figures; `std::invalid_argument` for zero bytes, an
  /// alignment that is not a power of two, and sizes that overflow; `std::bad_alloc` for the
  /// bookkeeping. `OutOfMemory` is also a `std::bad_alloc`: catch it first to tell them apart.
  [[nodiscard]] Block allocate(std::uint64_t bytes, std::uint64_t alignment = unit) {
    return allocate(detail::request_of(bytes, alignment));
  }
  [[nodiscard]] Block allocate(const Request& request) { return grant<false, Block>(request); }

  /// Like `allocate`, but at the upper end of the range.
  [[nodiscard]] Block allocate_upper(std::uint64_t bytes, std::uint64_t alignment = unit) requires
      DoubleEnded<StrategyType> {
    return allocate_upper(detail::request_of(bytes, alignment));
  }
  [[nodiscard]] Block allocate_upper(const Request& request) requires DoubleEnded<StrategyType> {
    return grant<true, Block>(request);
  }

  /// Frees a block. Complexity: the strategy's; never calls the system allocator.
  /// Throws: `InvalidBlock` if the block is not live in this arena; nothing has changed.
  void deallocate(const Block& block) {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    static_cast<void>(check_live(block));
    range_.deallocate(block);
    report_free(block);
  }

  /// Frees the end of a block, so that it still holds `bytes` bytes, rounded up to what the
  /// strategy can grant. It keeps its offset and handle. Complexity: the strategy's.
  /// Throws: `InvalidBlock`; `std::invalid_argument` for zero bytes and for more than the block
  /// has; `std::bad_alloc` for the bookkeeping; nothing has changed.
  Block shrink(const Block& block, std::uint64_t bytes) requires Resizable<StrategyType> {
    const Units units = detail::units_of(Request{bytes}, unit);
    [[maybe_unused]] const auto guard = synchronization_.guard();
    static_cast<void>(check_live(block));
    if (bytes > block.size)
      detail::reject("cannot shrink a block of # bytes to # bytes; use try_expand for more",
                     {block.size, bytes});
    const Block shrunk = range_.shrink(block, bytes, units);
    report_resize(block, shrunk);
    return shrunk;
  }

  /// Reserves bookkeeping for `blocks` live blocks: up to that many, only `grow` calls the system
  /// allocator. Throws: `std::bad_alloc`; nothing has changed.
  void reserve(std::uint64_t blocks) requires Reservable<StrategyType> {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    range_.strategy().reserve(blocks);
  }

  /// Extends the arena at its end to `capacity_bytes` in total, rounded down to whole units. Blocks
  /// stay where they are. Complexity: the strategy's.
  /// Throws: `std::invalid_argument` for less than now, else as the constructor; nothing has changed.
  void grow(std::uint64_t capacity_bytes) requires can_grow {
    const std::uint64_t units = Range::checked_units_in(capacity_bytes);
    [[maybe_unused]] const auto guard = synchronization_.guard();
    if (units * unit < range_.capacity())
      detail::reject(
          "cannot grow an arena of # bytes to # bytes; give the new capacity, not the difference",
          {range_.capacity(), capacity_bytes});
    region_.grow(units * unit);
    range_.strategy().grow(units);
  }

  /// Frees what was allocated since the mark was made, as the strategy's `release_to` defines.
  /// Observers are notified of each block. Complexity: linear in the blocks freed.
  /// Throws: `std::invalid_argument` for a mark of another arena; nothing has changed.
  void release_to(const auto& mark) requires Markable<StrategyType> {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    if (!range_.release_to(mark, [this](const Block& block) { report_free(block); }))
      detail::reject("the mark belongs to another arena; release to one that this arena made", {});
  }

  /// Returns the address of a live block. Complexity: constant. Throws: `InvalidBlock`.
  [[nodiscard]] void* address(const Block& block) const requires Addressable<MemoryType> {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    static_cast<void>(check_live(block));
    return static_cast<std::byte*>(region_.address()) + block.offset;
  }
#endif

  /// As the constructor, but returns a `std::unique_ptr<Arena>`, which is empty if it fails; the
  /// caller includes `<memory>`, which takes longer to compile than this header.
  [[nodiscard]] static auto try_make(std::uint64_t capacity_bytes, MemoryType memory = MemoryType{},
                                     ObserverType observer = ObserverType{}) noexcept {
    decltype(make_unique<Arena>(std::in_place)) arena;  // std's: looked up where it is called
    const std::uint64_t units = Range::units_in(capacity_bytes);
    if (units == 0) return arena;
    static_cast<void>(detail::completes([&] {
      std::optional<Region> region;
      if constexpr (TryAcquirable<MemoryType>) {
        region = memory.try_acquire(units * unit, unit);
      } else {
        region = memory.acquire(units * unit, unit);
      }
      if (region)
        arena.reset(new (std::nothrow) Arena{std::move(*region), std::move(observer), units});
    }));
    if (arena != nullptr && arena->range_.capacity() == 0) arena.reset();
    return arena;
  }

  /// Like `allocate`, but returns nothing if the request is refused. With an observer that costs as
  /// much as `largest_free`. Invalid arguments still throw.
  [[nodiscard]] std::optional<Block> try_allocate(std::uint64_t bytes,
                                                  std::uint64_t alignment = unit) {
    return try_allocate(detail::request_of(bytes, alignment));
  }
  [[nodiscard]] std::optional<Block> try_allocate(const Request& request) {
    return grant<false, std::optional<Block>>(request);
  }

  /// Like `try_allocate`, but at the upper end of the range.
  [[nodiscard]] std::optional<Block> try_allocate_upper(
      std::uint64_t bytes, std::uint64_t alignment = unit) requires DoubleEnded<StrategyType> {
    return try_allocate_upper(detail::request_of(bytes, alignment));
  }
  [[nodiscard]] std::optional<Block> try_allocate_upper(const Request& request) requires
      DoubleEnded<StrategyType> {
    return grant<true, std::optional<Block>>(request);
  }

  /// Like `deallocate`, but returns false if the block is not live.
  bool try_deallocate(const Block& block) {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    if (!range_.is_live(block)) return false;
    range_.deallocate(block);
    report_free(block);
    return true;
  }

  /// Grows a block in place, at its end, to at least `bytes` bytes; returns nothing if what follows
  /// it is used or too small. The block keeps its offset and handle. If its size changed, `block`
  /// is stale: use the returned one. Observers see a resize (`NotedOfResizes`). Complexity: the
  /// strategy's. Throws: `InvalidBlock`; `std::invalid_argument` for sizes of zero or that overflow.
  [[nodiscard]] std::optional<Block> try_expand(
      const Block& block, std::uint64_t bytes) requires Resizable<StrategyType> {
    const Units units = detail::units_of(Request{bytes}, unit);
    [[maybe_unused]] const auto guard = synchronization_.guard();
    if (units.size == 0 || !check_live(block)) return std::nullopt;
    const std::optional<Block> expanded = range_.try_expand(block, bytes, units);
    if (expanded) report_resize(block, *expanded);
    return expanded;
  }

  /// Like `reserve`, but returns false on failure.
  [[nodiscard]] bool try_reserve(std::uint64_t blocks) requires Reservable<StrategyType> {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    return range_.try_reserve(blocks);
  }
  /// Like `grow`, but returns false on failure.
  [[nodiscard]] bool try_grow(std::uint64_t capacity_bytes) requires can_grow {
    const std::uint64_t units = Range::units_in(capacity_bytes);
    [[maybe_unused]] const auto guard = synchronization_.guard();
    return units * unit >= range_.capacity() &&
           range_.try_grow(units, [&] { region_.grow(units * unit); });
  }

  /// Like `address`, but returns null if the block is not live.
  [[nodiscard]] void* try_address(const Block& block) const requires Addressable<MemoryType> {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    return range_.is_live(block) ? static_cast<std::byte*>(region_.address()) + block.offset
                                 : nullptr;
  }

  /// Frees every block. Observers are notified of each. Complexity: linear in the blocks.
  void reset() requires Resettable<StrategyType> {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    if constexpr (is_observed || TracksUse<MemoryType>)
      range_.for_each_live([this](const Block& block) { report_free(block); });
    range_.reset();
  }

  /// Returns how far allocations have reached, for `release_to`. Complexity: constant.
  [[nodiscard]] auto mark() const requires Markable<StrategyType> {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    return range_.strategy().mark();
  }

  /// Returns whether the block is live in this arena. Complexity: constant.
  [[nodiscard]] bool owns(const Block& block) const {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    return range_.is_live(block);
  }

  /// Returns the live block that starts at an offset. Absent unless the observer is an
  /// `AddressIndex` or has one. Complexity: constant; linear if the index had no memory for a block.
  [[nodiscard]] std::optional<Block> block_at_offset(std::uint64_t offset) const requires
      IndexesBlocks<ObserverType> {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    const std::optional<Block> block = observer_.block_at_offset(offset);
    return block || observer_.untracked() == 0 ? block : range_.live_at(offset);
  }
  /// Returns the live block that starts at an address. Otherwise as `block_at_offset`.
  [[nodiscard]] std::optional<Block> block_at(const void* address) const requires
      IndexesBlocks<ObserverType> && Addressable<MemoryType> {
    return block_at_offset(reinterpret_cast<std::uintptr_t>(address) -
                           reinterpret_cast<std::uintptr_t>(base_address()));
  }

  /// Returns the address of the arena's memory.
  [[nodiscard]] void* base_address() const noexcept requires Addressable<MemoryType> {
    return region_.address();
  }
  /// Returns the bytes in the arena: whole units.
  [[nodiscard]] std::uint64_t capacity() const noexcept {
    if constexpr (!can_grow) return range_.capacity();
    [[maybe_unused]] const auto guard = synchronization_.guard();
    return range_.capacity();
  }
  /// Returns the bytes of bookkeeping on the heap, all of them host memory. Complexity: constant.
  [[nodiscard]] std::uint64_t bookkeeping_bytes() const requires CountsBookkeeping<StrategyType> {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    return range_.strategy().bookkeeping_bytes();
  }

  /// Returns a consistent snapshot. Complexity: the strategy's `largest_free`.
  [[nodiscard]] Usage usage() const {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    return range_.usage();
  }

  /// `usage().fragmentation()`: external fragmentation. Absent if all blocks have one size.
  [[nodiscard]] double fragmentation() const requires(!OneSized<StrategyType>) {
    return usage().fragmentation();
  }

  /// Calls `visitor(offset, size, used)`, in bytes, for every block in address order, under the
  /// guard. Complexity: linear in the blocks.
  void for_each(auto&& visitor) const {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    range_.for_each(visitor);
  }

  /// Returns whether every invariant of the bookkeeping holds: for tests. Complexity: linear.
  [[nodiscard]] bool validate() const {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    return range_.validate();
  }

  /// Calls `function(observer)` under the guard and returns what it returns.
  decltype(auto) with_observer(auto&& function) requires is_observed {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    return std::forward<decltype(function)>(function)(observer_);
  }
  decltype(auto) with_observer(auto&& function) const requires is_observed {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    return std::forward<decltype(function)>(function)(std::as_const(observer_));
  }

 private:
  template <class, std::uint32_t>
  friend class ShardedArena;

  Arena(Region&& region, ObserverType&& observer, std::uint64_t units)
      : range_{units, std::nothrow}, region_{std::move(region)}, observer_{std::move(observer)} {
    if constexpr (TracksUse<MemoryType>) {
      std::uint64_t bytes = range_.capacity();
      if constexpr (requires { region_.bytes(); }) bytes = region_.bytes();  // more, if rounded up
      region_.mark_free(0, bytes);
    }
  }

  /// \tparam Result  `Block`: throws if the request is refused; or an optional one
  template <bool is_upper, class Result>
  [[nodiscard]] Result grant(const Request& request) {
    constexpr bool throws = std::same_as<Result, Block>;
    const Units units = detail::units_of(request, unit);
    if (units.size == 0) return {};  // without exceptions
    [[maybe_unused]] const auto guard = synchronization_.guard();
    const auto placement = range_.template place<is_upper>(units, region_.alignment());
    if (placement) [[likely]]
      return made(request, *placement);
    if constexpr (is_observed) {
      observer_.refused(request, range_.reason_for(units, region_.alignment()));
      if constexpr (throws) detail::notify_thrown(observer_);
    }
#if defined(__cpp_exceptions)
    if constexpr (throws) throw range_.refusal(request.bytes, units, region_.alignment());
#endif
    return {};
  }

  // Nothing below enters the critical section.

  [[nodiscard]] Block made(const Request& request, const Placement& placement) noexcept {
    const Block block = range_.account(placement, request.bytes);
    if constexpr (TracksUse<MemoryType>) region_.mark_used(block.offset, block.size);
    observer_.allocated(block, request);
    return block;
  }

  void report_free(const Block& block) noexcept {
    if constexpr (TracksUse<MemoryType>) region_.mark_free(block.offset, block.size);
    observer_.deallocated(block);
  }

  void report_resize(const Block& before, const Block& now) noexcept {
    if constexpr (TracksUse<MemoryType>) {
      // Never report as free what stays in use: another thread may be reading it.
      if (now.size < before.size) region_.mark_free(now.offset + now.size, before.size - now.size);
      region_.mark_used(now.offset, now.size);
    }
    detail::notify_resized(observer_, before, now, Request{range_.requested(now)});
  }

  /// Throws `InvalidBlock` unless the block is live; without exceptions returns whether it is.
  [[nodiscard]] bool check_live(const Block& block) const {
    if (range_.is_live(block)) [[likely]]
      return true;
#if defined(__cpp_exceptions)
    throw InvalidBlock{range_.defect(block), block.offset, block.size};
#else
    return false;
#endif
  }

  Range range_;
  [[no_unique_address]] mutable SynchronizationType synchronization_;
  [[no_unique_address]] Region region_;
  [[no_unique_address]] ObserverType observer_;
};

}  // namespace allot
