// SPDX-License-Identifier: MIT
#include "attention.hpp"

#include <allot/gguf/dequantize.hpp>
#include <allot/gguf/float16.hpp>

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

const float* read(TensorType type, const std::byte* from, std::uint64_t count, float* scratch) {
  if (type == TensorType::F32) return reinterpret_cast<const float*>(from);
  allot::gguf::dequantize(type, std::span{from, 2 * count}, std::span{scratch, count});
  return scratch;
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
  float* const weights =
      scratch + (cache.key_length > cache.value_length ? cache.key_length : cache.value_length);
  for (std::uint64_t i = 0; i < tokens; ++i) {
    const std::byte* const from = block_of(cache, at, i) + cache.layout.key_offset(layer, i % each);
    weights[i] = scale * dot(query, read(cache.type, from + key, cache.key_length, scratch),
                             cache.key_length);
  }
  softmax(weights, tokens);
  for (std::uint64_t i = 0; i < cache.value_length; ++i) out[i] = 0;
  for (std::uint64_t i = 0; i < tokens; ++i) {
    const std::byte* const from =
        block_of(cache, at, i) + cache.layout.value_offset(layer, i % each);
    add(out, read(cache.type, from + value, cache.value_length, scratch), weights[i],
        cache.value_length);
  }
}

}  // namespace llama
