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

/// Bytes `at(0)`, `at(1)`, ..., which begin again after `period` of them.
class RepeatedBytes {
 public:
  template <class At>
  RepeatedBytes(std::size_t period, At at) : once_(period) {
    for (std::size_t i = 0; i < period; ++i) once_[i] = at(i);
  }

  /// Fills with those from `offset` on: a `gguf::Writer`'s fill function.
  void fill(std::uint64_t offset, std::span<std::byte> piece) const {
    for (std::size_t done = 0; done < piece.size();) {
      const auto first = static_cast<std::size_t>((offset + done) % once_.size());
      const std::size_t count = std::min(once_.size() - first, piece.size() - done);
      std::memcpy(piece.data() + done, once_.data() + first, count);
      done += count;
    }
  }

 private:
  std::vector<std::byte> once_;
};

/// Whether all are `value`: the first is, and each is as the next.
template <class T>
[[nodiscard]] bool all_are(std::span<const T> values, T value) {
  return values.empty() ||
         (std::memcmp(values.data(), &value, sizeof value) == 0 &&
          std::memcmp(values.data(), values.data() + 1, values.size_bytes() - sizeof value) == 0);
}

}  // namespace allot::test
