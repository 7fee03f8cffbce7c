// SPDX-License-Identifier: MIT
/// \file
/// 128- and 256-bit registers of x86-64 processors with AVX2 and F16C, for the decoders in this
/// folder, with g++ from version 12 and clang++. Functions marked `ALLOT_AVX2` are compiled for
/// such processors whatever the compiler's options; the caller must check `has_avx2` first.
///
/// Uses the compilers' own vector types; <immintrin.h> alone takes half a second to compile.
#pragma once

#if defined(__x86_64__) && defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector) && __has_builtin(__builtin_convertvector)
#define ALLOT_HAS_AVX2 1
#endif
#endif

#ifdef ALLOT_HAS_AVX2

#include <allot/gguf/detail/blocks/block.hpp>

#include <cpuid.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#define ALLOT_AVX2 __attribute__((target("avx2,f16c")))
#define ALLOT_AVX2_INLINE __attribute__((target("avx2,f16c"), always_inline)) inline

namespace allot::gguf::detail {

/// Returns whether this processor supports what namespace `avx2` needs, and the system saves it.
[[nodiscard]] inline bool has_avx2() noexcept {
  static const bool has = [] {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") == 0) return false;
    // Queried directly: clang++ 14 does not have a name for it.
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
// The types that the compilers' built-in functions take.
using Chars = char __attribute__((vector_size(16)));
using Shorts = short __attribute__((vector_size(16)));

template <class Vector>
ALLOT_AVX2_INLINE Vector load_vector(const void* from) noexcept {
  Vector vector;
  std::memcpy(&vector, from, sizeof vector);
  return vector;
}
template <class Vector>
ALLOT_AVX2_INLINE void store_vector(void* to, Vector vector) noexcept {
  std::memcpy(to, &vector, sizeof vector);
}

/// Converts the lower eight bytes, signed, to floats.
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

/// Writes sixteen signed levels times a scale.
ALLOT_AVX2_INLINE void put(float* out, Bytes levels, float scale) noexcept {
  store_vector(out, low_floats(levels) * scale);
  store_vector(out + 8, high_floats(levels) * scale);
}
/// The same, plus an offset.
ALLOT_AVX2_INLINE void put(float* out, Bytes levels, float scale, float offset) noexcept {
  store_vector(out, low_floats(levels) * scale + offset);
  store_vector(out + 8, high_floats(levels) * scale + offset);
}

ALLOT_AVX2_INLINE Bytes every(Byte byte) noexcept { return Bytes{} + byte; }
ALLOT_AVX2_INLINE Bytes low_nibbles(Bytes q) noexcept { return q & every(15); }
ALLOT_AVX2_INLINE Bytes high_nibbles(Bytes q) noexcept {
  return (Bytes)((Words)q >> 4) & every(15);
}

/// Shifts bytes right, in words of 16 bits; the caller masks bits that come from the next byte.
ALLOT_AVX2_INLINE Bytes shifted_down(Bytes q, int by) noexcept { return (Bytes)((Words)q >> by); }
ALLOT_AVX2_INLINE Bytes shifted_up(Bytes q, int by) noexcept { return (Bytes)((Words)q << by); }

/// Returns table[i] for each of sixteen indices below 16.
ALLOT_AVX2_INLINE Bytes looked_up(Bytes table, Bytes i) noexcept {
  return (Bytes)__builtin_ia32_pshufb128((Chars)table, (Chars)i);
}

/// Returns sixteen bytes: 255 for a bit that is not set, else 0.
ALLOT_AVX2_INLINE Bytes unset(unsigned bits) noexcept {
  constexpr Bytes place = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
  constexpr Bytes mask = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  return (Bytes)((looked_up((Bytes)Longs{bits, 0}, place) & mask) == Bytes{});
}

/// Converts up to eight bytes of binary16 numbers to four floats, filling up with zeros.
ALLOT_AVX2_INLINE Floats4 four_halves(std::uint64_t halves) noexcept {
  return (Floats4)__builtin_ia32_vcvtph2ps((Shorts)Longs{halves, 0});
}
ALLOT_AVX2_INLINE float half(const Byte* from) noexcept {
  return four_halves(load<std::uint16_t>(from))[0];
}

/// The decoder of a block with vectors.
template <class Decoder>
struct Vectorized;

/// Applies a block's decoder to many blocks.
template <class Decoder>
ALLOT_AVX2 void decode_all(const Byte* from, std::size_t blocks, float* out) noexcept {
  for (std::size_t i = 0; i < blocks; ++i)
    Decoder::decode(from + i * Decoder::bytes, out + i * Decoder::elements);
}

}  // namespace avx2
}  // namespace allot::gguf::detail

#endif
