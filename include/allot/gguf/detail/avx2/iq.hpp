// SPDX-License-Identifier: MIT
/// \file
/// The IQ types of one to three bits with vectors: two groups of eight values at a time, or four
/// groups of four.
#pragma once

#include <allot/gguf/detail/avx2/vectors.hpp>
#include <allot/gguf/detail/blocks/iq.hpp>
#include <allot/gguf/detail/codebooks.hpp>

#include <cstdint>

#ifdef ALLOT_HAS_AVX2

namespace allot::gguf::detail::avx2 {

/// Loads two entries of eight values.
ALLOT_AVX2_INLINE Bytes entries(const std::int8_t* first, const std::int8_t* second) noexcept {
  return (Bytes)Longs{load<std::uint64_t>(reinterpret_cast<const Byte*>(first)),
                      load<std::uint64_t>(reinterpret_cast<const Byte*>(second))};
}
/// Loads two entries of four values.
[[nodiscard]] inline std::uint64_t joined(const std::int8_t* first,
                                          const std::int8_t* second) noexcept {
  return load<std::uint32_t>(reinterpret_cast<const Byte*>(first)) |
         std::uint64_t{load<std::uint32_t>(reinterpret_cast<const Byte*>(second))} << 32;
}
ALLOT_AVX2_INLINE Bytes with_signs(Bytes values, Bytes negated) noexcept {
  return (values ^ negated) - negated;
}

template <>
struct Vectorized<detail::IQ2_XXS> : detail::IQ2_XXS {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const Codebooks& books = codebooks();
    const float d = half(block);
    for (unsigned part = 0; part < 8; ++part) {
      const Byte* const codes = block + 2 + 8 * part;
      const auto rest = load<std::uint32_t>(codes + 4);
      const float scale = d * (0.5F + static_cast<float>(rest >> 28)) * 0.25F;
      for (unsigned i = 0; i < 4; i += 2, out += 16) {
        const unsigned signs = rest >> (7 * i);
        put(out,
            with_signs(entries(&books.iq2_xxs[8U * codes[i]], &books.iq2_xxs[8U * codes[i + 1]]),
                       entries(&books.negated_evenly[8U * (signs & 127U)],
                               &books.negated_evenly[8U * (signs >> 7 & 127U)])),
            scale);
      }
    }
  }
};

template <>
struct Vectorized<detail::IQ2_XS> : detail::IQ2_XS {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const Codebooks& books = codebooks();
    const float d = half(block);
    for (unsigned part = 0; part < 8; ++part) {
      const auto scales = quarter_scales(block[66 + part], d);
      for (unsigned i = 0; i < 2; ++i, out += 16) {
        const unsigned codes = load<std::uint32_t>(block + 2 + 8 * part + 4 * i);
        put(out,
            with_signs(entries(&books.iq2_xs[8U * (codes & 511U)],
                               &books.iq2_xs[8U * (codes >> 16 & 511U)]),
                       entries(&books.negated_evenly[8U * (codes >> 9 & 127U)],
                               &books.negated_evenly[8U * (codes >> 25)])),
            scales[i]);
      }
    }
  }
};

template <>
struct Vectorized<detail::IQ2_S> : detail::IQ2_S {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const Codebooks& books = codebooks();
    const float d = half(block);
    for (unsigned part = 0; part < 8; ++part) {
      const auto scales = quarter_scales(block[74 + part], d);
      const unsigned high = block[66 + part];
      for (unsigned i = 0; i < 2; ++i, out += 16) {
        const Byte* const low = block + 2 + 4 * part + 2 * i;
        const unsigned first = low[0] | ((high << (8 - 4 * i)) & 0x300U);
        const unsigned second = low[1] | ((high << (6 - 4 * i)) & 0x300U);
        const Byte* const signs = low + 32;
        put(out,
            with_signs(entries(&books.iq2_s[8U * first], &books.iq2_s[8U * second]),
                       entries(&books.negated[8U * signs[0]], &books.negated[8U * signs[1]])),
            scales[i]);
      }
    }
  }
};

template <>
struct Vectorized<detail::IQ3_XXS> : detail::IQ3_XXS {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const Codebooks& books = codebooks();
    const float d = half(block);
    for (unsigned part = 0; part < 8; ++part) {
      const Byte* codes = block + 2 + 8 * part;
      const auto rest = load<std::uint32_t>(block + 66 + 4 * part);
      const float scale = d * (0.5F + static_cast<float>(rest >> 28)) * 0.5F;
      for (unsigned i = 0; i < 4; i += 2, out += 16, codes += 4) {
        const unsigned signs = rest >> (7 * i);
        const Longs values{joined(&books.iq3_xxs[4U * codes[0]], &books.iq3_xxs[4U * codes[1]]),
                           joined(&books.iq3_xxs[4U * codes[2]], &books.iq3_xxs[4U * codes[3]])};
        put(out,
            with_signs((Bytes)values, entries(&books.negated_evenly[8U * (signs & 127U)],
                                              &books.negated_evenly[8U * (signs >> 7 & 127U)])),
            scale);
      }
    }
  }
};

template <>
struct Vectorized<detail::IQ3_S> : detail::IQ3_S {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const Codebooks& books = codebooks();
    const float d = half(block);
    for (unsigned part = 0; part < 8; ++part) {
      const unsigned packed = (block[106 + part / 2] >> (part % 2 * 4)) & 15U;
      const float scale = d * static_cast<float>(static_cast<int>(1 + 2 * packed));
      const Byte* codes = block + 2 + 8 * part;
      unsigned high = block[66 + part];
      const auto entry = [&](unsigned i) {
        return &books.iq3_s[4U * (codes[i] | ((high << (8 - i)) & 0x100U))];
      };
      for (unsigned i = 0; i < 4; i += 2, out += 16, codes += 4, high >>= 4) {
        const Byte* const signs = block + 74 + 4 * part + i;
        const Longs values{joined(entry(0), entry(1)), joined(entry(2), entry(3))};
        put(out,
            with_signs((Bytes)values,
                       entries(&books.negated[8U * signs[0]], &books.negated[8U * signs[1]])),
            scale);
      }
    }
  }
};

/// Values of the IQ1 codebook, shifted up or down by an eighth: computed in eighths, times an
/// eighth of the scale.
ALLOT_AVX2_INLINE void put_shifted(float* out, const std::int8_t* first, bool first_down,
                                   const std::int8_t* second, bool second_down, float d) noexcept {
  constexpr std::uint64_t up = 0x0101010101010101U;
  const Longs shifts{first_down ? ~std::uint64_t{0} : up, second_down ? ~std::uint64_t{0} : up};
  put(out, entries(first, second) + (Bytes)shifts, d * 0.125F);
}

template <>
struct Vectorized<detail::IQ1_S> : detail::IQ1_S {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const Codebooks& books = codebooks();
    const float d = half(block);
    for (unsigned part = 0; part < 8; ++part) {
      unsigned high = load<std::uint16_t>(block + 34 + 2 * part);
      const float scale = d * static_cast<float>(static_cast<int>(2 * ((high >> 12) & 7U) + 1));
      const bool down = bit(high, 15) != 0;
      const Byte* low = block + 2 + 4 * part;
      for (unsigned i = 0; i < 4; i += 2, out += 16, low += 2, high >>= 6) {
        put_shifted(out, &books.iq1_s[8U * (low[0] | ((high & 7U) << 8))], down,
                    &books.iq1_s[8U * (low[1] | ((high >> 3 & 7U) << 8))], down, scale);
      }
    }
  }
};

template <>
struct Vectorized<detail::IQ1_M> : detail::IQ1_M {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const Codebooks& books = codebooks();
    const auto scales = load<std::uint64_t>(block + 48);
    // The block's scale is in the highest four bits of each of the four words.
    const std::uint64_t packed = (scales >> 12 & 0xfU) | (scales >> 24 & 0xf0U) |
                                 (scales >> 36 & 0xf00U) | (scales >> 48 & 0xf000U);
    const float d = four_halves(packed)[0];
    for (unsigned part = 0; part < 8; ++part) {
      for (unsigned i = 0; i < 2; ++i, out += 16) {
        const unsigned place = part / 2 * 16 + part % 2 * 6 + i * 3;
        const auto factor = static_cast<int>(2 * (scales >> place & 7U) + 1);
        const Byte* const low = block + 4 * part + 2 * i;
        const unsigned high = block[32 + 2 * part + i];
        put_shifted(out, &books.iq1_s[8U * (low[0] | ((high & 7U) << 8))], bit(high, 3) != 0,
                    &books.iq1_s[8U * (low[1] | ((high >> 4 & 7U) << 8))], bit(high, 7) != 0,
                    d * static_cast<float>(factor));
      }
    }
  }
};

}  // namespace allot::gguf::detail::avx2

#endif
