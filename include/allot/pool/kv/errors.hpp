// SPDX-License-Identifier: MIT
/// \file
/// `OutOfBlocks`: the error of block pools and KV caches that have no block left.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/errors.hpp>
#include <allot/core/readable_bytes.hpp>
#include <allot/core/units.hpp>

#include <cstdint>
#include <new>

namespace allot {

/// Not enough blocks are left; nothing has changed.
class OutOfBlocks : public std::bad_alloc {
 public:
  /// Makes the message; all counted in blocks.
  OutOfBlocks(std::uint64_t needed, std::uint64_t free, std::uint64_t capacity,
              std::uint64_t block_bytes) noexcept
      : needed_{needed}, free_{free}, capacity_{capacity} {
    text_ << "out of blocks: " << needed << " needed, " << free << " of " << capacity
          << " free or in a cache of prefixes; end or shorten sequences, or give the pool "
          << ReadableBytes{checked_multiply(needed - smaller(needed, free), block_bytes)
                               .value_or(OutOfMemory::unlimited)}
                 .c_str()
          << " more";
  }

  [[nodiscard]] const char* what() const noexcept override { return text_.c_str(); }
  /// Returns the blocks that were asked for.
  [[nodiscard]] std::uint64_t needed() const noexcept { return needed_; }
  /// Returns the blocks that were free.
  [[nodiscard]] std::uint64_t free() const noexcept { return free_; }
  /// Returns all blocks.
  [[nodiscard]] std::uint64_t capacity() const noexcept { return capacity_; }

 private:
  std::uint64_t needed_;
  std::uint64_t free_;
  std::uint64_t capacity_;
  FixedText<256> text_;
};

}  // namespace allot
