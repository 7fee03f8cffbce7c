// SPDX-License-Identifier: MIT
/// \file
/// `gguf::DecoderShape`: the numbers that an engine needs to compute a decoder whose layers are all
/// alike, as Llama's and Qwen's are; read from the metadata, and refused by name where they are missing
/// or wrong. `model_shape_of` (`model_shape.hpp`) reads models of any kind, as far as files go.
#pragma once

#include <allot/gguf/file.hpp>
#include <allot/gguf/model_keys.hpp>
#include <allot/gguf/model_shape.hpp>

#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace allot::gguf {

/// Numbers of elements, unless stated otherwise. All are from 1 to 2^24, but for the vocabulary: the
/// product of two, and of a few more, is below 2^64.
struct DecoderShape {
  std::string architecture;       ///< such as `llama`
  std::uint64_t layers;           ///< how many there are
  std::uint64_t width;            ///< of what one layer gives to the next: `embedding_length`
  std::uint64_t hidden;           ///< `feed_forward_length`
  std::uint64_t vocabulary;       ///< tokens: rows of `token_embd.weight`
  std::uint64_t heads;            ///< how many there are in a layer
  std::uint64_t kv_heads;         ///< likewise; `heads` is a multiple of it
  std::uint64_t key_length;       ///< of one head's key
  std::uint64_t value_length;     ///< of one head's value
  std::uint64_t rope_dimensions;  ///< of each head, that turn with the position; an even number
  double rope_base;               ///< `rope.freq_base`
  double rope_factor;             ///< positions are divided by it: `rope.scaling.factor`
  double epsilon;                 ///< of the norms: `attention.layer_norm_rms_epsilon`
  double attention_scale;         ///< `attention.scale`

  /// Returns the elements of all heads' queries.
  [[nodiscard]] constexpr std::uint64_t queries() const noexcept { return heads * key_length; }
  /// Returns the elements of all keys of a token.
  [[nodiscard]] constexpr std::uint64_t keys() const noexcept { return kv_heads * key_length; }
  /// Returns the elements of all values of a token.
  [[nodiscard]] constexpr std::uint64_t values() const noexcept { return kv_heads * value_length; }
  /// Returns the elements that all heads' attention gives.
  [[nodiscard]] constexpr std::uint64_t attended() const noexcept { return heads * value_length; }
};

/// Returns what the file says. Numbers that it may leave out have llama.cpp's defaults.
/// Complexity: linear in the layers.
/// Throws: `std::runtime_error` for a key that is missing or wrong, for layers that differ, and for
/// positions that are scaled in another way than linearly; as `ModelKeys`.
template <class Caller = void>
[[nodiscard]] DecoderShape decoder_shape_of(const File& file) {
  constexpr std::uint64_t most = std::uint64_t{1} << 24;
  const auto require = [](bool holds, const std::string& otherwise) {
    if (!holds) throw std::runtime_error{otherwise};
  };
  const ModelKeys keys{file};
  const ModelShape known = model_shape_of<Caller>(file);
  require(known.attention_problem.empty(), known.attention_problem);
  require(!known.attention.empty(), "the model has no layers");
  const auto& [heads, kv_heads, key_length, value_length] = known.attention.front();
  for (const LayerAttention& layer : known.attention) {
    require(layer.heads == heads && layer.keeps_the_same_as(known.attention.front()),
            "layers of the model have different heads; a decoder's are all alike");
  }
  for (const std::uint64_t count : {heads, kv_heads, key_length, value_length}) {
    require(count != 0 && count <= most,
            "a number of the model's heads is " + std::to_string(count) +
                "; those of a decoder are from 1 to " + std::to_string(most));
  }
  require(heads % kv_heads == 0, std::to_string(heads) + " heads cannot share " +
                                     std::to_string(kv_heads) + " KV heads evenly");
  const TensorInfo* const embedding = file.find("token_embd.weight");
  require(embedding != nullptr, "tensor token_embd.weight is missing");
  const std::uint64_t turned = keys.count("rope.dimension_count", key_length, key_length);
  require(turned % 2 == 0, "of each head " + std::to_string(turned) +
                               " elements turn with the position; they must be pairs");
  const std::string_view scaling = keys.text("rope.scaling.type", "none");
  require(scaling == "none" || scaling == "linear",
          "positions are scaled by \"" + std::string{scaling} + "\"; a decoder's at most linearly");
  return {.architecture = keys.architecture(),
          .layers = known.attention.size(),
          .width = keys.count("embedding_length", 0, most),
          .hidden = keys.count("feed_forward_length", 0, most),
          .vocabulary = embedding->shape.extent[1],
          .heads = heads,
          .kv_heads = kv_heads,
          .key_length = key_length,
          .value_length = value_length,
          .rope_dimensions = turned,
          .rope_base = keys.number("rope.freq_base", 10000),
          .rope_factor = scaling == "linear" ? keys.number("rope.scaling.factor", 1) : 1,
          .epsilon = keys.number("attention.layer_norm_rms_epsilon", 1e-5),
          .attention_scale =
              keys.number("attention.scale", 1 / std::sqrt(static_cast<double>(key_length)))};
}

}  // namespace allot::gguf
