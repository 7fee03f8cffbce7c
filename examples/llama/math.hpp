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

/// Returns elements as floats: where they are, or dequantized into `scratch`.
[[nodiscard]] const float* floats_at(const std::byte* from, allot::gguf::TensorType type,
                                     std::uint64_t count, float* scratch);

/// out = projection(in), for `count` rows. Each row of weights is dequantized once.
/// \param scratch  a row for each thread
void multiply(Threads& threads, const Projection& projection, Rows in, Rows out,
              std::uint64_t count, Rows scratch);

}  // namespace llama
