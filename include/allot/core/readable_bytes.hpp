// SPDX-License-Identifier: MIT
/// \file
/// `ReadableBytes`: a size as text.
#pragma once

#include <allot/core/units.hpp>

#include <cstdint>

namespace allot {

/// A readable size: `1.5 GiB`, `256 B`. At most two decimals, rounded down.
class ReadableBytes {
 public:
  /// Makes the text of a number of bytes.
  constexpr explicit ReadableBytes(std::uint64_t bytes) noexcept { text_.fill_in("~", {bytes}); }

  /// Returns the text, which ends with NUL.
  [[nodiscard]] constexpr const char* c_str() const noexcept { return text_.c_str(); }

 private:
  FixedText<32> text_;
};

}  // namespace allot
