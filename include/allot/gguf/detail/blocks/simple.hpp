// SPDX-License-Identifier: MIT
/// \file
/// Qx_0 and Qx_1: blocks of 32 elements and more with one scale, and for Qx_1 an offset.
#pragma once

#include <allot/gguf/detail/blocks/block.hpp>

#include <cstddef>
#include <cstdint>

namespace allot::gguf::detail {

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

}  // namespace allot::gguf::detail
