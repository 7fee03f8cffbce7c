// SPDX-License-Identifier: MIT
/// \file
/// `BufferPool`: reuses working buffers of a device, by size class. In steady state an acquisition
/// takes a buffer from a list: no call to the driver or the system allocator.
///
/// | stream                                        | return               | reuse on another stream     |
/// |-----------------------------------------------|----------------------|-----------------------------|
/// | `SharedStream<DeviceType>`                    | no call              | records an event, waits     |
/// | `DeviceType::stream_type&`                    | an event is recorded | waits for the event         |
/// | of a device that works at once (`HostDevice`) | no call              | no call                     |
///
/// On the stream on which it was returned, a buffer is reused at once. The device waits, not the
/// host; the host never waits if a buffer is acquired from the cache or returned within the cap.
#pragma once

#include <allot/alignment/alignment.hpp>
#include <allot/device/device.hpp>
#include <allot/observer/observer.hpp>
#include <allot/os/smart_pointers.hpp>
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
#include <span>
#include <type_traits>
#include <utility>

namespace allot {

/// A pool of buffers over an arena: one allocation from the device, more only if asked for.
///
/// All members may be called from any thread. Buffers may outlive the pool, and the device object.
/// Do not acquire or return buffers in work of a stream (a host function): if the pool frees
/// memory, it waits for streams while it holds its mutex. Bookkeeping is on the host; the memory
/// itself is never touched.
///
/// \tparam DeviceType     the device; copied
/// \tparam Classes        the sizes of buffers
/// \tparam StrategyType   places a new buffer in the arena
/// \tparam AlignmentType  the alignment of all buffers, and the unit of sizes
/// \tparam ObserverType   notified, under the pool's mutex, of buffers acquired and returned and of
///                        `OutOfMemory`, not of what is made and freed in the arena. A buffer is a
///                        block whose offset is its address; see `NotedOfStreams`
template <Device DeviceType, SizeClasses Classes = FourSteps, Strategy StrategyType = BestFit,
          Alignment AlignmentType = AlignTo<256>, Observer ObserverType = Unobserved>
requires std::copy_constructible<DeviceType>
class BufferPool {
 public:
  using device_type = DeviceType;
  using size_classes = Classes;          ///< how sizes are rounded up
  using alignment_type = AlignmentType;  ///< of all buffers
  using observer_type = ObserverType;    ///< what is notified
  using stream_type = typename DeviceType::stream_type;
  using buffer_type = PooledBuffer<DeviceType>;

  /// Takes `capacity_bytes`, rounded down to whole units, from the device.
  /// Throws: as `Arena`'s constructor; `std::invalid_argument` for more than `max_capacity`.
  BufferPool(const DeviceType& device, std::uint64_t capacity_bytes,
             const PoolOptions& options = {}, ObserverType observer = {})
      : state_{new State{device, capacity_bytes, options, std::move(observer)},
               [](State* state) { state->close(); }} {}

  /// Acquires a buffer of at least `bytes` bytes, for work on that stream: a cached one of the
  /// class, in the order of `Reuse`. If there is none, takes one from the arena. If the arena is
  /// full, it grows, if it may; after that, cached buffers are freed until there is room, the host
  /// waits for the streams they were returned on, and idle chunks make room for a larger one. If the
  /// class does not fit, the buffer has fewer bytes, but at least `bytes`.
  ///
  /// Complexity: a hit: constant, plus a look at each stream that the pool knows; a miss: the
  /// strategy's, in each chunk; a miss that has to make room: linear in the cached buffers.
  /// Throws: `OutOfMemory`; `PoolMiss` if misses are errors; `std::invalid_argument` for zero
  /// bytes, sizes that overflow and a stream that was moved from; what the device throws;
  /// `std::bad_alloc`. No buffer has then been taken.
  [[nodiscard]] buffer_type acquire(std::uint64_t bytes, const SharedStream<DeviceType>& stream) {
    return state_->acquire(bytes, *stream, &stream.owner());
  }
  /// As above. The stream must not be moved or destroyed until the buffer is returned; after that,
  /// the pool does not use it.
  [[nodiscard]] buffer_type acquire(std::uint64_t bytes, stream_type& stream) {
    return state_->acquire(bytes, stream, nullptr);
  }
  /// As above, for a device that does its work at once.
  [[nodiscard]] buffer_type acquire(std::uint64_t bytes) requires std::is_empty_v<stream_type> {
    static stream_type at_once{};
    return state_->acquire(bytes, at_once, nullptr);
  }

  /// Preallocates: one acquisition of each of these sizes, all at the same time, will hit. Makes
  /// the buffers that are not cached, if need be in the room of others that are. Counts neither hits
  /// nor misses. From now on a stream waits for another's buffer rather than miss.
  /// Throws: `OutOfMemory`; `std::invalid_argument` for sizes that `acquire` refuses, and for more
  /// than the pool may cache; `std::bad_alloc`; what the device throws. Nothing has then been made,
  /// but cached buffers may have been freed.
  void warm_up(std::span<const std::uint64_t> sizes) { state_->warm_up(sizes); }
  void warm_up(std::initializer_list<std::uint64_t> sizes) {
    state_->warm_up({sizes.begin(), sizes.size()});
  }

  /// Sets what a miss does from now on.
  void on_miss(Misses misses) { state_->on_miss(misses); }

  /// Gives cached buffers back to the arena, those returned longest ago first, until at most
  /// `bytes` bytes are cached. The host waits for the streams they were returned on. Returns the
  /// bytes freed.
  /// Throws: what the device throws; what was freed before stays freed.
  std::uint64_t trim(std::uint64_t bytes = 0) { return state_->trim(bytes); }

  /// Advances the pool's time by one unit: a step, a request. Frees buffers that were idle for
  /// `max_idle_ticks`, as `trim` does. Returns the bytes freed.
  std::uint64_t tick() { return state_->tick(); }

  /// Frees what was returned `ticks` or more calls of `tick()` ago, as `trim` does.
  std::uint64_t trim_idle(std::uint64_t ticks) { return state_->trim_idle(ticks); }

  /// Calls `function(observer)` under the pool's mutex and returns what it returns. Observers must
  /// not call the pool.
  decltype(auto) with_observer(auto&& function) requires(!std::same_as<ObserverType, Unobserved>) {
    return state_->with_observer(std::forward<decltype(function)>(function));
  }

  /// Complexity: linear in the classes and chunks.
  [[nodiscard]] PoolStats stats() const { return state_->stats(); }

  /// Calls `visitor(const PoolBlock&)` for each block of the pool's memory, free ones too, under the
  /// pool's mutex; in no order. The visitor must not call the pool, acquire or return a buffer.
  /// Complexity: linear. Throws: what the visitor throws.
  template <class Visitor>
  void for_each(Visitor&& visitor) const {
    state_->for_each(std::forward<Visitor>(visitor));
  }

  /// Returns true if every invariant of the bookkeeping holds: for tests. Complexity: linear.
  [[nodiscard]] bool validate() const { return state_->validate(); }

 private:
  using State = detail::PoolState<DeviceType, Classes, StrategyType, AlignmentType, ObserverType>;

  std::shared_ptr<State> state_;
};

}  // namespace allot
