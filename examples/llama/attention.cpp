// SPDX-License-Identifier: MIT
#include "attention.hpp"

#include <allot/gguf/dequantize.hpp>
#include <allot/gguf/float16.hpp>

#include <algorithm>
#include <span>

#include "math.hpp"

namespace llama {
namespace {

using allot::gguf::TensorType;

void write(TensorType type, std::byte* to, const float* from, std::uint64_t count) {
  const std::span floats{from, static_cast<std::size_t>(count)};
  const auto write_as = [&]<class Number>(Number* numbers) {
    allot::gguf::dequantize(TensorType::F32, std::as_bytes(floats), std::span{numbers, count});
  };
  if (type == TensorType::F32) write_as(reinterpret_cast<float*>(to));
  if (type == TensorType::F16) write_as(reinterpret_cast<allot::gguf::Float16*>(to));
  if (type == TensorType::BF16) write_as(reinterpret_cast<allot::gguf::BFloat16*>(to));
}

std::byte* block_of(const CacheView& cache, Place at, std::uint64_t position) noexcept {
  return cache.blocks +
         at.table[position / cache.layout.block_tokens()] * cache.layout.block_bytes();
}

/// Calls `visit(i, rows, count)` with one head's rows of the tokens from i on, for all up to the one at
/// a place: a block's at once if they are floats, otherwise one by one.
/// \param offset_of  where a token's row begins in a block
template <class OffsetOf, class Visitor>
void for_rows(const CacheView& cache, Place at, std::uint64_t length, float* scratch,
              const OffsetOf& offset_of, const Visitor& visit) {
  const std::uint64_t each = cache.layout.block_tokens();
  const std::uint64_t at_once = cache.type == TensorType::F32 ? each : 1;
  for (std::uint64_t i = 0, count = 0; i <= at.position; i += count) {
    count = std::min(at_once, at.position + 1 - i);
    const std::byte* const from = block_of(cache, at, i) + offset_of(i % each);
    visit(i, floats_at(from, cache.type, length, scratch), count);
  }
}

}  // namespace

void store(const CacheView& cache, allot::KvLayer layer, Place at, const float* keys,
           const float* values) {
  const std::uint64_t token = at.position % cache.layout.block_tokens();
  std::byte* const block = block_of(cache, at, at.position);
  write(cache.type, block + cache.layout.key_offset(layer, token), keys, cache.shape.keys());
  write(cache.type, block + cache.layout.value_offset(layer, token), values, cache.shape.values());
}

void attend(const CacheView& cache, allot::KvLayer layer, Place at, std::uint64_t kv_head,
            const float* query, float* out, float* scratch) {
  const std::uint64_t key_length = cache.shape.key_length;
  const std::uint64_t value_length = cache.shape.value_length;
  const std::uint64_t key = cache.layout.key_bytes() / cache.shape.kv_heads * kv_head;
  const std::uint64_t value = cache.layout.value_bytes() / cache.shape.kv_heads * kv_head;
  float* const weights = scratch + std::max(key_length, value_length);
  for_rows(
      cache, at, key_length, scratch,
      [&](std::uint64_t token) { return key + cache.layout.key_offset(layer, token); },
      [&](std::uint64_t i, const float* rows, std::uint64_t count) {
        dots(weights + i, query, rows, cache.shape.keys(), count, key_length,
             cache.shape.attention_scale);
      });
  softmax(weights, at.position + 1);
  std::fill_n(out, value_length, 0.0F);
  for_rows(
      cache, at, value_length, scratch,
      [&](std::uint64_t token) { return value + cache.layout.value_offset(layer, token); },
      [&](std::uint64_t i, const float* rows, std::uint64_t count) {
        add_rows(out, rows, cache.shape.values(), weights + i, count, value_length);
      });
}

}  // namespace llama
