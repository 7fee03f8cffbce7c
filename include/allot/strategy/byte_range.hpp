// SPDX-License-Identifier: MIT
/// \file
/// `ByteRange`: a strategy counted in bytes, and how much of it is in use: an arena without its
/// memory, synchronization and observer.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/errors.hpp>
#include <allot/core/units.hpp>
#include <allot/strategy/strategy.hpp>

#include <cstdint>
#include <new>
#include <optional>
#include <stdexcept>

namespace allot::detail {

/// \tparam unit  bytes in a unit, a power of two
template <Strategy StrategyType, std::uint64_t unit>
class ByteRange {
 public:
  /// The most live blocks: handles have 32-bit indices, and a block may need two records.
  static constexpr std::uint64_t most_blocks = 0x7fff'0000;

  /// Returns the units that a range of `bytes` has: zero if that is less than one unit, or more
  /// than the strategy takes.
  [[nodiscard]] static constexpr std::uint64_t units_in(std::uint64_t bytes) noexcept {
    constexpr std::uint64_t granularity = granularity_of<StrategyType>;
    const std::uint64_t units = bytes / unit / granularity * granularity;
    return units > largest_capacity_of<StrategyType> ? 0 : units;
  }

#if defined(__cpp_exceptions)
  /// The same, but throws: `std::invalid_argument` for less than one unit, `std::length_error` for
  /// more than the strategy takes.
  [[nodiscard]] static std::uint64_t checked_units_in(std::uint64_t bytes) {
    constexpr std::uint64_t least = unit * granularity_of<StrategyType>;
    if (bytes < least) reject_capacity(bytes, least);
    if (const std::uint64_t units = units_in(bytes); units != 0) return units;
    FixedText<512> text;
    text.fill_in(
        "an arena of # bytes has # units of # bytes, and its strategy takes at most #; use ",
        {bytes, bytes / unit, unit, largest_capacity_of<StrategyType>});
    if constexpr (requires { StrategyType::wide_name; })
      text << StrategyType::wide_name << ", which takes any number, or ";
    throw std::length_error{(text << "larger units").c_str()};
  }
#endif

  /// Throws: `std::bad_alloc` for the bookkeeping. If the strategy is made without throwing, the
  /// capacity is 0 instead.
  ByteRange(std::uint64_t units, std::nothrow_t) requires(!MadeWithoutThrowing<StrategyType>)
      : strategy_{units} {}
  ByteRange(std::uint64_t units,
            std::nothrow_t nothrow) noexcept requires MadeWithoutThrowing<StrategyType>
      : strategy_{units, nothrow} {}

  /// Returns the strategy, for members that do not count in bytes.
  [[nodiscard]] StrategyType& strategy() noexcept { return strategy_; }
  [[nodiscard]] const StrategyType& strategy() const noexcept { return strategy_; }

  [[nodiscard]] std::uint64_t capacity() const noexcept { return strategy_.capacity() * unit; }

  /// Returns where the strategy puts a block, from its upper end on if asked; `account` then makes a
  /// `Block` of it.
  /// \param base_alignment  bytes, of the memory: a block cannot have a higher alignment
  template <bool IsUpper = false>
  [[nodiscard]] std::optional<Placement> place(RequestedUnits units, std::uint64_t base_alignment) {
    if (units.alignment * unit > base_alignment) [[unlikely]]
      return std::nullopt;
    if constexpr (IsUpper) {
      return strategy_.allocate_upper(units.size, units.alignment);
    } else {
      return strategy_.allocate(units.size, units.alignment);
    }
  }

  /// Returns the block that the strategy has just placed for a request of `bytes`, and counts it.
  [[nodiscard]] Block account(const Placement& placement, std::uint64_t bytes) noexcept {
    count(strategy_.word(placement.handle) = bytes);
    return block_at(placement);
  }

  [[nodiscard]] bool is_live(const Block& block) const noexcept {
    return block.offset % unit == 0 && strategy_.is_live(block.handle, block.offset / unit) &&
           strategy_.block_size(block.handle) * unit == block.size;
  }

  /// Returns what is wrong with a block that is not live.
  [[nodiscard]] BlockDefect defect(const Block& block) const noexcept {
    if constexpr (ExplainsDefects<StrategyType>) {
      return strategy_.defect(block.handle, block.offset / unit);
    } else {
      return BlockDefect::stale;
    }
  }

  /// Requires: the block is live, as do the next three.
  void deallocate(const Block& block) noexcept {
    requested_ -= strategy_.word(block.handle);
    strategy_.deallocate(block.handle, block.offset / unit);
  }

  /// Returns the bytes that the caller asked for.
  [[nodiscard]] std::uint64_t requested(const Block& block) noexcept {
    return strategy_.word(block.handle);
  }

  /// Returns the block as it is now; nothing if it could not grow.
  [[nodiscard]] std::optional<Block> try_expand(const Block& block, std::uint64_t bytes,
                                                RequestedUnits units) {
    if (!strategy_.try_expand(block.handle, units.size)) return std::nullopt;
    return resized(block, larger(bytes, requested(block)));
  }

  /// Returns the block as it is now. Requires: it has at least `bytes`.
  [[nodiscard]] Block shrink(const Block& block, std::uint64_t bytes, RequestedUnits units) {
    if (units.size < block.size / unit) strategy_.shrink(block.handle, units.size);
    return resized(block, smaller(bytes, requested(block)));
  }

  /// Returns false, and changes nothing, if there is no memory for the bookkeeping of that many blocks.
  [[nodiscard]] bool try_reserve(std::uint64_t blocks) noexcept {
    if (blocks > most_blocks) return false;
    if constexpr (requires { requires noexcept(strategy_.try_reserve(blocks)); }) {
      return strategy_.try_reserve(blocks);
    } else {
      return completes([&] { strategy_.reserve(blocks); });
    }
  }

  /// Extends the range after `grow_memory()`. Returns false, and leaves the range as it was, if that
  /// throws or there is no memory for the bookkeeping; what was grown then stays unused.
  template <class GrowMemory>
  [[nodiscard]] bool try_grow(std::uint64_t units, GrowMemory&& grow_memory) noexcept {
    bool has_grown = true;
    const bool is_complete = completes([&] {
      grow_memory();
      if constexpr (requires { requires noexcept(strategy_.try_grow(units)); }) {
        has_grown = strategy_.try_grow(units);
      } else {
        strategy_.grow(units);
      }
    });
    return is_complete && has_grown;
  }

  void reset() {
    strategy_.reset();
    requested_ = 0;
  }

  /// Calls `visitor(block)` for each before it is freed. Returns false if the mark belongs to
  /// another range.
  template <class Mark, class Visitor>
  [[nodiscard]] bool release_to(const Mark& mark, Visitor&& visitor) {
    return strategy_.release_to(mark, [&](const Placement& placement, std::uint64_t requested) {
      requested_ -= requested;
      visitor(block_at(placement));
    });
  }

  /// Calls `visitor(block)` for every live block. Complexity: linear in the records.
  template <class Visitor>
  void for_each_live(Visitor&& visitor) const {
    strategy_.for_each_live([&](const Placement& placement) { visitor(block_at(placement)); });
  }

  /// Returns the live block that starts at an offset. Complexity: linear in the live blocks.
  [[nodiscard]] std::optional<Block> live_at(std::uint64_t offset) const {
    std::optional<Block> found;
    for_each_live([&](const Block& block) {
      if (block.offset == offset) found = block;
    });
    return found;
  }

  /// Calls `visitor(offset, size, used)` for every block in address order.
  /// Complexity: linear in the blocks.
  template <class Visitor>
  void for_each(Visitor& visitor) const {
    strategy_.for_each([&visitor](std::uint64_t offset, std::uint64_t size, bool used) {
      visitor(offset * unit, size * unit, used);
    });
  }

  /// Returns why a request could not be granted.
  [[nodiscard]] RefusalReason reason_for(RequestedUnits units,
                                         std::uint64_t base_alignment) const noexcept {
    if (units.size > largest_request / unit) return RefusalReason::too_large;
    if (units.alignment * unit > base_alignment) return RefusalReason::alignment;
    if (units.size > strategy_.capacity() - strategy_.used()) return RefusalReason::too_large;
    return units.size > strategy_.largest_free() ? RefusalReason::fragmented
                                                 : RefusalReason::alignment;
  }

  /// Returns what to throw for a request that was not granted.
  [[nodiscard]] OutOfMemory refusal(std::uint64_t bytes, RequestedUnits units,
                                    std::uint64_t base_alignment) const noexcept {
    const std::uint64_t free = strategy_.capacity() - strategy_.used();
    const std::uint64_t longest = strategy_.largest_free();
    std::uint64_t rounded = 0;
    if constexpr (Rounding<StrategyType>)
      rounded = refused_rounding(units.size, StrategyType::rounded(units.size), free, longest);
    if (rounded > OutOfMemory::unlimited / unit) rounded = 0;  // no number of bytes
    return {reason_for(units, base_alignment),
            bytes,
            units.alignment * unit,
            free * unit,
            longest * unit,
            capacity(),
            largest_request,
            0,
            rounded * unit};
  }

  [[nodiscard]] Usage usage() const noexcept {
    const std::uint64_t used = strategy_.used() * unit;
    return {.capacity = capacity(),
            .used = used,
            .requested = requested_,
            .padding = used - requested_,
            .free = capacity() - used,
            .largest_free = strategy_.largest_free() * unit,
            .free_blocks = strategy_.free_blocks(),
            .live_blocks = strategy_.live_blocks(),
            .peak_used = peak_used_};
  }

  [[nodiscard]] bool validate() const {
    const std::uint64_t used = strategy_.used() * unit;
    return strategy_.validate() && requested_ <= used && used <= peak_used_ &&
           peak_used_ <= capacity();
  }

 private:
  /// The most bytes that any request can be granted.
  static constexpr std::uint64_t largest_request = [] {
    if constexpr (OneSized<StrategyType>) {
      static_assert(StrategyType::largest_size <= OutOfMemory::unlimited / unit);
      return StrategyType::largest_size * unit;
    } else {
      return OutOfMemory::unlimited;
    }
  }();

  [[nodiscard]] static Block block_at(const Placement& placement) noexcept {
    return {placement.offset * unit, placement.size * unit, placement.handle};
  }

  /// Accounts for a block whose size the strategy has changed.
  [[nodiscard]] Block resized(const Block& block, std::uint64_t bytes) noexcept {
    requested_ -= requested(block);
    count(strategy_.word(block.handle) = bytes);
    return {block.offset, strategy_.block_size(block.handle) * unit, block.handle};
  }

  void count(std::uint64_t requested) noexcept {
    requested_ += requested;
    peak_used_ = larger(peak_used_, strategy_.used() * unit);
  }

  StrategyType strategy_;
  std::uint64_t requested_ = 0;
  std::uint64_t peak_used_ = 0;
};

}  // namespace allot::detail
