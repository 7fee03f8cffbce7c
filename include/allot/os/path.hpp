// SPDX-License-Identifier: MIT
/// \file
/// `os::Path`: a parameter type for file names, which accepts whatever type the caller has, without
/// `<filesystem>`; and functions on names. On Windows a name is UTF-8, and its folders end at either slash.
#pragma once

#include <allot/core/version.hpp>
#include <allot/os/detail/files.hpp>
#include <allot/os/file_status.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace allot::os {

/// Converts from text and from `std::filesystem::path`.
class Path {
 public:
  /// Takes text as the system has it.
  Path(const char* text) : text_{text} {}  // NOLINT(google-explicit-constructor)
  /// Takes text as the system has it.
  Path(std::string_view text) : text_{text} {}  // NOLINT(google-explicit-constructor)
  /// Takes text as the system has it.
  Path(std::string text) noexcept
      : text_{std::move(text)} {}  // NOLINT(google-explicit-constructor)
  /// Takes a `std::filesystem::path`, or what has a `native()` like it.
  template <class OtherPath>
  requires requires(const OtherPath& path) { std::string{path.native()}; }
  Path(const OtherPath& path)  // NOLINT(google-explicit-constructor)
      : text_{path.native()} {}
#if defined(_WIN32)
  template <class OtherPath>
  requires requires(const OtherPath& path) { std::wstring{path.native()}; }
  Path(const OtherPath& path)  // NOLINT(google-explicit-constructor)
      : text_{detail::narrowed(path.native())} {}
#endif

  /// Returns the text.
  [[nodiscard]] const std::string& text() const& noexcept { return text_; }
  [[nodiscard]] std::string text() && noexcept { return std::move(text_); }
  /// Returns the text, which ends with NUL.
  [[nodiscard]] const char* c_str() const noexcept { return text_.c_str(); }

 private:
  std::string text_;
};

/// What a folder's name ends with.
#if defined(_WIN32)
inline constexpr std::string_view folder_ends = "/\\:";
#else
inline constexpr std::string_view folder_ends = "/";
#endif

/// Returns what follows the last slash.
[[nodiscard]] constexpr std::string_view file_name_of(std::string_view path) noexcept {
  return path.substr(path.find_last_of(folder_ends) + 1);
}

/// Returns what precedes the file's name, the slash included; empty if there is no folder.
[[nodiscard]] constexpr std::string_view folder_of(std::string_view path) noexcept {
  return path.substr(0, path.find_last_of(folder_ends) + 1);
}

/// Returns whether anything of that name exists.
[[nodiscard]] inline bool exists(const std::string& path) {
  FileStatus status;
  return detail::read_status(path, status);
}

/// Returns whether a path leads to that file, links followed.
[[nodiscard]] inline bool leads_to(const std::string& path, const FileId& file) {
  FileStatus status;
  return detail::read_status(path, status) && status.id == file;
}

}  // namespace allot::os
