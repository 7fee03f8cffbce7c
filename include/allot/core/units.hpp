// SPDX-License-Identifier: MIT
/// \file
/// Binary units, and `ReadableBytes`: a size as text.
#pragma once

#include <allot/core/fixed_text.hpp>

#include <cstddef>
#include <cstdint>

namespace allot {

inline constexpr std::uint64_t KiB = std::uint64_t{1} << 10;
inline constexpr std::uint64_t MiB = std::uint64_t{1} << 20;
inline constexpr std::uint64_t GiB = std::uint64_t{1} << 30;

/// A readable size: `1.5 GiB`, `256 B`. At most two decimals, rounded down.
class ReadableBytes {
 public:
  constexpr explicit ReadableBytes(std::uint64_t bytes) noexcept {
    std::size_t length = 0;
    detail::append_bytes(text_, sizeof text_, length, bytes);
  }

  [[nodiscard]] constexpr const char* c_str() const noexcept { return text_; }

 private:
  char text_[32] = {};
};

}  // namespace allot
