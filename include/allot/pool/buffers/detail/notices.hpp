// SPDX-License-Identifier: MIT
/// \file
/// `PoolNotices`: what a pool notifies its observer of.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/errors.hpp>
#include <allot/observer/noted_of_streams.hpp>
#include <allot/observer/observer.hpp>

#include <cstdint>
#include <type_traits>
#include <utility>

namespace allot::detail {

/// Guarded by the pool's mutex. A buffer in use is a block whose offset is its address, and whose
/// handle has the entry's number and which use in the pool this is.
template <Observer ObserverType>
class PoolNotices {
 public:
  explicit PoolNotices(ObserverType&& observer) : observer_{std::move(observer)} {}

  [[nodiscard]] ObserverType& observer() noexcept { return observer_; }

  void used(auto& entry, std::uint64_t alignment) noexcept {
    entry.idle_since = ++uses_;
    notify_stream(observer_, entry.lane);
    observer_.allocated(block_of(entry), Request{entry.requested, alignment});
  }
  void returned(const auto& entry) noexcept {
    notify_stream(observer_, entry.lane);
    observer_.deallocated(block_of(entry));
  }

  /// Returns what `make` returns, and notes that it throws `OutOfMemory`.
  decltype(auto) noting_refusals(const Request& request, std::uint32_t lane, auto&& make) {
    try {
      return make();
    } catch (const OutOfMemory& error) {
      notify_stream(observer_, lane);
      observer_.refused(request, error.reason());
      notify_thrown(observer_);
      throw;
    }
  }

 private:
  [[nodiscard]] static Block block_of(const auto& entry) noexcept {
    return {reinterpret_cast<std::uintptr_t>(entry.address),
            entry.capacity,
            {entry.number, static_cast<std::uint32_t>(entry.idle_since)}};
  }

  ObserverType observer_;
  std::uint64_t uses_ = 0;
};

/// Costs nothing.
template <>
class PoolNotices<Unobserved> {
 public:
  explicit PoolNotices(Unobserved&&) noexcept {}

  static void used(const auto&, std::uint64_t) noexcept {}
  static void returned(const auto&) noexcept {}
  static decltype(auto) noting_refusals(const Request&, std::uint32_t, auto&& make) {
    return make();
  }
};

static_assert(std::is_empty_v<PoolNotices<Unobserved>>);

}  // namespace allot::detail
