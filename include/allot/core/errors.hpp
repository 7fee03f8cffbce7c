// SPDX-License-Identifier: MIT
/// \file
/// What an arena throws. `OutOfMemory` is built without allocating.
///
/// | error         | thrown when                         | base                    |
/// |---------------|-------------------------------------|-------------------------|
/// | `OutOfMemory` | a request cannot be granted         | `std::bad_alloc`        |
/// | `InvalidBlock`| a block is not live in this arena   | `std::invalid_argument` |
///
/// Arguments that no arena could accept (zero bytes, an alignment that is not a power of two)
/// are `std::invalid_argument`.
#pragma once

#include <allot/core/units.hpp>

#include <cstdint>
#include <new>
#include <stdexcept>

namespace allot {

/// Why a request was refused.
enum class RefusalReason {
  too_large,   ///< more bytes than are free, or than any block can have
  fragmented,  ///< enough bytes are free, but no free block is large enough
  alignment,  ///< a free block is large enough, but not once aligned; or above the base's alignment
  source,     ///< the memory policy's system refused the arena's own region
};

[[nodiscard]] constexpr const char* to_text(RefusalReason reason) noexcept {
  switch (reason) {
    case RefusalReason::too_large:
      return "too large";
    case RefusalReason::fragmented:
      return "fragmented";
    case RefusalReason::alignment:
      return "alignment";
    case RefusalReason::source:
      return "source";
  }
  return "unknown";
}

/// Thrown if a request cannot be granted; nothing has changed. All figures in bytes.
class OutOfMemory : public std::bad_alloc {
 public:
  static constexpr std::uint64_t unlimited = ~std::uint64_t{0};

  /// \param limit  the largest request that can ever be granted: the size of a fixed block or of a
  /// shard
  /// \param cached   of the capacity: neither free nor in use, but kept for later requests
  /// \param rounded  what the request was rounded up to, if that is why it was refused; else 0
  OutOfMemory(RefusalReason reason, std::uint64_t requested, std::uint64_t alignment,
              std::uint64_t free, std::uint64_t largest, std::uint64_t capacity,
              std::uint64_t limit = unlimited, std::uint64_t cached = 0,
              std::uint64_t rounded = 0) noexcept
      : reason_{reason},
        requested_{requested},
        alignment_{alignment},
        free_{free},
        largest_{largest},
        capacity_{capacity},
        limit_{limit},
        cached_{cached},
        rounded_{rounded} {
    text_ << "out of memory (" << to_text(reason);
    text_.fill_in("): requested ~ (# bytes)", {requested, requested});
    if (rounded != 0) text_.fill_in(", rounded up to ~ (# bytes),", {rounded, rounded});
    text_.fill_in(" aligned to ~", {alignment});
    if (reason != RefusalReason::source) {
      text_.fill_in("; free ~, ", {free});
      if (cached != 0) text_.fill_in("cached ~, ", {cached});
      text_.fill_in("largest free block ~, capacity ~; ", {largest, capacity});
    } else if (capacity != 0) {  // what the source has, if it says
      text_.fill_in("; free ~ of ~; ", {free, capacity});
    } else {
      text_ << "; ";
    }
    if (requested > limit) {
      text_.fill_in(
          "a block here has at most ~ (# bytes): ask for smaller pieces, or use another "
          "arena",
          {limit, limit});
    } else {
      text_ << advice(reason);
    }
  }

  [[nodiscard]] const char* what() const noexcept override { return text_.c_str(); }

  [[nodiscard]] RefusalReason reason() const noexcept { return reason_; }
  [[nodiscard]] std::uint64_t requested() const noexcept { return requested_; }
  [[nodiscard]] std::uint64_t alignment() const noexcept { return alignment_; }
  [[nodiscard]] std::uint64_t free() const noexcept { return free_; }
  [[nodiscard]] std::uint64_t largest() const noexcept { return largest_; }
  [[nodiscard]] std::uint64_t capacity() const noexcept { return capacity_; }
  /// The largest request that can ever be granted, or `unlimited`.
  [[nodiscard]] std::uint64_t limit() const noexcept { return limit_; }
  /// What a pool keeps for later requests, but could not use for this one.
  [[nodiscard]] std::uint64_t cached() const noexcept { return cached_; }
  /// What the request was rounded up to, if the request itself might have fit; else 0.
  [[nodiscard]] std::uint64_t rounded() const noexcept { return rounded_; }

 private:
  [[nodiscard]] static constexpr const char* advice(RefusalReason reason) noexcept {
    switch (reason) {
      case RefusalReason::too_large:
        return "free blocks first, or give the arena more capacity";
      case RefusalReason::fragmented:
        return "free neighboring blocks, or ask for smaller pieces";
      case RefusalReason::alignment:
        return "ask for a lower alignment, or use memory with a larger base";
      case RefusalReason::source:
        return "the system refused the region: reserve less, or free memory";
    }
    return "";
  }

  RefusalReason reason_;
  std::uint64_t requested_;
  std::uint64_t alignment_;
  std::uint64_t free_;
  std::uint64_t largest_;
  std::uint64_t capacity_;
  std::uint64_t limit_;
  std::uint64_t cached_;
  std::uint64_t rounded_;
  FixedText<512> text_;
};

/// What is wrong with a block.
enum class BlockDefect {
  stale,    ///< its record is free or was used again: the block was freed before
  foreign,  ///< this arena never gave out this handle: it is another arena's, or made up
  offset,   ///< the handle is live, but its block has another offset or size
};

[[nodiscard]] constexpr const char* to_text(BlockDefect defect) noexcept {
  switch (defect) {
    case BlockDefect::stale:
      return "stale: it was freed before, or belongs to another arena";
    case BlockDefect::foreign:
      return "foreign: this arena never made it";
    case BlockDefect::offset:
      return "its offset or size is not that of the live block";
  }
  return "unknown";
}

/// Thrown for a block that is not live in this arena; nothing has changed.
class InvalidBlock : public std::invalid_argument {
 public:
  InvalidBlock(BlockDefect defect, std::uint64_t offset, std::uint64_t size)
      : std::invalid_argument{message(defect, offset, size).c_str()}, defect_{defect} {}

  [[nodiscard]] BlockDefect defect() const noexcept { return defect_; }

 private:
  [[nodiscard]] static FixedText<512> message(BlockDefect defect, std::uint64_t offset,
                                              std::uint64_t size) noexcept {
    FixedText<512> text;
    text.fill_in("invalid block at offset #, # bytes: ", {offset, size}) << to_text(defect);
    text << "; free each block once, in the arena that made it";
    return text;
  }

  BlockDefect defect_;
};

}  // namespace allot
