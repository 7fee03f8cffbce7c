// SPDX-License-Identifier: MIT
/// \file
/// The decoders of blocks.hpp again, with 128- and 256-bit registers: x86-64 processors with AVX2
/// and F16C, with g++ from 12 and clang++. Functions here are compiled for such processors
/// whatever the compiler's options say; who calls them has asked `has_avx2`.
///
/// The results are the same to the bit: the same products and sums, each rounded once. A compiler
/// may fuse a product and a sum: here every such product is exact (17 bits of scale, 5 of level),
/// so that fusing them rounds once either way.
///
/// Vectors are the compilers' own; <immintrin.h> alone takes half a second to compile.
#pragma once

#if defined(__x86_64__) && defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector) && __has_builtin(__builtin_convertvector)
#define ALLOT_HAS_AVX2 1
#endif
#endif

#ifdef ALLOT_HAS_AVX2

#include <allot/gguf/detail/blocks.hpp>
#include <allot/gguf/detail/codebooks.hpp>
#include <allot/gguf/float16.hpp>
#include <allot/gguf/tensor_type.hpp>

#include <cpuid.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define ALLOT_AVX2 __attribute__((target("avx2,f16c")))
#define ALLOT_AVX2_INLINE __attribute__((target("avx2,f16c"), always_inline)) inline

namespace allot::gguf::detail {

/// Whether this processor has what the namespace `avx2` needs, and the operating system saves it.
[[nodiscard]] inline bool has_avx2() noexcept {
  static const bool has = [] {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") == 0) return false;
    // Asked directly: clang++ 14 has no name for it.
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
  }();
  return has;
}

namespace avx2 {

using Bytes = std::uint8_t __attribute__((vector_size(16)));
using Words = std::uint16_t __attribute__((vector_size(16)));
using Longs = std::uint64_t __attribute__((vector_size(16)));
using Floats4 = float __attribute__((vector_size(16)));
using Floats = float __attribute__((vector_size(32)));
using Ints = std::int32_t __attribute__((vector_size(32)));
using Unsigned = std::uint32_t __attribute__((vector_size(32)));
using Words16 = std::uint16_t __attribute__((vector_size(32)));
// As the compilers' built-in functions have them.
using Chars = char __attribute__((vector_size(16)));
using Shorts = short __attribute__((vector_size(16)));

template <class V>
ALLOT_AVX2_INLINE V load_vector(const void* from) noexcept {
  V vector;
  std::memcpy(&vector, from, sizeof vector);
  return vector;
}
template <class V>
ALLOT_AVX2_INLINE void store_vector(void* to, V vector) noexcept {
  std::memcpy(to, &vector, sizeof vector);
}

/// The lower eight bytes, signed, as floats.
ALLOT_AVX2_INLINE Floats low_floats(Bytes levels) noexcept {
#ifdef __clang__
  using Eight = std::int8_t __attribute__((vector_size(8)));
  const Longs all = (Longs)levels;
  const std::uint64_t low = all[0];
  return __builtin_convertvector(__builtin_convertvector(load_vector<Eight>(&low), Ints), Floats);
#else
  return __builtin_convertvector((Ints)__builtin_ia32_pmovsxbd256((Chars)levels), Floats);
#endif
}
ALLOT_AVX2_INLINE Floats high_floats(Bytes levels) noexcept {
  return low_floats((Bytes)__builtin_shufflevector((Longs)levels, (Longs)levels, 1, 1));
}
ALLOT_AVX2_INLINE Bytes low_bytes(std::uint64_t bytes) noexcept { return (Bytes)Longs{bytes, 0}; }

/// Sixteen levels, signed, by a scale.
ALLOT_AVX2_INLINE void put(float* out, Bytes levels, float scale) noexcept {
  store_vector(out, low_floats(levels) * scale);
  store_vector(out + 8, high_floats(levels) * scale);
}
/// And an offset.
ALLOT_AVX2_INLINE void put(float* out, Bytes levels, float scale, float offset) noexcept {
  store_vector(out, low_floats(levels) * scale + offset);
  store_vector(out + 8, high_floats(levels) * scale + offset);
}

ALLOT_AVX2_INLINE Bytes every(Byte byte) noexcept { return Bytes{} + byte; }
ALLOT_AVX2_INLINE Bytes low_nibbles(Bytes q) noexcept { return q & every(15); }
ALLOT_AVX2_INLINE Bytes high_nibbles(Bytes q) noexcept {
  return (Bytes)((Words)q >> 4) & every(15);
}

/// Two more bits of each byte come down; what comes with them from the byte above is masked later.
ALLOT_AVX2_INLINE Bytes shifted_down(Bytes q, int by) noexcept { return (Bytes)((Words)q >> by); }
ALLOT_AVX2_INLINE Bytes shifted_up(Bytes q, int by) noexcept { return (Bytes)((Words)q << by); }

/// table[i] for each i of sixteen, below 16.
ALLOT_AVX2_INLINE Bytes looked_up(Bytes table, Bytes i) noexcept {
  return (Bytes)__builtin_ia32_pshufb128((Chars)table, (Chars)i);
}

/// 255 where a bit is not set, for sixteen bits.
ALLOT_AVX2_INLINE Bytes unset(unsigned bits) noexcept {
  constexpr Bytes place = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
  constexpr Bytes mask = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  return (Bytes)((looked_up((Bytes)Longs{bits, 0}, place) & mask) == Bytes{});
}

/// Four binary16 numbers of eight bytes; of fewer, with zeros.
ALLOT_AVX2_INLINE Floats4 four_halves(std::uint64_t halves) noexcept {
  return (Floats4)__builtin_ia32_vcvtph2ps((Shorts)Longs{halves, 0});
}
ALLOT_AVX2_INLINE float half(const Byte* from) noexcept {
  return four_halves(load<std::uint16_t>(from))[0];
}

/// A decoder of a block, over many.
template <class Decoder>
ALLOT_AVX2 void decode_all(const Byte* from, std::size_t blocks, float* out) noexcept {
  for (std::size_t i = 0; i < blocks; ++i)
    Decoder::decode(from + i * Decoder::bytes, out + i * Decoder::elements);
}

// Numbers as they are

/// Eight unsigned numbers of 16 bits, widened.
ALLOT_AVX2_INLINE Unsigned wide(Words words) noexcept {
#ifdef __clang__
  return __builtin_convertvector(words, Unsigned);
#else
  return (Unsigned)__builtin_ia32_pmovzxwd256((Shorts)words);
#endif
}
ALLOT_AVX2_INLINE Floats eight_halves(Words halves) noexcept {
  return (Floats)__builtin_ia32_vcvtph2ps256((Shorts)halves);
}

ALLOT_AVX2 inline void decode_f16(const Byte* from, std::size_t count, float* out) noexcept {
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    store_vector(out + i, eight_halves(load_vector<Words>(from + 2 * i)));
    store_vector(out + i + 8, eight_halves(load_vector<Words>(from + 2 * i + 16)));
  }
  for (; i < count; ++i) out[i] = half(from + 2 * i);
}

ALLOT_AVX2 inline void decode_bf16(const Byte* from, std::size_t count, float* out) noexcept {
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    store_vector(out + i, wide(load_vector<Words>(from + 2 * i)) << 16);
    store_vector(out + i + 8, wide(load_vector<Words>(from + 2 * i + 16)) << 16);
  }
  for (; i < count; ++i) BF16::decode(from + 2 * i, out + i);
}

// Blocks of 32 and more with one scale

struct Q1_0 : detail::Q1_0 {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    constexpr Unsigned to_sign = {31, 30, 29, 28, 27, 26, 25, 24};
    // Set bits undo the negation.
    const Unsigned negated = (Unsigned{} + std::bit_cast<std::uint32_t>(half(block))) ^ 0x80000000U;
    for (unsigned i = 0; i < 128; i += 8) {
      const Unsigned bits = (Unsigned{} + block[2 + i / 8]) << to_sign;
      store_vector(out + i, negated ^ (bits & 0x80000000U));
    }
  }
};

struct Q2_0 : detail::Q2_0 {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    constexpr Unsigned places = {0, 2, 4, 6, 8, 10, 12, 14};
    // All four values there are, in each half of a register.
    const Floats values = Floats{-1, 0, 1, 2, -1, 0, 1, 2} * half(block);
    for (unsigned i = 0; i < 64; i += 8) {
      const Unsigned codes = (Unsigned{} + load<std::uint16_t>(block + 2 + i / 4)) >> places;
      store_vector(out + i, (Floats)__builtin_ia32_vpermilvarps256(values, (Ints)codes));
    }
  }
};

struct Q4_0 : detail::Q4_0 {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const float d = half(block);
    const auto q = load_vector<Bytes>(block + 2);
    put(out, low_nibbles(q) - 8, d);
    put(out + 16, high_nibbles(q) - 8, d);
  }
};

struct Q4_1 : detail::Q4_1 {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const Floats4 both = four_halves(load<std::uint32_t>(block));
    const auto q = load_vector<Bytes>(block + 4);
    put(out, low_nibbles(q), both[0], both[1]);
    put(out + 16, high_nibbles(q), both[0], both[1]);
  }
};

struct Q5_0 : detail::Q5_0 {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const float d = half(block);
    const auto high = load<std::uint32_t>(block + 2);
    const auto q = load_vector<Bytes>(block + 6);
    // Without the fifth bit a level is less by 16.
    put(out, low_nibbles(q) | (unset(high) & 0xf0), d);
    put(out + 16, high_nibbles(q) | (unset(high >> 16) & 0xf0), d);
  }
};

struct Q5_1 : detail::Q5_1 {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const Floats4 both = four_halves(load<std::uint32_t>(block));
    const auto high = load<std::uint32_t>(block + 4);
    const auto q = load_vector<Bytes>(block + 8);
    put(out, low_nibbles(q) | (~unset(high) & 16), both[0], both[1]);
    put(out + 16, high_nibbles(q) | (~unset(high >> 16) & 16), both[0], both[1]);
  }
};

struct Q8_0 : detail::Q8_0 {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const float d = half(block);
    for (unsigned i = 0; i < 32; i += 8)
      store_vector(out + i, low_floats(low_bytes(load<std::uint64_t>(block + 2 + i))) * d);
  }
};

ALLOT_AVX2_INLINE Bytes table_of(const std::array<std::int8_t, 16>& levels) noexcept {
  return load_vector<Bytes>(levels.data());
}

struct MXFP4 : detail::MXFP4 {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const float d = half_of_e8m0(block[0]);
    const Bytes levels = table_of(fp4_levels);
    const auto q = load_vector<Bytes>(block + 1);
    put(out, looked_up(levels, low_nibbles(q)), d);
    put(out + 16, looked_up(levels, high_nibbles(q)), d);
  }
};

struct NVFP4 : detail::NVFP4 {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    // UE4M3 is binary16 without its sign and with another bias: 7 instead of 15, and the half.
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

struct IQ4_NL : detail::IQ4_NL {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const float d = half(block);
    const Bytes levels = table_of(iq4_levels);
    const auto q = load_vector<Bytes>(block + 2);
    put(out, looked_up(levels, low_nibbles(q)), d);
    put(out + 16, looked_up(levels, high_nibbles(q)), d);
  }
};

struct IQ4_XS : detail::IQ4_XS {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const float d = half(block);
    const unsigned high = load<std::uint16_t>(block + 2);
    const Bytes levels = table_of(iq4_levels);
    for (unsigned b = 0; b < 8; ++b) {
      const unsigned low = (block[4 + b / 2] >> (4 * (b % 2))) & 15U;
      const auto scale = static_cast<int>(low | (((high >> (2 * b)) & 3U) << 4)) - 32;
      const float by = d * static_cast<float>(scale);
      const auto q = load_vector<Bytes>(block + 8 + 16 * b);
      put(out + 32 * b, looked_up(levels, low_nibbles(q)), by);
      put(out + 32 * b + 16, looked_up(levels, high_nibbles(q)), by);
    }
  }
};

// Ternary

/// The next digits in base 3, less one: what three times a fraction of 256 carries.
ALLOT_AVX2_INLINE Bytes digits(Bytes fractions) noexcept {
  return every(255) - (Bytes)(fractions > 85) - (Bytes)(fractions > 170);
}

struct TQ1_0 : detail::TQ1_0 {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const float d = half(block + 52);
    auto q0 = load_vector<Bytes>(block);
    auto q1 = load_vector<Bytes>(block + 16);
    auto q2 = load_vector<Bytes>(block + 32);
    for (unsigned n = 0; n < 5; ++n) {
      put(out + 32 * n, digits(q0), d);
      put(out + 32 * n + 16, digits(q1), d);
      q0 += q0 + q0;
      q1 += q1 + q1;
    }
    for (unsigned n = 0; n < 5; ++n) {
      put(out + 160 + 16 * n, digits(q2), d);
      q2 += q2 + q2;
    }
    const auto last = load<std::uint32_t>(block + 48);
    const auto q3 = (Bytes)(Longs{} + (last | std::uint64_t{last} << 32));
    put(out + 240, digits(q3 * Bytes{1, 1, 1, 1, 3, 3, 3, 3, 9, 9, 9, 9, 27, 27, 27, 27}), d);
  }
};

struct TQ2_0 : detail::TQ2_0 {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const float d = half(block + 64);
    for (unsigned j = 0; j < 64; j += 32) {
      auto q0 = load_vector<Bytes>(block + j);
      auto q1 = load_vector<Bytes>(block + j + 16);
      for (unsigned n = 0; n < 4; ++n, out += 32) {
        put(out, (q0 & 3) - 1, d);
        put(out + 16, (q1 & 3) - 1, d);
        q0 = shifted_down(q0, 2);
        q1 = shifted_down(q1, 2);
      }
    }
  }
};

// K: blocks of 256 in parts with scales of their own

struct Q2_K : detail::Q2_K {
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

struct Q3_K : detail::Q3_K {
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
        // Without the third bit a level is less by 4.
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

struct Q4_K : detail::Q4_K {
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

struct Q5_K : detail::Q5_K {
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

struct Q6_K : detail::Q6_K {
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

// IQ: groups of values from codebooks

/// Two entries of eight values.
ALLOT_AVX2_INLINE Bytes entries(const std::int8_t* first, const std::int8_t* second) noexcept {
  return (Bytes)Longs{load<std::uint64_t>(reinterpret_cast<const Byte*>(first)),
                      load<std::uint64_t>(reinterpret_cast<const Byte*>(second))};
}
/// Two entries of four.
[[nodiscard]] inline std::uint64_t joined(const std::int8_t* first,
                                          const std::int8_t* second) noexcept {
  return load<std::uint32_t>(reinterpret_cast<const Byte*>(first)) |
         std::uint64_t{load<std::uint32_t>(reinterpret_cast<const Byte*>(second))} << 32;
}
ALLOT_AVX2_INLINE Bytes with_signs(Bytes values, Bytes negated) noexcept {
  return (values ^ negated) - negated;
}

struct IQ2_XXS : detail::IQ2_XXS {
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

struct IQ2_XS : detail::IQ2_XS {
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

struct IQ2_S : detail::IQ2_S {
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

struct IQ3_XXS : detail::IQ3_XXS {
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

struct IQ3_S : detail::IQ3_S {
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

/// Values of the codebook of IQ1, shifted up or down by an eighth: their eighths, by an eighth of
/// the scale.
ALLOT_AVX2_INLINE void put_shifted(float* out, const std::int8_t* first, bool first_down,
                                   const std::int8_t* second, bool second_down, float d) noexcept {
  constexpr std::uint64_t up = 0x0101010101010101U;
  const Longs shifts{first_down ? ~std::uint64_t{0} : up, second_down ? ~std::uint64_t{0} : up};
  put(out, entries(first, second) + (Bytes)shifts, d * 0.125F);
}

struct IQ1_S : detail::IQ1_S {
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

struct IQ1_M : detail::IQ1_M {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const Codebooks& books = codebooks();
    const auto scales = load<std::uint64_t>(block + 48);
    // The scale of the block is in the highest four bits of each of the four.
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

// Down to 16 bits, rounded to nearest, ties to even

ALLOT_AVX2 inline void narrow(const float* from, std::size_t count, Float16* out) noexcept {
  std::size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const auto values = load_vector<Floats>(from + i);
    store_vector(out + i, (Shorts)__builtin_ia32_vcvtps2ph256(values, 0));
  }
  for (; i < count; ++i) out[i] = to_float16(from[i]);
}

ALLOT_AVX2_INLINE Unsigned rounded_up_half(Unsigned bits) noexcept {
  const Unsigned rounded = (bits + 0x7fffU + (bits >> 16 & 1U)) >> 16;
  const Unsigned nan = (bits >> 16) | 0x40U;
  const auto is_nan = (Unsigned)((bits & 0x7fffffffU) > 0x7f800000U);
  return (is_nan & nan) | (~is_nan & rounded);
}

ALLOT_AVX2 inline void narrow(const float* from, std::size_t count, BFloat16* out) noexcept {
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const auto low = (Ints)rounded_up_half(load_vector<Unsigned>(from + i));
    const auto high = (Ints)rounded_up_half(load_vector<Unsigned>(from + i + 8));
    // Packs within halves of registers: their order is to be restored.
    const auto packed = (Ints)__builtin_ia32_packusdw256(low, high);
    store_vector(out + i, __builtin_shufflevector(packed, packed, 0, 1, 4, 5, 2, 3, 6, 7));
  }
  for (; i < count; ++i) out[i] = to_bfloat16(from[i]);
}

/// Null for types that have none here: their plain loops move memory as fast.
[[nodiscard]] inline Decode decoder_of(TensorType type) noexcept {
  switch (type) {
    case TensorType::F16:
      return decode_f16;
    case TensorType::BF16:
      return decode_bf16;
    case TensorType::Q1_0:
      return decode_all<Q1_0>;
    case TensorType::Q2_0:
      return decode_all<Q2_0>;
    case TensorType::Q4_0:
      return decode_all<Q4_0>;
    case TensorType::Q4_1:
      return decode_all<Q4_1>;
    case TensorType::Q5_0:
      return decode_all<Q5_0>;
    case TensorType::Q5_1:
      return decode_all<Q5_1>;
    case TensorType::Q8_0:
      return decode_all<Q8_0>;
    case TensorType::Q2_K:
      return decode_all<Q2_K>;
    case TensorType::Q3_K:
      return decode_all<Q3_K>;
    case TensorType::Q4_K:
      return decode_all<Q4_K>;
    case TensorType::Q5_K:
      return decode_all<Q5_K>;
    case TensorType::Q6_K:
      return decode_all<Q6_K>;
    case TensorType::IQ1_S:
      return decode_all<IQ1_S>;
    case TensorType::IQ1_M:
      return decode_all<IQ1_M>;
    case TensorType::IQ2_XXS:
      return decode_all<IQ2_XXS>;
    case TensorType::IQ2_XS:
      return decode_all<IQ2_XS>;
    case TensorType::IQ2_S:
      return decode_all<IQ2_S>;
    case TensorType::IQ3_XXS:
      return decode_all<IQ3_XXS>;
    case TensorType::IQ3_S:
      return decode_all<IQ3_S>;
    case TensorType::IQ4_NL:
      return decode_all<IQ4_NL>;
    case TensorType::IQ4_XS:
      return decode_all<IQ4_XS>;
    case TensorType::TQ1_0:
      return decode_all<TQ1_0>;
    case TensorType::TQ2_0:
      return decode_all<TQ2_0>;
    case TensorType::MXFP4:
      return decode_all<MXFP4>;
    case TensorType::NVFP4:
      return decode_all<NVFP4>;
    default:
      return nullptr;
  }
}

}  // namespace avx2
}  // namespace allot::gguf::detail

#undef ALLOT_AVX2
#undef ALLOT_AVX2_INLINE
#endif
