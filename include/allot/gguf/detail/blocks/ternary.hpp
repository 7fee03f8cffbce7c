// SPDX-License-Identifier: MIT
/// \file
/// TQ1_0 and TQ2_0: elements of -1, 0 and 1 with one scale.
#pragma once

#include <allot/gguf/detail/blocks/block.hpp>

#include <cstddef>

namespace allot::gguf::detail {

struct TQ1_0 {
  static constexpr std::size_t elements = 256;
  static constexpr std::size_t bytes = 54;
  static void decode(const Byte* block, float* out) noexcept {
    const float d = half_at(block + 52);
    // A byte is a fraction in base 3: its next digit is the carry of three times it.
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

}  // namespace allot::gguf::detail
