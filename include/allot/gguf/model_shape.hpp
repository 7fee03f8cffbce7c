// SPDX-License-Identifier: MIT
/// \file
/// `gguf::ModelShape`: what a file says about its model: architecture, layers, attention heads,
/// vocabulary, trained context. It uses only the metadata, never a model's name.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/file.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace allot::gguf {

/// The attention of one layer.
struct LayerAttention {
  std::uint64_t heads;         ///< 0 if the file does not say
  std::uint64_t kv_heads;      ///< as many as `heads` if the file does not say
  std::uint64_t key_length;    ///< elements of one head's key
  std::uint64_t value_length;  ///< elements of one head's value

  /// Returns whether both layers keep keys and values of the same size for a token.
  [[nodiscard]] constexpr bool keeps_the_same_as(const LayerAttention& other) const noexcept {
    return kv_heads == other.kv_heads && key_length == other.key_length &&
           value_length == other.value_length;
  }
};

/// What a file says about its model.
struct ModelShape {
  std::string architecture;                        ///< empty if the file does not say
  std::optional<std::uint64_t> block_count{};      ///< layers
  std::optional<std::uint64_t> vocabulary{};       ///< tokens
  std::optional<std::uint64_t> trained_context{};  ///< tokens
  /// One for each layer; empty if the metadata do not suffice: `attention_problem` says why.
  std::vector<LayerAttention> attention{};
  /// The first key that prevents `attention` from being known, and what is wrong with it:
  /// `llama.block_count is missing`. Empty if there is none.
  std::string attention_problem{};
};

namespace detail {

/// Reads the keys `ARCHITECTURE.*` of a file layer by layer, up to the first problem.
///
/// \tparam Caller  until what has it is compiled, no part of this is
template <class Caller>
class AttentionReader {
 public:
  AttentionReader(const File& file, const std::string& architecture)
      : file_{file}, architecture_{architecture} {}

  /// Returns every layer's attention, or nothing if there is a problem.
  [[nodiscard]] DeferredVector<LayerAttention, Caller> read() {
    if (!read_layers()) layers_.clear();
    return std::move(layers_);
  }

  [[nodiscard]] const std::string& problem() const noexcept { return problem_; }

 private:
  /// A file's number of layers is not trusted: beyond this many, each layer needs a tensor.
  static constexpr std::uint64_t usual_layers = 1024;

  bool read_layers() {
    if (architecture_.empty()) return fail("general.architecture", "is missing");
    const std::string prefix = architecture_ + ".";
    const std::string count_key = prefix + "block_count";
    const auto layers = required(count_key, 0);
    if (!layers) return false;
    if (*layers > usual_layers && *layers > file_.tensors().size())
      return fail(count_key, "is more than the file has tensors");
    for (std::uint64_t layer = 0; layer < *layers; ++layer) {
      if (!read_layer(prefix, layer)) return false;
    }
    return true;
  }

  bool read_layer(const std::string& prefix, std::uint64_t layer) {
    const std::string heads_key = prefix + "attention.head_count";
    const auto kv_heads = optional(prefix + "attention.head_count_kv", layer);
    if (has_failed()) return false;
    const auto heads = optional(heads_key, layer);
    if (has_failed()) return false;
    const auto length = [&](const char* key) -> std::optional<std::uint64_t> {
      if (const auto own = optional(prefix + key, layer); own || has_failed()) return own;
      if (!heads) return fail(heads_key, "is missing"), std::nullopt;
      if (*heads == 0) return heads;
      const auto width = required(prefix + "embedding_length", layer);
      if (!width) return std::nullopt;
      return *width / *heads;
    };
    const auto keys = length("attention.key_length");
    if (!keys) return false;
    const auto values = length("attention.value_length");
    if (!values) return false;
    layers_.push_back({heads.value_or(0), kv_heads.value_or(heads.value_or(0)), *keys, *values});
    return true;
  }

  /// Returns the value of `key` for one layer: the number itself, or an array's element. Returns
  /// nothing if there is no such key, or if it is not a count, which is then recorded as the
  /// problem.
  [[nodiscard]] std::optional<std::uint64_t> optional(const std::string& key, std::uint64_t layer) {
    const Value* value = file_.metadata().find(key);
    if (value == nullptr) return std::nullopt;
    if (const auto count = value->as_count()) return count;
    if (value->type() != ValueType::array) return fail(key, "is not a count"), std::nullopt;
    const Array array = value->array();
    if (layer >= array.size())
      return fail(key, "has fewer elements than there are layers"), std::nullopt;
    return element(key, array, layer);
  }

  [[nodiscard]] std::optional<std::uint64_t> element(const std::string& key, const Array& array,
                                                     std::uint64_t layer) {
    std::optional<std::uint64_t> count;
    const char* problem = "is not an array of counts";
    with_number_type(array.element_type(), [&]<class Number>(Number) {
      if constexpr (std::is_integral_v<Number> && !std::is_same_v<Number, bool>) {
        const Number number = array.values<Number>()[layer];
        if (std::cmp_less(number, 0)) {
          problem = "has a negative element";
        } else {
          count = static_cast<std::uint64_t>(number);
        }
      }
    });
    if (!count) fail(key, problem);
    return count;
  }

  [[nodiscard]] std::optional<std::uint64_t> required(const std::string& key, std::uint64_t layer) {
    const auto count = optional(key, layer);
    if (!count && !has_failed()) fail(key, "is missing");
    return count;
  }

  [[nodiscard]] bool has_failed() const noexcept { return !problem_.empty(); }
  bool fail(const std::string& key, const char* problem) {
    problem_ = key + " " + problem;
    return false;
  }

  const File& file_;
  const std::string& architecture_;
  DeferredVector<LayerAttention, Caller> layers_;
  std::string problem_;
};

}  // namespace detail

/// Returns what the metadata of a file say about its model. What they do not say stays empty.
/// Complexity: linear in the layers.
template <class Caller = void>
[[nodiscard]] ModelShape model_shape_of(const File& file) {
  const Metadata& metadata = file.metadata();
  const auto count = [&metadata](const std::string& key) -> std::optional<std::uint64_t> {
    const Value* value = metadata.find(key);
    return value == nullptr ? std::nullopt : value->as_count();
  };
  ModelShape shape;
  if (const Value* architecture = metadata.find("general.architecture");
      architecture != nullptr && architecture->type() == ValueType::string) {
    shape.architecture = architecture->as<std::string_view>();
  }
  shape.block_count = count(shape.architecture + ".block_count");
  shape.trained_context = count(shape.architecture + ".context_length");
  shape.vocabulary = count(shape.architecture + ".vocab_size");
  const Value* tokens = metadata.find("tokenizer.ggml.tokens");
  if (!shape.vocabulary && tokens != nullptr && tokens->type() == ValueType::array)
    shape.vocabulary = tokens->array().size();
  detail::AttentionReader<Caller> reader{file, shape.architecture};
  shape.attention = reader.read();
  shape.attention_problem = reader.problem();
  return shape;
}

}  // namespace allot::gguf
