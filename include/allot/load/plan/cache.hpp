// SPDX-License-Identifier: MIT
/// \file
/// The size of a model's KV cache and scratch memory, from its metadata.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/model_shape.hpp>
#include <allot/load/plan/layout.hpp>
#include <allot/load/plan/plan.hpp>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace allot::load {

/// The keys and values that one layer keeps for each token, in elements.
struct CacheLayer {
  std::uint64_t key_elements;
  std::uint64_t value_elements;
};

/// The options of a cache of `context` tokens.
struct CacheOptions {
  std::uint64_t context;
  gguf::TensorType key_type = gguf::TensorType::F16;
  gguf::TensorType value_type = gguf::TensorType::F16;
};

namespace detail {

template <class = void>
[[noreturn]] void throw_no_cache(const std::string& problem) {
  throw std::runtime_error{"the KV cache cannot be planned: " + problem +
                           "; plan without a context, or correct the key in the file"};
}

/// Returns the bytes of `tokens` rows of `elements` elements each.
template <class = void>
[[nodiscard]] std::uint64_t cache_bytes(std::uint64_t elements, std::uint64_t tokens,
                                        gguf::TensorType type) {
  const gguf::TypeInfo info = gguf::checked_type_info(type);
  if (elements % info.block_elements != 0) {
    throw std::invalid_argument{"invalid cache type " + std::string{info.name} +
                                ": its blocks have " + std::to_string(info.block_elements) +
                                " elements, but a token keeps " + std::to_string(elements) +
                                " in a layer; use F16"};
  }
  const auto row = checked_multiply(elements / info.block_elements, info.block_bytes);
  const auto all = row ? checked_multiply(*row, tokens) : std::nullopt;
  if (!all)
    throw std::length_error{"the KV cache would take more than 2^64 bytes; use a shorter context"};
  return *all;
}

}  // namespace detail

/// Returns what each layer of a model keeps for a token: KV heads times head dimensions, from the
/// metadata. Models that keep less (windows, compressed keys) are planned as if they kept it all.
/// Throws: `std::runtime_error` naming the key that is missing.
template <class = void>
[[nodiscard]] std::vector<CacheLayer> cache_layers(const gguf::File& file) {
  const gguf::ModelShape shape = gguf::model_shape_of(file);
  if (!shape.attention_problem.empty()) detail::throw_no_cache(shape.attention_problem);
  std::vector<CacheLayer> layers;
  for (const gguf::LayerAttention& layer : shape.attention) {
    const auto keys = checked_multiply(layer.kv_heads, layer.key_length);
    const auto values = checked_multiply(layer.kv_heads, layer.value_length);
    if (!keys || !values) {
      detail::throw_no_cache(shape.architecture +
                             ".attention.head_count_kv times the head's size overflows");
    }
    layers.push_back({*keys, *values});
  }
  return layers;
}

/// Returns the context that the model was trained for, if its metadata has it.
template <class = void>
[[nodiscard]] std::optional<std::uint64_t> trained_context(const gguf::File& file) {
  return gguf::model_shape_of(file).trained_context;
}

/// Returns the cache, `cache.N.k` and `cache.N.v` for each layer that keeps anything: a row for
/// each token.
/// Throws: as `cache_layers`; `std::invalid_argument` for a type whose blocks do not divide a row;
/// `std::length_error` if the sizes overflow.
template <class = void>
[[nodiscard]] std::vector<ItemLayout> cache_items(const gguf::File& file,
                                                  const CacheOptions& options) {
  std::vector<ItemLayout> items;
  std::uint64_t number = 0;
  const auto add = [&](const char* ending, std::uint64_t elements, gguf::TensorType type) {
    if (detail::cache_bytes(elements, options.context, type) == 0) return;
    items.push_back(
        detail::lay_out({.name = "cache." + std::to_string(number) + ending,
                         .type = type,
                         .shape = {.extent = {elements, options.context, 1, 1}, .rank = 2},
                         .purpose = Purpose::cache}));
  };
  for (const CacheLayer& layer : cache_layers(file)) {
    add(".k", layer.key_elements, options.key_type);
    add(".v", layer.value_elements, options.value_type);
    ++number;
  }
  return items;
}

/// Returns scratch memory. It has no rows.
template <class = void>
[[nodiscard]] ItemLayout scratch_item(std::string name, std::uint64_t bytes) {
  return {.name = std::move(name),
          .type = gguf::TensorType::I8,
          .shape = {.extent = {bytes, 1, 1, 1}, .rank = 1},
          .bytes = bytes,
          .purpose = Purpose::scratch};
}

}  // namespace allot::load
