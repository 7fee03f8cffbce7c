// SPDX-License-Identifier: MIT
/// \file
/// Converts F16 and BF16 to floats and back, with vectors.
#pragma once

#include <allot/gguf/detail/avx2/vectors.hpp>
#include <allot/gguf/detail/blocks/numbers.hpp>
#include <allot/gguf/float16.hpp>

#include <cstddef>
#include <cstdint>

#ifdef ALLOT_HAS_AVX2

namespace allot::gguf::detail::avx2 {

/// Widens eight unsigned 16-bit numbers.
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

// Rounds to 16 bits: to nearest, ties to even

ALLOT_AVX2 inline void narrow(const Byte* from, std::size_t count, Float16* out) noexcept {
  std::size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const auto values = load_vector<Floats>(from + 4 * i);
    store_vector(out + i, (Shorts)__builtin_ia32_vcvtps2ph256(values, 0));
  }
  for (; i < count; ++i) out[i] = to_float16(load<float>(from + 4 * i));
}

ALLOT_AVX2_INLINE Unsigned rounded_up_half(Unsigned bits) noexcept {
  const Unsigned rounded = (bits + 0x7fffU + (bits >> 16 & 1U)) >> 16;
  const Unsigned nan = (bits >> 16) | 0x40U;
  const auto is_nan = (Unsigned)((bits & 0x7fffffffU) > 0x7f800000U);
  return (is_nan & nan) | (~is_nan & rounded);
}

ALLOT_AVX2 inline void narrow(const Byte* from, std::size_t count, BFloat16* out) noexcept {
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const auto low = (Ints)rounded_up_half(load_vector<Unsigned>(from + 4 * i));
    const auto high = (Ints)rounded_up_half(load_vector<Unsigned>(from + 4 * i + 32));
    // Packing works within halves of registers: restore the order.
    const auto packed = (Ints)__builtin_ia32_packusdw256(low, high);
    store_vector(out + i, __builtin_shufflevector(packed, packed, 0, 1, 4, 5, 2, 3, 6, 7));
  }
  for (; i < count; ++i) out[i] = to_bfloat16(load<float>(from + 4 * i));
}

}  // namespace allot::gguf::detail::avx2

#endif
