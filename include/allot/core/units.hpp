// SPDX-License-Identifier: MIT
/// \file
/// Binary units, arithmetic that needs no standard header, and `FixedText`: a text in a fixed buffer.
/// Errors are built with it, so that reporting a shortage of memory does not allocate.
#pragma once

#include <allot/core/version.hpp>

#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace allot {

inline constexpr std::uint64_t KiB = std::uint64_t{1} << 10;  ///< 1,024 bytes
inline constexpr std::uint64_t MiB = std::uint64_t{1} << 20;  ///< 1,024 KiB
inline constexpr std::uint64_t GiB = std::uint64_t{1} << 30;  ///< 1,024 MiB

/// `std::max` and `std::min`, which no macro of the user stands in the way of, as `max` and `min` of
/// `<windows.h>` do. `<algorithm>` alone takes a third of the time that an arena takes to compile.
template <class Number>
[[nodiscard]] constexpr Number larger(Number a, Number b) noexcept {
  return a < b ? b : a;
}
/// Returns the smaller of two numbers.
template <class Number>
[[nodiscard]] constexpr Number smaller(Number a, Number b) noexcept {
  return b < a ? b : a;
}

/// `std::numeric_limits<Number>::max()` of an integer, for the same reasons.
template <class Number>
inline constexpr Number largest_of =
    static_cast<Number>(~std::uint64_t{0} >> (8 * (8 - sizeof(Number)) + (Number(-1) < Number(0))));

/// Returns whether a number is a power of two; 0 is none.
[[nodiscard]] constexpr bool is_power_of_two(std::uint64_t value) noexcept {
  return value != 0 && (value & (value - 1)) == 0;
}

/// Builds a text piece by piece in its own buffer; cuts off what does not fit. Cold, so that errors
/// stay out of the way of what may throw them.
/// \tparam Capacity  bytes, the terminating zero included
template <std::size_t Capacity>
class FixedText {
 public:
  /// Appends a text.
  [[gnu::cold]] constexpr FixedText& operator<<(const char* text) noexcept {
    for (; *text != '\0'; ++text) append(*text);
    return *this;
  }

  /// Appends a number, in decimal.
  [[gnu::cold]] constexpr FixedText& operator<<(std::uint64_t number) noexcept {
    if (number >= 10) *this << number / 10;
    append(static_cast<char>('0' + number % 10));
    return *this;
  }

  /// Appends a form: `#` is replaced by the next number, `~` by the next number of bytes as a
  /// readable size: `1.5 GiB`, `256 B`, with at most two decimals, rounded down.
  /// Takes far less time to compile than a chain of `<<`.
  [[gnu::cold]] constexpr FixedText& fill_in(
      const char* form, std::initializer_list<std::uint64_t> numbers) noexcept {
    const std::uint64_t* number = numbers.begin();
    for (; *form != '\0'; ++form) {
      if (*form == '#') {
        *this << *number++;
      } else if (*form == '~') {
        append_bytes(*number++);
      } else {
        append(*form);
      }
    }
    return *this;
  }

  /// Returns the text, which ends with NUL.
  [[nodiscard]] constexpr const char* c_str() const noexcept { return text_; }

 private:
  constexpr void append(char character) noexcept {
    if (length_ + 1 < Capacity) text_[length_++] = character;
  }

  constexpr void append_bytes(std::uint64_t bytes) noexcept {
    constexpr const char* names[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
    const char* const* name = names;
    std::uint64_t hundredths = 0;
    for (; bytes >= 1024; bytes /= 1024, ++name) hundredths = bytes % 1024 * 100 / 1024;
    *this << bytes;
    if (hundredths != 0) *this << "." << hundredths / 10;
    if (hundredths % 10 != 0) *this << hundredths % 10;
    *this << *name;
  }

  char text_[Capacity] = {};
  std::size_t length_ = 0;
};

}  // namespace allot
