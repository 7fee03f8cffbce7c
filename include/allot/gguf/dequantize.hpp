// SPDX-License-Identifier: MIT
/// \file
/// `gguf::dequantize`: the values of a tensor's blocks as floats, bit for bit what ggml computes;
/// or rounded from those to 16 bits.
///
///     std::vector<float> values(tensor.shape.elements());
///     gguf::dequantize(tensor.type, file.data(tensor), std::span{values});
#pragma once

#include <allot/gguf/detail/blocks.hpp>
#include <allot/gguf/float16.hpp>
#include <allot/gguf/tensor_type.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>

namespace allot::gguf {

namespace detail {

/// Calls `f.template operator()<Decoder>()` with the decoder of a type.
/// Throws: `std::invalid_argument` for types that have no values of their own.
template <class F>
decltype(auto) with_decoder(TensorType type, F&& f) {
  switch (type) {
    case TensorType::F32:
      return f.template operator()<Plain<float>>();
    case TensorType::F16:
      return f.template operator()<F16>();
    case TensorType::BF16:
      return f.template operator()<BF16>();
    case TensorType::F64:
      return f.template operator()<Plain<double>>();
    case TensorType::I8:
      return f.template operator()<Plain<std::int8_t>>();
    case TensorType::I16:
      return f.template operator()<Plain<std::int16_t>>();
    case TensorType::I32:
      return f.template operator()<Plain<std::int32_t>>();
    case TensorType::I64:
      return f.template operator()<Plain<std::int64_t>>();
    case TensorType::Q1_0:
      return f.template operator()<Q1_0>();
    case TensorType::Q2_0:
      return f.template operator()<Q2_0>();
    case TensorType::Q4_0:
      return f.template operator()<Q4_0>();
    case TensorType::Q4_1:
      return f.template operator()<Q4_1>();
    case TensorType::Q5_0:
      return f.template operator()<Q5_0>();
    case TensorType::Q5_1:
      return f.template operator()<Q5_1>();
    case TensorType::Q8_0:
      return f.template operator()<Q8_0>();
    case TensorType::Q2_K:
      return f.template operator()<Q2_K>();
    case TensorType::Q3_K:
      return f.template operator()<Q3_K>();
    case TensorType::Q4_K:
      return f.template operator()<Q4_K>();
    case TensorType::Q5_K:
      return f.template operator()<Q5_K>();
    case TensorType::Q6_K:
      return f.template operator()<Q6_K>();
    case TensorType::IQ1_S:
      return f.template operator()<IQ1_S>();
    case TensorType::IQ1_M:
      return f.template operator()<IQ1_M>();
    case TensorType::IQ2_XXS:
      return f.template operator()<IQ2_XXS>();
    case TensorType::IQ2_XS:
      return f.template operator()<IQ2_XS>();
    case TensorType::IQ2_S:
      return f.template operator()<IQ2_S>();
    case TensorType::IQ3_XXS:
      return f.template operator()<IQ3_XXS>();
    case TensorType::IQ3_S:
      return f.template operator()<IQ3_S>();
    case TensorType::IQ4_NL:
      return f.template operator()<IQ4_NL>();
    case TensorType::IQ4_XS:
      return f.template operator()<IQ4_XS>();
    case TensorType::TQ1_0:
      return f.template operator()<TQ1_0>();
    case TensorType::TQ2_0:
      return f.template operator()<TQ2_0>();
    case TensorType::MXFP4:
      return f.template operator()<MXFP4>();
    case TensorType::NVFP4:
      return f.template operator()<NVFP4>();
    case TensorType::Q8_1:
    case TensorType::Q8_K:
      break;
  }
  throw std::invalid_argument{"tensors of type " + std::string{type_name(type)} +
                              " hold intermediate results, not weights; they are not dequantized"};
}

/// Throws: `std::invalid_argument` unless `bytes` are whole blocks of exactly `elements` elements.
inline void check_sizes(TensorType type, std::size_t bytes, std::size_t elements) {
  const TypeInfo info = type_info(type);
  const std::size_t blocks = bytes / info.block_bytes;
  if (bytes % info.block_bytes == 0 && elements % info.block_elements == 0 &&
      elements / info.block_elements == blocks) {
    return;
  }
  throw std::invalid_argument{std::to_string(bytes) + " bytes of " + std::string{type_name(type)} +
                              " are not " + std::to_string(elements) + " elements: a block is " +
                              std::to_string(info.block_elements) + " elements in " +
                              std::to_string(info.block_bytes) + " bytes"};
}

template <class Decoder>
void decode_all(const Byte* from, std::size_t blocks, float* out) noexcept {
  for (std::size_t i = 0; i < blocks; ++i)
    Decoder::decode(from + i * Decoder::bytes, out + i * Decoder::elements);
}

/// Through a buffer that a core's cache holds.
template <class Narrow, class Convert>
void dequantize_narrow(TensorType type, std::span<const std::byte> blocks, std::span<Narrow> out,
                       Convert convert) {
  check_sizes(type, blocks.size(), out.size());
  with_decoder(type, [&]<class Decoder>() {
    constexpr std::size_t at_once = std::max<std::size_t>(1, 1024 / Decoder::elements);
    std::array<float, at_once * Decoder::elements> values;
    const auto* from = reinterpret_cast<const Byte*>(blocks.data());
    std::size_t left = out.size() / Decoder::elements;
    for (Narrow* to = out.data(); left != 0;) {
      const std::size_t count = std::min(left, at_once);
      decode_all<Decoder>(from, count, values.data());
      for (std::size_t i = 0; i < count * Decoder::elements; ++i) to[i] = convert(values[i]);
      from += count * Decoder::bytes;
      to += count * Decoder::elements;
      left -= count;
    }
  });
}

}  // namespace detail

/// Whether tensors of a type have values: all but Q8_1 and Q8_K do.
[[nodiscard]] constexpr bool has_values(TensorType type) noexcept {
  return type != TensorType::Q8_1 && type != TensorType::Q8_K;
}

/// The values of whole blocks, bit for bit as ggml computes them.
/// \param blocks  as in the file; need not be aligned
/// \param out     as many elements as the blocks have
/// Throws: `std::invalid_argument` where the sizes do not agree, and for types without values.
inline void dequantize(TensorType type, std::span<const std::byte> blocks, std::span<float> out) {
  detail::check_sizes(type, blocks.size(), out.size());
  detail::with_decoder(type, [&]<class Decoder>() {
    detail::decode_all<Decoder>(reinterpret_cast<const detail::Byte*>(blocks.data()),
                                out.size() / Decoder::elements, out.data());
  });
}

/// The same, rounded to nearest, ties to even.
inline void dequantize(TensorType type, std::span<const std::byte> blocks, std::span<Float16> out) {
  detail::dequantize_narrow(type, blocks, out, [](float value) { return to_float16(value); });
}
inline void dequantize(TensorType type, std::span<const std::byte> blocks,
                       std::span<BFloat16> out) {
  detail::dequantize_narrow(type, blocks, out, [](float value) { return to_bfloat16(value); });
}

}  // namespace allot::gguf
