// SPDX-License-Identifier: MIT
/// \file
/// Types of four bits an element, an index into a table of sixteen levels: MXFP4, NVFP4,
/// IQ4_NL and IQ4_XS.
///
/// Source of the levels: ggml, src/ggml-common.h.
#pragma once

#include <allot/gguf/detail/blocks/block.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace allot::gguf::detail {

/// Levels of IQ4_NL and IQ4_XS, by the four bits of an element.
inline constexpr std::array<std::int8_t, 16> iq4_levels{-127, -104, -83, -65, -49, -35, -22, -10,
                                                        1,    13,   25,  38,  53,  69,  89,  113};

/// Twice the values of E2M1, by the four bits of an element: MXFP4 and NVFP4.
inline constexpr std::array<std::int8_t, 16> fp4_levels{0, 1,  2,  3,  4,  6,  8,  12,
                                                        0, -1, -2, -3, -4, -6, -8, -12};

/// Returns half the power of two with a biased exponent: E8M0.
[[nodiscard]] inline float half_of_e8m0(Byte exponent) noexcept {
  const std::uint32_t bits =
      exponent < 2 ? 0x00200000U << exponent : static_cast<std::uint32_t>(exponent - 1) << 23;
  return std::bit_cast<float>(bits);
}

/// Returns half an unsigned number of four exponent and three mantissa bits: UE4M3.
[[nodiscard]] inline float half_of_ue4m3(Byte number) noexcept {
  if (number == 0 || number == 0x7f) return 0;
  const unsigned exponent = (number >> 3) & 15U;
  const auto mantissa = static_cast<float>(number & 7U);
  if (exponent == 0) return mantissa * 0x1p-10F;
  return (1.0F + mantissa / 8.0F) * std::bit_cast<float>((exponent - 7U + 127U - 1U) << 23);
}

/// Decodes sixteen bytes of four-bit codes into 32 values: the low halves first.
inline void decode_nibbles(const Byte* q, const std::array<std::int8_t, 16>& levels, float d,
                           float* out, unsigned half) noexcept {
  for (unsigned i = 0; i < half; ++i) {
    out[i] = static_cast<float>(levels[q[i] & 15U]) * d;
    out[i + half] = static_cast<float>(levels[q[i] >> 4U]) * d;
  }
}

struct MXFP4 {
  static constexpr std::size_t elements = 32;
  static constexpr std::size_t bytes = 17;
  static void decode(const Byte* block, float* out) noexcept {
    decode_nibbles(block + 1, fp4_levels, half_of_e8m0(block[0]), out, 16);
  }
};

struct NVFP4 {
  static constexpr std::size_t elements = 64;
  static constexpr std::size_t bytes = 36;
  static void decode(const Byte* block, float* out) noexcept {
    for (unsigned s = 0; s < 4; ++s)
      decode_nibbles(block + 4 + 8 * s, fp4_levels, half_of_ue4m3(block[s]), out + 16 * s, 8);
  }
};

struct IQ4_NL {
  static constexpr std::size_t elements = 32;
  static constexpr std::size_t bytes = 18;
  static void decode(const Byte* block, float* out) noexcept {
    decode_nibbles(block + 2, iq4_levels, half_at(block), out, 16);
  }
};

struct IQ4_XS {
  static constexpr std::size_t elements = 256;
  static constexpr std::size_t bytes = 136;
  static void decode(const Byte* block, float* out) noexcept {
    const float d = half_at(block);
    const unsigned high = load<std::uint16_t>(block + 2);
    for (unsigned b = 0; b < 8; ++b) {
      const unsigned low = (block[4 + b / 2] >> (4 * (b % 2))) & 15U;
      const auto scale = static_cast<int>(low | (((high >> (2 * b)) & 3U) << 4)) - 32;
      decode_nibbles(block + 8 + 16 * b, iq4_levels, d * static_cast<float>(scale), out + 32 * b,
                     16);
    }
  }
};

}  // namespace allot::gguf::detail
