// SPDX-License-Identifier: MIT
/// \file
/// `os::FileError`: why the system could not read or write a file.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

namespace allot::os {

/// Returns the text of `errno`.
[[nodiscard]] inline std::string reason() { return std::strerror(errno); }

/// The message says what failed and why; the file's name is separate.
class FileError : public std::runtime_error {
 public:
  /// Makes the message. \param offset  bytes from the start of the file
  FileError(std::string path, std::uint64_t offset, const std::string& problem)
      : std::runtime_error{problem}, path_{std::move(path)}, offset_{offset} {}

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// Bytes from the start of the file.
  [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }

 private:
  std::string path_;
  std::uint64_t offset_;
};

/// Throws: `FileError` with the text of `errno`, which is read before anything else may change it.
/// \param what  failed: `cannot read`
[[noreturn]] inline void throw_file_error(const std::string& path, std::uint64_t offset,
                                          const char* what) {
  const std::string why = reason();
  throw FileError{path, offset, std::string{what} + ": " + why};
}

}  // namespace allot::os
