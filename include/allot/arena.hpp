// SPDX-License-Identifier: MIT
/// \file
/// `Arena`: one strategy, one alignment, one synchronization, one memory and one observer, chosen
/// as types. Its bookkeeping lives outside of what it hands out, so the memory itself is never
/// touched.
#pragma once

#include <allot/alignment/alignment.hpp>
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
class Arena {
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
      : strategy_{whole_units(capacity_bytes)},
        region_{memory.acquire(strategy_.capacity() * A::value, A::value)},
        observer_{std::move(observer)} {}

  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// A block of at least `bytes`, at a multiple of `alignment` (below the arena's own: the arena's
  /// own). Complexity: the strategy's.
  /// Throws: `OutOfMemory` with its reason and figures; `std::invalid_argument` for zero bytes, an
  /// alignment that is no power of two, and sizes that overflow; `std::bad_alloc` for bookkeeping.
  [[nodiscard]] Block allocate(std::uint64_t bytes) { return allocate(Request{bytes}); }
  [[nodiscard]] Block allocate(std::uint64_t bytes, std::uint64_t alignment) {
    return allocate(request_of(bytes, alignment));
  }
  [[nodiscard]] Block allocate(const Request& request) {
    const Units units = checked(request);
    [[maybe_unused]] const auto guard = synchronization_.guard();
    if (const std::optional<Block> block = place(request, units)) [[likely]]
      return *block;
    throw OutOfMemory{refuse(request, units), request.bytes, units.alignment * A::value,
                      free_bytes(),           largest(),     capacity()};
  }

  /// As `allocate`, but returns nothing where memory is short. Invalid arguments throw here too.
  [[nodiscard]] std::optional<Block> try_allocate(std::uint64_t bytes) {
    return try_allocate(Request{bytes});
  }
  [[nodiscard]] std::optional<Block> try_allocate(std::uint64_t bytes, std::uint64_t alignment) {
    return try_allocate(request_of(bytes, alignment));
  }
  [[nodiscard]] std::optional<Block> try_allocate(const Request& request) {
    const Units units = checked(request);
    [[maybe_unused]] const auto guard = synchronization_.guard();
    std::optional<Block> block = place(request, units);
    if constexpr (is_observed) {
      if (!block) static_cast<void>(refuse(request, units));
    }
    return block;
  }

  /// Frees a block. Complexity: the strategy's; never calls the system allocator.
  /// Throws: `InvalidBlock` where the block is not live in this arena; nothing has changed.
  void deallocate(const Block& block) {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    if (!is_live(block)) [[unlikely]]
      throw InvalidBlock{defect(block), block.offset, block.size};
    const std::uint64_t requested = strategy_.word(block.handle);
    strategy_.deallocate(block.handle, block.offset / A::value);
    requested_ -= requested;
    if constexpr (marks_blocks) region_.mark_free(block.offset, block.size);
    observer_.deallocated(block);
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
    if (!is_live(block)) [[unlikely]]
      throw InvalidBlock{defect(block), block.offset, block.size};
    return static_cast<std::byte*>(region_.address()) + block.offset;
  }

  /// Where the arena's memory begins.
  [[nodiscard]] void* base_address() const noexcept requires
      requires(const typename M::Region region) {
    region.address();
  }
  { return region_.address(); }

  /// Bytes in the arena: whole units.
  [[nodiscard]] std::uint64_t capacity() const noexcept { return strategy_.capacity() * A::value; }

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
  /// as it is scattered.
  [[nodiscard]] double fragmentation() const {
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

 private:
  struct Units {
    std::uint64_t size;
    std::uint64_t alignment;
  };

  static constexpr bool is_observed = !std::same_as<O, Unobserved>;
  static constexpr bool marks_blocks = requires(typename M::Region region) {
    region.mark_used(std::uint64_t{}, std::uint64_t{});
  };

  [[nodiscard]] static std::uint64_t whole_units(std::uint64_t capacity_bytes) {
    if (capacity_bytes < A::value) throw_too_small(capacity_bytes);
    return capacity_bytes / A::value;
  }

  [[nodiscard]] static Request request_of(std::uint64_t bytes, std::uint64_t alignment) {
    if (!is_power_of_two(alignment)) throw_bad_alignment(alignment);
    return {.bytes = bytes, .alignment = alignment};
  }

  [[nodiscard]] static Units checked(const Request& request) {
    const std::uint64_t alignment = request.alignment == 0 ? A::value : request.alignment;
    if (!is_power_of_two(alignment)) throw_bad_alignment(alignment);
    const std::optional<std::uint64_t> raised = checked_add(request.bytes, A::value - 1);
    if (request.bytes == 0 || !raised) throw_bad_size(request.bytes);
    return {*raised / A::value, larger(alignment, A::value) / A::value};
  }

  [[noreturn]] static void throw_too_small(std::uint64_t bytes) {
    throw std::invalid_argument{(FixedText<160>{} << "an arena of " << bytes
                                                  << " bytes holds not one unit of " << A::value
                                                  << " bytes; give it at least one unit")
                                    .c_str()};
  }

  [[noreturn]] static void throw_bad_alignment(std::uint64_t alignment) {
    throw std::invalid_argument{(FixedText<160>{} << "an alignment of " << alignment
                                                  << " bytes is no power of two; use 1, 2, 4, ...")
                                    .c_str()};
  }

  [[noreturn]] static void throw_bad_size(std::uint64_t bytes) {
    throw std::invalid_argument{(FixedText<160>{} << "cannot allocate " << bytes
                                                  << " bytes: a block has at least one byte, and "
                                                     "its size in whole units fits 64 bits")
                                    .c_str()};
  }

  [[nodiscard]] std::optional<Block> place(const Request& request, Units units) {
    if (units.alignment * A::value > region_.alignment()) [[unlikely]]
      return std::nullopt;
    const std::optional<Placement> placed = strategy_.allocate(units.size, units.alignment);
    if (!placed) return std::nullopt;
    strategy_.word(placed->handle) = request.bytes;
    requested_ += request.bytes;
    peak_used_ = larger(peak_used_, strategy_.used() * A::value);
    const Block block{placed->offset * A::value, placed->size * A::value, placed->handle};
    if constexpr (marks_blocks) region_.mark_used(block.offset, block.size);
    observer_.allocated(block, request);
    return block;
  }

  /// Tells the observer that the request was refused, and returns why.
  [[nodiscard]] Reason refuse(const Request& request, Units units) noexcept {
    const Reason reason = reason_for(units);
    observer_.refused(request, reason);
    return reason;
  }

  [[nodiscard]] Reason reason_for(Units units) const noexcept {
    if (units.alignment * A::value > region_.alignment()) return Reason::alignment;
    if (units.size > strategy_.capacity() - strategy_.used()) return Reason::too_large;
    return units.size > strategy_.largest_free() ? Reason::fragmented : Reason::alignment;
  }

  [[nodiscard]] bool is_live(const Block& block) const noexcept {
    return block.offset % A::value == 0 &&
           strategy_.is_live(block.handle, block.offset / A::value) &&
           strategy_.block_size(block.handle) * A::value == block.size;
  }

  [[nodiscard]] BlockDefect defect(const Block& block) const noexcept {
    if constexpr (requires { strategy_.defect(block.handle, block.offset); }) {
      return strategy_.defect(block.handle, block.offset / A::value).value_or(BlockDefect::offset);
    } else {
      return BlockDefect::stale;
    }
  }

  [[nodiscard]] std::uint64_t largest() const noexcept {
    return strategy_.largest_free() * A::value;
  }

  [[nodiscard]] std::uint64_t free_bytes() const noexcept {
    return capacity() - strategy_.used() * A::value;
  }

  S strategy_;
  std::uint64_t requested_ = 0;
  std::uint64_t peak_used_ = 0;
  [[no_unique_address]] mutable L synchronization_;
  [[no_unique_address]] typename M::Region region_;
  [[no_unique_address]] O observer_;
};

}  // namespace allot
