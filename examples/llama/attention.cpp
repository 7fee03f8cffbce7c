// SPDX-License-Identifier: MIT
#include "attention.hpp"

#include <allot/gguf/dequantize.hpp>
#include <allot/gguf/float16.hpp>

#include <algorithm>
#include <cstring>
#include <span>

#include "math.hpp"

namespace llama {
namespace {

using allot::gguf::TensorType;

void write(TensorType type, std::byte* to, const float* from, std::uint64_t count) noexcept {
  for (std::uint64_t i = 0; i < count; ++i) {
    if (type == TensorType::F32) {
      std::memcpy(to + 4 * i, from + i, 4);
    } else {
      const std::uint16_t bits = type == TensorType::F16 ? allot::gguf::to_float16(from[i]).bits
                                                         : allot::gguf::to_bfloat16(from[i]).bits;
      std::memcpy(to + 2 * i, &bits, 2);
    }
  }
}

std::uint64_t bytes_of(TensorType type) noexcept { return type == TensorType::F32 ? 4 : 2; }

std::byte* block_of(const CacheView& cache, Place at, std::uint64_t position) noexcept {
  return cache.blocks +
         at.table[position / cache.layout.block_tokens()] * cache.layout.block_bytes();
}

}  // namespace

void store(const CacheView& cache, allot::KvLayer layer, Place at, const float* keys,
           const float* values) noexcept {
  const std::uint64_t token = at.position % cache.layout.block_tokens();
  std::byte* const block = block_of(cache, at, at.position);
  write(cache.type, block + cache.layout.key_offset(layer, token), keys,
        cache.kv_heads * cache.key_length);
  write(cache.type, block + cache.layout.value_offset(layer, token), values,
        cache.kv_heads * cache.value_length);
}

void attend(const CacheView& cache, allot::KvLayer layer, Place at, std::uint64_t kv_head,
            const float* query, float scale, float* out, float* scratch) {
  const std::uint64_t tokens = at.position + 1;
  const std::uint64_t each = cache.layout.block_tokens();
  const std::uint64_t key = kv_head * cache.key_length * bytes_of(cache.type);
  const std::uint64_t value = kv_head * cache.value_length * bytes_of(cache.type);
  float* const weights = scratch + std::max(cache.key_length, cache.value_length);
  // A block's rows at once if they are floats, otherwise one by one.
  const auto for_rows = [&](std::uint64_t length, const auto& offset_of, const auto& visit) {
    for (std::uint64_t i = 0, rows = 1; i < tokens; i += rows) {
      const std::byte* const from = block_of(cache, at, i) + offset_of(i % each);
      if (cache.type == TensorType::F32) {
        rows = std::min(each, tokens - i);
        visit(i, reinterpret_cast<const float*>(from), rows);
      } else {
        allot::gguf::dequantize(cache.type, std::span{from, 2 * length},
                                std::span{scratch, length});
        visit(i, scratch, rows);
      }
    }
  };
  for_rows(
      cache.key_length,
      [&](std::uint64_t token) { return key + cache.layout.key_offset(layer, token); },
      [&](std::uint64_t i, const float* rows, std::uint64_t count) {
        dots(weights + i, query, rows, cache.kv_heads * cache.key_length, count, cache.key_length,
             scale);
      });
  softmax(weights, tokens);
  for (std::uint64_t i = 0; i < cache.value_length; ++i) out[i] = 0;
  for_rows(
      cache.value_length,
      [&](std::uint64_t token) { return value + cache.layout.value_offset(layer, token); },
      [&](std::uint64_t i, const float* rows, std::uint64_t count) {
        add_rows(out, rows, cache.kv_heads * cache.value_length, weights + i, count,
                 cache.value_length);
      });
}

}  // namespace llama
