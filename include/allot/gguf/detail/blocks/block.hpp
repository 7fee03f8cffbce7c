// SPDX-License-Identifier: MIT
/// \file
/// What the decoders of all types use: loading numbers from bytes, and applying a block's decoder
/// to many blocks. A decoder has a block's `elements` and `bytes`, and `decode`.
#pragma once

#include <allot/gguf/float16.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace allot::gguf::detail {

using Byte = std::uint8_t;

template <class Number>
[[nodiscard]] inline Number load(const Byte* from) noexcept {
  Number value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

[[nodiscard]] inline float half_at(const Byte* from) noexcept {
  return to_float(Float16{load<std::uint16_t>(from)});
}

[[nodiscard]] inline unsigned bit(unsigned value, unsigned place) noexcept {
  return (value >> place) & 1U;
}

/// Decodes `blocks` blocks.
using Decode = void (*)(const Byte* from, std::size_t blocks, float* out);

/// Applies a block's decoder to many blocks.
template <class Decoder>
void decode_all(const Byte* from, std::size_t blocks, float* out) noexcept {
  for (std::size_t i = 0; i < blocks; ++i)
    Decoder::decode(from + i * Decoder::bytes, out + i * Decoder::elements);
}

}  // namespace allot::gguf::detail
