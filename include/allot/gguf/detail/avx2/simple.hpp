// SPDX-License-Identifier: MIT
/// \file
/// Qx_0 and Qx_1 with vectors: sixteen elements at a time.
#pragma once

#include <allot/gguf/detail/avx2/vectors.hpp>
#include <allot/gguf/detail/blocks/simple.hpp>

#include <bit>
#include <cstdint>

#ifdef ALLOT_HAS_AVX2

namespace allot::gguf::detail::avx2 {

template <>
struct Vectorized<detail::Q1_0> : detail::Q1_0 {
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

template <>
struct Vectorized<detail::Q2_0> : detail::Q2_0 {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    constexpr Unsigned places = {0, 2, 4, 6, 8, 10, 12, 14};
    // All four possible values, in each half of a register.
    const Floats values = Floats{-1, 0, 1, 2, -1, 0, 1, 2} * half(block);
    for (unsigned i = 0; i < 64; i += 8) {
      const Unsigned codes = (Unsigned{} + load<std::uint16_t>(block + 2 + i / 4)) >> places;
      store_vector(out + i, (Floats)__builtin_ia32_vpermilvarps256(values, (Ints)codes));
    }
  }
};

template <>
struct Vectorized<detail::Q4_0> : detail::Q4_0 {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const float d = half(block);
    const auto q = load_vector<Bytes>(block + 2);
    put(out, low_nibbles(q) - 8, d);
    put(out + 16, high_nibbles(q) - 8, d);
  }
};

template <>
struct Vectorized<detail::Q4_1> : detail::Q4_1 {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const Floats4 both = four_halves(load<std::uint32_t>(block));
    const auto q = load_vector<Bytes>(block + 4);
    put(out, low_nibbles(q), both[0], both[1]);
    put(out + 16, high_nibbles(q), both[0], both[1]);
  }
};

template <>
struct Vectorized<detail::Q5_0> : detail::Q5_0 {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const float d = half(block);
    const auto high = load<std::uint32_t>(block + 2);
    const auto q = load_vector<Bytes>(block + 6);
    // A level without the fifth bit is lower by 16.
    put(out, low_nibbles(q) | (unset(high) & 0xf0), d);
    put(out + 16, high_nibbles(q) | (unset(high >> 16) & 0xf0), d);
  }
};

template <>
struct Vectorized<detail::Q5_1> : detail::Q5_1 {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const Floats4 both = four_halves(load<std::uint32_t>(block));
    const auto high = load<std::uint32_t>(block + 4);
    const auto q = load_vector<Bytes>(block + 8);
    put(out, low_nibbles(q) | (~unset(high) & 16), both[0], both[1]);
    put(out + 16, high_nibbles(q) | (~unset(high >> 16) & 16), both[0], both[1]);
  }
};

template <>
struct Vectorized<detail::Q8_0> : detail::Q8_0 {
  ALLOT_AVX2_INLINE static void decode(const Byte* block, float* out) noexcept {
    const float d = half(block);
    for (unsigned i = 0; i < 32; i += 8)
      store_vector(out + i, low_floats(low_bytes(load<std::uint64_t>(block + 2 + i))) * d);
  }
};

}  // namespace allot::gguf::detail::avx2

#endif
