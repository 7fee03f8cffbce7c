// SPDX-License-Identifier: MIT
/// \file
/// Where the time goes: the loops that are as wide as a processor's registers.
#include "math.hpp"

// Compiled for processors with AVX2 and for those without; a program takes its own when it starts (too
// early for GCC's thread sanitizer). Without FMA: a product is rounded before it is added, as elsewhere.
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__SANITIZE_THREAD__)
#define LLAMA_WIDE [[gnu::target_clones("avx2", "default")]]
#else
#define LLAMA_WIDE
#endif

namespace llama {
namespace {

/// Several sums side by side, as wide as registers are, and the same where they are narrower.
template <std::uint64_t Lanes>
[[gnu::always_inline]] inline float dot(const float* a, const float* b,
                                        std::uint64_t count) noexcept {
  float sums[Lanes] = {};
  std::uint64_t i = 0;
  for (; i + Lanes <= count; i += Lanes) {
    for (std::uint64_t k = 0; k < Lanes; ++k) sums[k] += a[i + k] * b[i + k];
  }
  for (std::uint64_t k = 0; i + k < count; ++k) sums[k] += a[i + k] * b[i + k];
  for (std::uint64_t half = Lanes / 2; half != 0; half /= 2) {
    for (std::uint64_t k = 0; k < half; ++k) sums[k] += sums[k + half];
  }
  return sums[0];
}

}  // namespace

LLAMA_WIDE void dots(float* __restrict to, const float* __restrict vector,
                     const float* __restrict rows, std::uint64_t stride, std::uint64_t count,
                     std::uint64_t length, float factor) noexcept {
  for (std::uint64_t i = 0; i < count; ++i) {
    const float* const row = rows + i * stride;
    to[i] = factor * (length < 32 ? dot<8>(vector, row, length) : dot<32>(vector, row, length));
  }
}

LLAMA_WIDE void add_rows(float* __restrict to, const float* __restrict rows, std::uint64_t stride,
                         const float* __restrict factors, std::uint64_t count,
                         std::uint64_t length) noexcept {
  for (std::uint64_t i = 0; i < count; ++i) {
    for (std::uint64_t k = 0; k < length; ++k) to[k] += factors[i] * rows[i * stride + k];
  }
}

}  // namespace llama
