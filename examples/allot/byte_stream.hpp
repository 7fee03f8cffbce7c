// SPDX-License-Identifier: MIT
/// \file
/// Reads a file, a pipe or a text from its beginning to its end, with only a part of it in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

class ByteStream {
 public:
  /// The longest line, and the most bytes that `take` and `peek` can return.
  static constexpr std::size_t most_at_once = std::size_t{16} << 20;

  /// Reads a text, which must outlive this.
  static ByteStream of_text(std::string_view text);
  /// Opens a file. Throws: `std::runtime_error` naming the file and why it cannot be read.
  static ByteStream of_file(const std::string& path);

  /// Returns how many bytes were consumed.
  [[nodiscard]] std::uint64_t position() const noexcept { return position_; }

  // What is returned is valid until the next call. All throw `std::runtime_error` if the file cannot
  // be read any further.

  /// Returns the next bytes without consuming them: fewer at the end.
  [[nodiscard]] std::string_view peek(std::size_t count) {
    fill(count);
    return at_hand_.substr(0, count);
  }

  /// Returns the next bytes; nothing, and consumes none, if fewer are left.
  [[nodiscard]] std::optional<std::string_view> take(std::size_t count) {
    if (at_hand_.size() < count && !fill(count)) return std::nullopt;
    return consume(count);
  }

  /// Skips bytes. Returns false if fewer were left.
  bool skip(std::uint64_t count);

  /// Returns the next line without its end, nothing at the end. Of a line longer than
  /// `most_at_once` it returns that many bytes and one.
  [[nodiscard]] std::optional<std::string_view> line();

 private:
  ByteStream() = default;

  /// Has at least that many bytes at hand, if they are left.
  bool fill(std::size_t count);

  std::string_view consume(std::size_t count) noexcept {
    const std::string_view taken = at_hand_.substr(0, count);
    at_hand_.remove_prefix(count);
    position_ += count;
    return taken;
  }

  std::string path_;
  std::ifstream file_;  // not open for a text
  std::vector<char> buffer_;
  std::string_view at_hand_;  // of the buffer, or of the text
  std::uint64_t position_ = 0;
};
