// SPDX-License-Identifier: MIT
/// \file
/// `os::Path`: a parameter type for file names, which accepts whatever type the caller has, without
/// `<filesystem>`; and functions on names.
#pragma once

#include <allot/core/version.hpp>

#include <sys/stat.h>

#include <cstdint>
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

  /// Returns the text.
  [[nodiscard]] const std::string& text() const& noexcept { return text_; }
  [[nodiscard]] std::string text() && noexcept { return std::move(text_); }
  /// Returns the text, which ends with NUL.
  [[nodiscard]] const char* c_str() const noexcept { return text_.c_str(); }

 private:
  std::string text_;
};

/// Returns what follows the last slash.
[[nodiscard]] constexpr std::string_view file_name_of(std::string_view path) noexcept {
  return path.substr(path.rfind('/') + 1);
}

/// Returns what precedes the file's name, the slash included; empty if there is no folder.
[[nodiscard]] constexpr std::string_view folder_of(std::string_view path) noexcept {
  return path.substr(0, path.rfind('/') + 1);
}

/// Returns whether anything of that name exists.
[[nodiscard]] inline bool exists(const std::string& path) noexcept {
  struct stat status = {};
  return ::stat(path.c_str(), &status) == 0;
}

/// Which file it is, by whatever name: links to it and other mounts have the same.
struct FileId {
  std::uint64_t device = 0;  ///< that the file is on
  std::uint64_t number = 0;  ///< of the file on the device

  friend bool operator==(const FileId&, const FileId&) noexcept = default;
};

/// Returns whether a path leads to that file, links followed.
[[nodiscard]] inline bool leads_to(const std::string& path, const FileId& file) noexcept {
  struct stat status = {};
  return ::stat(path.c_str(), &status) == 0 &&
         FileId{static_cast<std::uint64_t>(status.st_dev),
                static_cast<std::uint64_t>(status.st_ino)} == file;
}

}  // namespace allot::os
