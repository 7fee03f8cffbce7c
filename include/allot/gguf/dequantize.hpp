// SPDX-License-Identifier: MIT
/// \file
/// `gguf::dequantize`: converts a tensor's blocks to floats, bit for bit as ggml does, or rounds
/// those to 16 bits.
///
///     std::vector<float> values(tensor.shape.elements());
///     gguf::dequantize(tensor.type, file.data(tensor), std::span{values});
#pragma once

#include <allot/core/checked.hpp>
#include <allot/gguf/detail/avx2.hpp>
#include <allot/gguf/detail/blocks.hpp>
#include <allot/gguf/float16.hpp>
#include <allot/gguf/tensor_type.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace allot::gguf {

namespace detail {

/// How blocks are decoded: by loops for any processor, or by a processor's vector instructions.
enum class Simd { none, avx2 };

/// Returns the fastest that this processor supports. Any thread may call it.
[[nodiscard]] inline Simd best_simd() noexcept {
#ifdef ALLOT_HAS_AVX2
  if (has_avx2()) return Simd::avx2;
#endif
  return Simd::none;
}

/// Returns the decoder of a type. A template, as all that calls it: it names every decoder, and they
/// are compiled only if one is asked for.
/// Throws: `std::invalid_argument` for a number that is not a type, and for types without values.
template <class = void>
[[nodiscard]] Decode decoder_of(TensorType type, [[maybe_unused]] Simd simd) {
#ifdef ALLOT_HAS_AVX2
  if (simd == Simd::avx2) {
    if (const Decode decode = avx2::decoder_of(type)) return decode;
  }
#endif
  switch (type) {
    case TensorType::F32:
      return copy_floats;
    case TensorType::F16:
      return decode_all<F16>;
    case TensorType::BF16:
      return decode_all<BF16>;
    case TensorType::F64:
      return decode_all<Plain<double>>;
    case TensorType::I8:
      return decode_all<Plain<std::int8_t>>;
    case TensorType::I16:
      return decode_all<Plain<std::int16_t>>;
    case TensorType::I32:
      return decode_all<Plain<std::int32_t>>;
    case TensorType::I64:
      return decode_all<Plain<std::int64_t>>;
    default:
      break;
  }
  if (const Decode decode =
          with_decoder(type, []<class Decoder>() -> Decode { return decode_all<Decoder>; }))
    return decode;
  throw std::invalid_argument{"tensors of type " + std::string{checked_type_info(type).name} +
                              " hold intermediate results, not weights; they are not dequantized"};
}

/// Returns the number of blocks in `bytes` bytes.
/// Throws: `std::invalid_argument` unless they are whole blocks of exactly `elements` elements.
template <class = void>
[[nodiscard]] std::size_t checked_blocks(const TypeInfo& info, std::size_t bytes,
                                         std::size_t elements) {
  const std::size_t blocks = bytes / info.block_bytes;
  if (blocks * info.block_bytes == bytes &&
      blocks <= largest_of<std::size_t> / 256 &&  // the most elements in a block
      blocks * info.block_elements == elements)
    return blocks;
  throw std::invalid_argument{std::to_string(bytes) + " bytes of " + std::string{info.name} +
                              " are not " + std::to_string(elements) + " elements: a block is " +
                              std::to_string(info.block_elements) + " elements in " +
                              std::to_string(info.block_bytes) + " bytes"};
}

template <class = void>
void dequantize(TensorType type, std::span<const std::byte> blocks, std::span<float> out,
                Simd simd) {
  const Decode decode = decoder_of(type, simd);
  const std::size_t count = checked_blocks(type_info(type), blocks.size(), out.size());
  if (count != 0) decode(reinterpret_cast<const Byte*>(blocks.data()), count, out.data());
}

inline void narrow(const Byte* from, std::size_t count, Float16* out) noexcept {
  for (std::size_t i = 0; i < count; ++i) out[i] = to_float16(load<float>(from + 4 * i));
}
inline void narrow(const Byte* from, std::size_t count, BFloat16* out) noexcept {
  for (std::size_t i = 0; i < count; ++i) out[i] = to_bfloat16(load<float>(from + 4 * i));
}

/// \param from  floats; need not be aligned
template <class Narrow>
void narrow(const Byte* from, std::size_t count, Narrow* out, [[maybe_unused]] Simd simd) noexcept {
#ifdef ALLOT_HAS_AVX2
  if (simd == Simd::avx2) return avx2::narrow(from, count, out);
#endif
  narrow(from, count, out);
}

/// Types other than F32 go through a buffer that fits a core's cache.
template <class Narrow>
requires(!std::is_same_v<Narrow, float>) void dequantize(TensorType type,
                                                         std::span<const std::byte> blocks,
                                                         std::span<Narrow> out, Simd simd) {
  constexpr TensorType same = std::is_same_v<Narrow, Float16> ? TensorType::F16 : TensorType::BF16;
  const Decode decode = decoder_of(type, simd);
  const TypeInfo info = type_info(type);
  std::size_t left = checked_blocks(info, blocks.size(), out.size());
  if (left == 0) return;
  if (type == same) return void(std::memcpy(out.data(), blocks.data(), blocks.size()));
  const auto* from = reinterpret_cast<const Byte*>(blocks.data());
  if (type == TensorType::F32) return narrow(from, left, out.data(), simd);
  std::array<float, 1024> values;
  const std::size_t at_once = values.size() / info.block_elements;
  for (Narrow* to = out.data(); left != 0;) {
    const std::size_t count = left < at_once ? left : at_once;
    const std::size_t elements = count * info.block_elements;
    decode(from, count, values.data());
    narrow(reinterpret_cast<const Byte*>(values.data()), elements, to, simd);
    from += count * info.block_bytes;
    to += elements;
    left -= count;
  }
}

}  // namespace detail

/// Returns whether tensors of a type have values: all but Q8_1 and Q8_K do.
[[nodiscard]] constexpr bool has_values(TensorType type) noexcept {
  return type != TensorType::Q8_1 && type != TensorType::Q8_K;
}

/// Writes the values of whole blocks to `out`, bit for bit as ggml computes them.
/// \param blocks  as in the file; need not be aligned
/// \param out     as many elements as the blocks have
/// Throws: `std::invalid_argument` if the sizes do not agree, and for types without values.
template <class = void>
void dequantize(TensorType type, std::span<const std::byte> blocks, std::span<float> out) {
  detail::dequantize(type, blocks, out, detail::best_simd());
}

/// Returns the values of whole blocks: where they are, if they are floats there, otherwise
/// dequantized into `scratch`. For kernels that take a row of a matrix at a time.
/// \param blocks   as many as `scratch` has room for; of F32 aligned as floats are
/// Throws: `std::invalid_argument`, as `dequantize`.
template <class Owner = void>
[[nodiscard]] const float* floats_of(TensorType type, const std::byte* blocks,
                                     std::span<float> scratch) {
  if (type == TensorType::F32) return reinterpret_cast<const float*>(blocks);
  const TypeInfo info = checked_type_info(type);
  const std::size_t count = scratch.size() / info.block_elements;
  dequantize<Owner>(type, DeferredSpan<const std::byte, Owner>{blocks, count * info.block_bytes},
                    deferred<Owner>(scratch));
  return scratch.data();
}

/// The same as `dequantize`, rounded to nearest, ties to even. F16 as `Float16` and BF16 as
/// `BFloat16` are copied, as in ggml: a signaling NaN stays one, while converting through floats
/// would make it quiet.
template <class = void>
void dequantize(TensorType type, std::span<const std::byte> blocks, std::span<Float16> out) {
  detail::dequantize(type, blocks, out, detail::best_simd());
}
template <class = void>
void dequantize(TensorType type, std::span<const std::byte> blocks, std::span<BFloat16> out) {
  detail::dequantize(type, blocks, out, detail::best_simd());
}

/// Writes floats as elements of F32, F16 or BF16, rounded as `dequantize` rounds: what an engine stores
/// in a cache of that type.
/// \param out  aligned as the elements are, with room for all
/// Throws: `std::invalid_argument` for other types.
template <class = void>
void store_floats(TensorType type, std::span<const float> values, std::byte* out) {
  const auto store = [&]<class Number>(Number* numbers) {
    dequantize(TensorType::F32, std::as_bytes(values), std::span{numbers, values.size()});
  };
  if (type == TensorType::F32) return store(reinterpret_cast<float*>(out));
  if (type == TensorType::F16) return store(reinterpret_cast<Float16*>(out));
  if (type == TensorType::BF16) return store(reinterpret_cast<BFloat16*>(out));
  throw std::invalid_argument{"floats are stored as F32, F16 or BF16, not as " +
                              std::string{checked_type_info(type).name}};
}

}  // namespace allot::gguf
