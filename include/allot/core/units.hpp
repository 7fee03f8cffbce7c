// SPDX-License-Identifier: MIT
/// \file
/// Binary units, `ReadableBytes`: a size as text, and `FixedText`: a text in a fixed buffer. Errors
/// are built with it, so that reporting a shortage of memory does not allocate.
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

namespace detail {

/// Appends to a text of `length` characters in a buffer of `capacity`; cuts off what does not fit.
constexpr void append(char* buffer, std::size_t capacity, std::size_t& length,
                      const char* text) noexcept {
  for (; *text != '\0' && length + 1 < capacity; ++text) buffer[length++] = *text;
}

constexpr void append(char* buffer, std::size_t capacity, std::size_t& length,
                      std::uint64_t number) noexcept {
  char digits[21] = {};
  std::size_t first = 20;
  do {
    digits[--first] = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number != 0);
  append(buffer, capacity, length, digits + first);
}

/// Writes a readable size: `1.5 GiB`, `256 B`. At most two decimals, rounded down.
constexpr void append_bytes(char* buffer, std::size_t capacity, std::size_t& length,
                            std::uint64_t bytes) noexcept {
  constexpr const char* names[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
  std::uint64_t whole = bytes;
  std::uint64_t below = 0;  // in 1024ths
  unsigned step = 0;
  for (; whole >= 1024; ++step) {
    below = whole % 1024;
    whole /= 1024;
  }
  append(buffer, capacity, length, whole);
  const std::uint64_t hundredths = below * 100 / 1024;
  if (hundredths != 0) {
    append(buffer, capacity, length, ".");
    append(buffer, capacity, length, hundredths / 10);
    if (hundredths % 10 != 0) append(buffer, capacity, length, hundredths % 10);
  }
  append(buffer, capacity, length, names[step]);
}

/// Appends `form`, replacing `#` by the next of `numbers` and `~` by the next one as a readable
/// size.
constexpr void append_form(char* buffer, std::size_t capacity, std::size_t& length,
                           const char* form, const std::uint64_t* numbers) noexcept {
  for (; *form != '\0'; ++form) {
    if (*form == '#') {
      append(buffer, capacity, length, *numbers++);
    } else if (*form == '~') {
      append_bytes(buffer, capacity, length, *numbers++);
    } else if (length + 1 < capacity) {
      buffer[length++] = *form;
    }
  }
}

}  // namespace detail

/// Builds a text piece by piece in its own buffer; cuts off what does not fit.
/// \tparam Capacity  bytes, the terminating zero included
template <std::size_t Capacity>
class FixedText {
 public:
  /// Appends a text, cut off when there is no more room.
  constexpr FixedText& operator<<(const char* text) noexcept {
    detail::append(text_, Capacity, length_, text);
    return *this;
  }

  /// Appends a number, in decimal.
  constexpr FixedText& operator<<(std::uint64_t number) noexcept {
    detail::append(text_, Capacity, length_, number);
    return *this;
  }

  /// Appends a form: `#` is replaced by the next number, `~` by the next number as a readable size.
  /// Takes far less time to compile than a chain of `<<`.
  constexpr FixedText& fill_in(const char* form,
                               std::initializer_list<std::uint64_t> numbers) noexcept {
    detail::append_form(text_, Capacity, length_, form, numbers.begin());
    return *this;
  }

  /// Returns the text, which ends with NUL.
  [[nodiscard]] constexpr const char* c_str() const noexcept { return text_; }

 private:
  char text_[Capacity] = {};
  std::size_t length_ = 0;
};

/// A readable size: `1.5 GiB`, `256 B`. At most two decimals, rounded down.
class ReadableBytes {
 public:
  /// Makes the text of a number of bytes.
  constexpr explicit ReadableBytes(std::uint64_t bytes) noexcept {
    std::size_t length = 0;
    detail::append_bytes(text_, sizeof text_, length, bytes);
  }

  /// Returns the text, which ends with NUL.
  [[nodiscard]] constexpr const char* c_str() const noexcept { return text_; }

 private:
  char text_[32] = {};
};

}  // namespace allot
