// SPDX-License-Identifier: MIT
/// \file
/// The model: what its file says of its shape, and its weights where the loader has put them.
#pragma once

#include <allot/gguf/decoder_shape.hpp>
#include <allot/load/binder.hpp>

#include <cmath>

namespace llama {

using namespace allot;

using Shape = gguf::DecoderShape;

/// Matrices whose outputs lie one after another: a single one where the loader has fused them.
using Matrices = std::vector<load::Matrix>;

struct Layer {
  const float *attention_norm, *query_norm, *key_norm, *feed_forward_norm;  ///< null: none
  Matrices qkv, attention_output, gate_up, down;
};

struct Weights {
  Matrices embedding, output;
  const float* output_norm;
  std::vector<float> angles;  ///< by which pairs of a head's elements turn from a token to the next
  std::vector<Layer> layers;
};

/// Throws: `std::runtime_error` for a model that this engine does not run.
[[nodiscard]] inline Shape shape_of(const gguf::File& file) {
  const std::string name = gguf::ModelKeys{file}.architecture();
  if (name != "llama" && name != "qwen2" && name != "qwen3")
    throw std::runtime_error{"the architecture is \"" + name +
                             "\"; this engine runs llama, qwen2 and qwen3"};
  return gguf::decoder_shape_of(file);
}

/// \param factors  one for each pair, or null
[[nodiscard]] inline std::vector<float> angles_of(const Shape& shape, const float* factors) {
  const std::uint64_t pairs = shape.rope_dimensions / 2;
  std::vector<float> angles;
  for (std::uint64_t i = 0; i < pairs; ++i) {
    const double angle =
        std::pow(shape.rope_base, -static_cast<double>(i) / static_cast<double>(pairs));
    const double factor = factors == nullptr ? 1 : static_cast<double>(factors[i]);
    angles.push_back(static_cast<float>(angle / factor / shape.rope_factor));
  }
  return angles;
}

/// Throws: `std::runtime_error` for a tensor that is missing, that has another shape or that this engine
/// does not use.
/// \param tensors  of a plan, which checks it before anything is loaded; or of a model
[[nodiscard]] inline Weights weights_of(const Shape& shape, load::Binder tensors) {
  const auto& [width, hidden] = std::pair{shape.width, shape.hidden};
  Weights weights{};
  weights.embedding = tensors.matrices("", width, {{"token_embd", shape.vocabulary}});
  weights.output = weights.embedding;
  if (tensors.has("output.weight"))
    weights.output = tensors.matrices("", width, {{"output", shape.vocabulary}});
  weights.output_norm = tensors.floats("output_norm.weight", width);
  const std::uint64_t pairs = shape.rope_dimensions / 2;
  const float* const factors = tensors.optional_floats("rope_freqs.weight", pairs);
  weights.angles = angles_of(shape, factors);
  for (std::uint64_t i = 0; i < shape.layers; ++i) {
    const std::string name = "blk." + std::to_string(i) + ".";
    const auto head_norm = [&](const char* role) {
      return shape.architecture == "qwen3" ? tensors.floats(name + role, shape.key_length)
                                           : nullptr;
    };
    weights.layers.push_back(
        {.attention_norm = tensors.floats(name + "attn_norm.weight", width),
         .query_norm = head_norm("attn_q_norm.weight"),
         .key_norm = head_norm("attn_k_norm.weight"),
         .feed_forward_norm = tensors.floats(name + "ffn_norm.weight", width),
         .qkv = tensors.matrices(
             name, width,
             {{"attn_q", shape.queries()}, {"attn_k", shape.keys()}, {"attn_v", shape.values()}}),
         .attention_output = tensors.matrices(name, shape.attended(), {{"attn_output", width}}),
         .gate_up = tensors.matrices(name, width, {{"ffn_gate", hidden}, {"ffn_up", hidden}}),
         .down = tensors.matrices(name, hidden, {{"ffn_down", width}})});
  }
  tensors.require_all_taken();
  return weights;
}

}  // namespace llama
