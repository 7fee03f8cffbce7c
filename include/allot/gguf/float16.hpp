// SPDX-License-Identifier: MIT
/// \file
/// The 16-bit floating-point formats: IEEE binary16 and bfloat16, to and from float. Conversions
/// down round to nearest, ties to even; NaN stays NaN.
#pragma once

#include <allot/core/version.hpp>

#include <bit>
#include <cstdint>

namespace allot::gguf {

/// IEEE 754 binary16, as its bits.
struct Float16 {
  std::uint16_t bits;  ///< sign, 5 of exponent, 10 of fraction
  friend constexpr bool operator==(Float16, Float16) noexcept = default;
};

/// The upper half of a float, as its bits.
struct BFloat16 {
  std::uint16_t bits;  ///< sign, 8 of exponent, 7 of fraction
  friend constexpr bool operator==(BFloat16, BFloat16) noexcept = default;
};

/// Converts exactly, without branches, so that loops over it are vectorized.
[[nodiscard]] constexpr float to_float(Float16 half) noexcept {
  const std::uint32_t magnitude = half.bits & 0x7fffU;
  const std::uint32_t sign = (half.bits & 0x8000U) << 16;
  // Normal numbers: the exponent's bias is 127 instead of 15. Infinity and NaN: the highest
  // exponent.
  const std::uint32_t bias = magnitude >= 0x7c00U ? (255U - 31U) << 23 : (127U - 15U) << 23;
  const std::uint32_t normal = (magnitude << 13) + bias;
  // A subnormal is n * 2^-24: adding 0.5 leaves n in the low mantissa bits.
  const float subnormal = std::bit_cast<float>(0x3f000000U | magnitude) - 0.5F;
  const std::uint32_t bits = magnitude < 0x0400U ? std::bit_cast<std::uint32_t>(subnormal) : normal;
  return std::bit_cast<float>(bits | sign);
}

/// Converts exactly.
[[nodiscard]] constexpr float to_float(BFloat16 number) noexcept {
  return std::bit_cast<float>(std::uint32_t{number.bits} << 16);
}

/// Returns the nearest number; of two that are as near, the even one.
[[nodiscard]] constexpr BFloat16 to_bfloat16(float number) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(number);
  if ((bits & 0x7fffffffU) > 0x7f800000U)  // keep NaN from becoming infinity
    return {static_cast<std::uint16_t>((bits >> 16) | 0x40U)};
  return {static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16)};
}

/// Returns the nearest number; of two that are as near, the even one.
[[nodiscard]] constexpr Float16 to_float16(float number) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(number);
  const std::uint32_t sign = (bits >> 16) & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  const auto made = [sign](std::uint32_t rest) {
    return Float16{static_cast<std::uint16_t>(sign | rest)};
  };
  if (magnitude > 0x7f800000U) return made(0x7e00U | ((magnitude >> 13) & 0x1ffU));
  if (magnitude >= 0x477ff000U) return made(0x7c00U);  // 65520 and above round to infinity
  if (magnitude >= 0x38800000U) {                      // normal in binary16
    const std::uint32_t rounded = magnitude + 0xfffU + ((magnitude >> 13) & 1U);
    return made((rounded - ((127U - 15U) << 23)) >> 13);
  }
  // Subnormal: adding 0.5 leaves n of n * 2^-24, rounded, in the low mantissa bits.
  const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
  return made(std::bit_cast<std::uint32_t>(shifted) - 0x3f000000U);
}

}  // namespace allot::gguf
