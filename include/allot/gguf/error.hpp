// SPDX-License-Identifier: MIT
/// \file
/// `gguf::ParseError`: what is wrong with a file, and where.
#pragma once

#include <allot/core/version.hpp>
#include <allot/os/file_error.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace allot::gguf {

/// Thrown for a file that cannot be read as GGUF. The message names the file, the byte and the
/// broken rule.
class ParseError : public std::runtime_error {
 public:
  /// Makes the message: path, offset, rule.
  ParseError(std::string path, std::uint64_t offset, std::string rule)
      : ParseError{path + ": byte " + std::to_string(offset) + ": " + rule, std::move(path), offset,
                   std::move(rule)} {}
  /// For a file that cannot be read. If it cannot even be opened, the message has no offset.
  explicit ParseError(const os::FileError& error)
      : ParseError{
            error.path() +
                (error.offset() == 0 ? ": " : ": byte " + std::to_string(error.offset()) + ": ") +
                error.what(),
            error.path(), error.offset(), error.what()} {}

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// Bytes from the start of the file.
  [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }
  /// Returns the rule that the file breaks.
  [[nodiscard]] const std::string& rule() const noexcept { return rule_; }

 private:
  ParseError(const std::string& message, std::string path, std::uint64_t offset, std::string rule)
      : std::runtime_error{message},
        path_{std::move(path)},
        offset_{offset},
        rule_{std::move(rule)} {}

  std::string path_;
  std::uint64_t offset_;
  std::string rule_;
};

}  // namespace allot::gguf
