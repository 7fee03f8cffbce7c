// SPDX-License-Identifier: MIT
/// \file
/// How the blocks of each tensor type become floats. A decoder has `elements` and `bytes` of a
/// block, and `decode`. Products and sums are rounded one by one, in the order in which ggml
/// computes them, so that the results are the same to the bit.
///
/// Source of the formats: ggml, src/ggml-common.h and src/ggml-quants.c.
#pragma once

#include <allot/gguf/detail/codebooks.hpp>
#include <allot/gguf/float16.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace allot::gguf::detail {

using Byte = std::uint8_t;

template <class T>
[[nodiscard]] inline T load(const Byte* from) noexcept {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

[[nodiscard]] inline float half_at(const Byte* from) noexcept {
  return to_float(Float16{load<std::uint16_t>(from)});
}

[[nodiscard]] inline unsigned bit(unsigned value, unsigned place) noexcept {
  return (value >> place) & 1U;
}

/// A power of two by its biased exponent, halved: E8M0.
[[nodiscard]] inline float half_of_e8m0(Byte exponent) noexcept {
  const std::uint32_t bits =
      exponent < 2 ? 0x00200000U << exponent : static_cast<std::uint32_t>(exponent - 1) << 23;
  return std::bit_cast<float>(bits);
}

/// An unsigned number of four bits of exponent and three of mantissa, halved: UE4M3.
[[nodiscard]] inline float half_of_ue4m3(Byte number) noexcept {
  if (number == 0 || number == 0x7f) return 0;
  const unsigned exponent = (number >> 3) & 15U;
  const auto mantissa = static_cast<float>(number & 7U);
  if (exponent == 0) return mantissa * 0x1p-10F;
  return (1.0F + mantissa / 8.0F) * std::bit_cast<float>((exponent - 7U + 127U - 1U) << 23);
}

/// Decodes so many blocks.
using Decode = void (*)(const Byte* from, std::size_t blocks, float* out);

/// A decoder of a block, over many.
template <class Decoder>
void decode_all(const Byte* from, std::size_t blocks, float* out) noexcept {
  for (std::size_t i = 0; i < blocks; ++i)
    Decoder::decode(from + i * Decoder::bytes, out + i * Decoder::elements);
}

// Numbers as they are

inline void copy_floats(const Byte* from, std::size_t count, float* out) noexcept {
  std::memcpy(out, from, count * sizeof(float));
}
template <class T>
struct Plain {
  static constexpr std::size_t elements = 1;
  static constexpr std::size_t bytes = sizeof(T);
  static void decode(const Byte* block, float* out) noexcept {
    *out = static_cast<float>(load<T>(block));
  }
};
struct F16 {
  static constexpr std::size_t elements = 1;
  static constexpr std::size_t bytes = 2;
  static void decode(const Byte* block, float* out) noexcept { *out = half_at(block); }
};
struct BF16 {
  static constexpr std::size_t elements = 1;
  static constexpr std::size_t bytes = 2;
  static void decode(const Byte* block, float* out) noexcept {
    *out = to_float(BFloat16{load<std::uint16_t>(block)});
  }
};

// Blocks of 32 and more with one scale

struct Q1_0 {
  static constexpr std::size_t elements = 128;
  static constexpr std::size_t bytes = 18;
  static void decode(const Byte* block, float* out) noexcept {
    const float d = half_at(block);
    for (unsigned i = 0; i < 128; ++i) out[i] = bit(block[2 + i / 8], i % 8) != 0 ? d : -d;
  }
};

struct Q2_0 {
  static constexpr std::size_t elements = 64;
  static constexpr std::size_t bytes = 18;
  static void decode(const Byte* block, float* out) noexcept {
    const float d = half_at(block);
    for (unsigned i = 0; i < 64; ++i) {
      const int q = (block[2 + i / 4] >> (i % 4 * 2)) & 3;
      out[i] = static_cast<float>(q - 1) * d;
    }
  }
};

struct Q4_0 {
  static constexpr std::size_t elements = 32;
  static constexpr std::size_t bytes = 18;
  static void decode(const Byte* block, float* out) noexcept {
    const float d = half_at(block);
    const Byte* const q = block + 2;
    for (unsigned i = 0; i < 16; ++i) {
      out[i] = static_cast<float>((q[i] & 15) - 8) * d;
      out[i + 16] = static_cast<float>((q[i] >> 4) - 8) * d;
    }
  }
};

struct Q4_1 {
  static constexpr std::size_t elements = 32;
  static constexpr std::size_t bytes = 20;
  static void decode(const Byte* block, float* out) noexcept {
    const float d = half_at(block);
    const float m = half_at(block + 2);
    const Byte* const q = block + 4;
    for (unsigned i = 0; i < 16; ++i) {
      out[i] = static_cast<float>(q[i] & 15) * d + m;
      out[i + 16] = static_cast<float>(q[i] >> 4) * d + m;
    }
  }
};

struct Q5_0 {
  static constexpr std::size_t elements = 32;
  static constexpr std::size_t bytes = 22;
  static void decode(const Byte* block, float* out) noexcept {
    const float d = half_at(block);
    const auto high = load<std::uint32_t>(block + 2);
    const Byte* const q = block + 6;
    for (unsigned i = 0; i < 16; ++i) {
      const auto low = static_cast<int>((q[i] & 15U) | (bit(high, i) << 4));
      const auto upper = static_cast<int>((q[i] >> 4U) | (bit(high, i + 16) << 4));
      out[i] = static_cast<float>(low - 16) * d;
      out[i + 16] = static_cast<float>(upper - 16) * d;
    }
  }
};

struct Q5_1 {
  static constexpr std::size_t elements = 32;
  static constexpr std::size_t bytes = 24;
  static void decode(const Byte* block, float* out) noexcept {
    const float d = half_at(block);
    const float m = half_at(block + 2);
    const auto high = load<std::uint32_t>(block + 4);
    const Byte* const q = block + 8;
    for (unsigned i = 0; i < 16; ++i) {
      const auto low = static_cast<int>((q[i] & 15U) | (bit(high, i) << 4));
      const auto upper = static_cast<int>((q[i] >> 4U) | (bit(high, i + 16) << 4));
      out[i] = static_cast<float>(low) * d + m;
      out[i + 16] = static_cast<float>(upper) * d + m;
    }
  }
};

struct Q8_0 {
  static constexpr std::size_t elements = 32;
  static constexpr std::size_t bytes = 34;
  static void decode(const Byte* block, float* out) noexcept {
    const float d = half_at(block);
    for (unsigned i = 0; i < 32; ++i)
      out[i] = static_cast<float>(static_cast<std::int8_t>(block[2 + i])) * d;
  }
};

/// Sixteen bytes of four-bit codes into 32 values: the low halves first.
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

// Ternary

struct TQ1_0 {
  static constexpr std::size_t elements = 256;
  static constexpr std::size_t bytes = 54;
  static void decode(const Byte* block, float* out) noexcept {
    const float d = half_at(block + 52);
    // A byte is a fraction in base 3: its next digit is what three times it carries.
    const auto digits = [&](const Byte* q, unsigned count, unsigned steps) {
      unsigned power = 1;
      for (unsigned n = 0; n < steps; ++n, power *= 3) {
        for (unsigned i = 0; i < count; ++i) {
          const unsigned fraction = (q[i] * power) & 255U;
          *out++ = static_cast<float>(static_cast<int>((fraction * 3) >> 8) - 1) * d;
        }
      }
    };
    digits(block, 32, 5);
    digits(block + 32, 16, 5);
    digits(block + 48, 4, 4);
  }
};

struct TQ2_0 {
  static constexpr std::size_t elements = 256;
  static constexpr std::size_t bytes = 66;
  static void decode(const Byte* block, float* out) noexcept {
    const float d = half_at(block + 64);
    for (unsigned j = 0; j < 64; j += 32) {
      for (unsigned shift = 0; shift < 8; shift += 2) {
        for (unsigned i = 0; i < 32; ++i) {
          const int q = (block[j + i] >> shift) & 3;
          *out++ = static_cast<float>(q - 1) * d;
        }
      }
    }
  }
};

// K: blocks of 256 in parts with scales of their own

struct Q2_K {
  static constexpr std::size_t elements = 256;
  static constexpr std::size_t bytes = 84;
  static void decode(const Byte* block, float* out) noexcept {
    const float d = half_at(block + 80);
    const float min = half_at(block + 82);
    for (unsigned part = 0; part < 16; ++part) {
      const float scale = d * static_cast<float>(block[part] & 15);
      const float offset = min * static_cast<float>(block[part] >> 4);
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

  Scales(const Byte* packed, float d, float min) noexcept {
    for (unsigned i = 0; i < 4; ++i) {
      scale[i] = d * static_cast<float>(packed[i] & 63);
      offset[i] = min * static_cast<float>(packed[i + 4] & 63);
      scale[i + 4] = d * static_cast<float>((packed[i + 8] & 15) | (packed[i] >> 6 << 4));
      offset[i + 4] = min * static_cast<float>((packed[i + 8] >> 4) | (packed[i + 4] >> 6 << 4));
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

// IQ: groups of values from codebooks

/// Values of a codebook with their signs, as masks.
template <unsigned Count>
void decode_signed(const std::int8_t* values, const std::int8_t* negated, float d,
                   float* out) noexcept {
  for (unsigned i = 0; i < Count; ++i)
    out[i] = d * static_cast<float>((values[i] ^ negated[i]) - negated[i]);
}

struct IQ2_XXS {
  static constexpr std::size_t elements = 256;
  static constexpr std::size_t bytes = 66;
  static void decode(const Byte* block, float* out) noexcept {
    const Codebooks& books = codebooks();
    const float d = half_at(block);
    for (unsigned part = 0; part < 8; ++part) {
      const Byte* const codes = block + 2 + 8 * part;
      const auto rest = load<std::uint32_t>(codes + 4);
      const float scale = d * (0.5F + static_cast<float>(rest >> 28)) * 0.25F;
      for (unsigned i = 0; i < 4; ++i, out += 8) {
        decode_signed<8>(&books.iq2_xxs[8U * codes[i]],
                         &books.negated_evenly[8U * ((rest >> (7 * i)) & 127U)], scale, out);
      }
    }
  }
};

/// The two scales of a part of 32: the first for 16 of them.
[[nodiscard]] inline std::array<float, 2> quarter_scales(Byte packed, float d) noexcept {
  return {d * (0.5F + static_cast<float>(packed & 15)) * 0.25F,
          d * (0.5F + static_cast<float>(packed >> 4)) * 0.25F};
}

struct IQ2_XS {
  static constexpr std::size_t elements = 256;
  static constexpr std::size_t bytes = 74;
  static void decode(const Byte* block, float* out) noexcept {
    const Codebooks& books = codebooks();
    const float d = half_at(block);
    for (unsigned part = 0; part < 8; ++part) {
      const auto scales = quarter_scales(block[66 + part], d);
      for (unsigned i = 0; i < 4; ++i, out += 8) {
        const unsigned code = load<std::uint16_t>(block + 2 + 8 * part + 2 * i);
        decode_signed<8>(&books.iq2_xs[8 * (code & 511U)], &books.negated_evenly[8 * (code >> 9)],
                         scales[i / 2], out);
      }
    }
  }
};

struct IQ2_S {
  static constexpr std::size_t elements = 256;
  static constexpr std::size_t bytes = 82;
  static void decode(const Byte* block, float* out) noexcept {
    const Codebooks& books = codebooks();
    const float d = half_at(block);
    for (unsigned part = 0; part < 8; ++part) {
      const auto scales = quarter_scales(block[74 + part], d);
      const unsigned high = block[66 + part];
      for (unsigned i = 0; i < 4; ++i, out += 8) {
        const unsigned code = block[2 + 4 * part + i] | ((high << (8 - 2 * i)) & 0x300U);
        decode_signed<8>(&books.iq2_s[8 * code], &books.negated[8U * block[34 + 4 * part + i]],
                         scales[i / 2], out);
      }
    }
  }
};

struct IQ3_XXS {
  static constexpr std::size_t elements = 256;
  static constexpr std::size_t bytes = 98;
  static void decode(const Byte* block, float* out) noexcept {
    const Codebooks& books = codebooks();
    const float d = half_at(block);
    for (unsigned part = 0; part < 8; ++part) {
      const Byte* const codes = block + 2 + 8 * part;
      const auto rest = load<std::uint32_t>(block + 66 + 4 * part);
      const float scale = d * (0.5F + static_cast<float>(rest >> 28)) * 0.5F;
      for (unsigned i = 0; i < 4; ++i, out += 8) {
        const std::int8_t* const negated = &books.negated_evenly[8U * ((rest >> (7 * i)) & 127U)];
        decode_signed<4>(&books.iq3_xxs[4U * codes[2 * i]], negated, scale, out);
        decode_signed<4>(&books.iq3_xxs[4U * codes[2 * i + 1]], negated + 4, scale, out + 4);
      }
    }
  }
};

struct IQ3_S {
  static constexpr std::size_t elements = 256;
  static constexpr std::size_t bytes = 110;
  static void decode(const Byte* block, float* out) noexcept {
    const Codebooks& books = codebooks();
    const float d = half_at(block);
    for (unsigned part = 0; part < 8; ++part) {
      const unsigned packed = (block[106 + part / 2] >> (part % 2 * 4)) & 15U;
      const float scale = d * static_cast<float>(static_cast<int>(1 + 2 * packed));
      const Byte* const codes = block + 2 + 8 * part;
      const unsigned high = block[66 + part];
      for (unsigned i = 0; i < 4; ++i, out += 8) {
        const unsigned first = codes[2 * i] | (bit(high, 2 * i) << 8);
        const unsigned second = codes[2 * i + 1] | (bit(high, 2 * i + 1) << 8);
        const std::int8_t* const negated = &books.negated[8U * block[74 + 4 * part + i]];
        decode_signed<4>(&books.iq3_s[4 * first], negated, scale, out);
        decode_signed<4>(&books.iq3_s[4 * second], negated + 4, scale, out + 4);
      }
    }
  }
};

/// Eight values of the codebook of IQ1, shifted up or down by an eighth. All is an eighth of a
/// whole number, and a power of two out of the scale changes no rounding.
inline void decode_shifted(const std::int8_t* values, bool down, float d, float* out) noexcept {
  const int shift = down ? -1 : 1;
  for (unsigned i = 0; i < 8; ++i) out[i] = d * 0.125F * static_cast<float>(values[i] + shift);
}

struct IQ1_S {
  static constexpr std::size_t elements = 256;
  static constexpr std::size_t bytes = 50;
  static void decode(const Byte* block, float* out) noexcept {
    const Codebooks& books = codebooks();
    const float d = half_at(block);
    for (unsigned part = 0; part < 8; ++part) {
      const unsigned high = load<std::uint16_t>(block + 34 + 2 * part);
      const float scale = d * static_cast<float>(static_cast<int>(2 * ((high >> 12) & 7U) + 1));
      for (unsigned i = 0; i < 4; ++i, out += 8) {
        const unsigned code = block[2 + 4 * part + i] | (((high >> (3 * i)) & 7U) << 8);
        decode_shifted(&books.iq1_s[8 * code], bit(high, 15) != 0, scale, out);
      }
    }
  }
};

struct IQ1_M {
  static constexpr std::size_t elements = 256;
  static constexpr std::size_t bytes = 56;
  static void decode(const Byte* block, float* out) noexcept {
    const Codebooks& books = codebooks();
    std::array<unsigned, 4> scales{};
    for (unsigned i = 0; i < 4; ++i) scales[i] = load<std::uint16_t>(block + 48 + 2 * i);
    // The scale of the block is in the highest four bits of these.
    const unsigned packed = (scales[0] >> 12) | ((scales[1] >> 8) & 0x00f0U) |
                            ((scales[2] >> 4) & 0x0f00U) | (scales[3] & 0xf000U);
    const float d = to_float(Float16{static_cast<std::uint16_t>(packed)});
    for (unsigned part = 0; part < 8; ++part) {
      for (unsigned i = 0; i < 4; ++i, out += 8) {
        const unsigned shift = 6 * (part % 2) + 3 * (i / 2);
        const unsigned factor = 2 * ((scales[part / 2] >> shift) & 7U) + 1;
        const unsigned high = block[32 + 2 * part + i / 2] >> (4 * (i % 2));
        const unsigned code = block[4 * part + i] | ((high & 7U) << 8);
        decode_shifted(&books.iq1_s[8 * code], bit(high, 3) != 0,
                       d * static_cast<float>(static_cast<int>(factor)), out);
      }
    }
  }
};

}  // namespace allot::gguf::detail
