// SPDX-License-Identifier: MIT
/// \file
/// The model: what its file says of its shape, and its weights where the loader has put them.
#pragma once

#include <allot/gguf/file.hpp>
#include <allot/load/plan/make_plan.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace llama {

/// Numbers of elements, unless stated otherwise.
struct Shape {
  std::string architecture;
  std::uint64_t layers, width, hidden, vocabulary;
  std::uint64_t heads, kv_heads, key_length, value_length;
  std::uint64_t rope_dimensions;  ///< of each head, that turn with the position
  bool rope_halves;               ///< pairs are (i, i + half), not (2i, 2i + 1)
  double rope_base, rope_factor;
  float epsilon, attention_scale;

  [[nodiscard]] std::uint64_t queries() const noexcept { return heads * key_length; }
  [[nodiscard]] std::uint64_t keys() const noexcept { return kv_heads * key_length; }
  [[nodiscard]] std::uint64_t values() const noexcept { return kv_heads * value_length; }
  [[nodiscard]] std::uint64_t attended() const noexcept { return heads * value_length; }
};

/// Reads the shape, and compares every tensor with it: one that is missing, that has another shape or
/// that this engine does not use is an error. Throws: `std::runtime_error`.
[[nodiscard]] Shape shape_of(const allot::gguf::File& file);

/// Plans the weights: norms and biases in F32, as they are read, and the rest as in the file.
/// \param fuse  Q, K and V as one matrix, gate and up as another, where their types agree
[[nodiscard]] allot::load::Plan plan_weights(const allot::gguf::File& file,
                                             allot::load::PlannedDevice device, bool fuse);

struct Matrix {
  const std::byte* rows;
  allot::gguf::TensorType type;
  std::uint64_t columns, count;  ///< `count` rows, `row_bytes` from one to the next
  std::uint64_t row_bytes;
};

struct Bias {
  const float* values;
  std::uint64_t first, count;  ///< outputs that they are added to
};

/// Matrices whose outputs lie one after another: one if the loader has fused them.
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

/// A planned tensor, and where it is.
struct Placed {
  const allot::load::Item* item;
  const void* address;
};

/// \param placed  one for each item of the plan, in its order
[[nodiscard]] Weights weights_of(const Shape& shape, const std::vector<Placed>& placed);

}  // namespace llama
