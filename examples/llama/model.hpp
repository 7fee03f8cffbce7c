// SPDX-License-Identifier: MIT
/// \file
/// The model: what its file says of its shape, and its weights where the loader has put them.
#pragma once

#include <allot/gguf/file.hpp>
#include <allot/load/plan/plan.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace llama {

/// Numbers of elements, unless stated otherwise.
struct Shape {
  std::uint64_t layers, width, hidden, vocabulary;
  std::uint64_t heads, kv_heads, key_length, value_length;
  std::uint64_t rope_dimensions;  ///< of each head, that turn with the position
  bool rope_halves;               ///< pairs are (i, i + half), not (2i, 2i + 1)
  bool norms_heads;               ///< queries and keys have norms of their own
  double rope_base, rope_factor;
  float epsilon, attention_scale;

  [[nodiscard]] std::uint64_t queries() const noexcept { return heads * key_length; }
  [[nodiscard]] std::uint64_t keys() const noexcept { return kv_heads * key_length; }
  [[nodiscard]] std::uint64_t values() const noexcept { return kv_heads * value_length; }
  [[nodiscard]] std::uint64_t attended() const noexcept { return heads * value_length; }
};

/// Throws: `std::runtime_error` for a model that this engine does not run.
[[nodiscard]] Shape shape_of(const allot::gguf::File& file);

struct Matrix {
  const std::byte* rows;
  allot::gguf::TensorType type;
  std::uint64_t columns, count, row_bytes;  ///< `count` rows
};

struct Bias {
  const float* values;
  std::uint64_t first, count;  ///< outputs that they are added to
};

/// Matrices whose outputs lie one after another: a single one where the loader has fused them.
struct Projection {
  std::vector<Matrix> matrices{};
  std::vector<Bias> biases{};
};

struct Layer {
  const float *attention_norm, *query_norm, *key_norm, *feed_forward_norm;  ///< null: none
  Projection qkv, attention_output, gate_up, down;
};

struct Weights {
  Matrix embedding;
  const float *output_norm, *rope_factors;  ///< the latter may be null
  Projection output;
  std::vector<Layer> layers;
};

/// Compares every tensor of a plan with the shape: one that is missing, that has another shape or that
/// this engine does not use is an error, `std::runtime_error`.
/// \param addresses  of the plan's items; empty: nothing is loaded yet, and all are null
[[nodiscard]] Weights weights_of(const Shape& shape, const allot::load::Plan& plan,
                                 const std::vector<const void*>& addresses = {});

}  // namespace llama
