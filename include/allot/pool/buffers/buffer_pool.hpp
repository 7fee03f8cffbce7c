// SPDX-License-Identifier: MIT
/// \file
/// `BufferPool`: working buffers of a device that are used again, by classes of sizes. In steady
/// state an acquisition takes a buffer from a list: no call to the driver or the system allocator.
///
/// | stream                      | return                  | reuse on another stream             |
/// |-----------------------------|-------------------------|-------------------------------------|
/// | `SharedStream<DeviceType>`           | no call                 | an event is recorded and waited for |
/// | `DeviceType::stream_type&`           | an event is recorded    | it is waited for                    |
/// | of a device that works at once (`HostDevice`) | no call | no call                           |
///
/// On the stream on which it was returned, a buffer is used again at once. The waits are the
/// device's; the host never waits where a buffer is acquired from the cache or returned within the
/// cap.
#pragma once

#include <allot/alignment/alignment.hpp>
#include <allot/device/device.hpp>
#include <allot/pool/buffers/detail/state.hpp>
#include <allot/pool/buffers/pooled_buffer.hpp>
#include <allot/pool/buffers/size_classes.hpp>
#include <allot/pool/buffers/stats.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/strategy.hpp>
#include <allot/stream/shared_stream.hpp>

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <type_traits>

namespace allot {

/// A pool of buffers over an arena: one allocation from the device, more only where asked for.
///
/// All members may be called from any thread. Buffers may outlive the pool, and the device object.
/// They are not to be acquired or returned by work of a stream (a host function): where the pool
/// frees memory, it waits for streams while it keeps others out.
/// Bookkeeping is on the host; the memory itself is never touched.
///
/// \tparam DeviceType  the device; copied
/// \tparam Classes  which sizes buffers have
/// \tparam StrategyType  where a new buffer goes in the arena
/// \tparam AlignmentType  what all buffers are aligned to, and the unit of sizes
template <Device DeviceType, SizeClasses Classes = FourSteps, Strategy StrategyType = BestFit,
          Alignment AlignmentType = AlignTo<256>>
requires std::copy_constructible<DeviceType>
class BufferPool {
 public:
  using device_type = DeviceType;
  using size_classes = Classes;
  using stream_type = typename DeviceType::stream_type;
  using buffer_type = PooledBuffer<DeviceType>;

  /// Takes `capacity_bytes`, rounded down to whole units, from the device.
  /// Throws: as `Arena`'s constructor; `std::invalid_argument` for more than `max_capacity`.
  BufferPool(const DeviceType& device, std::uint64_t capacity_bytes,
             const PoolOptions& options = {})
      : state_{new State{device, capacity_bytes, options}, [](State* state) { state->close(); }} {}

  /// A buffer of at least `bytes` bytes, for work on that stream: a cached one of the class, best
  /// one that was returned on the same stream. Where there is none, one from the arena; where that
  /// has no room, it grows, if it may, and then cached buffers of other classes are freed until it
  /// has: the host waits for the streams they were returned on.
  ///
  /// Complexity: of a hit, constant but for a look at each stream that the pool knows; of a miss,
  /// the strategy's in each chunk.
  /// Throws: `OutOfMemory`; `PoolMiss` where misses are errors; `std::invalid_argument` for zero
  /// bytes, sizes that overflow and a stream that was moved from; what the device throws;
  /// `std::bad_alloc`. No buffer has then been taken.
  [[nodiscard]] buffer_type acquire(std::uint64_t bytes, const SharedStream<DeviceType>& stream) {
    return state_->acquire(bytes, *stream, &stream.owner());
  }
  /// As above. The stream stays where it is, alive, until the buffer is returned; from then on, the
  /// pool does not use it.
  [[nodiscard]] buffer_type acquire(std::uint64_t bytes, stream_type& stream) {
    return state_->acquire(bytes, stream, nullptr);
  }
  /// As above, for a device that does its work at once.
  [[nodiscard]] buffer_type acquire(std::uint64_t bytes) requires std::is_empty_v<stream_type> {
    static stream_type at_once{};
    return state_->acquire(bytes, at_once, nullptr);
  }

  /// Sees to it that buffers of all these sizes can be acquired at once, without a miss: makes
  /// those that are not cached. Counts neither hits nor misses.
  /// Throws: `OutOfMemory`; `std::invalid_argument` for sizes that `acquire` refuses, and for more
  /// than may be cached beside what is; `std::bad_alloc`. Nothing has then been made.
  void warm_up(std::span<const std::uint64_t> sizes) { state_->warm_up(sizes); }
  void warm_up(std::initializer_list<std::uint64_t> sizes) {
    state_->warm_up({sizes.begin(), sizes.size()});
  }

  /// What a miss is from now on.
  void on_miss(Misses misses) { state_->on_miss(misses); }

  /// Gives cached buffers back to the arena, returned longest ago first, until `bytes` bytes at
  /// most are cached. The host waits for the streams they were returned on. Returns the bytes
  /// freed.
  /// Throws: what the device throws; what was freed before stays freed.
  std::uint64_t trim(std::uint64_t bytes = 0) { return state_->trim(bytes); }

  /// One unit of the pool's time has passed: a step, a request. Frees what `max_idle_ticks` says;
  /// as `trim`. Returns the bytes freed.
  std::uint64_t tick() { return state_->tick(); }

  /// Frees what was returned `ticks` or more calls of `tick()` ago; as `trim`.
  std::uint64_t trim_idle(std::uint64_t ticks) { return state_->trim_idle(ticks); }

  /// Complexity: linear in the classes and chunks.
  [[nodiscard]] PoolStats stats() const { return state_->stats(); }

  /// Whether every invariant of the bookkeeping holds: for tests. Complexity: linear.
  [[nodiscard]] bool validate() const { return state_->validate(); }

 private:
  using State = detail::PoolState<DeviceType, Classes, StrategyType, AlignmentType>;

  std::shared_ptr<State> state_;
};

}  // namespace allot
