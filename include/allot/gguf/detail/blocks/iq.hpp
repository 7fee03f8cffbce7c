// SPDX-License-Identifier: MIT
/// \file
/// The IQ types of one to three bits: groups of values from codebooks.
#pragma once

#include <allot/gguf/detail/blocks/block.hpp>
#include <allot/gguf/detail/codebooks.hpp>
#include <allot/gguf/float16.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace allot::gguf::detail {

/// Writes values of a codebook; their signs are masks.
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

/// Returns the two scales of a part of 32 elements: the first one is for the first 16.
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

/// Writes eight values of the IQ1 codebook, shifted up or down by an eighth. All are whole eighths,
/// and moving a power of two from the scale does not change the rounding.
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
    // The block's scale is in the highest four bits of these.
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
