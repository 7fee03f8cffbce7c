// SPDX-License-Identifier: MIT
/// \file
/// The state that a `BufferPool` and its buffers share. `close`, or the return of the last buffer
/// if that is later, deletes it, so acquiring a buffer counts no owner.
#pragma once

#include <allot/core/arguments.hpp>
#include <allot/core/checked.hpp>
#include <allot/memory/reclaimer.hpp>
#include <allot/os/mutex.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/pool/buffers/detail/cached.hpp>
#include <allot/pool/buffers/detail/chunks.hpp>
#include <allot/pool/buffers/detail/making.hpp>
#include <allot/pool/buffers/detail/stream_order.hpp>
#include <allot/pool/buffers/pooled_buffer.hpp>
#include <allot/pool/buffers/size_classes.hpp>
#include <allot/pool/buffers/stats.hpp>

#include <cstdint>
#include <deque>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace allot::detail {

/// One mutex guards everything. It is not held while taking memory from the system, which may ask
/// this pool to give some back.
template <Device DeviceType, SizeClasses Classes, Strategy StrategyType, Alignment AlignmentType>
class PoolState final : public PoolBase<DeviceType> {
 public:
  using stream_type = typename DeviceType::stream_type;
  using Owner = std::shared_ptr<stream_type>;
  using Entry = PoolEntry<DeviceType>;
  using Class = PoolClass<DeviceType>;
  using Chunks = PoolChunks<DeviceType, StrategyType, AlignmentType>;
  using Chunk = typename Chunks::Chunk;

  PoolState(const DeviceType& device, std::uint64_t capacity, const PoolOptions& options)
      : device_{device},
        chunks_{device_, capacity, options},
        streams_{device_},
        options_{options},
        reclaimer_{options.reclaimable ? reclaim() : Reclaim{}} {}
  PoolState(const PoolState&) = delete;
  PoolState& operator=(const PoolState&) = delete;
  ~PoolState() override = default;

  [[nodiscard]] PooledBuffer<DeviceType> acquire(std::uint64_t bytes, stream_type& stream,
                                                 const Owner* owner) {
    const std::uint64_t units = units_for(bytes);
    std::vector<Owner> unused;  // outlives the lock
    os::Lock lock{mutex_};
    const std::uint32_t lane = lane_of(stream, owner, unused);
    Class& of = cached_.class_of(units, AlignmentType::value);
    Entry* entry = cached_.find(of, lane, streams_.timeline());
    if (entry != nullptr) [[likely]] {
      if (!streams_.timeline().is_ordered(entry->returned, lane)) {
        streams_.timeline().order(entry->returned, lane, stream);
        ++account_.waits;
      }
      cached_.remove(*entry);
      ++account_.hits;
      ++of.stats.hits;
      use(*entry, of, bytes, lane, stream);
    } else {
      const Making making{cached_, streams_, of, lane};
      entry = &missed(lock, of, bytes);
      use(*entry, of, bytes, lane, stream);
    }
    entry->pool = this;
    lock.unlock();
    return PooledBufferMaker<DeviceType>::make(*entry, bytes);
  }

  /// Called when the pool's owner is gone: nothing more is acquired.
  void close() noexcept {
    os::Lock lock{mutex_};
    is_closed_ = true;
    delete_if_last(lock);
  }

  void returned(Entry& entry) noexcept override {
    os::Lock lock{mutex_};
    entry.returned = streams_.give_back(entry.lane, entry.stream);
    entry.idle_since = ticks_;
    --Cached::class_of(entry).stats.in_use;
    --chunk_of(entry).in_use;
    account_.give_back(entry.capacity, entry.requested);
    cached_.add(entry);
    if (is_closed_) [[unlikely]]
      return delete_if_last(lock);
    if (cached_.bytes() <= options_.max_cached) [[likely]]
      return;
    try {
      static_cast<void>(trim_to(options_.max_cached));
    } catch (...) {  // a wait failed: what may be in use stays cached, above the cap
    }
  }

  void return_on(Entry& entry, stream_type& stream, const Owner* owner) override {
    std::vector<Owner> unused;  // outlives the lock
    const std::lock_guard lock{mutex_};
    const std::uint32_t lane = lane_of(stream, owner, unused);
    streams_.release(entry.lane);
    streams_.acquire(lane);
    entry.lane = lane;
    entry.stream = &stream;
  }

  void warm_up(std::span<const std::uint64_t> sizes) {
    std::vector<std::uint64_t> wanted;
    std::uint64_t total = 0;
    for (const std::uint64_t bytes : sizes) {
      wanted.push_back(units_for(bytes));
      total =
          checked_add(total, wanted.back() * AlignmentType::value).value_or(PoolOptions::unlimited);
    }
    if (total > options_.max_cached) throw_above_cap(total, options_.max_cached, 0);

    os::Lock lock{mutex_};
    Made made{*this};
    made.entries.reserve(sizes.size());
    for (const std::uint64_t units : wanted)
      made.want(cached_.class_of(units, AlignmentType::value));
    made.end_wants();
    for (const Making& making : made.classes) {
      Class& of = making.of();
      for (std::uint64_t there = of.stats.cached; there < making.wanted(); ++there) {
        made.entries.push_back(&make(lock, of, of.stats.capacity, Evict::nothing));
      }
    }
    total = 0;
    for (const Entry* const entry : made.entries) total += entry->capacity;
    if (total != 0 && total > options_.max_cached - smaller(cached_.bytes(), options_.max_cached)) {
      throw_above_cap(total, options_.max_cached, cached_.bytes());
    }
    for (Entry* const entry : std::exchange(made.entries, {})) {
      entry->lane = 0;
      entry->returned = {};
      entry->idle_since = ticks_;
      cached_.add(*entry);
    }
    account_.note_peak(cached_.bytes());
  }

  std::uint64_t trim(std::uint64_t to) {
    std::vector<Owner> unused;  // outlives the lock
    const std::lock_guard lock{mutex_};
    const std::uint64_t freed = trim_to(to);
    unused = forget_unused_streams(true);
    return freed;
  }

  std::uint64_t trim_idle(std::uint64_t ticks) {
    std::vector<Owner> unused;  // outlives the lock
    const std::lock_guard lock{mutex_};
    return trim_idle_for(ticks, unused);
  }

  std::uint64_t tick() {
    std::vector<Owner> unused;  // outlives the lock
    const std::lock_guard lock{mutex_};
    ++ticks_;
    return options_.max_idle_ticks == 0 ? 0 : trim_idle_for(options_.max_idle_ticks, unused);
  }

  void on_miss(Misses misses) {
    const std::lock_guard lock{mutex_};
    options_.misses = misses;
  }

  [[nodiscard]] PoolStats stats() const {
    const std::lock_guard lock{mutex_};
    PoolStats all = account_;
    all.cached = cached_.bytes();
    all.cached_buffers = cached_.count();
    all.capacity = chunks_.capacity();
    all.chunks = chunks_.count();
    all.classes = cached_.class_stats();
    return all;
  }

  [[nodiscard]] bool validate() const {
    const std::lock_guard lock{mutex_};
    const Usage usage = chunks_.usage();
    PoolClassStats sum{};
    for (const auto& each : cached_.classes()) {
      sum.in_use += each->stats.in_use;
      sum.cached += each->stats.cached;
      std::uint64_t listed = 0;
      for (const auto& lane : each->lanes) listed += lane.count();
      if (listed != each->stats.cached) return false;
    }
    return chunks_.validate() && usage.used >= account_.in_use + cached_.bytes() &&
           usage.live_blocks == account_.in_use_buffers + cached_.count() &&
           sum.in_use == account_.in_use_buffers && sum.cached == cached_.count();
  }

 private:
  using Cached = CachedEntries<DeviceType, Classes>;
  using Making = MakingBuffers<DeviceType, Classes>;

  enum class Evict { nothing, cached };

  void delete_if_last(os::Lock<std::mutex>& lock) noexcept {
    const bool is_last = account_.in_use_buffers == 0;
    lock.unlock();
    if (is_last) delete this;
  }

  /// Entries that no buffer uses yet: freed, unless they are taken out.
  struct Made {
    explicit Made(PoolState& state) noexcept : state_{state} {}
    Made(const Made&) = delete;
    Made& operator=(const Made&) = delete;
    ~Made() {
      for (Entry* const entry : entries) state_.free(*entry);
    }

    /// Counts one more buffer of a class. The mutex is held from the first one to `end_wants`.
    void want(Class& of) {
      if (of.wanted == 0) classes.emplace_back(state_.cached_, state_.streams_, of, 0);
      ++of.wanted;
    }
    void end_wants() noexcept {
      for (Making& making : classes) making.take_wanted();
    }

    PoolState& state_;
    std::deque<Making> classes;
    std::vector<Entry*> entries;
  };

  /// Units of the class. Throws: `std::invalid_argument` for zero bytes and sizes that overflow.
  [[nodiscard]] static std::uint64_t units_for(std::uint64_t bytes) {
    const std::uint64_t units = units_of(Request{bytes}, AlignmentType::value).size;
    const std::optional<std::uint64_t> rounded = Classes::round_up(units);
    if (!rounded || !checked_multiply(*rounded, AlignmentType::value)) throw_bad_size(bytes);
    return *rounded;
  }

  [[nodiscard]] static Chunk& chunk_of(const Entry& entry) noexcept {
    return static_cast<Chunk&>(*entry.chunk);
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
    ++chunk_of(entry).in_use;
    account_.take(entry.capacity, bytes);
    account_.note_peak(cached_.bytes());
  }

  [[nodiscard]] Entry& missed(os::Lock<std::mutex>& lock, Class& of, std::uint64_t bytes) {
    ++account_.misses;
    ++of.stats.misses;
    if (options_.misses == Misses::are_errors) {
      throw PoolMiss{bytes, of.stats.capacity, of.stats.in_use};
    }
    return make(lock, of, bytes, Evict::cached);
  }

  /// Makes an entry with a block. If the arena has no room, it grows, if it may; after that, cached
  /// buffers are freed, if they may be. Releases the mutex for a while if it grows.
  [[nodiscard]] Entry& make(os::Lock<std::mutex>& lock, Class& of, std::uint64_t bytes,
                            Evict evict) {
    const std::uint64_t capacity = of.stats.capacity;
    std::exception_ptr refused;
    for (bool has_grown = true; has_grown;) {
      if (spare_.empty()) spare_.push_back(entries_.emplace_back());
      if (Entry* const entry = place(of)) return *entry;
      has_grown = chunks_.grow(lock, capacity, refused);
    }
    if (spare_.empty()) spare_.push_back(entries_.emplace_back());
    if (Entry* const entry = place(of)) return *entry;  // the mutex was released meanwhile
    for (Entry* next = cached_.by_age().first(); evict == Evict::cached && next != nullptr;) {
      Entry& oldest = *next;
      next = cached_.by_age().after(oldest);
      if (chunk_of(oldest).arena.capacity() < capacity || !this->evict(oldest)) continue;
      if (Entry* const entry = place(of)) return *entry;
    }
    if (refused) std::rethrow_exception(refused);
    throw chunks_.refusal(bytes, capacity);
  }

  [[nodiscard]] Entry* place(Class& of) {
    const auto place = chunks_.place(of.stats.capacity);
    if (!place) return nullptr;
    Entry& entry = spare_.front();
    spare_.erase(entry);
    entry.size_class = &of;
    entry.chunk = place->chunk;
    entry.block = place->block;
    entry.address = place->address;
    entry.capacity = of.stats.capacity;
    return &entry;
  }

  /// Gives the block of an entry that no buffer uses back to the arena.
  void free(Entry& entry) noexcept {
    chunk_of(entry).arena.deallocate(entry.block);
    spare_.push_back(entry);
  }

  /// Frees a cached buffer once its stream is done with it; keeps it if that cannot be found out.
  /// Throws: what the device throws; nothing has changed.
  bool evict(Entry& entry) {
    if (!streams_.timeline().can_order(entry.returned)) return false;
    streams_.timeline().wait(entry.returned);
    Class& of = Cached::class_of(entry);
    cached_.remove(entry);
    free(entry);
    ++account_.frees;
    cached_.forget_if_empty(of);
    return true;
  }

  std::uint64_t trim_to(std::uint64_t to) {
    const std::uint64_t before = cached_.bytes();
    for (Entry* next = cached_.by_age().first(); next != nullptr && cached_.bytes() > to;)
      evict(*std::exchange(next, cached_.by_age().after(*next)));
    return before - cached_.bytes();
  }

  std::uint64_t trim_idle_for(std::uint64_t ticks, std::vector<Owner>& unused) {
    const std::uint64_t before = cached_.bytes();
    Entry* next = cached_.by_age().first();
    while (next != nullptr && ticks_ - next->idle_since >= ticks)
      evict(*std::exchange(next, cached_.by_age().after(*next)));
    unused = forget_unused_streams(false);
    return before - cached_.bytes();
  }

  [[nodiscard]] Reclaim reclaim() {
    return [this, name = std::string{device_.name()}](std::string_view wanted_of,
                                                      std::uint64_t bytes) {
      return wanted_of == name ? give_back(bytes) : 0;
    };
  }

  /// Gives chunks without a buffer in use back to the system, the latest first.
  std::uint64_t give_back(std::uint64_t bytes) noexcept {
    const std::lock_guard lock{mutex_};
    return chunks_.release(bytes, [this](Chunk& chunk) { return empty_chunk(chunk); });
  }

  /// Returns true if all cached buffers of a chunk could be freed.
  [[nodiscard]] bool empty_chunk(Chunk& chunk) noexcept {
    try {
      for (Entry* next = cached_.by_age().first(); next != nullptr;) {
        Entry& entry = *std::exchange(next, cached_.by_age().after(*next));
        if (entry.chunk == &chunk && !evict(entry)) return false;
      }
    } catch (...) {
      return false;
    }
    return chunk.arena.usage().live_blocks == 0;
  }

  mutable std::mutex mutex_;
  DeviceType device_;
  std::deque<Entry> entries_;
  AgeList<DeviceType> spare_;
  Chunks chunks_;
  Cached cached_;
  StreamOrder<DeviceType> streams_;
  PoolOptions options_;

  PoolAccount account_;
  bool is_closed_ = false;
  std::uint64_t ticks_ = 0;
  Reclaimer reclaimer_;  // destroyed first: waits for a call under way
};

}  // namespace allot::detail
