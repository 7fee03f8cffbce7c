// SPDX-License-Identifier: MIT
#include "model.hpp"

#include <allot/gguf/dequantize.hpp>
#include <allot/gguf/model_shape.hpp>

#include <cmath>
#include <stdexcept>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace llama {
namespace {

namespace gguf = allot::gguf;

[[noreturn]] void refuse(const std::string& what) { throw std::runtime_error{what}; }

class Keys {
 public:
  Keys(const gguf::File& file, std::string prefix) : file_{file}, prefix_{std::move(prefix)} {}

  [[nodiscard]] const gguf::Value* find(const char* key) const {
    return file_.metadata().find(prefix_ + key);
  }
  [[nodiscard]] float number(const char* key, float otherwise) const {
    const gguf::Value* const value = find(key);
    const float number = value == nullptr ? otherwise : value->as<float>();
    if (!(number > 0) || !std::isfinite(number))
      refuse(prefix_ + key + " is " + std::to_string(number) + "; it must be above 0");
    return number;
  }
  [[nodiscard]] std::uint64_t count(const char* key, std::uint64_t otherwise) const {
    const gguf::Value* const value = find(key);
    if (value == nullptr && otherwise == 0) refuse(prefix_ + key + " is missing");
    const auto count = value == nullptr ? otherwise : value->as_count().value_or(0);
    if (count == 0 || count > (std::uint64_t{1} << 24))
      refuse(prefix_ + key + " is not a number from 1 to 16777216");
    return count;
  }

 private:
  const gguf::File& file_;
  std::string prefix_;
};

/// Calls `visit(name, columns, rows, is_needed)` for every tensor that a model may have.
template <class Visitor>
void for_each_tensor(const Shape& s, Visitor&& visit) {
  visit("token_embd.weight", s.width, s.vocabulary, true);
  visit("output_norm.weight", s.width, 1, true);
  visit("output.weight", s.width, s.vocabulary, false);
  visit("rope_freqs.weight", s.rope_dimensions / 2, 1, false);
  for (std::uint64_t i = 0; i < s.layers; ++i) {
    const std::string layer = "blk." + std::to_string(i) + ".";
    const auto matrix = [&](const char* role, std::uint64_t columns, std::uint64_t rows) {
      visit(layer + role + ".weight", columns, rows, true);
      visit(layer + role + ".bias", rows, 1, false);
    };
    visit(layer + "attn_norm.weight", s.width, 1, true);
    matrix("attn_q", s.width, s.queries());
    matrix("attn_k", s.width, s.keys());
    matrix("attn_v", s.width, s.values());
    visit(layer + "attn_q_norm.weight", s.key_length, 1, s.architecture == "qwen3");
    visit(layer + "attn_k_norm.weight", s.key_length, 1, s.architecture == "qwen3");
    matrix("attn_output", s.attended(), s.width);
    visit(layer + "ffn_norm.weight", s.width, 1, true);
    matrix("ffn_gate", s.width, s.hidden);
    matrix("ffn_up", s.width, s.hidden);
    matrix("ffn_down", s.hidden, s.width);
  }
}

void check_tensors(const gguf::File& file, const Shape& shape) {
  std::unordered_map<std::string_view, bool> is_used;
  for (const gguf::TensorInfo& tensor : file.tensors()) is_used[tensor.name] = false;
  for_each_tensor(shape, [&](const std::string& name, std::uint64_t columns, std::uint64_t rows,
                             bool is_needed) {
    const gguf::TensorInfo* const tensor = file.find(name);
    if (tensor == nullptr && is_needed) refuse("tensor " + name + " is missing");
    if (tensor == nullptr) return;
    is_used[tensor->name] = true;
    const auto& extent = tensor->shape.extent;
    if (extent[0] != columns || extent[1] != rows || extent[2] != 1 || extent[3] != 1)
      refuse("tensor " + name + " is not " + std::to_string(columns) + " x " +
             std::to_string(rows) + ", as the metadata say");
    if (!gguf::has_values(tensor->type))
      refuse("tensor " + name + " is of a type for intermediate results, not for weights");
  });
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    if (!is_used[tensor.name])
      refuse("tensor " + std::string{tensor.name} + " is not one that this engine uses");
  }
}

/// Finds the tensors of a plan by name.
class Finder {
 public:
  explicit Finder(const std::vector<Placed>& placed) {
    for (const Placed& one : placed) by_name_[one.item->name] = &one;
  }

  [[nodiscard]] const Placed* find(const std::string& name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : found->second;
  }

  [[nodiscard]] const float* floats(const std::string& name) const {
    const Placed* const found = find(name);
    return found == nullptr ? nullptr : static_cast<const float*>(found->address);
  }

  [[nodiscard]] static Matrix matrix(const Placed& placed) {
    const allot::load::Item& item = *placed.item;
    return {static_cast<const std::byte*>(placed.address), item.type, item.shape.extent[0],
            item.shape.extent[1], item.strides[1]};
  }

  /// Returns tensors as one projection: those that the loader has fused as the one that they are.
  [[nodiscard]] Projection projection(const std::string& layer,
                                      std::initializer_list<const char*> roles) const {
    Projection made;
    std::uint64_t outputs = 0;
    const Placed* last = nullptr;
    for (const char* const role : roles) {
      const Placed& part = *find(layer + role + ".weight");
      const Matrix own = matrix(part);
      if (last != nullptr && continues(*last, part)) {
        made.matrices.back().count += own.count;
      } else {
        made.matrices.push_back(own);
      }
      last = &part;
      if (const float* const bias = floats(layer + role + ".bias"))
        made.biases.push_back({bias, outputs, part.item->shape.extent[1]});
      outputs += part.item->shape.extent[1];
    }
    return made;
  }

 private:
  /// Returns whether a part of a fused tensor begins where the one before it ends.
  [[nodiscard]] static bool continues(const Placed& last, const Placed& part) {
    const auto& before = last.item->part_of;
    const auto& after = part.item->part_of;
    return before && after && before->item == after->item &&
           before->offset + last.item->shape.extent[1] * last.item->strides[1] == after->offset;
  }

  std::unordered_map<std::string_view, const Placed*> by_name_;
};

}  // namespace

Shape shape_of(const gguf::File& file) {
  const gguf::ModelShape known = gguf::model_shape_of(file);
  const std::string& architecture = known.architecture;
  if (architecture != "llama" && architecture != "qwen2" && architecture != "qwen3")
    refuse("the architecture is \"" + architecture + "\"; this engine runs llama, qwen2 and qwen3");
  if (!known.attention_problem.empty()) refuse(known.attention_problem);
  if (known.attention.empty()) refuse("the model has no layers");
  const Keys keys{file, architecture + "."};
  const gguf::LayerAttention& first = known.attention.front();
  for (const gguf::LayerAttention& layer : known.attention) {
    if (layer.heads != first.heads || !layer.keeps_the_same_as(first))
      refuse("its layers have different heads; this engine runs models of like layers");
  }
  const gguf::TensorInfo* const embedding = file.find("token_embd.weight");
  if (embedding == nullptr) refuse("tensor token_embd.weight is missing");
  Shape shape{.architecture = architecture,
              .layers = known.attention.size(),
              .width = keys.count("embedding_length", 0),
              .hidden = keys.count("feed_forward_length", 0),
              .vocabulary = embedding->shape.extent[1],
              .heads = first.heads,
              .kv_heads = first.kv_heads,
              .key_length = first.key_length,
              .value_length = first.value_length,
              .rope_dimensions = keys.count("rope.dimension_count", first.key_length),
              .rope_halves = architecture != "llama",
              .rope_base = static_cast<double>(keys.number("rope.freq_base", 10000)),
              .rope_factor = 1,
              .epsilon = keys.number("attention.layer_norm_rms_epsilon", 1e-5F),
              .attention_scale = 0};
  constexpr std::uint64_t most = std::uint64_t{1} << 20;
  for (const std::uint64_t count :
       {first.heads, first.kv_heads, first.key_length, first.value_length, shape.vocabulary}) {
    if (count == 0 || count > 16 * most)
      refuse("its heads or its vocabulary have " + std::to_string(count) + " elements");
  }
  if (shape.queries() > 16 * most || shape.attended() > 16 * most ||
      first.heads % first.kv_heads != 0)
    refuse(std::to_string(first.heads) + " heads of " + std::to_string(first.key_length) +
           " elements cannot share " + std::to_string(first.kv_heads) +
           " heads of keys and values");
  if (shape.rope_dimensions > shape.key_length || shape.rope_dimensions % 2 != 0)
    refuse(architecture + ".rope.dimension_count is " + std::to_string(shape.rope_dimensions) +
           "; it must be even, and at most the " + std::to_string(shape.key_length) + " of a head");
  if (const gguf::Value* const scaling = keys.find("rope.scaling.type")) {
    const auto type = scaling->as<std::string_view>();
    if (type == "linear") {
      shape.rope_factor = static_cast<double>(keys.number("rope.scaling.factor", 1));
    } else if (type != "none") {
      refuse("its positions are scaled by \"" + std::string{type} + "\"; this engine knows linear");
    }
  }
  shape.attention_scale =
      keys.number("attention.scale", 1 / std::sqrt(static_cast<float>(first.key_length)));
  check_tensors(file, shape);
  return shape;
}

allot::load::Plan plan_weights(const gguf::File& file, allot::load::PlannedDevice device,
                               bool fuse) {
  allot::load::PlanOptions options;
  options.devices = {std::move(device)};
  options.transforms.fuse = {.qkv = fuse, .gate_up = fuse};
  for (const char* const names : {"*norm.weight", "*.bias", "rope_freqs.weight"})
    options.transforms.dequantize.push_back({names, gguf::TensorType::F32, false});
  return allot::load::make_plan(file, options);
}

Weights weights_of(const Shape& shape, const std::vector<Placed>& placed) {
  const Finder tensors{placed};
  Weights weights{.embedding = Finder::matrix(*tensors.find("token_embd.weight")),
                  .output_norm = tensors.floats("output_norm.weight"),
                  .rope_factors = tensors.floats("rope_freqs.weight"),
                  .output = {},
                  .layers = {}};
  const Placed* const output = tensors.find("output.weight");
  weights.output.matrices = {output == nullptr ? weights.embedding : Finder::matrix(*output)};
  for (std::uint64_t i = 0; i < shape.layers; ++i) {
    const std::string layer = "blk." + std::to_string(i) + ".";
    weights.layers.push_back({.attention_norm = tensors.floats(layer + "attn_norm.weight"),
                              .query_norm = tensors.floats(layer + "attn_q_norm.weight"),
                              .key_norm = tensors.floats(layer + "attn_k_norm.weight"),
                              .feed_forward_norm = tensors.floats(layer + "ffn_norm.weight"),
                              .qkv = tensors.projection(layer, {"attn_q", "attn_k", "attn_v"}),
                              .attention_output = tensors.projection(layer, {"attn_output"}),
                              .gate_up = tensors.projection(layer, {"ffn_gate", "ffn_up"}),
                              .down = tensors.projection(layer, {"ffn_down"})});
  }
  return weights;
}

}  // namespace llama
