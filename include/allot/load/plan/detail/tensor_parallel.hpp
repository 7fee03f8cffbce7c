// SPDX-License-Identifier: MIT
/// \file
/// Divides the matrices of a model between the ranks of a group by what each is for: a layer's first
/// matrices by rows, its last by the matching columns, so that only sums go between the ranks.
///
/// | tensors                                       | cut along                                      |
/// |-----------------------------------------------|------------------------------------------------|
/// | `attn_q`, `attn_k`, `attn_v`, `attn_qkv`      | rows, at whole heads; their biases likewise    |
/// | `attn_output`                                 | columns, at the same heads                     |
/// | `ffn_gate`, `ffn_up`, `_shexp`                | rows; their biases likewise                    |
/// | `ffn_down`, `_shexp`                          | columns, where the rows are cut                |
/// | `*_exps`, `ffn_down.0`                        | experts, by number                             |
/// | `token_embd`, `output`                        | rows, by the vocabulary                        |
/// | biases of `attn_output`, `ffn_down`           | not: the first rank has them                   |
/// | all others                                    | not: every rank has them, and the plan says why|
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/model_shape.hpp>
#include <allot/gguf/tensor_type.hpp>
#include <allot/load/plan/detail/layer_divisions.hpp>
#include <allot/load/plan/detail/model_part.hpp>
#include <allot/load/plan/layer_name.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace allot::load::detail {

/// What each rank of a group has of a model.
///
/// \tparam Owner  any type of the caller's: this is compiled only when the caller is
template <class Owner = void>
class TensorParallel {
 public:
  /// Requires: the file outlives this.
  TensorParallel(const gguf::File& file, std::uint32_t ranks, bool move_to_blocks)
      : file_{file}, divisions_{file, ranks, move_to_blocks}, ranks_{ranks} {}
  /// The same model for another number of ranks.
  TensorParallel(const TensorParallel& other, std::uint32_t ranks, bool move_to_blocks)
      : file_{other.file_}, divisions_{other.divisions_, ranks, move_to_blocks}, ranks_{ranks} {}

  /// Returns why the model cannot be divided so; empty if it can.
  [[nodiscard]] const std::string& problem() const noexcept { return divisions_.problem(); }

  /// Returns what a rank has. Requires: there is no problem.
  [[nodiscard]] ModelPart part(std::uint32_t rank) const {
    ModelPart part;
    part.tensors.reserve(file_.tensors().size());
    for (const auto& tensor : file_.tensors()) part.tensors.push_back(part_of(tensor, rank));
    const gguf::Value* const loops =
        file_.metadata().find(divisions_.shape().architecture + ".num_loops");
    part.runs_layers_again = loops != nullptr && loops->as_count().value_or(1) > 1;
    for (const LayerDivision& layer : divisions_.layers()) {
      const bool is_divided = ranks_ != 1 && !layer.heads.empty();
      part.layers.push_back(is_divided ? LayerHeads{layer.kv_range(rank).count, layer.kv_heads}
                                       : LayerHeads{});
    }
    return part;
  }

 private:
  using Tensor = gguf::TensorInfo;

  /// Returns the range of a rank among `count` things: ranges differ by one at most.
  [[nodiscard]] CutRange even_range(std::uint64_t count, std::uint64_t rank) const noexcept {
    const auto bound = [&](std::uint64_t i) {
      return i * (count / ranks_) + i * (count % ranks_) / ranks_;
    };
    return {bound(rank), bound(rank + 1) - bound(rank)};
  }

  [[nodiscard]] static TensorPart repeated(std::string why) { return {.repeated = std::move(why)}; }
  [[nodiscard]] static Deferred<TensorPart, Owner> cut_along(
      std::uint32_t dimension, DeferredVector<CutRange, Owner> ranges) {
    return {.cut = TensorCut{dimension, std::move(ranges)}};
  }
  /// Cuts rows; a vector's elements are its rows.
  [[nodiscard]] static TensorPart cut_rows(const Tensor& tensor,
                                           DeferredVector<CutRange, Owner> ranges) {
    if (tensor.shape.rank < 2 && gguf::type_info(tensor.type).block_elements != 1)
      return repeated("its blocks hold many rows");
    return cut_along(tensor.shape.rank < 2 ? 0 : 1, std::move(ranges));
  }

  [[nodiscard]] TensorPart part_of(const Tensor& tensor, std::uint32_t rank) const {
    if (ranks_ == 1 || tensor.bytes == 0) return {};
    if (file_.origin_of(tensor) != 0) return repeated("it is of another file");
    if (divisions_.is_of_vocabulary(tensor))
      return cut_rows(tensor, {even_range(divisions_.counted(tensor), rank)});
    const auto layer = divisions_.layer_of(tensor);
    if (!layer) return repeated(why_repeated(tensor.name));
    if (divisions_.is_of_experts(*layer, tensor))
      return cut_along(tensor.shape.rank - 1U, {even_range(divisions_.counted(tensor), rank)});
    if (const auto expert = divisions_.expert_in(layer->role)) {
      const CutRange own = even_range(divisions_.layers()[layer->number].experts, rank);
      return {.is_there = *expert >= own.first && *expert - own.first < own.count};
    }
    return part_of_layer(tensor, *layer, rank);
  }

  [[nodiscard]] TensorPart part_of_layer(const Tensor& tensor, const LayerName& name,
                                         std::uint32_t rank) const {
    const LayerDivision& layer = divisions_.layers()[name.number];
    const std::string_view role = name.role.substr(0, name.role.rfind('.'));
    const std::string_view ending = name.role.substr(role.size());
    const bool is_bias = ending == ".bias";
    if (!is_bias && ending != ".weight") return repeated("no rule divides it");
    const bool is_attention = role == "attn_q" || role == "attn_k" || role == "attn_v" ||
                              role == "attn_qkv" || role == "attn_output";
    if (is_attention) {
      if (layer.heads.empty()) return repeated(layer.attention);
      return part_of_attention(tensor, layer, role, is_bias, rank);
    }
    for (const bool is_shared : {false, true}) {
      const Bounds& bounds = is_shared ? layer.shared : layer.inner;
      const std::string suffix = is_shared ? "_shexp" : "";
      const bool is_down = role == "ffn_down" + suffix;
      if (!is_down && role != "ffn_up" + suffix && role != "ffn_gate" + suffix) continue;
      if (bounds.empty()) return repeated(is_shared ? layer.shared_expert : layer.feed_forward);
      const CutRange own{bounds[rank], bounds[rank + 1] - bounds[rank]};
      if (is_down) return last_of_layer(is_bias, own, rank);
      const std::uint64_t rows = tensor.shape.extent[tensor.shape.rank < 2 ? 0 : 1];
      if (rows == bounds.back()) return cut_rows(tensor, {own});
      if (rows == 2 * bounds.back())
        return cut_rows(tensor, {own, {bounds.back() + own.first, own.count}});
      return repeated("its rows are not those of its matrix");
    }
    return repeated(why_repeated(role));
  }

  /// The matrix that adds up what the ranks computed, by columns; the first rank adds the bias.
  [[nodiscard]] static TensorPart last_of_layer(bool is_bias, CutRange columns,
                                                std::uint32_t rank) {
    if (is_bias) return {.is_there = rank == 0};
    return cut_along(0, {columns});
  }

  [[nodiscard]] TensorPart part_of_attention(const Tensor& tensor, const LayerDivision& layer,
                                             std::string_view role, bool is_bias,
                                             std::uint32_t rank) const {
    const CutRange heads{layer.heads[rank], layer.heads[rank + 1] - layer.heads[rank]};
    const auto times = [](CutRange range, std::uint64_t length) {
      return CutRange{range.first * length, range.count * length};
    };
    const std::uint64_t rows = tensor.shape.extent[tensor.shape.rank < 2 ? 0 : 1];
    if (role == "attn_output") {
      return last_of_layer(is_bias, times(heads, tensor.shape.extent[0] / layer.queries), rank);
    }
    const CutRange kept = layer.kv_range(rank);
    const bool shares_kv = layer.kv_heads < ranks_;
    const char* const why = "there are more ranks than heads of keys and values";
    if (role == "attn_q" && rows % layer.queries == 0)
      return cut_rows(tensor, {times(heads, rows / layer.queries)});
    if (role == "attn_qkv" && rows == divisions_.rows_of_joined(attention_of(layer))) {
      const gguf::LayerAttention& attention = attention_of(layer);
      const std::uint64_t keys = layer.queries * attention.key_length;
      const std::uint64_t values = keys + layer.kv_heads * attention.key_length;
      CutRange key = times(kept, attention.key_length);
      CutRange value = times(kept, attention.value_length);
      key.first += keys;
      value.first += values;
      TensorPart part = cut_rows(tensor, {times(heads, attention.key_length), key, value});
      if (shares_kv) part.repeated = why;
      return part;
    }
    if ((role == "attn_k" || role == "attn_v") && rows % layer.kv_heads == 0) {
      TensorPart part = cut_rows(tensor, {times(kept, rows / layer.kv_heads)});
      if (shares_kv) part.repeated = why;
      return part;
    }
    return repeated("its rows are not whole heads");
  }

  [[nodiscard]] const gguf::LayerAttention& attention_of(const LayerDivision& layer) const {
    return divisions_.shape()
        .attention[static_cast<std::size_t>(&layer - divisions_.layers().data())];
  }

  /// Returns why every rank has a tensor of a layer.
  [[nodiscard]] static std::string why_repeated(std::string_view role) {
    if (role.find("norm") != std::string_view::npos) return "it is a norm";
    if (role.starts_with("ffn_gate_inp") || role.starts_with("exp_probs"))
      return "it is of the router";
    for (const std::string_view word : {"attn_q_", "attn_kv_", "attn_k_", "attn_v_"}) {
      if (role.starts_with(word)) return "it is a low-rank part of the attention";
    }
    for (const std::string_view word : {"ssm_", "shortconv", "time_mix", "channel_mix"}) {
      if (role.starts_with(word)) return "it is recurrent or a convolution";
    }
    if (role == "attn_sinks") return "it is a sink of the attention";
    return "no rule divides it";
  }

  const gguf::File& file_;
  LayerDivisions<Owner> divisions_;
  std::uint64_t ranks_;
};

}  // namespace allot::load::detail
