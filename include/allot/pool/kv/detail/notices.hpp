// SPDX-License-Identifier: MIT
/// \file
/// `BlockNotices`: what a pool of blocks notifies its observer of.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/errors.hpp>
#include <allot/observer/noted_of_streams.hpp>
#include <allot/observer/observer.hpp>
#include <allot/pool/kv/errors.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace allot::detail {

/// A lane is a stream, numbered from 1; work that is not a lane's has stream 0.
template <Observer ObserverType>
class BlockNotices {
 public:
  BlockNotices(ObserverType&& observer, std::uint64_t block_bytes)
      : observer_{std::move(observer)}, block_bytes_{block_bytes} {}

  [[nodiscard]] ObserverType& observer() noexcept { return observer_; }

  void taken(std::uint32_t number, const Handle& handle, std::size_t lane) noexcept {
    notify_stream(observer_, stream_of(lane));
    observer_.allocated(block_of(number, handle), Request{block_bytes_});
  }
  void given_back(std::uint32_t number, const Handle& handle) noexcept {
    observer_.deallocated(block_of(number, handle));
  }
  /// Sets the stream of what is given back next.
  void on_lane(std::size_t lane) noexcept { notify_stream(observer_, stream_of(lane)); }
  void on_no_lane() noexcept { notify_stream(observer_, 0); }

  /// Notes that that many blocks could not be had.
  void refused(std::uint64_t blocks, std::size_t lane) noexcept {
    notify_stream(observer_, stream_of(lane));
    const auto bytes = checked_multiply(blocks, block_bytes_);
    observer_.refused(Request{bytes.value_or(OutOfMemory::unlimited)}, RefusalReason::too_large);
  }
  /// Returns what `call` returns, and notes that it throws `OutOfBlocks`.
  decltype(auto) noting_throws(auto&& call) {
    try {
      return call();
    } catch (const OutOfBlocks&) {
      notify_thrown(observer_);
      throw;
    }
  }

 private:
  [[nodiscard]] static std::uint32_t stream_of(std::size_t lane) noexcept {
    return static_cast<std::uint32_t>(lane + 1);
  }
  [[nodiscard]] Block block_of(std::uint32_t number, const Handle& handle) const noexcept {
    return {number * block_bytes_, block_bytes_, handle};
  }

  ObserverType observer_;
  std::uint64_t block_bytes_;
};

/// Costs nothing.
template <>
class BlockNotices<Unobserved> {
 public:
  BlockNotices(Unobserved&&, std::uint64_t) noexcept {}

  static void taken(std::uint32_t, const Handle&, std::size_t) noexcept {}
  static void given_back(std::uint32_t, const Handle&) noexcept {}
  static void on_lane(std::size_t) noexcept {}
  static void on_no_lane() noexcept {}
  static void refused(std::uint64_t, std::size_t) noexcept {}
  static decltype(auto) noting_throws(auto&& call) { return call(); }
};

static_assert(std::is_empty_v<BlockNotices<Unobserved>>);

}  // namespace allot::detail
