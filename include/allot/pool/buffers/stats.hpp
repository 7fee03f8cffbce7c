// SPDX-License-Identifier: MIT
/// \file
/// Options and statistics of `BufferPool`.
///
/// | type          | what it is                                                     |
/// |---------------|----------------------------------------------------------------|
/// | `PoolOptions` | how much it keeps, whether it grows                            |
/// | `Misses`      | what happens if no buffer of the class is cached               |
/// | `Reuse`       | which buffer is taken if the stream has returned none          |
/// | `PoolStats`   | a snapshot: hits, misses, bytes, in total and for each class   |
/// | `PoolMiss`    | the error for a miss, if misses are errors                     |
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/readable_bytes.hpp>
#include <allot/core/units.hpp>

#include <cstdint>
#include <stdexcept>
#include <vector>

namespace allot {

/// What a pool does if it has no cached buffer of the class.
enum class Misses {
  allocate,    ///< takes one from its arena
  are_errors,  ///< throws `PoolMiss`: proof that a loop allocates nothing
};

/// Which buffer a stream gets that has returned none itself, and if there is none whose work is known
/// to come before: one that others have returned.
enum class Reuse {
  idle_first,    ///< asks the device for one whose work is done; else new memory, if there is room
                 ///< within `max_capacity` and `max_cached`; else waits for one. If misses are
                 ///< errors, and after a warm-up, waits rather than misses
  cached_first,  ///< waits for the one that was returned longest ago: the least memory, no queries
};

/// All sizes in bytes.
struct PoolOptions {
  static constexpr std::uint64_t unlimited = largest_of<std::uint64_t>;  ///< a limit that is none

  /// The most bytes to cache: a return that exceeds this frees the buffers that were returned
  /// longest ago, and waits for the streams that they were returned on.
  std::uint64_t max_cached = unlimited;
  /// Bytes of each further chunk, if the arena has no room; 0: the pool does not grow.
  std::uint64_t growth = 0;
  /// The most bytes of the arena and its further chunks together.
  std::uint64_t max_capacity = unlimited;
  /// Number of calls of `tick()` after which a cached buffer is freed; 0: it stays.
  std::uint64_t max_idle_ticks = 0;
  /// What a miss does.
  Misses misses = Misses::allocate;
  /// Which cached buffers may be handed out.
  Reuse reuse = Reuse::idle_first;
  /// If true, chunks without a buffer in use, including the first one, go back to the system when
  /// the device's memory runs out elsewhere (`Reclaimer`). The next miss takes a new one.
  bool reclaimable = true;
};

/// One size class. Acquisitions are counted since the pool was made; buffers are those of now.
struct PoolClassStats {
  std::uint64_t capacity = 0;  ///< bytes of each buffer, unless there were fewer
  std::uint64_t hits = 0;      ///< acquisitions served by a cached buffer
  std::uint64_t misses = 0;    ///< other acquisitions
  std::uint64_t in_use = 0;    ///< buffers
  std::uint64_t cached = 0;    ///< buffers

  friend bool operator==(const PoolClassStats&, const PoolClassStats&) = default;
};

/// A consistent snapshot. In bytes, unless it says buffers or counts.
struct PoolStats {
  std::uint64_t hits = 0;    ///< acquisitions served by a cached buffer
  std::uint64_t misses = 0;  ///< other acquisitions, including those that failed
  std::uint64_t waits = 0;   ///< hits for which one stream was made to wait for another
  std::uint64_t frees = 0;   ///< cached buffers that went back to the arena

  std::uint64_t requested = 0;       ///< sizes asked for, of the buffers in use
  std::uint64_t in_use = 0;          ///< capacities of the buffers in use
  std::uint64_t cached = 0;          ///< capacities of the cached buffers
  std::uint64_t capacity = 0;        ///< of the arena and its further chunks
  std::uint64_t in_use_buffers = 0;  ///< buffers
  std::uint64_t cached_buffers = 0;  ///< buffers
  std::uint64_t chunks = 0;          ///< allocations from the system that are held now

  std::uint64_t peak_in_use = 0;  ///< the most that `in_use` ever was
  std::uint64_t peak_held = 0;    ///< the most that `in_use + cached` ever was

  std::vector<PoolClassStats> classes;  ///< by capacity; those that were ever asked for

  /// Returns hits as a share of all acquisitions, 0 to 1; 0 before the first.
  [[nodiscard]] double hit_rate() const noexcept {
    const std::uint64_t all = hits + misses;
    return all == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(all);
  }
};

/// Which block of a pool's memory it is, for `BufferPool::for_each`.
struct PoolBlock {
  /// What a block is for.
  enum class State : std::uint8_t { free, in_use, cached };

  std::size_t chunk;        ///< which of the pool's allocations from the system, from 0
  std::uint64_t offset;     ///< bytes from its start
  std::uint64_t size;       ///< bytes
  std::uint64_t requested;  ///< bytes; 0 unless it is in use
  std::uint32_t stream;     ///< the pool's number of its last stream; 0: none
  State state;              ///< in use, cached, or in no buffer
};

/// A miss, although misses are errors. Nothing but the count has changed.
class PoolMiss : public std::runtime_error {
 public:
  /// Makes the message. \param in_use  buffers of the class
  PoolMiss(std::uint64_t bytes, std::uint64_t capacity, std::uint64_t in_use)
      : std::runtime_error{(FixedText<384>{}
                            << "a miss, although misses are errors: no buffer for "
                            << ReadableBytes{bytes}.c_str() << " (" << bytes
                            << " bytes) is cached; " << in_use << " of its class, "
                            << ReadableBytes{capacity}.c_str() << " (" << capacity
                            << " bytes), are in use; warm up one more of that size, or let "
                               "misses allocate")
                               .c_str()},
        bytes_{bytes},
        capacity_{capacity} {}

  /// Returns the size that was asked for.
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
  /// Returns the size of a buffer of its class.
  [[nodiscard]] std::uint64_t capacity() const noexcept { return capacity_; }

 private:
  std::uint64_t bytes_;
  std::uint64_t capacity_;
};

namespace detail {

/// The figures that are counted as they change.
struct PoolAccount : PoolStats {
  void take(std::uint64_t bytes, std::uint64_t of_them_requested) noexcept {
    in_use += bytes;
    requested += of_them_requested;
    ++in_use_buffers;
  }
  void give_back(std::uint64_t bytes, std::uint64_t of_them_requested) noexcept {
    in_use -= bytes;
    requested -= of_them_requested;
    --in_use_buffers;
  }
  void note_peak(std::uint64_t cached_now) noexcept {
    peak_in_use = larger(peak_in_use, in_use);
    peak_held = larger(peak_held, in_use + cached_now);
  }
};

[[noreturn]] inline void throw_forked() {
  throw std::runtime_error{
      "a buffer pool of the parent process in a forked child, where its device's streams do not "
      "run; "
      "make pools after fork()"};
}

[[noreturn]] inline void throw_above_limit(std::uint64_t capacity, std::uint64_t limit) {
  throw std::invalid_argument{(FixedText<192>{} << "a pool of " << ReadableBytes{capacity}.c_str()
                                                << " exceeds its own limit of "
                                                << ReadableBytes{limit}.c_str()
                                                << "; raise max_capacity")
                                  .c_str()};
}

/// \param cached  what is cached already
[[noreturn]] inline void throw_above_cap(std::uint64_t total, std::uint64_t cap,
                                         std::uint64_t cached) {
  FixedText<224> text;
  text << "a warm-up of " << ReadableBytes{total}.c_str() << " (" << total
       << " bytes) exceeds what the pool may cache, " << ReadableBytes{cap}.c_str();
  if (cached == 0) {
    text << "; raise max_cached";
  } else {
    text << ", of which " << ReadableBytes{cached}.c_str()
         << " is cached already; raise max_cached, or trim first";
  }
  throw std::invalid_argument{text.c_str()};
}

}  // namespace detail
}  // namespace allot
