// SPDX-License-Identifier: MIT
/// \file
/// What a model's KV cache and scratch memory take, from its metadata.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/pool/kv/kv_layout.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace allot::load {

/// The keys and values that one layer keeps for each token, in elements.
struct CacheLayer {
  std::uint64_t key_elements;
  std::uint64_t value_elements;
};

/// A cache of `context` tokens.
struct CacheOptions {
  std::uint64_t context;
  gguf::TensorType key_type = gguf::TensorType::F16;
  gguf::TensorType value_type = gguf::TensorType::F16;
};

namespace detail {

/// What a file says of its layers is not trusted: more than these need a tensor each.
inline constexpr std::uint64_t usual_layers = 1024;

[[nodiscard]] inline std::string architecture_of(const gguf::File& file) {
  const gguf::Value* value = file.metadata().find("general.architecture");
  if (value == nullptr || value->type() != gguf::ValueType::string) return "";
  return std::string{value->as<std::string_view>()};
}

[[noreturn]] inline void throw_no_cache(const std::string& key, const char* problem) {
  throw std::runtime_error{"the KV cache cannot be planned: " + key + " " + problem +
                           "; plan without a context, or correct the key in the file"};
}

/// The value of `key` for one layer: the number itself, or an array's element. Nothing where there
/// is no such key. Throws: `std::runtime_error` where it is there, and no count.
[[nodiscard]] inline std::optional<std::uint64_t> layer_count_of(const gguf::File& file,
                                                                 const std::string& key,
                                                                 std::uint64_t layer) {
  const gguf::Value* value = file.metadata().find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto count = value->as_count()) return count;
  if (value->type() != gguf::ValueType::array) throw_no_cache(key, "is no count");
  const gguf::Array array = value->array();
  if (layer >= array.size()) throw_no_cache(key, "has fewer elements than there are layers");
  std::optional<std::uint64_t> count;
  gguf::with_number_type(array.element_type(), [&]<class T>(T) {
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      const T number = array.values<T>()[layer];
      if (std::cmp_less(number, 0)) throw_no_cache(key, "has a negative element");
      count = static_cast<std::uint64_t>(number);
    }
  });
  if (!count) throw_no_cache(key, "is no array of counts");
  return count;
}

[[nodiscard]] inline std::uint64_t required_count(const gguf::File& file, const std::string& key,
                                                  std::uint64_t layer) {
  const auto count = layer_count_of(file, key, layer);
  if (!count) throw_no_cache(key, "is missing");
  return *count;
}

/// Bytes of `tokens` rows of `elements` elements each.
[[nodiscard]] inline std::uint64_t cache_bytes(std::uint64_t elements, std::uint64_t tokens,
                                               gguf::TensorType type) {
  const gguf::TypeInfo info = gguf::checked_type_info(type);
  if (elements % info.block_elements != 0) {
    throw std::invalid_argument{
        "a cache of " + std::string{info.name} + " cannot be had: its blocks are " +
        std::to_string(info.block_elements) + " elements, and a token keeps " +
        std::to_string(elements) + " in a layer; use F16"};
  }
  const auto row = checked_multiply(elements / info.block_elements, info.block_bytes);
  const auto all = row ? checked_multiply(*row, tokens) : std::nullopt;
  if (!all) throw std::length_error{"the KV cache takes more than 2^64 bytes; ask for less"};
  return *all;
}

}  // namespace detail

namespace detail {

/// A layer's attention, from the metadata. In elements of one head.
struct LayerAttention {
  std::uint64_t kv_heads;
  std::uint64_t key_length;
  std::uint64_t value_length;

  friend bool operator==(const LayerAttention&, const LayerAttention&) = default;
};

[[nodiscard]] inline std::string to_text(const LayerAttention& layer) {
  return std::to_string(layer.kv_heads) + " KV heads with keys of " +
         std::to_string(layer.key_length) + " and values of " + std::to_string(layer.value_length);
}

/// Of each layer. Throws: `std::runtime_error` naming the key that is missing.
[[nodiscard]] inline std::vector<LayerAttention> layer_attentions(const gguf::File& file) {
  const std::string architecture = architecture_of(file);
  if (architecture.empty()) throw_no_cache("general.architecture", "is missing");
  const std::string prefix = architecture + ".";
  const std::uint64_t layers = required_count(file, prefix + "block_count", 0);
  if (layers > std::max<std::uint64_t>(usual_layers, file.tensors().size()))
    throw_no_cache(prefix + "block_count", "is more than the file has tensors");

  std::vector<LayerAttention> made;
  for (std::uint64_t layer = 0; layer < layers; ++layer) {
    const std::string heads_key = prefix + "attention.head_count";
    const std::uint64_t kv_heads =
        layer_count_of(file, prefix + "attention.head_count_kv", layer)
            .value_or(layer_count_of(file, heads_key, layer).value_or(0));
    const auto head_elements = [&](const char* key) {
      if (const auto own = layer_count_of(file, prefix + key, layer)) return *own;
      const std::uint64_t heads = required_count(file, heads_key, layer);
      if (heads == 0) return std::uint64_t{0};
      return required_count(file, prefix + "embedding_length", layer) / heads;
    };
    made.push_back(
        {kv_heads, head_elements("attention.key_length"), head_elements("attention.value_length")});
  }
  return made;
}

}  // namespace detail

/// What each layer of a model keeps of a token: KV heads times head dimensions, from the metadata.
/// Models that keep less (windows, compressed keys) are planned as if they kept all of it.
/// Throws: `std::runtime_error` naming the key that is missing.
[[nodiscard]] inline std::vector<CacheLayer> cache_layers(const gguf::File& file) {
  std::vector<CacheLayer> made;
  for (const detail::LayerAttention& layer : detail::layer_attentions(file)) {
    const auto keys = checked_multiply(layer.kv_heads, layer.key_length);
    const auto values = checked_multiply(layer.kv_heads, layer.value_length);
    if (!keys || !values) {
      detail::throw_no_cache(detail::architecture_of(file) + ".attention.head_count_kv",
                             "times the head's size overflows");
    }
    made.push_back({*keys, *values});
  }
  return made;
}

/// The shape of a model's paged cache (`allot::KvCache`): of the layers that keep anything.
/// Throws: `std::runtime_error` as `cache_layers`, where no layer keeps anything, and where layers
/// keep different amounts: such a model needs a cache for each kind of them.
[[nodiscard]] inline KvShape kv_shape_of(const gguf::File& file,
                                         gguf::TensorType key_type = gguf::TensorType::F16,
                                         gguf::TensorType value_type = gguf::TensorType::F16) {
  std::vector<detail::LayerAttention> layers = detail::layer_attentions(file);
  std::erase_if(layers, [](const detail::LayerAttention& layer) {
    return layer.kv_heads == 0 || (layer.key_length == 0 && layer.value_length == 0);
  });
  if (layers.empty())
    throw std::runtime_error{"no layer of this model has keys and values to keep"};
  const detail::LayerAttention first = layers.front();
  for (const detail::LayerAttention& layer : layers) {
    if (layer == first) continue;
    throw std::runtime_error{
        "layers of this model keep different amounts: " + detail::to_text(first) + " and " +
        detail::to_text(layer) + "; make a KvCache for the layers of each kind"};
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

/// The context that the model was made for, where its metadata say so.
[[nodiscard]] inline std::optional<std::uint64_t> trained_context(const gguf::File& file) {
  const gguf::Value* value =
      file.metadata().find(detail::architecture_of(file) + ".context_length");
  return value == nullptr ? std::nullopt : value->as_count();
}

/// The cache as items, `cache.N.k` and `cache.N.v` for each layer that keeps any: rows of tokens.
/// Throws: as `cache_layers`; `std::invalid_argument` for a type whose blocks do not divide a row;
/// `std::length_error` where the sizes overflow.
[[nodiscard]] inline std::vector<Item> cache_items(const gguf::File& file,
                                                   const CacheOptions& options) {
  std::vector<Item> items;
  std::uint64_t number = 0;
  const auto add = [&](const char* ending, std::uint64_t elements, gguf::TensorType type) {
    const std::uint64_t bytes = detail::cache_bytes(elements, options.context, type);
    if (bytes == 0) return;
    items.push_back({.name = "cache." + std::to_string(number) + ending,
                     .type = type,
                     .shape = {.extent = {elements, options.context, 1, 1}, .rank = 2},
                     .arena = 0,
                     .offset = 0,
                     .bytes = bytes,
                     .purpose = Purpose::cache});
  };
  for (const CacheLayer& layer : cache_layers(file)) {
    add(".k", layer.key_elements, options.key_type);
    add(".v", layer.value_elements, options.value_type);
    ++number;
  }
  return items;
}

/// Scratch memory as an item.
[[nodiscard]] inline Item scratch_item(std::string name, std::uint64_t bytes) {
  return {.name = std::move(name),
          .type = gguf::TensorType::I8,
          .shape = {.extent = {bytes, 1, 1, 1}, .rank = 1},
          .arena = 0,
          .offset = 0,
          .bytes = bytes,
          .purpose = Purpose::scratch};
}

}  // namespace allot::load
