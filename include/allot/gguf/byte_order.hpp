// SPDX-License-Identifier: MIT
/// \file
/// Converts tensor data from one byte order to the other. Metadata need no conversion: what a
/// `File` returns is already in the host's order.
///
///     std::vector<std::byte> bytes = ...;                       // as in the file
///     if (file.byte_order() != std::endian::native) gguf::swap_byte_order(tensor.type, bytes);
#pragma once

#include <allot/core/version.hpp>
#include <allot/gguf/tensor_type.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>

namespace allot::gguf {

namespace detail {

[[nodiscard]] inline std::uint8_t swapped(std::uint8_t value) noexcept { return value; }
[[nodiscard]] inline std::uint16_t swapped(std::uint16_t value) noexcept {
  return __builtin_bswap16(value);
}
[[nodiscard]] inline std::uint32_t swapped(std::uint32_t value) noexcept {
  return __builtin_bswap32(value);
}
[[nodiscard]] inline std::uint64_t swapped(std::uint64_t value) noexcept {
  return __builtin_bswap64(value);
}

/// Swaps `count` words that begin `stride` bytes apart. They need not be aligned.
template <class Word>
void swap_words(std::byte* first, std::size_t count, std::size_t stride = sizeof(Word)) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    Word word;
    std::memcpy(&word, first + i * stride, sizeof word);
    word = swapped(word);
    std::memcpy(first + i * stride, &word, sizeof word);
  }
}

inline void swap_words(std::byte* first, std::size_t count, std::size_t width,
                       std::size_t stride) noexcept {
  if (width == 2) swap_words<std::uint16_t>(first, count, stride);
  if (width == 4) swap_words<std::uint32_t>(first, count, stride);
  if (width == 8) swap_words<std::uint64_t>(first, count, stride);
}

/// Words of a block: offset of the first, width, count and stride.
struct WordField {
  std::uint32_t offset = 0;
  std::uint32_t width = 0;
  std::uint32_t count = 0;
  std::uint32_t stride = 0;
};
using WordFields = std::array<WordField, 2>;

[[nodiscard]] constexpr WordField words(std::uint32_t offset, std::uint32_t width,
                                        std::uint32_t count = 1) noexcept {
  return {offset, width, count, width};
}

/// Returns the parts of a block that have a byte order: scales, sums, and what ggml's decoders load
/// as words. Bytes, nibbles and smaller parts have none.
[[nodiscard]] constexpr WordFields word_fields(TensorType type) noexcept {
  switch (type) {
    case TensorType::F32:
    case TensorType::I32:
      return {words(0, 4)};
    case TensorType::F16:
    case TensorType::BF16:
    case TensorType::I16:
      return {words(0, 2)};
    case TensorType::F64:
    case TensorType::I64:
      return {words(0, 8)};
    case TensorType::I8:
    case TensorType::MXFP4:  // an exponent of one byte
    case TensorType::NVFP4:  // scales of one byte
      return {};
    case TensorType::Q1_0:
    case TensorType::Q2_0:
    case TensorType::Q4_0:
    case TensorType::Q8_0:
    case TensorType::IQ4_NL:
    case TensorType::IQ2_S:
    case TensorType::IQ3_S:
      return {words(0, 2)};
    case TensorType::Q4_1:
    case TensorType::Q8_1:
    case TensorType::Q4_K:
    case TensorType::Q5_K:
    case TensorType::IQ4_XS:  // a scale, and the high bits of the others
      return {words(0, 2, 2)};
    case TensorType::Q5_0:  // the fifth bits are loaded as one word
      return {words(0, 2), words(2, 4)};
    case TensorType::Q5_1:
      return {words(0, 2, 2), words(4, 4)};
    case TensorType::Q2_K:
      return {words(80, 2, 2)};
    case TensorType::Q3_K:
      return {words(108, 2)};
    case TensorType::Q6_K:
      return {words(208, 2)};
    case TensorType::Q8_K:
      return {words(0, 4), words(260, 2, 16)};
    case TensorType::IQ1_S:
      return {words(0, 2), words(34, 2, 8)};
    case TensorType::IQ1_M:
      return {words(48, 2, 4)};
    case TensorType::IQ2_XXS:  // four grid indices, a byte each, then a word of signs and a scale
      return {words(0, 2), WordField{6, 4, 8, 8}};
    case TensorType::IQ2_XS:
      return {words(0, 2, 33)};
    case TensorType::IQ3_XXS:
      return {words(0, 2), words(66, 4, 8)};
    case TensorType::TQ1_0:
      return {words(52, 2)};
    case TensorType::TQ2_0:
      return {words(64, 2)};
  }
  return {};
}

}  // namespace detail

/// Converts blocks of a tensor from one byte order to the other, in place; twice is the identity.
/// A word is what ggml's decoder of the type loads as one, so that a big-endian host reads the same
/// values. The blocks need not be aligned. Allocates nothing. Complexity: linear.
/// \param blocks  whole blocks: any part of a tensor that begins and ends at a block
/// Throws: `std::invalid_argument`, before anything is changed, if they are not whole, and for
/// a number that is not a type.
/// Source: ggml, src/ggml-common.h and src/ggml-quants.c.
inline void swap_byte_order(TensorType type, std::span<std::byte> blocks) {
  const TypeInfo info = checked_type_info(type);
  if (blocks.size() % info.block_bytes != 0) {
    throw std::invalid_argument{std::to_string(blocks.size()) + " bytes are not whole blocks of " +
                                std::string{info.name} + ", which have " +
                                std::to_string(info.block_bytes) + " bytes"};
  }
  const detail::WordFields fields = detail::word_fields(type);
  if (info.block_elements == 1) {
    if (fields[0].width == 0) return;
    detail::swap_words(blocks.data(), blocks.size() / fields[0].width, fields[0].width,
                       fields[0].width);
    return;
  }
  for (const detail::WordField& field : fields) {
    if (field.width == 0) continue;
    for (std::size_t at = field.offset; at < blocks.size(); at += info.block_bytes)
      detail::swap_words(blocks.data() + at, field.count, field.width, field.stride);
  }
}

}  // namespace allot::gguf
