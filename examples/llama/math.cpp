// SPDX-License-Identifier: MIT
#include "math.hpp"

#include <allot/gguf/dequantize.hpp>

#include <algorithm>
#include <cmath>
#include <span>

#if defined(__x86_64__) && defined(__GNUC__)
#define LLAMA_AVX2 1
#else
#define LLAMA_AVX2 0
#endif

namespace llama {
namespace {

#if defined(__GNUC__)
#define LLAMA_INLINE [[gnu::always_inline]] inline
#else
#define LLAMA_INLINE inline
#endif

/// Several sums side by side, as wide as registers are, and the same where they are narrower.
template <std::uint64_t Lanes>
LLAMA_INLINE float sum_of_products(const float* a, const float* b, std::uint64_t count) noexcept {
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

LLAMA_INLINE void all_dots(float* __restrict to, const float* __restrict vector,
                           const float* __restrict rows, std::uint64_t stride, std::uint64_t count,
                           std::uint64_t length, float factor) noexcept {
  for (std::uint64_t i = 0; i < count; ++i) {
    const float* const row = rows + i * stride;
    to[i] = factor * (length < 32 ? sum_of_products<8>(vector, row, length)
                                  : sum_of_products<32>(vector, row, length));
  }
}

LLAMA_INLINE void add_all_rows(float* __restrict to, const float* __restrict rows,
                               std::uint64_t stride, const float* __restrict factors,
                               std::uint64_t count, std::uint64_t length) noexcept {
  for (std::uint64_t i = 0; i < count; ++i) {
    for (std::uint64_t k = 0; k < length; ++k) to[k] += factors[i] * rows[i * stride + k];
  }
}

#if LLAMA_AVX2
/// Without FMA: a product is rounded before it is added, as elsewhere.
[[gnu::target("avx2")]] void dots_avx2(float* to, const float* vector, const float* rows,
                                       std::uint64_t stride, std::uint64_t count,
                                       std::uint64_t length, float factor) noexcept {
  all_dots(to, vector, rows, stride, count, length, factor);
}
[[gnu::target("avx2")]] void add_rows_avx2(float* to, const float* rows, std::uint64_t stride,
                                           const float* factors, std::uint64_t count,
                                           std::uint64_t length) noexcept {
  add_all_rows(to, rows, stride, factors, count, length);
}
const bool has_avx2 = __builtin_cpu_supports("avx2");
#endif

}  // namespace

void dots(float* to, const float* vector, const float* rows, std::uint64_t stride,
          std::uint64_t count, std::uint64_t length, float factor) noexcept {
#if LLAMA_AVX2
  if (has_avx2) return dots_avx2(to, vector, rows, stride, count, length, factor);
#endif
  all_dots(to, vector, rows, stride, count, length, factor);
}

void add_rows(float* to, const float* rows, std::uint64_t stride, const float* factors,
              std::uint64_t count, std::uint64_t length) noexcept {
#if LLAMA_AVX2
  if (has_avx2) return add_rows_avx2(to, rows, stride, factors, count, length);
#endif
  add_all_rows(to, rows, stride, factors, count, length);
}

void add(float* to, const float* from, std::uint64_t count) noexcept {
  for (std::uint64_t i = 0; i < count; ++i) to[i] += from[i];
}

void rms_norm(float* to, const float* from, const float* weight, float epsilon,
              std::uint64_t count) noexcept {
  const float mean = sum_of_products<8>(from, from, count) / static_cast<float>(count);
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

const float* floats_of(const Matrix& matrix, std::uint64_t row, float* scratch) {
  const std::byte* const bytes = matrix.rows + row * matrix.row_bytes;
  if (matrix.type == allot::gguf::TensorType::F32) return reinterpret_cast<const float*>(bytes);
  const allot::gguf::TypeInfo type = allot::gguf::type_info(matrix.type);
  allot::gguf::dequantize(matrix.type,
                          std::span{bytes, matrix.columns / type.block_elements * type.block_bytes},
                          std::span{scratch, matrix.columns});
  return scratch;
}

void multiply(Threads& threads, const Projection& projection, Rows in, Rows out,
              std::uint64_t count, Scratch scratch) {
  std::uint64_t outputs = 0;
  for (const Matrix& matrix : projection.matrices) {
    const bool is_f32 = matrix.type == allot::gguf::TensorType::F32;
    const auto part = [&](std::size_t begin, std::size_t end, std::size_t thread) {
      for (std::size_t i = begin, rows = 1; i < end; i += rows) {
        const float* const weights = floats_of(matrix, i, scratch.of(thread));
        if (is_f32) rows = std::min<std::size_t>(16, end - i);
        for (std::uint64_t row = 0; row < count; ++row)
          dots(out[row] + outputs + i, in[row], weights, matrix.columns, rows, matrix.columns, 1);
      }
    };
    threads.run(matrix.count, part);
    outputs += matrix.count;
  }
  for (const Bias& bias : projection.biases) {
    for (std::uint64_t row = 0; row < count; ++row)
      add(out[row] + bias.first, bias.values, bias.count);
  }
}

}  // namespace llama
