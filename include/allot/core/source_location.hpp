// SPDX-License-Identifier: MIT
/// \file
/// `SourceLocation`: the place of a call in the source. It is `std::source_location`, or has the
/// same members if the compiler or its library lacks that (clang 14).
#pragma once

#include <allot/core/version.hpp>

#include <version>

#if defined(__cpp_lib_source_location)
#include <source_location>
#else
#include <cstdint>
#endif

namespace allot {

#if defined(__cpp_lib_source_location)
using SourceLocation = std::source_location;
#else
/// As `std::source_location`, for libraries that lack it.
class SourceLocation {
 public:
  constexpr SourceLocation() noexcept = default;

  /// Returns where it is called.
  [[nodiscard]] static constexpr SourceLocation current(
      const char* file = __builtin_FILE(), const char* function = __builtin_FUNCTION(),
      std::uint_least32_t line = __builtin_LINE()) noexcept {
    SourceLocation here;
    here.file_ = file;
    here.function_ = function;
    here.line_ = line;
    return here;
  }

  /// Returns the file's name, as it was compiled.
  [[nodiscard]] constexpr const char* file_name() const noexcept { return file_; }
  /// Returns the function's name.
  [[nodiscard]] constexpr const char* function_name() const noexcept { return function_; }
  /// Returns the line, from 1.
  [[nodiscard]] constexpr std::uint_least32_t line() const noexcept { return line_; }
  /// Returns 0: the column is unknown.
  [[nodiscard]] static constexpr std::uint_least32_t column() noexcept { return 0; }

 private:
  const char* file_ = "";
  const char* function_ = "";
  std::uint_least32_t line_ = 0;
};
#endif

}  // namespace allot
