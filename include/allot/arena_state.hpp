// SPDX-License-Identifier: MIT
/// \file
/// What an arena holds, and how it keeps account: all of `Arena` but the members that its users
/// call.
#pragma once

#include <allot/alignment/alignment.hpp>
#include <allot/core/arguments.hpp>
#include <allot/core/block.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/errors.hpp>
#include <allot/memory/memory.hpp>
#include <allot/observer/observer.hpp>
#include <allot/strategy/strategy.hpp>
#include <allot/synchronization/synchronization.hpp>

#include <concepts>
#include <cstdint>
#include <optional>
#include <utility>

namespace allot::detail {

/// Nothing here enters the critical section; `Arena` does. Its parameters are those of `Arena`.
template <Strategy S, Alignment A, Synchronization L, Memory M, Observer O>
class ArenaState {
 protected:
  static constexpr bool is_observed = !std::same_as<O, Unobserved>;
  static constexpr bool has_one_size = requires { S::largest_size; };
  static constexpr bool has_upper_end = requires(S s, std::uint64_t units) {
    s.allocate_upper(units, units);
  };
  static constexpr bool marks_blocks = requires(typename M::Region region) {
    region.mark_used(std::uint64_t{}, std::uint64_t{});
  };

  /// Bytes that no request may exceed, whatever is free.
  static constexpr std::uint64_t largest_request = [] {
    if constexpr (has_one_size) {
      static_assert(S::largest_size <= OutOfMemory::unlimited / A::value);
      return S::largest_size * A::value;
    } else {
      return OutOfMemory::unlimited;
    }
  }();

  ArenaState(std::uint64_t capacity_bytes, M memory, O observer)
      : strategy_{whole_units(capacity_bytes)},
        region_{memory.acquire(strategy_.capacity() * A::value, A::value)},
        observer_{std::move(observer)} {}

  using Units = RequestedUnits;

  [[nodiscard]] static std::uint64_t whole_units(std::uint64_t capacity_bytes) {
    const std::uint64_t units = detail::whole_units(capacity_bytes, A::value, granularity_of<S>);
    if (units > largest_capacity_of<S>) [[unlikely]]
      throw_too_long(capacity_bytes, A::value, largest_capacity_of<S>, wide_name());
    return units;
  }
  [[nodiscard]] static constexpr const char* wide_name() noexcept {
    if constexpr (requires { S::wide_name; }) return S::wide_name;
    return nullptr;
  }
  [[nodiscard]] static Units checked(const Request& request) {
    return detail::units_of(request, A::value);
  }

  [[nodiscard]] std::optional<Block> place(const Request& request, Units units) {
    if (units.alignment * A::value > region_.alignment()) [[unlikely]]
      return std::nullopt;
    return made(request, strategy_.allocate(units.size, units.alignment));
  }

  [[nodiscard]] std::optional<Block> place_upper(const Request& request, Units units) {
    if (units.alignment * A::value > region_.alignment()) [[unlikely]]
      return std::nullopt;
    return made(request, strategy_.allocate_upper(units.size, units.alignment));
  }

  /// Accounts for a block that the strategy has made, if it has.
  [[nodiscard]] std::optional<Block> made(const Request& request,
                                          const std::optional<Placement>& placed) noexcept {
    if (!placed) return std::nullopt;
    strategy_.word(placed->handle) = request.bytes;
    requested_ += request.bytes;
    peak_used_ = larger(peak_used_, strategy_.used() * A::value);
    const Block block{placed->offset * A::value, placed->size * A::value, placed->handle};
    if constexpr (marks_blocks) region_.mark_used(block.offset, block.size);
    observer_.allocated(block, request);
    return block;
  }

  /// Accounts for a block whose size the strategy has changed.
  [[nodiscard]] Block resized(const Block& block, std::uint64_t requested) noexcept {
    const std::uint64_t size = strategy_.block_size(block.handle) * A::value;
    const Block now{block.offset, size, block.handle};
    std::uint64_t& word = strategy_.word(block.handle);
    requested_ += requested - word;
    word = requested;
    peak_used_ = larger(peak_used_, strategy_.used() * A::value);
    if constexpr (marks_blocks) {  // what stays in use is never told to be free: it may be read now
      if (size < block.size) region_.mark_free(block.offset + size, block.size - size);
      region_.mark_used(now.offset, now.size);
    }
    observer_.deallocated(block);
    observer_.allocated(now, Request{requested});
    return now;
  }

  /// Tells region and observer that a block is freed.
  void told_free(const Placement& placement) noexcept {
    const Block block{placement.offset * A::value, placement.size * A::value, placement.handle};
    if constexpr (marks_blocks) region_.mark_free(block.offset, block.size);
    observer_.deallocated(block);
  }

  /// Tells the observer, where there is one, that the request was refused.
  void told_refusal(const Request& request, Units units) noexcept {
    if constexpr (is_observed) observer_.refused(request, reason_for(units));
  }

  /// The same, and what to throw.
  [[nodiscard]] OutOfMemory refusal(const Request& request, Units units) noexcept {
    told_refusal(request, units);
    return {reason_for(units), request.bytes,  units.alignment * A::value, free_bytes(), largest(),
            capacity_bytes(),  largest_request};
  }

  [[nodiscard]] Reason reason_for(Units units) const noexcept {
    if (units.size > largest_request / A::value) return Reason::too_large;
    if (units.alignment * A::value > region_.alignment()) return Reason::alignment;
    if (units.size > strategy_.capacity() - strategy_.used()) return Reason::too_large;
    return units.size > strategy_.largest_free() ? Reason::fragmented : Reason::alignment;
  }

  void require_live(const Block& block) const {
    if (!is_live(block)) [[unlikely]]
      throw InvalidBlock{defect(block), block.offset, block.size};
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

  [[nodiscard]] std::uint64_t capacity_bytes() const noexcept {
    return strategy_.capacity() * A::value;
  }

  [[nodiscard]] std::uint64_t largest() const noexcept {
    return strategy_.largest_free() * A::value;
  }

  [[nodiscard]] std::uint64_t free_bytes() const noexcept {
    return capacity_bytes() - strategy_.used() * A::value;
  }

  S strategy_;
  std::uint64_t requested_ = 0;
  std::uint64_t peak_used_ = 0;
  [[no_unique_address]] mutable L synchronization_;
  [[no_unique_address]] typename M::Region region_;
  [[no_unique_address]] O observer_;
};

}  // namespace allot::detail
