// SPDX-License-Identifier: MIT
/// \file
/// `BufferSupply`: where a pool's buffers come from and go to: makes them in chunks of memory, and
/// frees cached ones, and chunks, to make room.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/errors.hpp>
#include <allot/os/mutex.hpp>
#include <allot/pool/buffers/detail/cached.hpp>
#include <allot/pool/buffers/detail/chunks.hpp>
#include <allot/pool/buffers/detail/stream_order.hpp>
#include <allot/pool/buffers/pooled_buffer.hpp>
#include <allot/pool/buffers/size_classes.hpp>
#include <allot/pool/buffers/stats.hpp>

#include <cstdint>
#include <exception>
#include <list>
#include <optional>
#include <utility>

namespace allot::detail {

/// Guarded by the pool's mutex, which making a buffer releases for a while if a chunk is taken.
template <Device DeviceType, SizeClasses Classes, Strategy StrategyType, Alignment AlignmentType>
class BufferSupply {
 public:
  using Entry = PoolEntry<DeviceType>;
  using Class = PoolClass<DeviceType>;
  using Cached = CachedEntries<DeviceType, Classes>;
  using Chunks = PoolChunks<DeviceType, StrategyType, AlignmentType>;
  using Chunk = typename Chunks::Chunk;

  /// The bytes of a buffer that is to be made: `most` if that can be had, else what there is.
  struct Bytes {
    std::uint64_t least;
    std::uint64_t most;
  };

  /// \param cached, streams  the pool's
  BufferSupply(DeviceType& device, std::uint64_t capacity, const PoolOptions& options,
               Cached& cached, StreamOrder<DeviceType>& streams)
      : cached_{cached}, streams_{streams}, chunks_{device, capacity, options} {}

  [[nodiscard]] const Chunks& chunks() const noexcept { return chunks_; }
  /// Units of the class. Throws: `std::invalid_argument` for zero bytes and sizes that overflow.
  [[nodiscard]] static std::uint64_t units_for(std::uint64_t bytes) {
    const std::uint64_t units = units_of(Request{bytes}, AlignmentType::value).size;
    const std::optional<std::uint64_t> rounded = Classes::round_up(units);
    if (!rounded || !checked_multiply(*rounded, AlignmentType::value)) reject_size(bytes);
    return *rounded;
  }

  /// Requires: `units_for(bytes)` has not thrown.
  [[nodiscard]] static std::uint64_t whole_units(std::uint64_t bytes) noexcept {
    return *checked_align_up(bytes, AlignmentType::value);
  }

  /// The number of cached buffers that were freed.
  [[nodiscard]] std::uint64_t frees() const noexcept { return frees_; }

  [[nodiscard]] static Chunk& chunk_of(const Entry& entry) noexcept {
    return static_cast<Chunk&>(*entry.chunk);
  }

  /// Makes a buffer of memory that is free, or in a further chunk, if the pool may grow. Returns
  /// null if there is neither; `refused` is the system's error if it refuses the chunk.
  /// Throws: what the memory throws but `OutOfMemory`; `std::bad_alloc`.
  [[nodiscard]] Entry* try_make(os::Lock<std::mutex>& lock, Class& of, Bytes bytes,
                                std::exception_ptr& refused) {
    for (bool has_grown = true; has_grown;) {
      if (Entry* const made = place(of, bytes)) return made;
      has_grown = chunks_.grow(lock, bytes.least, refused);
    }
    return place(of, bytes);  // the mutex was released meanwhile
  }

  /// Makes a buffer. If there is no room, and no further chunk, frees cached buffers, the longest
  /// unused first; then gives idle chunks back, so that a larger one may be taken.
  /// Throws: `OutOfMemory` for a request of `requested` bytes; what the device throws;
  /// `std::bad_alloc`.
  [[nodiscard]] Entry& make(os::Lock<std::mutex>& lock, Class& of, std::uint64_t requested,
                            Bytes bytes) {
    std::exception_ptr refused;
    if (Entry* const made = make_room(lock, of, {bytes.most, bytes.most}, refused)) return *made;
    if (bytes.least != bytes.most) {
      if (Entry* const made = make_room(lock, of, bytes, refused)) return *made;
    }
    if (refused) std::rethrow_exception(refused);
    throw chunks_.refusal(requested, bytes.least, cached_.bytes());
  }

  /// Gives the block of an entry that no buffer uses back to the arena.
  void free(Entry& entry) noexcept {
    Class& of = Cached::class_of(entry);
    if (entry.capacity < of.stats.capacity) --of.short_ones;
    chunk_of(entry).arena.deallocate(entry.block);
    entry.chunk = nullptr;
    spare_.push_back(entry);
  }

  /// Calls `visitor(const PoolBlock&)` for each block of each chunk, the free ones first.
  template <class Visitor>
  void for_each(Visitor&& visitor) const {
    std::size_t chunks = 0;
    chunks_.for_each([&](Chunk& chunk) {
      chunk.number = chunks++;
      chunk.arena.for_each([&](std::uint64_t offset, std::uint64_t size, bool is_used) {
        if (!is_used) visitor(PoolBlock{chunk.number, offset, size, 0, 0, PoolBlock::State::free});
      });
    });
    for (const Entry& entry : entries_) {
      if (entry.chunk == nullptr) continue;  // it has no block
      const bool is_in_use = entry.requested != 0;
      visitor(PoolBlock{entry.chunk->number, entry.block.offset, entry.block.size, entry.requested,
                        entry.lane,
                        is_in_use ? PoolBlock::State::in_use : PoolBlock::State::cached});
    }
  }

  /// Frees a cached buffer once its stream is done with it; keeps it if that cannot be found out.
  /// Throws: what the device throws; nothing has changed.
  bool evict(Entry& entry) {
    if (!streams_.timeline().can_order(entry.returned)) return false;
    streams_.timeline().wait(entry.returned);
    Class& of = Cached::class_of(entry);
    cached_.remove(entry);
    free(entry);
    ++frees_;
    cached_.forget_if_empty(of);
    return true;
  }

  /// Frees cached buffers, but those that a warm-up keeps, until they have at most `to` bytes.
  void trim_to(std::uint64_t to) {
    for (Entry* next = cached_.by_age().first(); next != nullptr && cached_.bytes() > to;)
      evict_unless_kept(*std::exchange(next, cached_.by_age().after(*next)));
  }

  /// Frees cached buffers for which `is_idle(entry)`, from the longest unused to the first that is
  /// not.
  template <class Predicate>
  void trim_while(Predicate&& is_idle) {
    Entry* next = cached_.by_age().first();
    while (next != nullptr && is_idle(*next))
      evict(*std::exchange(next, cached_.by_age().after(*next)));
  }

  /// Gives chunks without a buffer in use back to the system, the latest first, until they had
  /// `bytes` bytes. Returns how many they had.
  std::uint64_t give_back(std::uint64_t bytes) noexcept {
    return chunks_.release(bytes, [this](Chunk& chunk) {
      try {
        return empty(chunk);
      } catch (...) {
        return false;
      }
    });
  }

 private:
  /// Makes a buffer of at least `bytes.least` bytes, after having made room, if that is needed.
  [[nodiscard]] Entry* make_room(os::Lock<std::mutex>& lock, Class& of, Bytes bytes,
                                 std::exception_ptr& refused) {
    if (Entry* const made = try_make(lock, of, bytes, refused)) return made;
    for (Entry* next = cached_.by_age().first(); next != nullptr;) {
      Entry& oldest = *std::exchange(next, cached_.by_age().after(*next));
      if (chunk_of(oldest).arena.capacity() < bytes.least || !evict_unless_kept(oldest)) continue;
      if (Entry* const made = place(of, bytes)) return made;
    }
    if (!give_idle_chunks_back(bytes.least, refused != nullptr)) return nullptr;
    return try_make(lock, of, bytes, refused);
  }

  [[nodiscard]] Entry* place(Class& of, Bytes bytes) {
    if (spare_.empty()) {
      spare_.push_back(entries_.emplace_back());
      entries_.back().number = static_cast<std::uint32_t>(entries_.size() - 1);
    }
    const auto place = chunks_.place(bytes.least, bytes.most);
    if (!place) return nullptr;
    Entry& entry = spare_.front();
    spare_.erase(entry);
    entry.size_class = &of;
    entry.chunk = place->chunk;
    entry.block = place->block;
    entry.address = place->address;
    entry.capacity = smaller(place->block.size, of.stats.capacity);
    if (entry.capacity < of.stats.capacity) ++of.short_ones;
    return &entry;
  }

  bool evict_unless_kept(Entry& entry) { return Cached::is_surplus(entry) && evict(entry); }

  /// Returns true if all cached buffers of a chunk could be freed, and no other is in it.
  [[nodiscard]] bool empty(Chunk& chunk) {
    for (Entry* next = cached_.by_age().first(); next != nullptr;) {
      Entry& entry = *std::exchange(next, cached_.by_age().after(*next));
      if (entry.chunk == &chunk && !evict(entry)) return false;
    }
    return chunk.arena.usage().live_blocks == 0;
  }

  /// Counts the buffers in each chunk that may be freed. Complexity: linear in cached buffers,
  /// chunks and classes.
  void count_evictable() noexcept {
    chunks_.for_each([](Chunk& chunk) { chunk.evictable = 0; });
    for (const auto& each : cached_.classes()) Cached::count_surplus(*each);
    for (Entry* entry = cached_.by_age().first(); entry != nullptr;
         entry = cached_.by_age().after(*entry)) {
      Class& of = Cached::class_of(*entry);
      const bool is_least = entry->capacity == of.least_kept;
      if (entry->capacity > of.least_kept || (is_least && of.surplus == 0)) continue;
      if (!streams_.timeline().can_order(entry->returned)) continue;
      if (is_least) --of.surplus;
      ++chunk_of(*entry).evictable;
    }
  }

  /// Gives chunks without a buffer that must stay back to the system, so that one of `needed` bytes
  /// may be taken: as little as is enough for the limit; all if the system has refused one.
  /// Returns false if that would not help: nothing has changed then.
  /// Throws: what the device throws.
  [[nodiscard]] bool give_idle_chunks_back(std::uint64_t needed, bool is_refused) {
    if (!chunks_.may_grow() || (!is_refused && chunks_.missing(needed) == 0)) return false;
    count_evictable();
    const auto is_idle = [](const Chunk& chunk) {
      return chunk.in_use == 0 && chunk.evictable == chunk.arena.usage().live_blocks;
    };
    std::uint64_t idle = 0;
    chunks_.for_each([&](Chunk& chunk) { idle += is_idle(chunk) ? chunk.arena.capacity() : 0; });
    if (idle == 0 || idle < chunks_.missing(needed)) return false;
    do {
      Chunk* const least = chunks_.least_for(chunks_.missing(needed), is_idle);
      if (least == nullptr || !empty(*least)) break;
      chunks_.erase(*least);
      count_evictable();
    } while (is_refused || chunks_.missing(needed) != 0);
    return true;
  }

  Cached& cached_;
  StreamOrder<DeviceType>& streams_;
  std::list<Entry> entries_;
  AgeList<DeviceType> spare_;
  Chunks chunks_;
  std::uint64_t frees_ = 0;
};

}  // namespace allot::detail
