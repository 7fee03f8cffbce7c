// SPDX-License-Identifier: MIT
/// \file
/// `FixedText`: a text in a fixed buffer. Errors are built with it, so that reporting that memory is
/// short allocates none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace allot {

namespace detail {

/// Appends to a text of `length` characters in a buffer of `capacity`, as far as there is room.
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

/// The bytes as a person reads them: `1.5 GiB`, `256 B`. At most two decimals, rounded down.
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

/// Appends `form`, with the next of `numbers` for each `#`, and as bytes for each `~`.
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

/// A text built piece by piece in a buffer of its own; what does not fit is cut off.
/// \tparam Capacity  bytes, the terminating zero included
template <std::size_t Capacity>
class FixedText {
 public:
  constexpr FixedText& operator<<(const char* text) noexcept {
    detail::append(text_, Capacity, length_, text);
    return *this;
  }

  constexpr FixedText& operator<<(std::uint64_t number) noexcept {
    detail::append(text_, Capacity, length_, number);
    return *this;
  }

  /// Appends a form: `#` stands for the next of the numbers, `~` for one as bytes that a person
  /// reads. Takes far less time to compile than a row of `<<`.
  constexpr FixedText& fill_in(const char* form,
                               std::initializer_list<std::uint64_t> numbers) noexcept {
    detail::append_form(text_, Capacity, length_, form, numbers.begin());
    return *this;
  }

  [[nodiscard]] constexpr const char* c_str() const noexcept { return text_; }

 private:
  char text_[Capacity] = {};
  std::size_t length_ = 0;
};

}  // namespace allot
