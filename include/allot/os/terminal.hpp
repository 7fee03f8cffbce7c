// SPDX-License-Identifier: MIT
/// \file
/// Properties of the terminal that a program runs in.
#pragma once

#if defined(_WIN32)
#include <allot/os/detail/windows.hpp>

#include <cstdint>
#else
#include <sys/ioctl.h>
#include <unistd.h>
#endif

namespace allot::os {

namespace detail {

#if defined(_WIN32)

[[nodiscard]] inline void* standard_handle(int number) noexcept {
  return GetStdHandle(static_cast<unsigned long>(-10 - number));
}
[[nodiscard]] inline bool is_terminal(int number) noexcept {
  unsigned long mode = 0;
  return GetConsoleMode(standard_handle(number), &mode) != 0;
}
[[nodiscard]] inline unsigned columns(int number) noexcept {
  struct {
    std::int16_t width, height, cursor_x, cursor_y;
    std::uint16_t attributes;
    std::int16_t left, top, right, bottom, largest_width, largest_height;
  } screen{};
  auto* const info = reinterpret_cast<_CONSOLE_SCREEN_BUFFER_INFO*>(&screen);
  if (GetConsoleScreenBufferInfo(standard_handle(number), info) == 0) return 0;
  return static_cast<unsigned>(screen.right - screen.left + 1);
}

#else

[[nodiscard]] inline bool is_terminal(int number) noexcept { return ::isatty(number) == 1; }
[[nodiscard]] inline unsigned columns(int number) noexcept {
  winsize size = {};
  return ::ioctl(number, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0U;
}

#endif

}  // namespace detail

/// Returns whether standard error is a terminal.
[[nodiscard]] inline bool has_terminal() noexcept { return detail::is_terminal(2); }

/// Returns how many characters fit a line of standard output; 0 if that is not a terminal.
[[nodiscard]] inline unsigned output_columns() noexcept { return detail::columns(1); }

/// The same for standard error.
[[nodiscard]] inline unsigned error_columns() noexcept { return detail::columns(2); }

}  // namespace allot::os
