// SPDX-License-Identifier: MIT
/// \file
/// The memory of a pool: an arena and, if it may grow, further ones.
#pragma once

#include <allot/arena.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/errors.hpp>
#include <allot/device/device.hpp>
#include <allot/os/monitor.hpp>
#include <allot/os/mutex.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/pool/buffers/stats.hpp>
#include <allot/strategy/rounding.hpp>
#include <allot/synchronization/synchronization.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <utility>
#include <vector>

namespace allot::detail {

/// What an entry knows of its block's chunk.
struct PoolChunk {
  std::uint64_t in_use = 0;     // buffers
  std::uint64_t evictable = 0;  // cached buffers, while idle chunks are looked for
  std::size_t number = 0;       // from 0, while blocks are visited
};

/// Guarded by the pool's mutex, which `grow` leaves while it takes memory from the system: that may
/// ask this pool to give some back.
template <Device DeviceType, Strategy StrategyType, Alignment AlignmentType>
class PoolChunks {
 public:
  using ChunkArena =
      Arena<StrategyType, AlignmentType, Unsynchronized, typename DeviceType::memory_type>;
  struct Chunk : PoolChunk {
    Chunk(std::uint64_t capacity, typename DeviceType::memory_type memory)
        : arena{capacity, std::move(memory)} {}

    ChunkArena arena;
  };

  struct Place {
    Chunk* chunk;
    Block block;
    std::byte* address;
  };

  PoolChunks(DeviceType& device, std::uint64_t capacity, const PoolOptions& options)
      : device_{&device},
        first_{capacity},
        growth_{options.growth},
        max_capacity_{options.max_capacity} {
    if (capacity > max_capacity_) throw_above_limit(capacity, max_capacity_);
    chunks_.push_back(std::make_unique<Chunk>(capacity, device.memory()));
  }

  /// Places a block of `most` bytes, or, if no chunk has room for it, of as many as there are, but
  /// at least `least`.
  [[nodiscard]] std::optional<Place> place(std::uint64_t least, std::uint64_t most) {
    for (const auto& chunk : chunks_) {
      if (const auto block = chunk->arena.try_allocate(most)) return place_of(*chunk, *block);
    }
    for (const auto& chunk : chunks_) {
      if (least == most) break;
      const std::uint64_t there = smaller(most, chunk->arena.usage().largest_free);
      if (there < least) continue;
      auto block = chunk->arena.try_allocate(there);
      if (!block) block = chunk->arena.try_allocate(least);
      if (block) return place_of(*chunk, *block);
    }
    return std::nullopt;
  }

  /// Takes a further chunk for a block of `needed` bytes. Returns false if there is none, or if the
  /// strategy would not place the block in it; `refused` is the error if the system refuses it.
  /// Throws: what the memory throws but `OutOfMemory`; `std::bad_alloc`.
  [[nodiscard]] bool grow(os::Lock<std::mutex>& lock, std::uint64_t needed,
                          std::exception_ptr& refused) {
    if (is_growing_) {
      const std::uint32_t before = attempts_;
      lock.unlock();
      os::Monitor::Lock{grown_}.wait([&] { return attempts_ != before; });
      lock.lock();
      return true;
    }
    const std::uint64_t bytes = next_size(needed);
    if (bytes == 0) return false;
    is_growing_ = true;
    lock.unlock();
    std::unique_ptr<Chunk> chunk;
    std::exception_ptr error;
    try {
      chunk = take(bytes, block_bytes(needed), refused);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    is_growing_ = false;
    {
      const os::Monitor::Lock ended{grown_};
      ++attempts_;
    }
    grown_.notify_all();
    if (error) std::rethrow_exception(error);
    if (chunk == nullptr || chunk->arena.usage().largest_free < needed) return false;
    chunks_.push_back(std::move(chunk));
    return true;
  }

  /// Releases chunks for which `can_release(chunk)`, the latest first, until they had `bytes`
  /// bytes. Returns how many they had.
  template <class Predicate>
  std::uint64_t release(std::uint64_t bytes, Predicate&& can_release) noexcept {
    std::uint64_t released = 0;
    for (std::size_t i = chunks_.size(); i-- > 0 && released < bytes;) {
      if (chunks_[i]->in_use != 0 || !can_release(*chunks_[i])) continue;
      released += chunks_[i]->arena.capacity();
      chunks_.erase(chunks_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    return released;
  }

  void erase(const Chunk& chunk) noexcept {
    auto at = chunks_.begin();
    while (at->get() != &chunk) ++at;
    chunks_.erase(at);
  }

  /// Returns the smallest chunk of at least `bytes` bytes for which `is_idle(chunk)`; if there is
  /// none, the largest for which it holds; else null.
  template <class Predicate>
  [[nodiscard]] Chunk* least_for(std::uint64_t bytes, Predicate&& is_idle) const {
    Chunk* best = nullptr;
    for (const auto& chunk : chunks_) {
      if (!is_idle(*chunk)) continue;
      const std::uint64_t had = best == nullptr ? 0 : best->arena.capacity();
      const std::uint64_t has = chunk->arena.capacity();
      if (best == nullptr || (had < bytes ? has > had : has >= bytes && has < had))
        best = chunk.get();
    }
    return best;
  }

  template <class Function>
  void for_each(Function&& function) const {
    for (const auto& chunk : chunks_) function(*chunk);
  }

  /// Returns true if the pool may have chunks besides the first.
  [[nodiscard]] bool may_grow() const noexcept { return growth_ != 0; }
  /// Returns how many bytes a chunk for a block of `needed` exceeds the limit by.
  [[nodiscard]] std::uint64_t missing(std::uint64_t needed) const noexcept {
    const std::uint64_t bytes = block_bytes(needed);
    return bytes - smaller(bytes, left());
  }

  [[nodiscard]] std::size_t count() const noexcept { return chunks_.size(); }

  [[nodiscard]] std::uint64_t capacity() const noexcept {
    std::uint64_t all = 0;
    for (const auto& chunk : chunks_) all += chunk->arena.capacity();
    return all;
  }

  /// Sums; `largest_free` is the largest of any.
  [[nodiscard]] Usage usage() const {
    Usage all{};
    for (const auto& chunk : chunks_) all += chunk->arena.usage();
    return all;
  }

  /// Returns the error for a request of `bytes` bytes that needs a block of `needed`.
  /// \param cached  what is cached, and could not be freed or would not have helped
  [[nodiscard]] OutOfMemory refusal(std::uint64_t bytes, std::uint64_t needed,
                                    std::uint64_t cached) const {
    const Usage all = usage();
    const RefusalReason reason =
        needed > all.free + cached ? RefusalReason::too_large : RefusalReason::fragmented;
    return {reason,
            bytes,
            AlignmentType::value,
            all.free,
            all.largest_free,
            all.capacity,
            OutOfMemory::unlimited,
            cached,
            refused_rounding(needed, block_bytes(needed), all.free + cached, all.largest_free)};
  }

  [[nodiscard]] bool validate() const {
    for (const auto& chunk : chunks_) {
      if (!chunk->arena.validate()) return false;
    }
    return true;
  }

 private:
  /// Returns what the strategy takes for a block of `needed` bytes.
  [[nodiscard]] static std::uint64_t block_bytes(std::uint64_t needed) noexcept {
    return larger(needed, block_bytes_for<ChunkArena>(needed));
  }

  [[nodiscard]] static Place place_of(Chunk& chunk, const Block& block) {
    return {&chunk, block, static_cast<std::byte*>(chunk.arena.base_address()) + block.offset};
  }

  /// Returns how much more may be taken.
  [[nodiscard]] std::uint64_t left() const noexcept {
    return max_capacity_ - smaller(max_capacity_, capacity());
  }

  /// Takes `bytes` bytes from the system; if it refuses, as many as are needed; else nothing.
  [[nodiscard]] std::unique_ptr<Chunk> take(std::uint64_t bytes, std::uint64_t needed,
                                            std::exception_ptr& refused) {
    for (const std::uint64_t size : {bytes, needed}) {
      try {
        auto chunk = std::make_unique<Chunk>(size, device_->memory());
        refused = nullptr;
        return chunk;
      } catch (const OutOfMemory&) {
        refused = std::current_exception();
        if (size == needed) break;
      }
    }
    return nullptr;
  }

  /// Returns the size of a further chunk; 0: there is none.
  [[nodiscard]] std::uint64_t next_size(std::uint64_t needed) const noexcept {
    const std::uint64_t wanted = chunks_.empty() ? first_ : growth_;
    const std::uint64_t bytes = block_bytes(needed);
    if (missing(needed) != 0 || wanted == 0 || (bytes > wanted && growth_ == 0)) return 0;
    return smaller(larger(wanted, bytes), left());
  }

  DeviceType* device_;
  std::uint64_t first_;
  std::uint64_t growth_;
  std::uint64_t max_capacity_;
  std::vector<std::unique_ptr<Chunk>> chunks_;
  bool is_growing_ = false;
  os::Monitor grown_;
  std::uint32_t attempts_ = 0;  // to grow, that have ended; changed with both locks held
};

}  // namespace allot::detail
