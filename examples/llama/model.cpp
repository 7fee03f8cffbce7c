// SPDX-License-Identifier: MIT
#include "model.hpp"

#include <allot/gguf/dequantize.hpp>
#include <allot/gguf/model_keys.hpp>
#include <allot/gguf/model_shape.hpp>

#include <cmath>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

namespace llama {
namespace {

namespace gguf = allot::gguf;
using allot::load::Item;

[[noreturn]] void refuse(const std::string& what) { throw std::runtime_error{what}; }

/// A plan's tensors, found by name and compared with the shape that the metadata give them.
class Tensors {
 public:
  Tensors(const allot::load::Plan& plan, const std::vector<const void*>& addresses) {
    for (std::size_t i = 0; i < plan.items.size(); ++i) {
      if (plan.items[i].purpose == allot::load::Purpose::weight)
        unused_[plan.items[i].name] = {&plan.items[i], addresses.empty() ? nullptr : addresses[i]};
    }
  }

  [[nodiscard]] Matrix matrix(const std::string& name, std::uint64_t columns, std::uint64_t rows) {
    return matrix_in(take(name, columns, rows));
  }

  /// Returns null for a tensor that the model may lack, and does.
  [[nodiscard]] const float* floats(const std::string& name, std::uint64_t count,
                                    bool is_needed = true) {
    if (!is_needed && !has(name)) return nullptr;
    return static_cast<const float*>(take(name, count, 1).address);
  }

  [[nodiscard]] Projection projection(
      const std::string& layer, std::uint64_t columns,
      std::initializer_list<std::pair<const char*, std::uint64_t>> parts) {
    Projection made;
    std::uint64_t outputs = 0;
    const Item* last = nullptr;
    for (const auto& [role, rows] : parts) {
      const Placed part = take(layer + role + ".weight", columns, rows);
      if (last != nullptr && continues(*last, *part.item)) {
        made.matrices.back().count += rows;
      } else {
        made.matrices.push_back(matrix_in(part));
      }
      last = part.item;
      if (has(layer + role + ".bias"))
        made.biases.push_back({floats(layer + role + ".bias", rows), outputs, rows});
      outputs += rows;
    }
    return made;
  }

  [[nodiscard]] bool has(const std::string& name) const { return unused_.contains(name); }

  void require_all_used() const {
    if (!unused_.empty())
      refuse("tensor " + unused_.begin()->first + " is not one that this engine uses");
  }

 private:
  struct Placed {
    const Item* item;
    const void* address;
  };

  [[nodiscard]] Placed take(const std::string& name, std::uint64_t columns, std::uint64_t rows) {
    const auto found = unused_.extract(name);
    if (!found) refuse("tensor " + name + " is missing");
    const Item& item = *found.mapped().item;
    if (item.shape.extent != gguf::Shape{{columns, rows, 1, 1}, 4}.extent)
      refuse("tensor " + name + " is not " + std::to_string(columns) + " x " +
             std::to_string(rows) + ", as the metadata say");
    if (!gguf::has_values(item.type))
      refuse("tensor " + name + " is of a type for intermediate results, not for weights");
    return found.mapped();
  }

  [[nodiscard]] static Matrix matrix_in(const Placed& placed) {
    const Item& item = *placed.item;
    return {static_cast<const std::byte*>(placed.address), item.type, item.shape.extent[0],
            item.shape.extent[1], item.strides[1]};
  }

  /// Returns whether a part of a fused tensor begins where the one before it ends.
  [[nodiscard]] static bool continues(const Item& last, const Item& part) {
    const auto& before = last.part_of;
    const auto& after = part.part_of;
    return before && after && before->item == after->item &&
           before->offset + last.shape.extent[1] * last.strides[1] == after->offset;
  }

  std::map<std::string, Placed> unused_;
};

}  // namespace

Shape shape_of(const gguf::File& file) {
  const gguf::ModelKeys keys{file};
  const std::string& architecture = keys.architecture();
  if (architecture != "llama" && architecture != "qwen2" && architecture != "qwen3")
    refuse("the architecture is \"" + architecture + "\"; this engine runs llama, qwen2 and qwen3");
  const gguf::ModelShape known = gguf::model_shape_of(file);
  if (!known.attention_problem.empty()) refuse(known.attention_problem);
  const gguf::TensorInfo* const embedding = file.find("token_embd.weight");
  if (embedding == nullptr) refuse("tensor token_embd.weight is missing");
  if (known.attention.empty()) refuse("the model has no layers");
  const gguf::LayerAttention& first = known.attention.front();
  for (const gguf::LayerAttention& layer : known.attention) {
    if (layer.heads != first.heads || !layer.keeps_the_same_as(first))
      refuse("its layers have different heads; this engine runs models of like layers");
  }
  constexpr std::uint64_t most = std::uint64_t{1} << 24;  // so that products stay below 2^64
  for (const std::uint64_t count :
       {first.heads, first.kv_heads, first.key_length, first.value_length}) {
    if (count == 0 || count > most)
      refuse("its heads have " + std::to_string(count) + " of something; 1 to 16777216 can be");
  }
  if (first.heads % first.kv_heads != 0)
    refuse(std::to_string(first.heads) + " heads cannot share " + std::to_string(first.kv_heads) +
           " heads of keys and values");
  Shape shape{.layers = known.attention.size(),
              .width = keys.count("embedding_length", 0, most),
              .hidden = keys.count("feed_forward_length", 0, most),
              .vocabulary = embedding->shape.extent[1],
              .heads = first.heads,
              .kv_heads = first.kv_heads,
              .key_length = first.key_length,
              .value_length = first.value_length,
              .rope_dimensions = keys.count("rope.dimension_count", first.key_length),
              .rope_halves = architecture != "llama",
              .norms_heads = architecture == "qwen3",
              .rope_base = keys.number("rope.freq_base", 10000),
              .rope_factor = 1,
              .epsilon = static_cast<float>(keys.number("attention.layer_norm_rms_epsilon", 1e-5)),
              .attention_scale = static_cast<float>(keys.number(
                  "attention.scale", 1 / std::sqrt(static_cast<double>(first.key_length))))};
  if (shape.rope_dimensions > shape.key_length || shape.rope_dimensions % 2 != 0)
    refuse(architecture + ".rope.dimension_count is " + std::to_string(shape.rope_dimensions) +
           "; it must be even, and at most the " + std::to_string(shape.key_length) + " of a head");
  if (const gguf::Value* const scaling = keys.find("rope.scaling.type")) {
    const auto type = scaling->as<std::string_view>();
    if (type == "linear") shape.rope_factor = keys.number("rope.scaling.factor", 1);
    if (type != "linear" && type != "none")
      refuse("its positions are scaled by \"" + std::string{type} + "\"; this engine knows linear");
  }
  return shape;
}

Weights weights_of(const Shape& shape, const allot::load::Plan& plan,
                   const std::vector<const void*>& addresses) {
  Tensors tensors{plan, addresses};
  Weights weights{
      .embedding = tensors.matrix("token_embd.weight", shape.width, shape.vocabulary),
      .output_norm = tensors.floats("output_norm.weight", shape.width),
      .rope_factors = tensors.floats("rope_freqs.weight", shape.rope_dimensions / 2, false),
      .output = {},
      .layers = {}};
  weights.output.matrices = {tensors.has("output.weight")
                                 ? tensors.matrix("output.weight", shape.width, shape.vocabulary)
                                 : weights.embedding};
  for (std::uint64_t i = 0; i < shape.layers; ++i) {
    const std::string layer = "blk." + std::to_string(i) + ".";
    weights.layers.push_back(
        {.attention_norm = tensors.floats(layer + "attn_norm.weight", shape.width),
         .query_norm =
             tensors.floats(layer + "attn_q_norm.weight", shape.key_length, shape.norms_heads),
         .key_norm =
             tensors.floats(layer + "attn_k_norm.weight", shape.key_length, shape.norms_heads),
         .feed_forward_norm = tensors.floats(layer + "ffn_norm.weight", shape.width),
         .qkv = tensors.projection(
             layer, shape.width,
             {{"attn_q", shape.queries()}, {"attn_k", shape.keys()}, {"attn_v", shape.values()}}),
         .attention_output =
             tensors.projection(layer, shape.attended(), {{"attn_output", shape.width}}),
         .gate_up = tensors.projection(layer, shape.width,
                                       {{"ffn_gate", shape.hidden}, {"ffn_up", shape.hidden}}),
         .down = tensors.projection(layer, shape.hidden, {{"ffn_down", shape.width}})});
  }
  tensors.require_all_used();
  return weights;
}

}  // namespace llama
