// SPDX-License-Identifier: MIT
/// \file
/// Byte counts for people: binary units, literals, and text that shows a size both ways.
#pragma once

#include <cstddef>
#include <cstdint>

namespace allot {

inline constexpr std::uint64_t KiB = std::uint64_t{1} << 10;
inline constexpr std::uint64_t MiB = std::uint64_t{1} << 20;
inline constexpr std::uint64_t GiB = std::uint64_t{1} << 30;

/// A text in a fixed buffer, built piece by piece; what does not fit is cut off. Errors use it so
/// that reporting that memory is short allocates none.
template <std::size_t Capacity>
class FixedText {
 public:
  constexpr FixedText& operator<<(const char* text) noexcept {
    while (*text != '\0') push(*text++);
    return *this;
  }

  constexpr FixedText& operator<<(std::uint64_t number) noexcept {
    char digits[20] = {};
    std::size_t count = 0;
    do {
      digits[count++] = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number != 0);
    while (count != 0) push(digits[--count]);
    return *this;
  }

  [[nodiscard]] constexpr const char* c_str() const noexcept { return text_; }

 private:
  constexpr void push(char c) noexcept {
    if (length_ + 1 < Capacity) text_[length_++] = c;
  }

  char text_[Capacity] = {};
  std::size_t length_ = 0;
};

/// A size as a person reads it: `1.5 GiB`, `256 B`. At most two decimals, rounded down.
class ReadableBytes {
 public:
  constexpr explicit ReadableBytes(std::uint64_t bytes) noexcept {
    constexpr const char* names[] = {" KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
    if (bytes < KiB) {
      text_ << bytes << " B";
      return;
    }
    unsigned step = 0;
    while (step < 5 && (bytes >> (10 * (step + 2))) != 0) ++step;
    const unsigned shift = 10 * (step + 1);
    const std::uint64_t below_unit = (bytes >> (shift - 10)) & 1023;  // in 1024ths
    const std::uint64_t hundredths = below_unit * 100 / 1024;
    text_ << (bytes >> shift);
    if (hundredths != 0) {
      text_ << "." << hundredths / 10;
      if (hundredths % 10 != 0) text_ << hundredths % 10;
    }
    text_ << names[step];
  }

  [[nodiscard]] constexpr const char* c_str() const noexcept { return text_.c_str(); }

 private:
  FixedText<32> text_;
};

}  // namespace allot
