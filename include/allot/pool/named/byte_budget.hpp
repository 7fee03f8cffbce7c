// SPDX-License-Identifier: MIT
/// \file
/// A limit on the bytes of several owners together.
///
/// | type            | what it is                                                       |
/// |-----------------|------------------------------------------------------------------|
/// | `MemoryLimit`   | a number of bytes, or a share of a device's memory               |
/// | `ByteBudget`    | the bytes taken of a limit, now and at most so far               |
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/memory_info.hpp>
#include <allot/core/units.hpp>

#include <cstdint>
#include <stdexcept>

namespace allot {

/// The most bytes that all owners together may take. 6 GiB by default.
class MemoryLimit {
 public:
  constexpr MemoryLimit() noexcept = default;

  /// Returns a limit in bytes.
  [[nodiscard]] static constexpr MemoryLimit bytes(std::uint64_t bytes) noexcept {
    MemoryLimit limit;
    limit.bytes_ = bytes;
    return limit;
  }
  /// Returns a limit of `numerator / denominator` of the device's total memory: 8, 10 for 80 %.
  /// Throws: `std::invalid_argument` unless the share is above zero and at most one.
  [[nodiscard]] static constexpr MemoryLimit share_of_device(std::uint32_t numerator,
                                                             std::uint32_t denominator) {
    if (numerator == 0 || numerator > denominator) {
      throw std::invalid_argument{
          (FixedText<160>{}
           << std::uint64_t{numerator} << "/" << std::uint64_t{denominator}
           << " is not a share of a device's memory; use one above 0, at most 1, such as 8/10")
              .c_str()};
    }
    MemoryLimit limit;
    limit.numerator_ = numerator;
    limit.denominator_ = denominator;
    return limit;
  }

  /// Returns the limit in bytes. \param info  the device's
  [[nodiscard]] constexpr std::uint64_t of(const MemoryInfo& info) const noexcept {
    if (denominator_ == 0) return bytes_;
    return info.total / denominator_ * numerator_ +
           info.total % denominator_ * numerator_ / denominator_;
  }
  /// Returns whether it is a share of a device's memory.
  [[nodiscard]] constexpr bool needs_device() const noexcept { return denominator_ != 0; }

 private:
  std::uint64_t bytes_ = 6 * GiB;
  std::uint32_t numerator_ = 0;
  std::uint32_t denominator_ = 0;  // 0: the limit is `bytes_`
};

/// Counts bytes; not thread-safe: its owner locks. `used() <= limit()`, always.
class ByteBudget {
 public:
  /// Makes one of which nothing is used.
  explicit constexpr ByteBudget(std::uint64_t limit) noexcept : limit_{limit} {}

  /// Returns the most bytes that may be used.
  [[nodiscard]] constexpr std::uint64_t limit() const noexcept { return limit_; }
  /// Returns the bytes in use.
  [[nodiscard]] constexpr std::uint64_t used() const noexcept { return used_; }
  /// Returns the most that ever were in use.
  [[nodiscard]] constexpr std::uint64_t peak() const noexcept { return peak_; }
  /// Returns the bytes not in use.
  [[nodiscard]] constexpr std::uint64_t left() const noexcept { return limit_ - used_; }

  /// Requires: at most `left()`.
  constexpr void take(std::uint64_t bytes) noexcept {
    used_ += bytes;
    peak_ = larger(peak_, used_);
  }
  /// Gives bytes back. Requires: that many are in use.
  constexpr void give_back(std::uint64_t bytes) noexcept { used_ -= bytes; }

 private:
  std::uint64_t limit_;
  std::uint64_t used_ = 0;
  std::uint64_t peak_ = 0;
};

}  // namespace allot
