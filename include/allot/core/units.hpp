// SPDX-License-Identifier: MIT
/// \file
/// Byte counts for people: binary units, and text that shows a size as a person reads it.
#pragma once

#include <allot/core/fixed_text.hpp>

#include <cstddef>
#include <cstdint>

namespace allot {

inline constexpr std::uint64_t KiB = std::uint64_t{1} << 10;
inline constexpr std::uint64_t MiB = std::uint64_t{1} << 20;
inline constexpr std::uint64_t GiB = std::uint64_t{1} << 30;

/// A size as a person reads it: `1.5 GiB`, `256 B`. At most two decimals, rounded down.
class ReadableBytes {
 public:
  constexpr explicit ReadableBytes(std::uint64_t bytes) noexcept {
    constexpr const char* names[] = {" KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
    if (bytes < KiB) {
      append(bytes);
      append(" B");
      return;
    }
    unsigned step = 0;
    while (step < 5 && (bytes >> (10 * (step + 2))) != 0) ++step;
    const unsigned shift = 10 * (step + 1);
    const std::uint64_t below_unit = (bytes >> (shift - 10)) & 1023;  // in 1024ths
    const std::uint64_t hundredths = below_unit * 100 / 1024;
    append(bytes >> shift);
    if (hundredths != 0) {
      append(".");
      append(hundredths / 10);
      if (hundredths % 10 != 0) append(hundredths % 10);
    }
    append(names[step]);
  }

  [[nodiscard]] constexpr const char* c_str() const noexcept { return text_; }

 private:
  constexpr void append(auto piece) noexcept {
    detail::append(text_, sizeof text_, length_, piece);
  }

  char text_[32] = {};
  std::size_t length_ = 0;
};

}  // namespace allot
