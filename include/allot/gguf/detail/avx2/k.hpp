// SPDX-License-Identifier: MIT
/// \file
/// The K types with vectors: sixteen elements at a time, with one scale.
#pragma once

#include <allot/gguf/detail/avx2/vectors.hpp>
#include <allot/gguf/detail/blocks/k.hpp>

#include <cstdint>

#ifdef ALLOT_HAS_AVX2

namespace allot::gguf::detail::avx2 {

template <>
struct Vectorized<detail::Q2_K> : detail::Q2_K {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const Floats4 both = four_halves(load<std::uint32_t>(block + 80));
    const auto packed = load_vector<Bytes>(block);
    float scales[16];
    float offsets[16];
    put(scales, low_nibbles(packed), both[0]);
    put(offsets, high_nibbles(packed), -both[1]);
    for (unsigned j = 0; j < 2; ++j) {
      auto q0 = load_vector<Bytes>(block + 16 + 32 * j);
      auto q1 = load_vector<Bytes>(block + 32 + 32 * j);
      for (unsigned part = 8 * j; part < 8 * j + 8; part += 2) {
        put(out + 16 * part, q0 & 3, scales[part], offsets[part]);
        put(out + 16 * part + 16, q1 & 3, scales[part + 1], offsets[part + 1]);
        q0 = shifted_down(q0, 2);
        q1 = shifted_down(q1, 2);
      }
    }
  }
};

template <>
struct Vectorized<detail::Q3_K> : detail::Q3_K {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    // Sixteen scales of six bits: four in the first eight bytes, two in the last four.
    constexpr std::uint64_t fours = 0x0f0f0f0f0f0f0f0fU;
    const auto low = load<std::uint64_t>(block + 96);
    const std::uint64_t high = load<std::uint32_t>(block + 104);
    const auto pair = [](std::uint64_t two_bits) {
      return ((two_bits & 0x03030303U) << 4) | ((two_bits >> 2 & 0x03030303U) << 36);
    };
    const Longs packed{(low & fours) | pair(high), (low >> 4 & fours) | pair(high >> 4)};
    float scales[16];
    put(scales, (Bytes)packed - 32, half(block + 108));
    auto mask0 = load_vector<Bytes>(block);
    auto mask1 = load_vector<Bytes>(block + 16);
    for (unsigned j = 0; j < 2; ++j) {
      auto q0 = load_vector<Bytes>(block + 32 + 32 * j);
      auto q1 = load_vector<Bytes>(block + 48 + 32 * j);
      for (unsigned part = 8 * j; part < 8 * j + 8; part += 2) {
        // A level without the third bit is lower by 4.
        put(out + 16 * part, (q0 & 3) | ((Bytes)((mask0 & 1) == 0) & 0xfc), scales[part]);
        put(out + 16 * part + 16, (q1 & 3) | ((Bytes)((mask1 & 1) == 0) & 0xfc), scales[part + 1]);
        q0 = shifted_down(q0, 2);
        q1 = shifted_down(q1, 2);
        mask0 = shifted_down(mask0, 1);
        mask1 = shifted_down(mask1, 1);
      }
    }
  }
};

/// The eight scales and eight offsets of Q4_K and Q5_K; the offsets are negated.
struct Scales {
  float scale[8];
  float offset[8];

  ALLOT_AVX2_INLINE explicit Scales(const Byte* block) noexcept {
    const Floats4 both = four_halves(load<std::uint32_t>(block));
    const auto a = load<std::uint32_t>(block + 4);
    const auto b = load<std::uint32_t>(block + 8);
    const auto c = load<std::uint32_t>(block + 12);
    constexpr std::uint32_t twos = 0x03030303U;
    constexpr std::uint32_t fours = 0x0f0f0f0fU;
    constexpr std::uint32_t sixes = 0x3f3f3f3fU;
    const std::uint32_t scales = (c & fours) | (a >> 6 & twos) << 4;
    const std::uint32_t offsets = (c >> 4 & fours) | (b >> 6 & twos) << 4;
    store_vector(scale, low_floats(low_bytes((a & sixes) | std::uint64_t{scales} << 32)) * both[0]);
    store_vector(offset,
                 low_floats(low_bytes((b & sixes) | std::uint64_t{offsets} << 32)) * -both[1]);
  }
};

template <>
struct Vectorized<detail::Q4_K> : detail::Q4_K {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const Scales scales{block};
    for (unsigned part = 0; part < 8; part += 2, out += 64) {
      const auto q0 = load_vector<Bytes>(block + 16 + 16 * part);
      const auto q1 = load_vector<Bytes>(block + 32 + 16 * part);
      put(out, low_nibbles(q0), scales.scale[part], scales.offset[part]);
      put(out + 16, low_nibbles(q1), scales.scale[part], scales.offset[part]);
      put(out + 32, high_nibbles(q0), scales.scale[part + 1], scales.offset[part + 1]);
      put(out + 48, high_nibbles(q1), scales.scale[part + 1], scales.offset[part + 1]);
    }
  }
};

template <>
struct Vectorized<detail::Q5_K> : detail::Q5_K {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const Scales scales{block};
    auto high0 = load_vector<Bytes>(block + 16);
    auto high1 = load_vector<Bytes>(block + 32);
    for (unsigned part = 0; part < 8; part += 2, out += 64) {
      const auto q0 = load_vector<Bytes>(block + 48 + 16 * part);
      const auto q1 = load_vector<Bytes>(block + 64 + 16 * part);
      put(out, low_nibbles(q0) | shifted_up(high0 & 1, 4), scales.scale[part], scales.offset[part]);
      put(out + 16, low_nibbles(q1) | shifted_up(high1 & 1, 4), scales.scale[part],
          scales.offset[part]);
      put(out + 32, high_nibbles(q0) | shifted_up(high0 & 2, 3), scales.scale[part + 1],
          scales.offset[part + 1]);
      put(out + 48, high_nibbles(q1) | shifted_up(high1 & 2, 3), scales.scale[part + 1],
          scales.offset[part + 1]);
      high0 = shifted_down(high0, 2);
      high1 = shifted_down(high1, 2);
    }
  }
};

template <>
struct Vectorized<detail::Q6_K> : detail::Q6_K {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    float scales[16];
    put(scales, load_vector<Bytes>(block + 192), half(block + 208));
    for (unsigned i = 0; i < 4; ++i) {
      // 64 values: 16 of each part.
      const unsigned place = i / 2 * 64 + i % 2 * 16;
      const float* const scale = scales + i / 2 * 8 + i % 2;
      const auto q0 = load_vector<Bytes>(block + place);
      const auto q1 = load_vector<Bytes>(block + place + 32);
      const auto high = load_vector<Bytes>(block + 128 + i * 16);
      float* const to = out + i / 2 * 128 + i % 2 * 16;
      put(to, (low_nibbles(q0) | shifted_up(high & 3, 4)) - 32, scale[0]);
      put(to + 32, (low_nibbles(q1) | shifted_up(high & 12, 2)) - 32, scale[2]);
      put(to + 64, (high_nibbles(q0) | (high & 48)) - 32, scale[4]);
      put(to + 96, (high_nibbles(q1) | shifted_down(high & 192, 2)) - 32, scale[6]);
    }
  }
};

}  // namespace allot::gguf::detail::avx2

#endif
