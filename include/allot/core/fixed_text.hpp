// SPDX-License-Identifier: MIT
/// \file
/// `FixedText`: a text in a fixed buffer. Errors are built with it, so that reporting that memory is
/// short allocates none.
#pragma once

#include <cstddef>
#include <cstdint>

namespace allot {

/// A text built piece by piece in a buffer of its own; what does not fit is cut off.
/// \tparam Capacity  bytes, the terminating zero included
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

}  // namespace allot
