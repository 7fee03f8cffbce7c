// SPDX-License-Identifier: MIT
/// \file
/// Types whose blocks are single numbers: floats of 16, 32 and 64 bits, and integers.
#pragma once

#include <allot/gguf/detail/blocks/block.hpp>
#include <allot/gguf/float16.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace allot::gguf::detail {

inline void copy_floats(const Byte* from, std::size_t count, float* out) noexcept {
  std::memcpy(out, from, count * sizeof(float));
}
template <class Number>
struct Plain {
  static constexpr std::size_t elements = 1;
  static constexpr std::size_t bytes = sizeof(Number);
  static void decode(const Byte* block, float* out) noexcept {
    *out = static_cast<float>(load<Number>(block));
  }
};
struct F16 {
  static constexpr std::size_t elements = 1;
  static constexpr std::size_t bytes = 2;
  static void decode(const Byte* block, float* out) noexcept { *out = half_at(block); }
};
struct BF16 {
  static constexpr std::size_t elements = 1;
  static constexpr std::size_t bytes = 2;
  static void decode(const Byte* block, float* out) noexcept {
    *out = to_float(BFloat16{load<std::uint16_t>(block)});
  }
};

}  // namespace allot::gguf::detail
