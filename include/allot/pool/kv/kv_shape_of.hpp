// SPDX-License-Identifier: MIT
/// \file
/// The shape of a model's paged cache, from its file.
#pragma once

#include <allot/gguf/file.hpp>
#include <allot/gguf/model_shape.hpp>
#include <allot/gguf/tensor_type.hpp>
#include <allot/pool/kv/kv_layout.hpp>

#include <stdexcept>
#include <string>
#include <vector>

namespace allot {

namespace detail {

[[nodiscard]] inline std::string attention_text(const gguf::LayerAttention& layer) {
  return std::to_string(layer.kv_heads) + " KV heads with keys of " +
         std::to_string(layer.key_length) + " and values of " + std::to_string(layer.value_length);
}

}  // namespace detail

/// Returns the shape of a model's paged cache (`KvCache`): of the layers that keep anything.
/// Throws: `std::runtime_error` naming the key that is missing or wrong, if no layer keeps
/// anything, and if layers keep different amounts: such a model needs a cache for each kind.
[[nodiscard]] inline KvShape kv_shape_of(const gguf::File& file,
                                         gguf::TensorType key_type = gguf::TensorType::F16,
                                         gguf::TensorType value_type = gguf::TensorType::F16) {
  const gguf::ModelShape model = gguf::model_shape_of(file);
  if (!model.attention_problem.empty()) {
    throw std::runtime_error{"the KV cache cannot be planned: " + model.attention_problem +
                             "; plan without a context, or correct the key in the file"};
  }
  std::vector<gguf::LayerAttention> layers;
  for (const gguf::LayerAttention& layer : model.attention) {
    if (layer.kv_heads != 0 && (layer.key_length != 0 || layer.value_length != 0))
      layers.push_back(layer);
  }
  if (layers.empty())
    throw std::runtime_error{
        "no layer of this model has keys and values to keep; it needs no KV cache"};
  const gguf::LayerAttention& first = layers.front();
  for (const gguf::LayerAttention& layer : layers) {
    if (layer.keeps_the_same_as(first)) continue;
    throw std::runtime_error{
        "layers of this model keep different amounts: " + detail::attention_text(first) + " and " +
        detail::attention_text(layer) + "; make a KvCache for the layers of each kind"};
  }
  const auto element_of = [](gguf::TensorType type) {
    const gguf::TypeInfo info = gguf::checked_type_info(type);
    return ElementSize{info.block_bytes, info.block_elements};
  };
  return {.layers = layers.size(),
          .kv_heads = first.kv_heads,
          .key_dimension = first.key_length,
          .value_dimension = first.value_length,
          .key_element = element_of(key_type),
          .value_element = element_of(value_type)};
}

}  // namespace allot
