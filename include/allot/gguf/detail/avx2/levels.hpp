// SPDX-License-Identifier: MIT
/// \file
/// MXFP4, NVFP4, IQ4_NL and IQ4_XS with vectors: four bits are an index into a register.
#pragma once

#include <allot/gguf/detail/avx2/vectors.hpp>
#include <allot/gguf/detail/blocks/levels.hpp>

#include <array>
#include <cstdint>

#ifdef ALLOT_HAS_AVX2

namespace allot::gguf::detail::avx2 {

ALLOT_AVX2_INLINE Bytes table_of(const std::array<std::int8_t, 16>& levels) noexcept {
  return load_vector<Bytes>(levels.data());
}

/// Decodes sixteen bytes of four-bit codes: the low halves first.
ALLOT_AVX2_INLINE void put_levels(float* out, Bytes levels, const Byte* codes, float d) noexcept {
  const auto q = load_vector<Bytes>(codes);
  put(out, looked_up(levels, low_nibbles(q)), d);
  put(out + 16, looked_up(levels, high_nibbles(q)), d);
}

template <>
struct Vectorized<detail::MXFP4> : detail::MXFP4 {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    put_levels(out, table_of(fp4_levels), block + 1, half_of_e8m0(block[0]));
  }
};

template <>
struct Vectorized<detail::NVFP4> : detail::NVFP4 {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    // UE4M3 is binary16 without the sign and with a bias of 7 instead of 15; and the result is
    // halved.
    const Words bytes =
        (Words)__builtin_shufflevector((Bytes)Longs{load<std::uint32_t>(block), 0}, Bytes{}, 0, 16,
                                       1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const Words halves = ((bytes & 0x7f) << 7) & (Words)(bytes != 0x7f);
    const Floats4 scales = (Floats4)__builtin_ia32_vcvtph2ps((Shorts)halves) * 128.0F;
    const Bytes levels = table_of(fp4_levels);
    for (unsigned s = 0; s < 4; s += 2) {
      const auto q = load_vector<Bytes>(block + 4 + 8 * s);
      const Bytes low = looked_up(levels, low_nibbles(q));
      const Bytes high = looked_up(levels, high_nibbles(q));
      store_vector(out + 16 * s, low_floats(low) * scales[s]);
      store_vector(out + 16 * s + 8, low_floats(high) * scales[s]);
      store_vector(out + 16 * s + 16, high_floats(low) * scales[s + 1]);
      store_vector(out + 16 * s + 24, high_floats(high) * scales[s + 1]);
    }
  }
};

template <>
struct Vectorized<detail::IQ4_NL> : detail::IQ4_NL {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    put_levels(out, table_of(iq4_levels), block + 2, half(block));
  }
};

template <>
struct Vectorized<detail::IQ4_XS> : detail::IQ4_XS {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const float d = half(block);
    const unsigned high = load<std::uint16_t>(block + 2);
    const Bytes levels = table_of(iq4_levels);
    for (unsigned b = 0; b < 8; ++b) {
      const unsigned low = (block[4 + b / 2] >> (4 * (b % 2))) & 15U;
      const auto scale = static_cast<int>(low | (((high >> (2 * b)) & 3U) << 4)) - 32;
      const float by = d * static_cast<float>(scale);
      put_levels(out + 32 * b, levels, block + 8 + 16 * b, by);
    }
  }
};

}  // namespace allot::gguf::detail::avx2

#endif
