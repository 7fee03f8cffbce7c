// SPDX-License-Identifier: MIT
/// \file
/// `FixedText`: a text in a fixed buffer. Errors are built with it, so that reporting that memory is
/// short allocates none.
#pragma once

#include <cstddef>
#include <cstdint>

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

  [[nodiscard]] constexpr const char* c_str() const noexcept { return text_; }

 private:
  char text_[Capacity] = {};
  std::size_t length_ = 0;
};

}  // namespace allot
