// SPDX-License-Identifier: MIT
/// \file
/// The arithmetic of a transformer, in F32. The order of additions does not depend on the processor,
/// on the number of threads or on what else is in a batch: results are equal bit for bit.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model.hpp"
#include "threads.hpp"

namespace llama {

/// Rows of floats, `stride` from one to the next.
struct Rows {
  float* data;
  std::uint64_t stride;
  [[nodiscard]] float* operator[](std::uint64_t row) const noexcept { return data + row * stride; }
};

/// Memory for each thread.
struct Scratch {
  float* data;
  std::uint64_t floats;  ///< of one thread
  [[nodiscard]] float* of(std::size_t thread) const noexcept { return data + thread * floats; }
};

/// to[i] = factor * (vector . row i)
void dots(float* to, const float* vector, const float* rows, std::uint64_t stride,
          std::uint64_t count, std::uint64_t length, float factor) noexcept;
/// Adds the sum of factors[i] * row i.
void add_rows(float* to, const float* rows, std::uint64_t stride, const float* factors,
              std::uint64_t count, std::uint64_t length) noexcept;
void add(float* to, const float* from, std::uint64_t count) noexcept;
void rms_norm(float* to, const float* from, const float* weight, float epsilon,
              std::uint64_t count) noexcept;
void softmax(float* values, std::uint64_t count) noexcept;
/// gate = silu(gate) * up
void gate(float* gate, const float* up, std::uint64_t count) noexcept;
/// Turns a head by its position.
/// \param frequencies  `count` of them, one for each pair
void rope(float* head, std::uint64_t position, const float* frequencies, std::uint64_t count,
          bool halves) noexcept;

/// Returns a row's floats: where they are, or dequantized into `scratch`.
[[nodiscard]] const float* floats_of(const Matrix& matrix, std::uint64_t row, float* scratch);

/// out = projection(in), for `count` rows. Each row of weights is dequantized once.
void multiply(Threads& threads, const Projection& projection, Rows in, Rows out,
              std::uint64_t count, Scratch scratch);

}  // namespace llama
