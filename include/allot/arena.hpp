// SPDX-License-Identifier: MIT
/// \file
/// `Arena`: one strategy, one alignment, one synchronization, one memory and one observer, chosen
/// as types. Its bookkeeping lives outside of what it hands out, so the memory itself is never
/// touched.
#pragma once

#include <allot/alignment/alignment.hpp>
#include <allot/arena_state.hpp>
#include <allot/core/arguments.hpp>
#include <allot/core/block.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/errors.hpp>
#include <allot/memory/memory.hpp>
#include <allot/observer/observer.hpp>
#include <allot/strategy/strategy.hpp>
#include <allot/synchronization/synchronization.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace allot {

/// A range of memory, or of bare offsets, that hands out blocks.
///
/// Every member that changes the arena gives the strong guarantee: where it throws or returns
/// nothing, nothing has changed. Members are as safe to call from several threads as `L` says.
/// What a policy lacks, the arena lacks: `address` exists only where the memory has addresses,
/// `with_observer` only where there is an observer.
///
/// Visitors and observers must not call the arena.
template <Strategy S, Alignment A = AlignTo<256>, Synchronization L = Unsynchronized,
          Memory M = OffsetsOnly, Observer O = Unobserved>
class Arena : private detail::ArenaState<S, A, L, M, O> {
  using State = detail::ArenaState<S, A, L, M, O>;
  using State::checked;
  using State::free_bytes;
  using State::has_one_size;
  using State::has_upper_end;
  using State::is_live;
  using State::is_observed;
  using State::largest;
  using State::marks_blocks;
  using State::observer_;
  using State::peak_used_;
  using State::place;
  using State::place_upper;
  using State::refusal;
  using State::region_;
  using State::requested_;
  using State::require_live;
  using State::resized;
  using State::strategy_;
  using State::synchronization_;
  using State::told_free;
  using State::told_refusal;
  using State::whole_units;
  using typename State::Units;

 public:
  using strategy_type = S;
  using alignment_type = A;
  using synchronization_type = L;
  using memory_type = M;
  using observer_type = O;

  /// Takes `capacity_bytes`, rounded down to whole units of `A::value`, from the memory policy in
  /// one piece.
  /// Throws: `std::invalid_argument` for less than one unit; what the memory throws
  /// (`OutOfMemory` of reason `source`); `std::bad_alloc` for the bookkeeping.
  explicit Arena(std::uint64_t capacity_bytes) requires std::default_initializable<M> &&
      std::default_initializable<O> : Arena{capacity_bytes, M{}, O{}} {}

  Arena(std::uint64_t capacity_bytes, M memory) requires std::default_initializable<O>
      : Arena{capacity_bytes, std::move(memory), O{}} {}

  Arena(std::uint64_t capacity_bytes, M memory, O observer)
      : State{capacity_bytes, std::move(memory), std::move(observer)} {}

  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// A block of at least `bytes`, at a multiple of `alignment` (below the arena's own: the arena's
  /// own). Complexity: the strategy's.
  /// Throws: `OutOfMemory` with its reason and figures; `std::invalid_argument` for zero bytes, an
  /// alignment that is no power of two, and sizes that overflow; `std::bad_alloc` for bookkeeping.
  [[nodiscard]] Block allocate(std::uint64_t bytes) { return allocate(Request{bytes}); }
  [[nodiscard]] Block allocate(std::uint64_t bytes, std::uint64_t alignment) {
    return allocate(detail::request_of(bytes, alignment));
  }
  [[nodiscard]] Block allocate(const Request& request) {
    const Units units = checked(request);
    [[maybe_unused]] const auto guard = synchronization_.guard();
    if (const std::optional<Block> block = place(request, units)) [[likely]]
      return *block;
    throw refusal(request, units);
  }

  /// As `allocate`, but returns nothing where memory is short. Invalid arguments throw here too.
  [[nodiscard]] std::optional<Block> try_allocate(std::uint64_t bytes) {
    return try_allocate(Request{bytes});
  }
  [[nodiscard]] std::optional<Block> try_allocate(std::uint64_t bytes, std::uint64_t alignment) {
    return try_allocate(detail::request_of(bytes, alignment));
  }
  [[nodiscard]] std::optional<Block> try_allocate(const Request& request) {
    const Units units = checked(request);
    [[maybe_unused]] const auto guard = synchronization_.guard();
    std::optional<Block> block = place(request, units);
    if (!block) told_refusal(request, units);
    return block;
  }

  /// As `allocate` and `try_allocate`, at the upper end of the range.
  [[nodiscard]] Block allocate_upper(const Request& request) requires has_upper_end {
    const Units units = checked(request);
    [[maybe_unused]] const auto guard = synchronization_.guard();
    if (const std::optional<Block> block = place_upper(request, units)) [[likely]]
      return *block;
    throw refusal(request, units);
  }
  [[nodiscard]] Block allocate_upper(std::uint64_t bytes) requires has_upper_end {
    return allocate_upper(Request{bytes});
  }
  [[nodiscard]] std::optional<Block> try_allocate_upper(const Request& request) requires
      has_upper_end {
    const Units units = checked(request);
    [[maybe_unused]] const auto guard = synchronization_.guard();
    std::optional<Block> block = place_upper(request, units);
    if (!block) told_refusal(request, units);
    return block;
  }
  [[nodiscard]] std::optional<Block> try_allocate_upper(std::uint64_t bytes) requires
      has_upper_end {
    return try_allocate_upper(Request{bytes});
  }

  /// Frees a block. Complexity: the strategy's; never calls the system allocator.
  /// Throws: `InvalidBlock` where the block is not live in this arena; nothing has changed.
  void deallocate(const Block& block) {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    require_live(block);
    const std::uint64_t requested = strategy_.word(block.handle);
    strategy_.deallocate(block.handle, block.offset / A::value);
    requested_ -= requested;
    if constexpr (marks_blocks) region_.mark_free(block.offset, block.size);
    observer_.deallocated(block);
  }

  /// Grows a block in place, at its end, to at least `bytes` bytes; nothing where what follows it
  /// is used or too small. It keeps its offset and handle; where its size changed, `block` itself
  /// is no longer live, the block returned is. Observers are told that one was freed and one made.
  /// Complexity: the strategy's.
  /// Throws: `InvalidBlock`; `std::invalid_argument` for zero bytes, and sizes that overflow.
  [[nodiscard]] std::optional<Block> try_expand(const Block& block, std::uint64_t bytes) requires
      requires(S s, Handle handle, std::uint64_t units) {
    s.try_expand(handle, units);
  }
  {
    const Units units = checked(Request{bytes});
    [[maybe_unused]] const auto guard = synchronization_.guard();
    require_live(block);
    if (!strategy_.try_expand(block.handle, units.size)) return std::nullopt;
    return resized(block, larger(bytes, strategy_.word(block.handle)));
  }

  /// Frees the end of a block, so that it still holds `bytes` bytes, rounded up to what the
  /// strategy can grant. It keeps its offset and handle, as with `try_expand`. Complexity: the
  /// strategy's.
  /// Throws: `InvalidBlock`; `std::invalid_argument` for zero bytes, and more than the block has;
  /// `std::bad_alloc` for the bookkeeping; nothing has changed.
  Block shrink(const Block& block, std::uint64_t bytes) requires
      requires(S s, Handle handle, std::uint64_t units) {
    s.shrink(handle, units);
  }
  {
    const Units units = checked(Request{bytes});
    [[maybe_unused]] const auto guard = synchronization_.guard();
    require_live(block);
    if (bytes > block.size) detail::throw_cannot_shrink(block.size, bytes);
    if (units.size < block.size / A::value) strategy_.shrink(block.handle, units.size);
    return resized(block, smaller(bytes, strategy_.word(block.handle)));
  }

  /// Frees every block. Observers are told of each. Complexity: linear in the blocks.
  void reset() requires requires(S s) { s.reset(); }
  {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    if constexpr (is_observed || marks_blocks) {
      strategy_.for_each_live([this](const Placement& placement) { told_free(placement); });
    }
    strategy_.reset();
    requested_ = 0;
  }

  /// Makes room for the bookkeeping of `blocks` live blocks: while there are no more, only `grow`
  /// calls the system allocator.
  /// Throws: `std::bad_alloc`; nothing has changed.
  void reserve(std::uint64_t blocks) requires requires(S s, std::uint64_t count) {
    s.reserve(count);
  }
  {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    strategy_.reserve(blocks);
  }

  /// Makes the arena longer, at its end: `capacity_bytes` in all, rounded down to whole units.
  /// Blocks stay where they are. Complexity: the strategy's.
  /// Throws: `std::invalid_argument` for less than it has; what the memory throws; `std::bad_alloc`
  /// for the bookkeeping; nothing has changed.
  void grow(std::uint64_t capacity_bytes) requires
      requires(S s, typename M::Region region, std::uint64_t size) {
    s.grow(size);
    region.grow(size);
  }
  {
    const std::uint64_t units = whole_units(capacity_bytes);
    [[maybe_unused]] const auto guard = synchronization_.guard();
    if (units < strategy_.capacity()) detail::throw_cannot_grow(capacity(), capacity_bytes);
    region_.grow(units * A::value);
    strategy_.grow(units);
  }

  /// The place that allocations have reached, for `release_to`. Complexity: constant.
  [[nodiscard]] auto mark() const requires requires(const S s) { s.mark(); }
  {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    return strategy_.mark();
  }

  /// Frees what was allocated since the mark was made, as `S::release_to` says. Observers are told
  /// of each block. Complexity: linear in the blocks freed.
  /// Throws: `std::invalid_argument` for a mark of another arena; nothing has changed.
  template <class Mark>
  void release_to(const Mark& mark) requires requires(S s) {
    s.release_to(mark);
  }
  {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    const auto released = [this](const Placement& placement, std::uint64_t requested) {
      requested_ -= requested;
      told_free(placement);
    };
    if (!strategy_.release_to(mark, released)) {
      throw std::invalid_argument{
          "the mark is of another arena; release to a mark that this arena made"};
    }
  }

  /// Whether the block is live in this arena. Complexity: constant.
  [[nodiscard]] bool owns(const Block& block) const {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    return is_live(block);
  }

  /// Where a live block begins. Complexity: constant.
  /// Throws: `InvalidBlock`.
  [[nodiscard]] void* address(const Block& block) const requires
      requires(const typename M::Region region) {
    region.address();
  }
  {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    require_live(block);
    return static_cast<std::byte*>(region_.address()) + block.offset;
  }

  /// Where the arena's memory begins.
  [[nodiscard]] void* base_address() const noexcept requires
      requires(const typename M::Region region) {
    region.address();
  }
  { return region_.address(); }

  /// Bytes in the arena: whole units.
  [[nodiscard]] std::uint64_t capacity() const noexcept { return State::capacity_bytes(); }

  /// Bytes of bookkeeping on the heap, all of them host memory. Complexity: constant.
  [[nodiscard]] std::uint64_t bookkeeping_bytes() const requires requires(const S s) {
    s.bookkeeping_bytes();
  }
  {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    return strategy_.bookkeeping_bytes();
  }

  /// A consistent snapshot. Complexity: the strategy's `largest_free`.
  [[nodiscard]] Usage usage() const {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    const std::uint64_t used = strategy_.used() * A::value;
    return {.capacity = capacity(),
            .used = used,
            .requested = requested_,
            .padding = used - requested_,
            .free = capacity() - used,
            .largest_free = largest(),
            .free_blocks = strategy_.free_blocks(),
            .live_blocks = strategy_.live_blocks(),
            .peak_used = peak_used_};
  }

  /// External fragmentation: 0 where all that is free is one block (or nothing is free), towards 1
  /// as it is scattered. Not where all blocks have one size.
  [[nodiscard]] double fragmentation() const requires(!has_one_size) {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    const std::uint64_t free = free_bytes();
    if (free == 0) return 0;
    return 1 - static_cast<double>(largest()) / static_cast<double>(free);
  }

  /// Calls `visitor(offset, size, used)`, in bytes, for every block in address order, under the
  /// guard. Complexity: linear in the blocks.
  template <class Visitor>
  void for_each(Visitor&& visitor) const {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    strategy_.for_each([&visitor](std::uint64_t offset, std::uint64_t size, bool used) {
      visitor(offset * A::value, size * A::value, used);
    });
  }

  /// Whether every invariant of the bookkeeping holds: for tests. Complexity: linear.
  [[nodiscard]] bool validate() const {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    const std::uint64_t used = strategy_.used() * A::value;
    return strategy_.validate() && requested_ <= used && used <= peak_used_ &&
           peak_used_ <= capacity();
  }

  /// Calls `f(observer)` under the guard and returns what it returns.
  template <class F>
  decltype(auto) with_observer(F&& f) requires(!std::same_as<O, Unobserved>) {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    return std::forward<F>(f)(observer_);
  }
  template <class F>
  decltype(auto) with_observer(F&& f) const requires(!std::same_as<O, Unobserved>) {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    return std::forward<F>(f)(std::as_const(observer_));
  }
};

}  // namespace allot
