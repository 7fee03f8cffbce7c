// SPDX-License-Identifier: MIT
/// \file
/// All memory of a run, planned to the byte before any of it is taken: one plan of the loader, which
/// reserves the cache, the activations and the scratch memory with the weights.
#pragma once

#include <allot/gguf/file.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/pool/kv/stats.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "model.hpp"

namespace llama {

struct Settings {
  std::uint64_t context = 0;    ///< tokens of a sequence
  std::uint64_t sequences = 1;  ///< at most
  std::uint64_t batch = 32;     ///< tokens of a prompt that are computed at once
  std::uint64_t threads = 1;
  std::uint64_t cache_blocks = 0;  ///< 0: enough for all sequences
  std::uint64_t block_tokens = 16;
  allot::gguf::TensorType cache_type = allot::gguf::TensorType::F32;
  bool fuse = true;  ///< Q, K and V as one matrix, gate and up as another, if their types agree
};

/// The buffers of a step, in the order in which it writes them.
enum Buffer : std::size_t {
  residual,
  normed,
  qkv,
  attended,
  projected,
  normed_again,
  gate_up,
  down,
  output_normed,
  logits,
};

/// Rows of floats in the activations.
struct BufferPlan {
  std::uint64_t offset;  ///< bytes
  std::uint64_t width;   ///< floats of a row
};

struct RunPlan {
  Shape shape;
  Settings settings;
  std::uint64_t rows;        ///< tokens of a step, at most
  allot::load::Plan memory;  ///< an arena for the weights, "cache", "activations", "scratch"
  allot::KvCacheConfig cache;
  std::vector<BufferPlan> buffers;  ///< by `Buffer`
  std::uint64_t scratch_floats;     ///< of each thread
};

/// Throws: `std::runtime_error` for a model that this engine does not run; `std::invalid_argument`
/// for settings out of range.
[[nodiscard]] RunPlan plan_run(const allot::gguf::File& file, const Settings& settings,
                               allot::load::PlannedDevice device);

/// An arena, in bytes.
struct MemoryLine {
  std::string name;
  std::uint64_t planned, reserved, used;
};

/// Returns a line for each arena of a plan, with nothing reserved or used yet.
[[nodiscard]] std::vector<MemoryLine> memory_of(const allot::load::Plan& plan);

}  // namespace llama
