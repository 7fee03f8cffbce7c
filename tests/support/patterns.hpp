// SPDX-License-Identifier: MIT
/// \file
/// Memory filled and compared as a whole: byte by byte takes most of a suite's time in builds without optimization.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace allot::test {

/// Byte `offset` of every tensor of the test models. The bytes begin again after 251 * 128 of them.
[[nodiscard]] inline std::byte byte_at(std::uint64_t offset) {
  return static_cast<std::byte>((offset * 7 + offset / 251) % 256);
}

/// Fills with a tensor's bytes from `offset` on: a `gguf::Writer`'s fill function.
inline void fill_with_offsets(std::uint64_t offset, std::span<std::byte> piece) {
  static const std::vector<std::byte> once = [] {
    std::vector<std::byte> bytes(251 * 128);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = byte_at(i);
    return bytes;
  }();
  for (std::size_t done = 0; done < piece.size();) {
    const auto first = static_cast<std::size_t>((offset + done) % once.size());
    const std::size_t count = std::min(once.size() - first, piece.size() - done);
    std::memcpy(piece.data() + done, once.data() + first, count);
    done += count;
  }
}

/// Returns whether bytes are a tensor's from `first` on.
[[nodiscard]] inline bool are_model_bytes(std::span<const std::byte> bytes,
                                          std::uint64_t first = 0) {
  std::vector<std::byte> expected(bytes.size());
  fill_with_offsets(first, expected);
  return bytes.empty() || std::memcmp(bytes.data(), expected.data(), bytes.size()) == 0;
}

/// Returns whether all are `value`: the first is, and each is as the next.
template <class T>
[[nodiscard]] bool all_are(std::span<const T> values, T value) {
  return values.empty() ||
         (std::memcmp(values.data(), &value, sizeof value) == 0 &&
          std::memcmp(values.data(), values.data() + 1, values.size_bytes() - sizeof value) == 0);
}

}  // namespace allot::test
