// SPDX-License-Identifier: MIT
/// \file
/// The arithmetic of a transformer, in F32. The order of additions does not depend on the processor,
/// on the number of threads or on what else is in a batch: results are equal bit for bit.
#pragma once

#include <allot/gguf/dequantize.hpp>

#include <algorithm>

#include "model.hpp"
#include "threads.hpp"

namespace llama {

/// Rows of floats, `stride` from one to the next.
struct Rows {
  float* data;
  std::uint64_t stride;
  [[nodiscard]] float* operator[](std::uint64_t row) const noexcept { return data + row * stride; }
};

/// to[i] = factor * (vector . row i)
void dots(float* to, const float* vector, const float* rows, std::uint64_t stride,
          std::uint64_t count, std::uint64_t length, float factor) noexcept;
/// Adds the sum of factors[i] * row i.
void add_rows(float* to, const float* rows, std::uint64_t stride, const float* factors,
              std::uint64_t count, std::uint64_t length) noexcept;

/// Adds the first `count` rows to others.
inline void add(Rows to, Rows from, std::uint64_t count, std::uint64_t width) noexcept {
  for (std::uint64_t row = 0; row < count; ++row) {
    for (std::uint64_t i = 0; i < width; ++i) to[row][i] += from[row][i];
  }
}

/// Writes the first `count` rows normed.
inline void rms_norm(Rows to, Rows from, std::uint64_t count, std::uint64_t width,
                     const float* weight, double epsilon) noexcept {
  for (std::uint64_t row = 0; row < count; ++row) {
    const float* const values = from[row];
    float squares = 0;
    dots(&squares, values, values, width, 1, width, 1);
    const float scale =
        1 / std::sqrt(squares / static_cast<float>(width) + static_cast<float>(epsilon));
    for (std::uint64_t i = 0; i < width; ++i) to[row][i] = values[i] * scale * weight[i];
  }
}

inline void softmax(float* values, std::uint64_t count) noexcept {
  float most = values[0];
  for (std::uint64_t i = 1; i < count; ++i) most = values[i] > most ? values[i] : most;
  float sum = 0;
  for (std::uint64_t i = 0; i < count; ++i) sum += values[i] = std::exp(values[i] - most);
  for (std::uint64_t i = 0; i < count; ++i) values[i] /= sum;
}

/// Of each of the first `count` rows: gate = silu(gate) * up, where `up` follows `gate`.
inline void gate(Rows gates, std::uint64_t count, std::uint64_t width) noexcept {
  for (std::uint64_t row = 0; row < count; ++row) {
    float* const gate = gates[row];
    for (std::uint64_t i = 0; i < width; ++i)
      gate[i] = gate[i] / (1 + std::exp(-gate[i])) * gate[width + i];
  }
}

/// Turns a head by its position.
/// \param angles  by which its pairs turn from one token to the next
/// \param halves  pairs are (i, i + half), not (2i, 2i + 1)
inline void rope(float* head, std::uint64_t position, std::span<const float> angles,
                 bool halves) noexcept {
  for (std::size_t i = 0; i < angles.size(); ++i) {
    float& a = head[halves ? i : 2 * i];
    float& b = head[halves ? i + angles.size() : 2 * i + 1];
    const float angle = static_cast<float>(position) * angles[i];
    const float cosine = std::cos(angle);
    const float sine = std::sin(angle);
    const float turned = a * cosine - b * sine;
    b = a * sine + b * cosine;
    a = turned;
  }
}

/// out = matrices * in, for `count` rows. Each row of weights is dequantized once.
/// \param scratch  a row for each thread
inline void multiply(Threads& threads, const Matrices& matrices, Rows in, Rows out,
                     std::uint64_t count, Rows scratch) {
  std::uint64_t outputs = 0;
  for (const load::Matrix& matrix : matrices) {
    const std::uint64_t at_once = matrix.type == gguf::TensorType::F32 ? 16 : 1;
    threads.run((matrix.rows + at_once - 1) / at_once, [&](std::size_t i, std::size_t thread) {
      const std::uint64_t first = i * at_once;
      const std::uint64_t rows = std::min(at_once, matrix.rows - first);
      const float* const weights =
          gguf::floats_of(matrix.type, matrix.address + first * matrix.row_bytes,
                          {scratch[thread], matrix.columns});
      for (std::uint64_t row = 0; row < count; ++row) {
        float* const to = out[row] + outputs + first;
        dots(to, in[row], weights, matrix.columns, rows, matrix.columns, 1);
        for (std::uint64_t k = 0; matrix.bias != nullptr && k < rows; ++k)
          to[k] += matrix.bias[first + k];
      }
    });
    outputs += matrix.rows;
  }
}

}  // namespace llama
