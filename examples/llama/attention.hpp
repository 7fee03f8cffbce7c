// SPDX-License-Identifier: MIT
/// \file
/// Attention over the blocks of a `KvCache`: a token's place is found in its sequence's block table.
#pragma once

#include <allot/gguf/dequantize.hpp>
#include <allot/gguf/float16.hpp>
#include <allot/pool/kv/kv_layout.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "math.hpp"
#include "model.hpp"

namespace llama {

/// A cache as kernels see it.
struct CacheView {
  std::byte* blocks;
  allot::KvLayout layout;
  allot::gguf::TensorType type;  ///< F32, F16 or BF16
  Shape shape;                   ///< of the model
};

/// A token of a sequence.
struct Place {
  const std::uint32_t* table;  ///< its sequence's blocks
  std::uint64_t position;
};

/// Rounds floats to the type of a cache.
inline void write(allot::gguf::TensorType type, std::byte* to, const float* from,
                  std::uint64_t count) {
  const std::span floats{from, static_cast<std::size_t>(count)};
  const auto write_as = [&]<class Number>(Number* numbers) {
    allot::gguf::dequantize(allot::gguf::TensorType::F32, std::as_bytes(floats),
                            std::span{numbers, count});
  };
  if (type == allot::gguf::TensorType::F32) write_as(reinterpret_cast<float*>(to));
  if (type == allot::gguf::TensorType::F16) write_as(reinterpret_cast<allot::gguf::Float16*>(to));
  if (type == allot::gguf::TensorType::BF16) write_as(reinterpret_cast<allot::gguf::BFloat16*>(to));
}

[[nodiscard]] inline std::byte* block_of(const CacheView& cache, Place at,
                                         std::uint64_t position) noexcept {
  return cache.blocks +
         at.table[position / cache.layout.block_tokens()] * cache.layout.block_bytes();
}

/// Calls `visit(i, rows, count)` with one head's rows of the tokens from i on, for all up to the one at
/// a place: a block's at once if they are floats, otherwise one by one.
/// \param first      where the row of a block's first token begins in the block
/// \param row_bytes  from one token's to the next
inline void for_rows(const CacheView& cache, Place at, std::uint64_t first, std::uint64_t row_bytes,
                     std::uint64_t length, float* scratch, const auto& visit) {
  const std::uint64_t each = cache.layout.block_tokens();
  const std::uint64_t at_once = cache.type == allot::gguf::TensorType::F32 ? each : 1;
  for (std::uint64_t i = 0, count = 0; i <= at.position; i += count) {
    count = std::min(at_once, at.position + 1 - i);
    const std::byte* const from = block_of(cache, at, i) + first + i % each * row_bytes;
    visit(i, floats_at(from, cache.type, length, scratch), count);
  }
}

/// Stores the keys and the values of all heads.
inline void store(const CacheView& cache, allot::KvLayer layer, Place at, const float* keys,
                  const float* values) {
  const std::uint64_t token = at.position % cache.layout.block_tokens();
  std::byte* const block = block_of(cache, at, at.position);
  write(cache.type, block + cache.layout.key_offset(layer, token), keys, cache.shape.keys());
  write(cache.type, block + cache.layout.value_offset(layer, token), values, cache.shape.values());
}

/// Writes what one head's query finds in the tokens up to its own.
/// \param scratch  a float for each of these tokens, and a head's key or value
inline void attend(const CacheView& cache, allot::KvLayer layer, Place at, std::uint64_t kv_head,
                   const float* query, float* out, float* scratch) {
  const allot::KvLayout& layout = cache.layout;
  const Shape& shape = cache.shape;
  const std::uint64_t key =
      layout.key_offset(layer, 0) + layout.key_bytes() / shape.kv_heads * kv_head;
  const std::uint64_t value =
      layout.value_offset(layer, 0) + layout.value_bytes() / shape.kv_heads * kv_head;
  float* const weights = scratch + std::max(shape.key_length, shape.value_length);
  for_rows(cache, at, key, layout.key_bytes(), shape.key_length, scratch,
           [&](std::uint64_t i, const float* rows, std::uint64_t count) {
             dots(weights + i, query, rows, shape.keys(), count, shape.key_length,
                  shape.attention_scale);
           });
  softmax(weights, at.position + 1);
  std::fill_n(out, shape.value_length, 0.0F);
  for_rows(cache, at, value, layout.value_bytes(), shape.value_length, scratch,
           [&](std::uint64_t i, const float* rows, std::uint64_t count) {
             add_rows(out, rows, shape.values(), weights + i, count, shape.value_length);
           });
}

}  // namespace llama
