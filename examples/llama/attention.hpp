// SPDX-License-Identifier: MIT
/// \file
/// Attention over the blocks of a `KvCache`: a token's place is found in its sequence's block table.
#pragma once

#include <allot/pool/kv/kv_layout.hpp>

#include <cstddef>
#include <cstdint>

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

/// Stores the keys and the values of all heads.
void store(const CacheView& cache, allot::KvLayer layer, Place at, const float* keys,
           const float* values);

/// Writes what one head's query finds in the tokens up to its own.
/// \param scratch  a float for each of these tokens, and a head's key or value
void attend(const CacheView& cache, allot::KvLayer layer, Place at, std::uint64_t kv_head,
            const float* query, float* out, float* scratch);

}  // namespace llama
