// SPDX-License-Identifier: MIT
/// \file
/// The state that a `BufferPool` and its buffers share. `close`, or the return of the last buffer
/// if that is later, deletes it, so acquiring a buffer counts no owner.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/memory/reclaimer.hpp>
#include <allot/observer/observer.hpp>
#include <allot/os/fork.hpp>
#include <allot/os/mutex.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/pool/buffers/detail/making.hpp>
#include <allot/pool/buffers/detail/notices.hpp>
#include <allot/pool/buffers/detail/stream_order.hpp>
#include <allot/pool/buffers/detail/supply.hpp>
#include <allot/pool/buffers/pooled_buffer.hpp>
#include <allot/pool/buffers/size_classes.hpp>
#include <allot/pool/buffers/stats.hpp>

#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace allot::detail {

/// One mutex guards everything. It is not held while taking memory from the system, which may ask
/// this pool to give some back.
template <Device DeviceType, SizeClasses Classes, Strategy StrategyType, Alignment AlignmentType,
          Observer ObserverType>
class PoolState final : public PoolBase<DeviceType> {
 public:
  using stream_type = typename DeviceType::stream_type;
  using Owner = std::shared_ptr<stream_type>;
  using Entry = PoolEntry<DeviceType>;
  using Class = PoolClass<DeviceType>;

  PoolState(const DeviceType& device, std::uint64_t capacity, const PoolOptions& options,
            ObserverType&& observer)
      : device_{device},
        supply_{device_, capacity, options, cached_, streams_},
        streams_{device_},
        options_{options},
        notices_{std::move(observer)},
        reclaimer_{options.reclaimable ? reclaim() : Reclaim{}} {}
  PoolState(const PoolState&) = delete;
  PoolState& operator=(const PoolState&) = delete;

  [[nodiscard]] PooledBuffer<DeviceType> acquire(std::uint64_t bytes, stream_type& stream,
                                                 const Owner* owner) {
    const std::uint64_t units = Supply::units_for(bytes);
    std::vector<Owner> unused;  // outlives the lock
    os::Lock lock{mutex()};
    const std::uint32_t lane = lane_of(stream, owner, unused);
    Class& of = cached_.class_of(units, AlignmentType::value);
    Entry* entry = cached_.find_ready(of, bytes, lane, streams_.timeline());
    if (entry != nullptr) [[likely]] {
      hit(*entry, of);
      use(*entry, of, bytes, lane, stream);
    } else {
      entry = &acquire_not_ready(lock, of, bytes, lane, stream);
    }
    entry->pool = this;
    lock.unlock();
    return PooledBufferMaker<DeviceType>::make(*entry, bytes);
  }

  /// Called when the pool's owner is gone: nothing more is acquired.
  void close() noexcept {
    if (is_of_parent()) return;  // the mutex may be locked forever
    os::Lock lock{mutex_};
    is_closed_ = true;
    delete_if_last(lock);
  }

  void returned(Entry& entry) noexcept override {
    if (is_of_parent()) return;
    os::Lock lock{mutex_};
    notices_.returned(entry);
    entry.returned = streams_.give_back(entry.lane, entry.stream);
    entry.idle_since = ticks_;
    --Cached::class_of(entry).stats.in_use;
    --Supply::chunk_of(entry).in_use;
    account_.give_back(entry.capacity, std::exchange(entry.requested, 0));
    cached_.add(entry);
    if (is_closed_) [[unlikely]]
      return delete_if_last(lock);
    if (cached_.bytes() <= options_.max_cached) [[likely]]
      return;
    try {
      supply_.trim_to(options_.max_cached);
    } catch (...) {  // a wait failed: what may be in use stays cached, above the cap
    }
  }

  void return_on(Entry& entry, stream_type& stream, const Owner* owner) override {
    std::vector<Owner> unused;  // outlives the lock
    const std::lock_guard lock{mutex()};
    const std::uint32_t lane = lane_of(stream, owner, unused);
    streams_.release(entry.lane);
    streams_.acquire(lane);
    entry.lane = lane;
    entry.stream = &stream;
  }

  void warm_up(std::span<const std::uint64_t> sizes) {
    for (const std::uint64_t bytes : sizes) static_cast<void>(Supply::units_for(bytes));
    os::Lock lock{mutex()};
    Made made{supply_, cached_, streams_};
    made.entries.reserve(sizes.size());
    for (const std::uint64_t bytes : sizes)
      made.want(cached_.class_of(Supply::units_for(bytes), AlignmentType::value), bytes);
    made.end_wants();
    // Without rounding to classes, if the rounded sizes are more than may be cached.
    const bool is_exact =
        made.total([](const Making& of) { return of.of().stats.capacity; }) > options_.max_cached;
    const std::uint64_t least = made.total([](const Making& of) { return of.bytes(); });
    if (least > options_.max_cached) throw_above_cap(least, options_.max_cached, 0);
    for (const Making& making : made.classes) {
      Class& of = making.of();
      const std::uint64_t bytes = making.bytes();
      for (std::uint64_t there = Cached::count(of, bytes); there < making.wanted(); ++there) {
        made.entries.push_back(
            &supply_.make(lock, of, bytes, {bytes, is_exact ? bytes : of.stats.capacity}));
      }
    }
    std::uint64_t total = 0;
    for (const Entry* const entry : made.entries) total += entry->capacity;
    if (total != 0 && total <= options_.max_cached) supply_.trim_to(options_.max_cached - total);
    if (total != 0 && total > options_.max_cached - smaller(cached_.bytes(), options_.max_cached))
      throw_above_cap(total, options_.max_cached, cached_.bytes());
    for (Entry* const entry : std::exchange(made.entries, {})) {
      entry->lane = 0;
      entry->returned = {};
      entry->idle_since = ticks_;
      cached_.add(*entry);
    }
    account_.note_peak(cached_.bytes());
    is_warm_ = true;
  }

  std::uint64_t trim(std::uint64_t to) {
    std::vector<Owner> unused;  // outlives the lock
    const std::lock_guard lock{mutex()};
    const std::uint64_t before = cached_.bytes();
    supply_.trim_to(to);
    unused = forget_unused_streams(true);
    return before - cached_.bytes();
  }

  std::uint64_t trim_idle(std::uint64_t ticks) {
    std::vector<Owner> unused;  // outlives the lock
    const std::lock_guard lock{mutex()};
    return trim_idle_for(ticks, unused);
  }

  std::uint64_t tick() {
    std::vector<Owner> unused;  // outlives the lock
    const std::lock_guard lock{mutex()};
    ++ticks_;
    return options_.max_idle_ticks == 0 ? 0 : trim_idle_for(options_.max_idle_ticks, unused);
  }

  void on_miss(Misses misses) {
    const std::lock_guard lock{mutex()};
    options_.misses = misses;
  }

  decltype(auto) with_observer(auto&& function) {
    const std::lock_guard lock{mutex()};
    return std::forward<decltype(function)>(function)(notices_.observer());
  }

  [[nodiscard]] PoolStats stats() const {
    const std::lock_guard lock{mutex()};
    PoolStats all = account_;
    all.frees = supply_.frees();
    all.cached = cached_.bytes();
    all.cached_buffers = cached_.count();
    all.capacity = supply_.chunks().capacity();
    all.chunks = supply_.chunks().count();
    all.classes = cached_.class_stats();
    return all;
  }

  template <class Visitor>
  void for_each(Visitor&& visitor) const {
    const std::lock_guard lock{mutex()};
    supply_.for_each(std::forward<Visitor>(visitor));
  }

  [[nodiscard]] bool validate() const {
    const std::lock_guard lock{mutex()};
    const Usage usage = supply_.chunks().usage();
    PoolClassStats sum{};
    for (const auto& each : cached_.classes()) {
      sum.in_use += each->stats.in_use;
      sum.cached += each->stats.cached;
      std::uint64_t listed = 0;
      for (const auto& lane : each->lanes) listed += lane.count();
      if (listed != each->stats.cached) return false;
    }
    return supply_.chunks().validate() && usage.used >= account_.in_use + cached_.bytes() &&
           usage.live_blocks == account_.in_use_buffers + cached_.count() &&
           sum.in_use == account_.in_use_buffers && sum.cached == cached_.count();
  }

 private:
  using Supply = BufferSupply<DeviceType, Classes, StrategyType, AlignmentType>;
  using Cached = typename Supply::Cached;
  using Making = MakingBuffers<DeviceType, Classes>;
  using Made = MadeBuffers<DeviceType, Classes, Supply>;

  /// Returns true in a forked child, for a pool of the parent whose streams do not run there.
  [[nodiscard]] bool is_of_parent() const noexcept {
    return !std::is_empty_v<stream_type> && made_in_.is_of_parent();
  }
  /// Throws: `std::runtime_error` in a forked child.
  [[nodiscard]] std::mutex& mutex() const {
    if (is_of_parent()) [[unlikely]]
      throw_forked();
    return mutex_;
  }

  void delete_if_last(os::Lock<std::mutex>& lock) noexcept {
    const bool is_last = account_.in_use_buffers == 0;
    lock.unlock();
    if (is_last) delete this;
  }

  /// \param unused  receives what must be destroyed without the lock
  [[nodiscard]] std::uint32_t lane_of(stream_type& stream, const Owner* owner,
                                      std::vector<Owner>& unused) {
    if (const auto known = streams_.find(stream, owner)) [[likely]]
      return *known;
    unused = forget_unused_streams(false);
    cached_.make_room_for_lanes(streams_.lanes() + 1);
    return streams_.add(stream, owner);
  }

  [[nodiscard]] std::vector<Owner> forget_unused_streams(bool waits) {
    return streams_.forget_unused(waits,
                                  [this](std::uint32_t lane) { cached_.move_to_no_lane(lane); });
  }

  void use(Entry& entry, Class& of, std::uint64_t bytes, std::uint32_t lane,
           stream_type& stream) noexcept {
    streams_.acquire(lane);
    entry.lane = lane;
    entry.stream = &stream;
    entry.requested = bytes;
    ++of.stats.in_use;
    ++Supply::chunk_of(entry).in_use;
    account_.take(entry.capacity, bytes);
    account_.note_peak(cached_.bytes());
    notices_.used(entry, AlignmentType::value);
  }

  /// Uses a cached buffer that is not ready without a call to the device: one whose work is done;
  /// else one to wait for, unless new memory is to be looked for first. Else makes one.
  [[gnu::noinline]] [[nodiscard]] Entry& acquire_not_ready(os::Lock<std::mutex>& lock, Class& of,
                                                           std::uint64_t bytes, std::uint32_t lane,
                                                           stream_type& stream) {
    Entry* entry = nullptr;
    if (of.stats.cached != 0) {
      if (options_.reuse == Reuse::idle_first)
        entry = cached_.find_done(of, bytes, streams_.timeline());
      if (entry == nullptr && !may_make_instead_of_waiting(of))
        entry = cached_.find_busy(of, bytes, streams_.timeline());
    }
    if (entry != nullptr) {
      hit_in_order(*entry, of, lane, stream);
      use(*entry, of, bytes, lane, stream);
      return *entry;
    }
    const Making making{cached_, streams_, of, lane};
    entry = notices_.noting_refusals({bytes, AlignmentType::value}, lane,
                                     [&] { return &missed(lock, of, bytes, lane, stream); });
    use(*entry, of, bytes, lane, stream);
    return *entry;
  }

  /// Returns true if a miss is preferred to a wait, and what it makes may be cached.
  [[nodiscard]] bool may_make_instead_of_waiting(const Class& of) const noexcept {
    return options_.reuse == Reuse::idle_first && options_.misses == Misses::allocate &&
           !is_warm_ && of.stats.capacity <= options_.max_cached &&
           cached_.bytes() <= options_.max_cached - of.stats.capacity;
  }

  /// Takes a cached buffer.
  void hit(Entry& entry, Class& of) noexcept {
    cached_.remove(entry);
    ++account_.hits;
    ++of.stats.hits;
  }

  /// Takes one, after the work on it. Throws: what the device throws; nothing has changed.
  void hit_in_order(Entry& entry, Class& of, std::uint32_t lane, stream_type& stream) {
    if (!streams_.timeline().is_ordered(entry.returned, lane)) {
      streams_.timeline().order(entry.returned, lane, stream);
      ++account_.waits;
    }
    hit(entry, of);
  }

  /// Makes a buffer; instead of making room for one, takes one to wait for.
  [[nodiscard]] Entry& missed(os::Lock<std::mutex>& lock, Class& of, std::uint64_t bytes,
                              std::uint32_t lane, stream_type& stream) {
    const std::uint64_t most = of.stats.capacity;
    if (of.stats.cached != 0 && may_make_instead_of_waiting(of)) {
      std::exception_ptr refused;
      if (Entry* const made = supply_.try_make(lock, of, {most, most}, refused)) {
        count_miss(of);
        return *made;
      }
      // The mutex may have been released meanwhile.
      Entry* entry = cached_.find_ready(of, bytes, lane, streams_.timeline());
      if (entry == nullptr) entry = cached_.find_busy(of, bytes, streams_.timeline());
      if (entry != nullptr) {
        hit_in_order(*entry, of, lane, stream);
        return *entry;
      }
    }
    count_miss(of);
    if (options_.misses == Misses::are_errors) throw PoolMiss{bytes, most, of.stats.in_use};
    return supply_.make(lock, of, bytes, {Supply::whole_units(bytes), most});
  }

  void count_miss(Class& of) noexcept {
    ++account_.misses;
    ++of.stats.misses;
  }

  std::uint64_t trim_idle_for(std::uint64_t ticks, std::vector<Owner>& unused) {
    const std::uint64_t before = cached_.bytes();
    supply_.trim_while([&](const Entry& entry) { return ticks_ - entry.idle_since >= ticks; });
    unused = forget_unused_streams(false);
    return before - cached_.bytes();
  }

  [[nodiscard]] Reclaim reclaim() {
    return [this, name = std::string{device_.name()}](std::string_view wanted_of,
                                                      std::uint64_t bytes) {
      return wanted_of == name ? give_back(bytes) : 0;
    };
  }

  std::uint64_t give_back(std::uint64_t bytes) noexcept {
    if (is_of_parent()) return 0;
    const std::lock_guard lock{mutex_};
    return supply_.give_back(bytes);
  }

  mutable std::mutex mutex_;
  os::ForkMark made_in_;
  DeviceType device_;
  Cached cached_;
  Supply supply_;
  StreamOrder<DeviceType> streams_;
  PoolOptions options_;

  PoolAccount account_;
  bool is_closed_ = false;
  bool is_warm_ = false;  // there was a warm-up
  std::uint64_t ticks_ = 0;
  [[no_unique_address]] PoolNotices<ObserverType> notices_;
  Reclaimer reclaimer_;  // destroyed first: waits for a call under way
};

}  // namespace allot::detail
