// SPDX-License-Identifier: MIT
/// \file
/// Attention over the blocks of a `KvCache`: a token's place is found in its sequence's block table.
#pragma once

#include <allot/pool/kv/kv_view.hpp>

#include "math.hpp"

namespace llama {

/// Writes what one head finds in the first tokens of a sequence. A block's tokens are read at once if
/// they are floats, otherwise one by one.
/// \param queries  of all heads; `found`, too, has all heads
/// \param scratch  a float for each of the tokens, and a head's key or value
inline void attend(const KvView& cache, KvLayer layer, gguf::TensorType type, const Shape& shape,
                   std::uint64_t tokens, std::uint64_t head, const float* queries, float* found,
                   float* scratch) {
  const auto& [keys, values] = std::pair{shape.key_length, shape.value_length};
  const std::uint64_t at_once =
      type == gguf::TensorType::F32 ? cache.layout.block_tokens() : std::uint64_t{1};
  const std::uint64_t kv_head = head / (shape.heads / shape.kv_heads);
  const std::uint64_t key_offset = cache.layout.key_bytes() / shape.kv_heads * kv_head;
  const std::uint64_t value_offset = cache.layout.value_bytes() / shape.kv_heads * kv_head;
  float* const weights = scratch + std::max(keys, values);
  for (std::uint64_t i = 0; i < tokens; i += at_once) {
    const float* const rows =
        gguf::floats_of(type, cache.key(layer, i) + key_offset, {scratch, keys});
    dots(weights + i, queries + head * keys, rows, shape.keys(), std::min(at_once, tokens - i),
         keys, static_cast<float>(shape.attention_scale));
  }
  softmax(weights, tokens);
  std::fill_n(found + head * values, values, 0.0F);
  for (std::uint64_t i = 0; i < tokens; i += at_once) {
    const float* const rows =
        gguf::floats_of(type, cache.value(layer, i) + value_offset, {scratch, values});
    add_rows(found + head * values, rows, shape.values(), weights + i,
             std::min(at_once, tokens - i), values);
  }
}

}  // namespace llama
