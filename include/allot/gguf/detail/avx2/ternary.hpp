// SPDX-License-Identifier: MIT
/// \file
/// TQ1_0 and TQ2_0 with vectors.
#pragma once

#include <allot/gguf/detail/avx2/vectors.hpp>
#include <allot/gguf/detail/blocks/ternary.hpp>

#include <cstdint>

#ifdef ALLOT_HAS_AVX2

namespace allot::gguf::detail::avx2 {

/// Returns the next base-3 digits, minus one: the carry of three times a fraction of 256.
ALLOT_AVX2_INLINE Bytes digits(Bytes fractions) noexcept {
  return every(255) - (Bytes)(fractions > 85) - (Bytes)(fractions > 170);
}

template <>
struct Vectorized<detail::TQ1_0> : detail::TQ1_0 {
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

template <>
struct Vectorized<detail::TQ2_0> : detail::TQ2_0 {
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

}  // namespace allot::gguf::detail::avx2

#endif
