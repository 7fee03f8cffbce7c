// SPDX-License-Identifier: MIT
/// \file
/// What an arena throws (`OutOfMemory` is built without allocating), and the checks of its arguments:
/// one that no arena could accept is a `std::invalid_argument`.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/units.hpp>

#include <cstdint>
#include <initializer_list>
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
  constexpr const char* texts[] = {"too large", "fragmented", "alignment", "source"};
  return texts[static_cast<int>(reason)];
}

/// Thrown if a request cannot be granted; nothing has changed. All figures in bytes.
class OutOfMemory : public std::bad_alloc {
 public:
  static constexpr std::uint64_t unlimited = ~std::uint64_t{0};  ///< a limit that is none

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
    constexpr const char* advice[] = {
        "free blocks first, or give the arena more capacity",
        "free neighboring blocks, or ask for smaller pieces",
        "ask for a lower alignment, or use memory with a larger base",
        "the system refused the region: reserve less, or free memory",
    };
    text_ << "out of memory (" << to_text(reason);
    text_.fill_in("): requested ~ (# bytes)", {requested, requested});
    if (rounded != 0) text_.fill_in(", rounded up to ~ (# bytes),", {rounded, rounded});
    text_.fill_in(" aligned to ~; ", {alignment});
    if (reason != RefusalReason::source) {
      text_.fill_in("free ~, ", {free});
      if (cached != 0) text_.fill_in("cached ~, ", {cached});
      text_.fill_in("largest free block ~, capacity ~; ", {largest, capacity});
    } else if (capacity != 0) {  // what the source has, if it says
      text_.fill_in("free ~ of ~; ", {free, capacity});
    }
    if (requested > limit) {
      text_.fill_in(
          "a block here has at most ~ (# bytes): ask for smaller pieces, or use another arena",
          {limit, limit});
    } else {
      text_ << advice[static_cast<int>(reason)];
    }
  }

  [[nodiscard]] const char* what() const noexcept override { return text_.c_str(); }

  /// Returns why the request was refused.
  [[nodiscard]] RefusalReason reason() const noexcept { return reason_; }
  /// Returns the bytes that were asked for.
  [[nodiscard]] std::uint64_t requested() const noexcept { return requested_; }
  /// Returns the alignment that was asked for, in bytes.
  [[nodiscard]] std::uint64_t alignment() const noexcept { return alignment_; }
  /// Returns the bytes that were free, in all blocks together.
  [[nodiscard]] std::uint64_t free() const noexcept { return free_; }
  /// Returns the bytes of the largest free block.
  [[nodiscard]] std::uint64_t largest() const noexcept { return largest_; }
  /// Returns the bytes of the arena, or of the memory that refused a region; 0: unknown.
  [[nodiscard]] std::uint64_t capacity() const noexcept { return capacity_; }
  /// The largest request that can ever be granted, or `unlimited`.
  [[nodiscard]] std::uint64_t limit() const noexcept { return limit_; }
  /// What a pool keeps for later requests, but could not use for this one.
  [[nodiscard]] std::uint64_t cached() const noexcept { return cached_; }
  /// What the request was rounded up to, if the request itself might have fit; else 0.
  [[nodiscard]] std::uint64_t rounded() const noexcept { return rounded_; }

 private:
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
  constexpr const char* texts[] = {
      "stale: it was freed before, or belongs to another arena",
      "foreign: this arena never made it",
      "its offset or size is not that of the live block",
  };
  return texts[static_cast<int>(defect)];
}

/// Thrown for a block that is not live in this arena; nothing has changed.
class InvalidBlock : public std::invalid_argument {
 public:
  /// Makes the message from the block's offset and size, in bytes.
  InvalidBlock(BlockDefect defect, std::uint64_t offset, std::uint64_t size)
      : std::invalid_argument{(FixedText<512>{}.fill_in("invalid block at offset #, # bytes: ",
                                                        {offset, size})
                               << to_text(defect)
                               << "; free each block once, in the arena that made it")
                                  .c_str()},
        defect_{defect} {}
  /// For a block that was looked up by its address.
  explicit InvalidBlock(const void* address)
      : std::invalid_argument{text_of(address).c_str()}, defect_{BlockDefect::foreign} {}

  /// Returns what is wrong with the block.
  [[nodiscard]] BlockDefect defect() const noexcept { return defect_; }

 private:
  [[nodiscard]] static FixedText<128> text_of(const void* address) noexcept {
    const auto number = reinterpret_cast<std::uintptr_t>(address);
    char digits[2 * sizeof number + 1] = {};
    for (std::size_t i = 0; i < 2 * sizeof number; ++i)
      digits[i] = "0123456789abcdef"[number >> (8 * sizeof number - 4 * (i + 1)) & 15];
    return FixedText<128>{} << "no live block starts at address 0x" << digits
                            << "; free each block once, in the arena that made it";
  }

  BlockDefect defect_;
};

namespace detail {

/// Throws `std::invalid_argument` with a form that is filled in. Without exceptions, does nothing:
/// the caller then returns an empty result.
#if defined(__cpp_exceptions)
[[noreturn]] inline void reject(const char* form, std::initializer_list<std::uint64_t> numbers) {
  throw std::invalid_argument{FixedText<512>{}.fill_in(form, numbers).c_str()};
}
#else
inline void reject(const char*, std::initializer_list<std::uint64_t>) noexcept {}
#endif

inline void reject_size(std::uint64_t bytes) {
  reject(
      "cannot allocate # bytes: a block has at least one byte, and its size in whole units fits 64 "
      "bits",
      {bytes});
}

inline void reject_capacity(std::uint64_t bytes, std::uint64_t unit) {
  reject("a capacity of # bytes is less than one unit (# bytes); give at least one unit",
         {bytes, unit});
}

/// Rejects an alignment that is not a power of two. Without exceptions, makes it a request of zero
/// bytes, which no arena accepts.
[[nodiscard]] inline Request request_of(std::uint64_t bytes, std::uint64_t alignment) {
  if (is_power_of_two(alignment)) return {.bytes = bytes, .alignment = alignment};
  reject("an alignment of # bytes is not a power of two; use 1, 2, 4, ...", {alignment});
  return {.bytes = 0};
}

/// Calls `function()` and returns false if it threw. Without exceptions it always returns true: the
/// program ends if the host runs out of memory.
template <class Function>
[[nodiscard]] bool completes(Function&& function) noexcept {
#if defined(__cpp_exceptions)
  try {
    function();
    return true;
  } catch (...) {
    return false;
  }
#else
  function();
  return true;
#endif
}

/// Returns `rounded` if the rounding may be why a request was refused: as much as it asked for is
/// free, but no block can have what that was rounded up to. Otherwise 0. All in the same unit.
/// \param asked    what was asked for, in whole units
/// \param longest  what a block can have at most
[[nodiscard]] constexpr std::uint64_t refused_rounding(std::uint64_t asked, std::uint64_t rounded,
                                                       std::uint64_t free,
                                                       std::uint64_t longest) noexcept {
  return rounded > asked && asked <= free && rounded > longest ? rounded : 0;
}

/// A request in units.
struct RequestedUnits {
  std::uint64_t size;  ///< zero if no arena accepts the request
  std::uint64_t alignment;
};

/// Converts bytes to units, rounding up. Rejects zero bytes, an alignment that is not a power of two,
/// and a size that overflows.
/// \param unit  bytes, a power of two
[[nodiscard]] inline RequestedUnits units_of(Request request, std::uint64_t unit) {
  if (request.alignment != 0) request = request_of(request.bytes, request.alignment);
  if (request.bytes == 0 || request.bytes > ~std::uint64_t{0} - (unit - 1)) [[unlikely]] {
    reject_size(request.bytes);
    return {0, 1};
  }
  return {(request.bytes + (unit - 1)) / unit, larger(request.alignment, unit) / unit};
}

}  // namespace detail

}  // namespace allot
