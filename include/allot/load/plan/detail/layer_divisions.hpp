// SPDX-License-Identifier: MIT
/// \file
/// How the layers of a model can be divided between ranks: heads, rows between two matrices, experts
/// and the vocabulary; or why not. `tensor_parallel.hpp` says what of each tensor follows from it.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/model_shape.hpp>
#include <allot/gguf/tensor_type.hpp>
#include <allot/load/plan/layer_name.hpp>
#include <allot/load/plan/tensor_cut.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace allot::load::detail {

/// The bounds of the ranks' ranges, one more than there are ranks. Empty: nothing is divided.
using Bounds = std::vector<std::uint64_t>;

/// How the heads of a layer, or the rows of its feed-forward matrices, are divided.
struct LayerDivision {
  Bounds heads{};              // query heads
  std::string attention{};     // why they are not divided
  std::uint64_t queries = 0;   // all heads
  std::uint64_t kv_heads = 0;  // all of them
  Bounds inner{};              // rows of `ffn_up`
  std::string feed_forward{};  // why they are not divided
  Bounds shared{};             // the same of the shared expert
  std::string shared_expert{};
  std::uint64_t experts = 0;  // that are tensors of their own
  bool is_recurrent = false;

  /// Returns the heads whose keys and values a rank needs.
  [[nodiscard]] CutRange kv_range(std::size_t rank) const noexcept {
    const std::uint64_t group = queries / kv_heads;
    const std::uint64_t first = heads[rank] / group;
    return {first, (heads[rank + 1] - 1) / group + 1 - first};
  }
};

/// The division of every layer.
///
/// \tparam Owner  any type of the caller's: this is compiled only when the caller is
template <class Owner>
class LayerDivisions {
 public:
  using Tensor = gguf::TensorInfo;

  /// Requires: the file outlives this.
  LayerDivisions(const gguf::File& file, std::uint32_t ranks, bool move_to_blocks)
      : file_{file},
        shape_{gguf::model_shape_of<Owner>(file)},
        ranks_{ranks},
        moves_{move_to_blocks} {
    find_recurrent_layers();
    divide_all();
  }
  /// The same model for another number of ranks: its shape is not read again.
  LayerDivisions(const LayerDivisions& other, std::uint32_t ranks, bool move_to_blocks)
      : file_{other.file_},
        shape_{other.shape_},
        ranks_{ranks},
        moves_{move_to_blocks},
        layers_(other.layers_.size()) {
    for (std::size_t i = 0; i < layers_.size(); ++i)
      layers_[i].is_recurrent = other.layers_[i].is_recurrent;
    divide_all();
  }

  /// Returns the first reason why the model cannot be divided so; empty if it can. If it cannot, not
  /// all layers have been looked at.
  [[nodiscard]] const std::string& problem() const noexcept { return problem_; }
  [[nodiscard]] const gguf::ModelShape& shape() const noexcept { return shape_; }
  [[nodiscard]] const std::vector<LayerDivision>& layers() const noexcept { return layers_; }

  /// Returns the layer and role of a tensor of the model's only stack.
  [[nodiscard]] DeferredOptional<LayerName, Owner> layer_of(const Tensor& tensor) const {
    if (file_.origin_of(tensor) != 0) return std::nullopt;
    const auto layer = layer_name_of<Owner>(tensor.name);
    if (!layer || !layer->stack.empty() || layer->number >= layers_.size()) return std::nullopt;
    return LayerName{layer->stack, layer->number, layer->role};
  }

  /// Returns the rows of Q, K and V together; 0 if that is more than there can be.
  [[nodiscard]] static std::uint64_t rows_of_joined(const gguf::LayerAttention& attention) {
    const auto queries = checked_multiply(attention.heads, attention.key_length);
    const auto keys = checked_multiply(attention.kv_heads, attention.key_length);
    const auto values = checked_multiply(attention.kv_heads, attention.value_length);
    if (!queries || !keys || !values) return 0;
    const auto both = checked_add(*keys, *values);
    return both ? checked_add(*queries, *both).value_or(0) : 0;
  }

  [[nodiscard]] bool is_of_vocabulary(const Tensor& tensor) const {
    return file_.origin_of(tensor) == 0 &&
           (tensor.name == "token_embd.weight" || tensor.name == "output.weight" ||
            tensor.name == "output.bias" || tensor.name == "per_layer_token_embd.weight");
  }

  /// Returns true for the tensors of all experts of a layer: the last dimension counts them.
  [[nodiscard]] static bool is_of_experts(const LayerName& layer, const Tensor& tensor) noexcept {
    return (tensor.shape.rank == 3 && layer.role.ends_with("exps.weight")) ||
           (tensor.shape.rank == 2 && layer.role.ends_with("exps.bias"));
  }

  /// Returns the expert's number in `ffn_down.3.weight`.
  [[nodiscard]] static std::optional<std::uint64_t> expert_in(std::string_view role) {
    for (const std::string_view word : {"ffn_gate.", "ffn_up.", "ffn_down."}) {
      if (!role.starts_with(word)) continue;
      const std::string name = "blk." + std::string{role.substr(word.size())};
      const auto expert = layer_name_of<Owner>(std::string_view{name});
      if (expert) return expert->number;
    }
    return std::nullopt;
  }

  /// Returns the number of experts that are tensors of their own.
  [[nodiscard]] std::uint64_t single_experts(std::uint64_t layer) const {
    std::uint64_t count = 0;
    while (find(layer, "ffn_down." + std::to_string(count) + ".weight") != nullptr) ++count;
    return count;
  }

  /// Returns how many rows of a vocabulary, or experts, are divided by number; 0: none.
  [[nodiscard]] std::uint64_t counted(const Tensor& tensor) const {
    if (tensor.bytes == 0) return 0;
    if (is_of_vocabulary(tensor)) return tensor.shape.extent[tensor.shape.rank < 2 ? 0 : 1];
    const auto layer = layer_of(tensor);
    if (!layer) return 0;
    if (is_of_experts(*layer, tensor)) return tensor.shape.extent[tensor.shape.rank - 1U];
    return expert_in(layer->role) == std::uint64_t{0} ? layers_[layer->number].experts : 0;
  }

 private:
  [[nodiscard]] static std::string name_in(std::uint64_t layer, std::string_view role) {
    return "blk." + std::to_string(layer) + "." + std::string{role};
  }
  [[nodiscard]] const Tensor* find(std::uint64_t layer, std::string_view role) const {
    const Tensor* const found = file_.find(name_in(layer, role));
    return found == nullptr || found->shape.rank > 2 || found->bytes == 0 ? nullptr : found;
  }
  [[nodiscard]] static std::uint64_t block_of(const Tensor& tensor) noexcept {
    return gguf::type_info(tensor.type).block_elements;
  }

  /// Records the first problem.
  void fail(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
  }

  void find_recurrent_layers() {
    layers_.resize(shape_.attention.size());
    for (const auto& tensor : file_.tensors()) {
      const auto layer = layer_of(tensor);
      if (!layer) continue;
      for (const std::string_view word : {"ssm_", "shortconv", "time_mix", "channel_mix"})
        layers_[layer->number].is_recurrent |= layer->role.starts_with(word);
    }
  }

  void divide_all() {
    if (ranks_ == 1) return;
    if (shape_.attention.empty()) {
      fail("its heads are not known: " + shape_.attention_problem);
      return;
    }
    for (std::uint64_t i = 0; i < layers_.size() && problem_.empty(); ++i) {
      layers_[i].experts = single_experts(i);
      divide_attention(i);
      divide_feed_forward(i, "", layers_[i].inner, layers_[i].feed_forward);
      divide_feed_forward(i, "_shexp", layers_[i].shared, layers_[i].shared_expert);
    }
    for (const auto& tensor : file_.tensors()) {
      if (problem_.empty()) check_counted(tensor);
    }
  }

  /// Returns why a layer's attention is not divided by heads; empty if it is.
  [[nodiscard]] std::string why_whole(std::uint64_t number, const Tensor* output) const {
    const LayerDivision& layer = layers_[number];
    const gguf::LayerAttention& attention = shape_.attention[number];
    if (layer.is_recurrent) return "its layer is recurrent";
    if (attention.heads == 0) return "its layer has no heads";
    if (output == nullptr) return "its layer has no attn_output to add the heads up";
    if (output->shape.extent[0] % attention.heads != 0)
      return "the columns of attn_output are not whole heads";
    const auto is_whole = [&](std::string_view role, std::uint64_t heads) {
      const Tensor* const tensor = find(number, role);
      return tensor == nullptr || (heads != 0 && tensor->shape.extent[1] % heads == 0);
    };
    if (!is_whole("attn_q.weight", attention.heads) ||
        !is_whole("attn_k.weight", attention.kv_heads) ||
        !is_whole("attn_v.weight", attention.kv_heads)) {
      return "the rows of attn_q, attn_k or attn_v are not whole heads";
    }
    const Tensor* const joined = find(number, "attn_qkv.weight");
    if (joined != nullptr && joined->shape.extent[1] != rows_of_joined(attention))
      return "the rows of attn_qkv are not those of its heads";
    return {};
  }

  void divide_attention(std::uint64_t number) {
    LayerDivision& layer = layers_[number];
    const Tensor* const output = find(number, "attn_output.weight");
    layer.attention = why_whole(number, output);
    if (!layer.attention.empty()) return;
    const gguf::LayerAttention& attention = shape_.attention[number];
    layer.queries = attention.heads;
    layer.kv_heads = attention.kv_heads == 0 ? attention.heads : attention.kv_heads;
    if (layer.queries % layer.kv_heads != 0) {
      layer.attention = "its heads do not share keys and values evenly";
      return;
    }
    const std::uint64_t group = layer.queries / layer.kv_heads;
    const std::uint64_t head = output->shape.extent[0] / layer.queries;
    layer.heads = bounds_of(layer.queries, ranks_ <= layer.kv_heads ? group : 1, head, *output,
                            "heads", number);
    for (std::size_t i = 0; problem_.empty() && i < ranks_; ++i) {
      const bool is_within = layer.kv_range(i).count == 1;
      if (is_within || (layer.heads[i] % group == 0 && layer.heads[i + 1] % group == 0)) continue;
      fail("layer " + std::to_string(number) + " has " + std::to_string(layer.kv_heads) +
           " heads of keys and values, which cannot be divided or repeated evenly");
    }
  }

  void divide_feed_forward(std::uint64_t number, std::string_view suffix, Bounds& bounds,
                           std::string& whole) {
    const auto with = [&](std::string_view role) {
      return std::string{role} + std::string{suffix} + ".weight";
    };
    const Tensor* const down = find(number, with("ffn_down"));
    const Tensor* const up = find(number, with("ffn_up"));
    const Tensor* const gate = find(number, with("ffn_gate"));
    if (down == nullptr || up == nullptr) {
      whole = "its layer has no ffn_up and ffn_down that belong together";
      return;
    }
    const std::uint64_t rows = down->shape.extent[0];
    const bool is_joined = gate == nullptr && rows <= largest_of<std::uint64_t> / 2 &&
                           up->shape.extent[1] == 2 * rows;  // gate and up in one
    if ((!is_joined && up->shape.extent[1] != rows) ||
        (gate != nullptr && gate->shape.extent[1] != rows)) {
      whole = "the rows of ffn_up are not the columns of ffn_down";
      return;
    }
    bounds = bounds_of(rows, 1, 1, *down, "columns", number);
  }

  /// Divides `count` things, `unit` of which stay together, into ranges of columns of a matrix.
  /// \param columns  of each thing
  [[nodiscard]] Bounds bounds_of(std::uint64_t count, std::uint64_t unit, std::uint64_t columns,
                                 const Tensor& matrix, const char* things, std::uint64_t layer) {
    const std::uint64_t block = block_of(matrix);
    const auto text = [&](const char* problem) {
      return "layer " + std::to_string(layer) + " has " + std::to_string(count) + " " + things +
             (columns == 1 ? "" : " of " + std::to_string(columns)) + " (" +
             std::string{matrix.name} + ", " + std::string{gguf::type_name(matrix.type)} +
             (block == 1 ? "" : " in blocks of " + std::to_string(block)) + "), " + problem;
    };
    Bounds bounds{0};
    if (moves_) {
      std::uint64_t whole = unit;  // the fewest that end with a block
      while (whole <= count && whole * columns % block != 0) whole += unit;
      for (std::uint64_t i = 1; i < ranks_; ++i) {
        const std::uint64_t wanted = i * (count / ranks_) + i * (count % ranks_) / ranks_;
        const std::uint64_t moved =
            wanted / whole * whole + (wanted % whole == 0 ? std::uint64_t{0} : whole);
        if (moved <= bounds.back() || moved >= count) {
          fail(text("which leave a rank without any, or would be cut within a head"));
          return {};
        }
        bounds.push_back(moved);
      }
      bounds.push_back(count);
      return bounds;
    }
    const std::uint64_t each = count / ranks_;
    if (count % ranks_ != 0 || each % unit != 0) {
      fail(text("which cannot be divided evenly"));
      return {};
    }
    if (each * columns % block != 0) {
      fail(text("which would be cut within a block"));
      return {};
    }
    for (std::uint64_t i = 1; i <= ranks_; ++i) bounds.push_back(i * each);
    return bounds;
  }

  /// Checks that there are enough of what is divided by number.
  void check_counted(const Tensor& tensor) {
    const std::uint64_t count = counted(tensor);
    if (count == 0) return;
    if (is_of_vocabulary(tensor)) {
      if (count < ranks_) fail(std::string{tensor.name} + " has fewer rows than there are ranks");
    } else if (count % ranks_ != 0) {
      fail(std::string{tensor.name} + " has " + std::to_string(count) +
           " experts, which cannot be divided evenly");
    }
  }

  const gguf::File& file_;
  gguf::ModelShape shape_;
  std::uint64_t ranks_;
  bool moves_;
  std::vector<LayerDivision> layers_;
  std::string problem_;
};

}  // namespace allot::load::detail
