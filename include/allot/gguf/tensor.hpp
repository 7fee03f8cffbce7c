// SPDX-License-Identifier: MIT
/// \file
/// `gguf::TensorInfo`: what a file says about a tensor.
#pragma once

#include <allot/gguf/tensor_type.hpp>

#include <array>
#include <cstdint>
#include <iosfwd>
#include <string_view>

namespace allot::gguf {

/// Up to four dimensions; `extent[0]` varies fastest (ggml's `ne`).
struct Shape {
  std::array<std::uint64_t, 4> extent{1, 1, 1, 1};  ///< elements; 1 beyond `rank`
  std::uint32_t rank = 0;                           ///< how many dimensions the file gives

  /// Requires: the product fits 64 bits, as for every tensor of a `File`.
  [[nodiscard]] constexpr std::uint64_t elements() const noexcept {
    return extent[0] * extent[1] * extent[2] * extent[3];
  }

  friend constexpr bool operator==(const Shape&, const Shape&) noexcept = default;
};

/// Writes the dimensions, `extent[0]` first: `4096 x 32000`; `scalar` if there are none.
template <class Traits>
std::basic_ostream<char, Traits>& operator<<(std::basic_ostream<char, Traits>& out,
                                             const Shape& shape) {
  if (shape.rank == 0) return out << "scalar";
  for (std::uint32_t i = 0; i < shape.rank; ++i) out << (i == 0 ? "" : " x ") << shape.extent[i];
  return out;
}

/// One tensor, as its file describes it.
struct TensorInfo {
  std::string_view name;  ///< a view of the file's metadata
  TensorType type;        ///< of its elements
  Shape shape;            ///< its dimensions
  std::uint64_t offset;   ///< bytes from the start of its shard's tensor data
  std::uint64_t bytes;    ///< of its data, without padding
  std::uint32_t shard;    ///< index into `File::shards()`
};

}  // namespace allot::gguf
