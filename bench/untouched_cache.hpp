// SPDX-License-Identifier: MIT
/// \file
/// The configuration of a KV cache whose memory no benchmark touches.
#pragma once

#include <allot/pool/kv/kv_cache.hpp>

#include <cstdint>

/// The keys and values are never touched, so that one byte for each does.
[[nodiscard]] inline allot::KvCacheConfig untouched_cache(std::uint64_t blocks) {
  allot::KvCacheConfig config{.shape = {.layers = 1,
                                        .kv_heads = 1,
                                        .key_dimension = 1,
                                        .value_dimension = 1,
                                        .key_element = {1, 1},
                                        .value_element = {1, 1}}};
  config.budget_bytes = blocks * allot::KvLayout{config.shape, config.block_tokens}.block_bytes();
  return config;
}
