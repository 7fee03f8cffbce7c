// SPDX-License-Identifier: MIT
#include "math.hpp"

#include <allot/gguf/dequantize.hpp>

#include <algorithm>
#include <cmath>
#include <span>

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
void add(float* to, const float* from, std::uint64_t count) noexcept {
  for (std::uint64_t i = 0; i < count; ++i) to[i] += from[i];
}

void rms_norm(float* to, const float* from, const float* weight, float epsilon,
              std::uint64_t count) noexcept {
  const float mean = dot<8>(from, from, count) / static_cast<float>(count);
  const float scale = 1 / std::sqrt(mean + epsilon);
  for (std::uint64_t i = 0; i < count; ++i) to[i] = from[i] * scale * weight[i];
}

void softmax(float* values, std::uint64_t count) noexcept {
  float most = values[0];
  for (std::uint64_t i = 1; i < count; ++i) most = values[i] > most ? values[i] : most;
  float sum = 0;
  for (std::uint64_t i = 0; i < count; ++i) sum += values[i] = std::exp(values[i] - most);
  for (std::uint64_t i = 0; i < count; ++i) values[i] /= sum;
}

void gate(float* gate, const float* up, std::uint64_t count) noexcept {
  for (std::uint64_t i = 0; i < count; ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
}

void rope(float* head, std::uint64_t position, const float* frequencies, std::uint64_t count,
          bool halves) noexcept {
  for (std::uint64_t i = 0; i < count; ++i) {
    float& a = head[halves ? i : 2 * i];
    float& b = head[halves ? i + count : 2 * i + 1];
    const float angle = static_cast<float>(position) * frequencies[i];
    const float cosine = std::cos(angle);
    const float sine = std::sin(angle);
    const float turned = a * cosine - b * sine;
    b = a * sine + b * cosine;
    a = turned;
  }
}

const float* floats_at(const std::byte* from, allot::gguf::TensorType type, std::uint64_t count,
                       float* scratch) {
  if (type == allot::gguf::TensorType::F32) return reinterpret_cast<const float*>(from);
  const allot::gguf::TypeInfo info = allot::gguf::type_info(type);
  allot::gguf::dequantize(type, std::span{from, count / info.block_elements * info.block_bytes},
                          std::span{scratch, count});
  return scratch;
}

void multiply(Threads& threads, const Projection& projection, Rows in, Rows out,
              std::uint64_t count, Rows scratch) {
  std::uint64_t outputs = 0;
  for (const Matrix& matrix : projection.matrices) {
    const std::uint64_t at_once = matrix.type == allot::gguf::TensorType::F32 ? 16 : 1;
    threads.run(matrix.count, [&](std::size_t begin, std::size_t end, std::size_t thread) {
      for (std::size_t i = begin; i < end; i += at_once) {
        const float* const weights = floats_at(matrix.rows + i * matrix.row_bytes, matrix.type,
                                               matrix.columns, scratch[thread]);
        for (std::uint64_t row = 0; row < count; ++row)
          dots(out[row] + outputs + i, in[row], weights, matrix.columns, std::min(at_once, end - i),
               matrix.columns, 1);
      }
    });
    outputs += matrix.count;
  }
  for (const Bias& bias : projection.biases) {
    for (std::uint64_t row = 0; row < count; ++row)
      add(out[row] + bias.first, bias.values, bias.count);
  }
}

}  // namespace llama
