// SPDX-License-Identifier: MIT
/// \file
/// `RemembersRefusal<S>`: the strategy `S`, which also says, to threads that have not entered the
/// critical section, what it would refuse. The shards of an arena use it.
#pragma once

#include <allot/core/block.hpp>
#include <allot/strategy/strategy.hpp>

#include <cstdint>
#include <optional>

namespace allot::detail {

/// What it refused, it refuses again until it changes, and larger sizes too. Any change ends that,
/// even an allocation: `GoodFit` looks at one block of a bin, which may be another one afterwards.
///
/// Only what `ShardedArena` calls is noticed as a change, not `allocate_upper`, `release_to` or `grow`.
template <Strategy StrategyType>
class RemembersRefusal : public StrategyType {
 public:
  using StrategyType::StrategyType;

  /// Returns whether a request of `size` units is refused now, whatever its alignment; false also if
  /// that is not known. Any thread may call this at any time: what a thread has freed, or knows to
  /// be freed, is taken into account.
  [[nodiscard]] bool surely_refuses(std::uint64_t size) const noexcept { return size > limit(); }

  [[nodiscard]] std::optional<Placement> allocate(std::uint64_t size, std::uint64_t alignment) {
    const std::optional<Placement> placement = StrategyType::allocate(size, alignment);
    if (placement) [[likely]]
      forget();
    else if (alignment == 1 && !surely_refuses(size))
      set_limit(size - 1);
    return placement;
  }

  bool deallocate(Handle handle, std::uint64_t offset) noexcept {
    forget();
    return StrategyType::deallocate(handle, offset);
  }

  bool try_expand(Handle handle, std::uint64_t size) requires Resizable<StrategyType> {
    forget();
    return StrategyType::try_expand(handle, size);
  }

  void shrink(Handle handle, std::uint64_t size) requires Resizable<StrategyType> {
    forget();
    StrategyType::shrink(handle, size);
  }

  void reset() requires Resettable<StrategyType> {
    forget();
    StrategyType::reset();
  }

 private:
  static constexpr std::uint64_t unlimited = ~std::uint64_t{0};

  // Writes are in the critical section, so that they have its order. <atomic> takes long to compile.
  [[nodiscard]] std::uint64_t limit() const noexcept {
    return __atomic_load_n(&limit_, __ATOMIC_RELAXED);
  }
  void set_limit(std::uint64_t size) noexcept { __atomic_store_n(&limit_, size, __ATOMIC_RELAXED); }
  void forget() noexcept {
    if (limit() != unlimited) [[unlikely]]
      set_limit(unlimited);
  }

  /// The largest size that is not surely refused. Away from what changes with each block: other
  /// threads read it before they try another shard.
  alignas(128) std::uint64_t limit_ = unlimited;
};

}  // namespace allot::detail
