// SPDX-License-Identifier: MIT
/// \file
/// `load::CacheOptions`: how many tokens a cache is to hold, in which types, for which engine.
#pragma once

#include <allot/gguf/tensor_type.hpp>
#include <allot/load/plan/engine.hpp>

#include <cstdint>

namespace allot::load {

/// The options of a cache of `context` tokens.
struct CacheOptions {
  std::uint64_t context;                              ///< for each sequence; some engines: for all
  gguf::TensorType key_type = gguf::TensorType::F16;  ///< of each layer's keys
  gguf::TensorType value_type = gguf::TensorType::F16;  ///< of each layer's values
  std::uint64_t sequences = 1;                          ///< at once
  std::uint64_t batch = 0;  ///< tokens computed at once; 0: 1, or what the engine usually does
  const EngineRules* engine = &no_engine;  ///< whose rules hold; never null
  bool unified = false;                    ///< the sequences share one stream of cells
  bool full_windows = false;               ///< layers with a window keep as much as the others
  bool flash_attention = true;             ///< otherwise some engines keep values transposed
  bool prediction = false;                 ///< also the second context of the layers that predict
};

}  // namespace allot::load
