// SPDX-License-Identifier: MIT
#include "byte_stream.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "printable.hpp"
#include "text_files.hpp"

ByteStream ByteStream::of_text(std::string_view text) {
  ByteStream stream;
  stream.at_hand_ = text;
  return stream;
}

ByteStream ByteStream::of_file(const std::string& path) {
  ByteStream stream;
  stream.path_ = path;
  stream.file_ = open_to_read(path);
  return stream;
}

bool ByteStream::fill(std::size_t count) {
  constexpr std::size_t least = std::size_t{256} << 10;
  if (at_hand_.size() >= count) return true;
  if (!file_.is_open()) return false;
  if (buffer_.size() < count) {
    std::vector<char> larger(std::max(least, 2 * count));
    std::copy(at_hand_.begin(), at_hand_.end(), larger.begin());
    buffer_.swap(larger);
  } else if (!at_hand_.empty()) {
    std::memmove(buffer_.data(), at_hand_.data(), at_hand_.size());
  }
  std::size_t filled = at_hand_.size();
  errno = 0;
  while (filled < count && file_.good()) {
    file_.read(buffer_.data() + filled, static_cast<std::streamsize>(buffer_.size() - filled));
    filled += static_cast<std::size_t>(file_.gcount());
  }
  if (file_.bad())
    throw std::runtime_error{"cannot read " + printable(path_) + ": " + std::strerror(errno)};
  at_hand_ = {buffer_.data(), filled};
  return filled >= count;
}

bool ByteStream::skip(std::uint64_t count) {
  while (count > at_hand_.size()) {
    count -= at_hand_.size();
    consume(at_hand_.size());
    if (!fill(1)) return false;
  }
  consume(static_cast<std::size_t>(count));
  return true;
}

std::optional<std::string_view> ByteStream::line() {
  std::size_t searched = 0;
  for (;;) {
    const std::size_t end = at_hand_.find('\n', searched);
    if (end != std::string_view::npos && end <= most_at_once) {
      const std::string_view found = consume(end);
      consume(1);
      return found;
    }
    if (at_hand_.size() > most_at_once) return consume(most_at_once + 1);
    searched = at_hand_.size();
    if (!fill(searched + 1)) break;
  }
  if (at_hand_.empty()) return std::nullopt;
  return consume(at_hand_.size());
}
