// SPDX-License-Identifier: MIT
/// \file
/// The model: what its file says of its shape, and its weights where the loader has put them.
#pragma once

#include <allot/gguf/dequantize.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/model_keys.hpp>
#include <allot/gguf/model_shape.hpp>
#include <allot/load/plan/plan.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
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

/// Weights, and the bias of their outputs if there is one.
struct Matrix {
  const std::byte* rows;
  allot::gguf::TensorType type;
  std::uint64_t columns, count, row_bytes;  ///< `count` rows
  const float* bias;
};

/// Matrices whose outputs lie one after another: a single one where the loader has fused them.
using Projection = std::vector<Matrix>;

struct Layer {
  const float *attention_norm, *query_norm, *key_norm, *feed_forward_norm;  ///< null: none
  Projection qkv, attention_output, gate_up, down;
};

struct Weights {
  Projection embedding, output;
  const float *output_norm, *rope_factors;  ///< the latter may be null
  std::vector<Layer> layers;
};

inline void require(bool holds, const std::string& otherwise) {
  if (!holds) throw std::runtime_error{otherwise};
}

/// Throws: `std::runtime_error` for a model that this engine does not run.
[[nodiscard]] inline Shape shape_of(const allot::gguf::File& file) {
  const allot::gguf::ModelKeys keys{file};
  const std::string& name = keys.architecture();
  require(name == "llama" || name == "qwen2" || name == "qwen3",
          "the architecture is \"" + name + "\"; this engine runs llama, qwen2 and qwen3");
  const allot::gguf::ModelShape known = allot::gguf::model_shape_of(file);
  require(known.attention_problem.empty(), known.attention_problem);
  require(!known.attention.empty(), "the model has no layers");
  const auto& [heads, kv_heads, key_length, value_length] = known.attention.front();
  for (const allot::gguf::LayerAttention& layer : known.attention)
    require(layer.heads == heads && layer.keeps_the_same_as(known.attention.front()),
            "its layers have different heads; this engine runs models of like layers");
  constexpr std::uint64_t most = std::uint64_t{1} << 24;  // so that products stay below 2^64
  for (const std::uint64_t count : {heads, kv_heads, key_length, value_length})
    require(count != 0 && count <= most, "a number of its heads' is " + std::to_string(count) +
                                             "; this engine runs models with 1 to 16777216");
  require(heads % kv_heads == 0, std::to_string(heads) + " heads cannot share " +
                                     std::to_string(kv_heads) + " heads of keys and values");
  const auto* const embedding = file.find("token_embd.weight");
  require(embedding != nullptr, "tensor token_embd.weight is missing");
  const std::uint64_t rope_dimensions = keys.count("rope.dimension_count", key_length);
  require(rope_dimensions <= key_length && rope_dimensions % 2 == 0,
          "of each head " + std::to_string(rope_dimensions) +
              " elements turn; it must be an even " + "number, and at most all " +
              std::to_string(key_length));
  const auto* const scaling = keys.find("rope.scaling.type");
  const auto scaled_by = scaling == nullptr ? "none" : scaling->as<std::string_view>();
  require(
      scaled_by == "none" || scaled_by == "linear",
      "its positions are scaled by \"" + std::string{scaled_by} + "\"; this engine knows linear");
  return {.layers = known.attention.size(),
          .width = keys.count("embedding_length", 0, most),
          .hidden = keys.count("feed_forward_length", 0, most),
          .vocabulary = embedding->shape.extent[1],
          .heads = heads,
          .kv_heads = kv_heads,
          .key_length = key_length,
          .value_length = value_length,
          .rope_dimensions = rope_dimensions,
          .rope_halves = name != "llama",
          .norms_heads = name == "qwen3",
          .rope_base = keys.number("rope.freq_base", 10000),
          .rope_factor = scaled_by == "linear" ? keys.number("rope.scaling.factor", 1) : 1,
          .epsilon = static_cast<float>(keys.number("attention.layer_norm_rms_epsilon", 1e-5)),
          .attention_scale = static_cast<float>(
              keys.number("attention.scale", 1 / std::sqrt(static_cast<double>(key_length))))};
}

/// A plan's tensors, found by name and compared with the shape that the metadata give them.
class Tensors {
 public:
  Tensors(const allot::load::Plan& plan, const auto& address_of) {
    for (std::size_t i = 0; i < plan.items.size(); ++i) {
      if (plan.items[i].purpose == allot::load::Purpose::weight)
        unused_[plan.items[i].name] = {&plan.items[i], address_of(i)};
    }
  }

  [[nodiscard]] bool has(const std::string& name) const { return unused_.contains(name); }

  /// Returns null for a tensor that is not needed, and that the model does not have.
  [[nodiscard]] const float* floats(const std::string& name, std::uint64_t count, bool is_needed) {
    if (!is_needed && !has(name)) return nullptr;
    return static_cast<const float*>(take(name, count, 1).address);
  }

  /// \param parts  names and numbers of outputs
  [[nodiscard]] Projection projection(
      const std::string& layer, std::uint64_t columns,
      std::initializer_list<std::pair<const char*, std::uint64_t>> parts) {
    Projection made;
    const allot::load::Item* last = nullptr;
    for (const auto& [role, rows] : parts) {
      const auto [item, address] = take(layer + role + ".weight", columns, rows);
      const float* const bias = floats(layer + role + ".bias", rows, false);
      if (last != nullptr && follows(*item, *last) && bias_follows(bias, made.back())) {
        made.back().count += rows;
      } else {
        made.push_back({static_cast<const std::byte*>(address), item->type, columns, rows,
                        item->strides[1], bias});
      }
      last = item;
    }
    return made;
  }

  void require_all_used() const {
    require(unused_.empty(), "the model has tensors that this engine does not use, such as " +
                                 (unused_.empty() ? "" : unused_.begin()->first));
  }

 private:
  struct Placed {
    const allot::load::Item* item;
    const void* address;
  };

  [[nodiscard]] Placed take(const std::string& name, std::uint64_t columns, std::uint64_t rows) {
    const auto found = unused_.extract(name);
    require(!found.empty(), "tensor " + name + " is missing");
    const allot::load::Item& item = *found.mapped().item;
    const auto& [first, second, third, fourth] = item.shape.extent;
    require(first == columns && second == rows && third == 1 && fourth == 1,
            "tensor " + name + " is not " + std::to_string(columns) + " x " + std::to_string(rows) +
                ", as the metadata say");
    require(allot::gguf::has_values(item.type),
            "tensor " + name + " is of a type for intermediate results, not for weights");
    return found.mapped();
  }

  /// Returns whether both are parts of a fused tensor, one after the other.
  [[nodiscard]] static bool follows(const allot::load::Item& part, const allot::load::Item& last) {
    return part.part_of && last.part_of && part.part_of->item == last.part_of->item &&
           last.part_of->offset + last.shape.extent[1] * last.strides[1] == part.part_of->offset;
  }
  [[nodiscard]] static bool bias_follows(const float* bias, const Matrix& last) {
    return last.bias == nullptr ? bias == nullptr : last.bias + last.count == bias;
  }

  std::map<std::string, Placed> unused_;
};

/// Throws: `std::runtime_error` for a tensor that is missing, that has another shape or that this engine
/// does not use.
/// \param address_of  returns where an item of the plan is, by number; null: nothing is loaded yet
[[nodiscard]] Weights weights_of(const Shape& shape, const allot::load::Plan& plan,
                                 const auto& address_of) {
  Tensors tensors{plan, address_of};
  const auto& [width, hidden] = std::pair{shape.width, shape.hidden};
  Weights weights{
      .embedding = tensors.projection("", width, {{"token_embd", shape.vocabulary}}),
      .output = {},
      .output_norm = tensors.floats("output_norm.weight", width, true),
      .rope_factors = tensors.floats("rope_freqs.weight", shape.rope_dimensions / 2, false),
      .layers = {}};
  weights.output = tensors.has("output.weight")
                       ? tensors.projection("", width, {{"output", shape.vocabulary}})
                       : weights.embedding;
  for (std::uint64_t i = 0; i < shape.layers; ++i) {
    const std::string layer = "blk." + std::to_string(i) + ".";
    const auto norm = [&](const char* role, std::uint64_t count, bool is_needed = true) {
      return tensors.floats(layer + role + "_norm.weight", count, is_needed);
    };
    weights.layers.push_back(
        {.attention_norm = norm("attn", width),
         .query_norm = norm("attn_q", shape.key_length, shape.norms_heads),
         .key_norm = norm("attn_k", shape.key_length, shape.norms_heads),
         .feed_forward_norm = norm("ffn", width),
         .qkv = tensors.projection(
             layer, width,
             {{"attn_q", shape.queries()}, {"attn_k", shape.keys()}, {"attn_v", shape.values()}}),
         .attention_output = tensors.projection(layer, shape.attended(), {{"attn_output", width}}),
         .gate_up = tensors.projection(layer, width, {{"ffn_gate", hidden}, {"ffn_up", hidden}}),
         .down = tensors.projection(layer, hidden, {{"ffn_down", width}})});
  }
  tensors.require_all_used();
  return weights;
}

}  // namespace llama
