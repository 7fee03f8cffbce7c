// SPDX-License-Identifier: MIT
/// \file
/// `os::Path`: the name of a file as a parameter, whatever type the caller keeps it in, without
/// `<filesystem>`; and what can be asked of a name.
#pragma once

#include <sys/stat.h>

#include <string>
#include <string_view>
#include <utility>

namespace allot::os {

/// Converts from text and from `std::filesystem::path`.
class Path {
 public:
  Path(const char* text) : text_{text} {}       // NOLINT(google-explicit-constructor)
  Path(std::string_view text) : text_{text} {}  // NOLINT(google-explicit-constructor)
  Path(std::string text) noexcept
      : text_{std::move(text)} {}  // NOLINT(google-explicit-constructor)
  template <class OtherPath>
  requires requires(const OtherPath& path) { std::string{path.native()}; }
  Path(const OtherPath& path)  // NOLINT(google-explicit-constructor)
      : text_{path.native()} {}

  [[nodiscard]] const std::string& text() const& noexcept { return text_; }
  [[nodiscard]] std::string text() && noexcept { return std::move(text_); }
  [[nodiscard]] const char* c_str() const noexcept { return text_.c_str(); }

 private:
  std::string text_;
};

/// What stands behind the last slash.
[[nodiscard]] constexpr std::string_view file_name_of(std::string_view path) noexcept {
  return path.substr(path.rfind('/') + 1);
}

/// What stands in front of the file's name, its slash included; empty if there is no folder.
[[nodiscard]] constexpr std::string_view folder_of(std::string_view path) noexcept {
  return path.substr(0, path.rfind('/') + 1);
}

/// Whether there is anything of that name.
[[nodiscard]] inline bool exists(const std::string& path) noexcept {
  struct stat status = {};
  return ::stat(path.c_str(), &status) == 0;
}

}  // namespace allot::os
