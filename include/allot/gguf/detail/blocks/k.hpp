// SPDX-License-Identifier: MIT
/// \file
/// The K types: blocks of 256 elements, in parts with their own scales.
#pragma once

#include <allot/gguf/detail/blocks/block.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace allot::gguf::detail {

struct Q2_K {
  static constexpr std::size_t elements = 256;
  static constexpr std::size_t bytes = 84;
  static void decode(const Byte* block, float* out) noexcept {
    const float d = half_at(block + 80);
    const float lowest = half_at(block + 82);
    for (unsigned part = 0; part < 16; ++part) {
      const float scale = d * static_cast<float>(block[part] & 15);
      const float offset = lowest * static_cast<float>(block[part] >> 4);
      const Byte* const q = block + 16 + part / 8 * 32 + part % 2 * 16;
      const unsigned shift = part % 8 / 2 * 2;
      for (unsigned i = 0; i < 16; ++i)
        *out++ = scale * static_cast<float>((q[i] >> shift) & 3) - offset;
    }
  }
};

struct Q3_K {
  static constexpr std::size_t elements = 256;
  static constexpr std::size_t bytes = 110;
  static void decode(const Byte* block, float* out) noexcept {
    const float d = half_at(block + 108);
    const Byte* const scales = block + 96;
    for (unsigned part = 0; part < 16; ++part) {
      // Six bits: four in the first eight bytes, two in the last four.
      const unsigned low = (scales[part % 8] >> (part / 8 * 4)) & 15U;
      const unsigned high = (scales[8 + part % 4] >> (part / 4 * 2)) & 3U;
      const float scale = d * static_cast<float>(static_cast<int>(low | (high << 4)) - 32);
      const Byte* const q = block + 32 + part / 8 * 32 + part % 2 * 16;
      const Byte* const mask = block + part % 2 * 16;
      const unsigned shift = part % 8 / 2 * 2;
      for (unsigned i = 0; i < 16; ++i) {
        const auto level =
            static_cast<int>((q[i] >> shift) & 3) - (bit(mask[i], part / 2) != 0 ? 0 : 4);
        *out++ = scale * static_cast<float>(level);
      }
    }
  }
};

/// The eight scales and eight offsets of Q4_K and Q5_K: six bits each in twelve bytes.
struct Scales {
  std::array<float, 8> scale;
  std::array<float, 8> offset;

  Scales(const Byte* packed, float d, float lowest) noexcept {
    for (unsigned i = 0; i < 4; ++i) {
      scale[i] = d * static_cast<float>(packed[i] & 63);
      offset[i] = lowest * static_cast<float>(packed[i + 4] & 63);
      scale[i + 4] = d * static_cast<float>((packed[i + 8] & 15) | (packed[i] >> 6 << 4));
      offset[i + 4] = lowest * static_cast<float>((packed[i + 8] >> 4) | (packed[i + 4] >> 6 << 4));
    }
  }
};

struct Q4_K {
  static constexpr std::size_t elements = 256;
  static constexpr std::size_t bytes = 144;
  static void decode(const Byte* block, float* out) noexcept {
    const Scales scales{block + 4, half_at(block), half_at(block + 2)};
    for (unsigned part = 0; part < 8; ++part) {
      const Byte* const q = block + 16 + part / 2 * 32;
      const unsigned shift = part % 2 * 4;
      for (unsigned i = 0; i < 32; ++i) {
        *out++ =
            scales.scale[part] * static_cast<float>((q[i] >> shift) & 15) - scales.offset[part];
      }
    }
  }
};

struct Q5_K {
  static constexpr std::size_t elements = 256;
  static constexpr std::size_t bytes = 176;
  static void decode(const Byte* block, float* out) noexcept {
    const Scales scales{block + 4, half_at(block), half_at(block + 2)};
    const Byte* const high = block + 16;
    for (unsigned part = 0; part < 8; ++part) {
      const Byte* const q = block + 48 + part / 2 * 32;
      const unsigned shift = part % 2 * 4;
      for (unsigned i = 0; i < 32; ++i) {
        const unsigned level = ((q[i] >> shift) & 15U) | (bit(high[i], part) << 4);
        *out++ =
            scales.scale[part] * static_cast<float>(static_cast<int>(level)) - scales.offset[part];
      }
    }
  }
};

struct Q6_K {
  static constexpr std::size_t elements = 256;
  static constexpr std::size_t bytes = 210;
  static void decode(const Byte* block, float* out) noexcept {
    const float d = half_at(block + 208);
    for (unsigned half = 0; half < 2; ++half) {
      const Byte* const low = block + 64 * half;
      const Byte* const high = block + 128 + 32 * half;
      for (unsigned part = 0; part < 4; ++part) {
        const Byte* const q = low + part % 2 * 32;
        const unsigned shift = part / 2 * 4;
        for (unsigned i = 0; i < 32; ++i) {
          const unsigned level = ((q[i] >> shift) & 15U) | (((high[i] >> (2 * part)) & 3U) << 4);
          const auto scale = static_cast<std::int8_t>(block[192 + 8 * half + 2 * part + i / 16]);
          *out++ = d * static_cast<float>(scale) * static_cast<float>(static_cast<int>(level) - 32);
        }
      }
    }
  }
};

}  // namespace allot::gguf::detail
