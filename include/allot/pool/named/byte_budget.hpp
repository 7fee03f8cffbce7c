// SPDX-License-Identifier: MIT
/// \file
/// A limit over bytes of several owners.
///
/// | type            | what it is                                                       |
/// |-----------------|------------------------------------------------------------------|
/// | `MemoryLimit`   | so many bytes, or a share of a device's memory                   |
/// | `ByteBudget`    | what is taken of a limit, and the most that ever was             |
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/memory_info.hpp>
#include <allot/core/units.hpp>

#include <cstdint>
#include <stdexcept>

namespace allot {

/// How many bytes there may be together. 6 GiB unless said otherwise.
class MemoryLimit {
 public:
  constexpr MemoryLimit() noexcept = default;

  [[nodiscard]] static constexpr MemoryLimit bytes(std::uint64_t bytes) noexcept {
    MemoryLimit limit;
    limit.bytes_ = bytes;
    return limit;
  }
  /// `numerator / denominator` of all memory that the device has: 8, 10 for 80 %.
  /// Throws: `std::invalid_argument` unless that is a share: above zero, at most one.
  [[nodiscard]] static constexpr MemoryLimit share_of_device(std::uint32_t numerator,
                                                             std::uint32_t denominator) {
    if (numerator == 0 || numerator > denominator) {
      throw std::invalid_argument{(FixedText<160>{}
                                   << std::uint64_t{numerator} << "/" << std::uint64_t{denominator}
                                   << " is no share of a device's memory; give one such as 8/10")
                                      .c_str()};
    }
    MemoryLimit limit;
    limit.numerator_ = numerator;
    limit.denominator_ = denominator;
    return limit;
  }

  /// \param info  the device's
  [[nodiscard]] constexpr std::uint64_t of(const MemoryInfo& info) const noexcept {
    if (denominator_ == 0) return bytes_;
    return info.total / denominator_ * numerator_ +
           info.total % denominator_ * numerator_ / denominator_;
  }
  [[nodiscard]] constexpr bool needs_device() const noexcept { return denominator_ != 0; }

 private:
  std::uint64_t bytes_ = 6 * GiB;
  std::uint32_t numerator_ = 0;
  std::uint32_t denominator_ = 0;  // none: bytes
};

/// Counts; its owner keeps threads apart. `used() <= limit()`, always.
class ByteBudget {
 public:
  explicit constexpr ByteBudget(std::uint64_t limit) noexcept : limit_{limit} {}

  [[nodiscard]] constexpr std::uint64_t limit() const noexcept { return limit_; }
  [[nodiscard]] constexpr std::uint64_t used() const noexcept { return used_; }
  [[nodiscard]] constexpr std::uint64_t peak() const noexcept { return peak_; }
  [[nodiscard]] constexpr std::uint64_t left() const noexcept { return limit_ - used_; }

  /// Requires: no more than what is left.
  constexpr void take(std::uint64_t bytes) noexcept {
    used_ += bytes;
    peak_ = larger(peak_, used_);
  }
  constexpr void give_back(std::uint64_t bytes) noexcept { used_ -= bytes; }

 private:
  std::uint64_t limit_;
  std::uint64_t used_ = 0;
  std::uint64_t peak_ = 0;
};

}  // namespace allot
