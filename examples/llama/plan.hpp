// SPDX-License-Identifier: MIT
/// \file
/// All memory of a run, planned to the byte before any of it is taken.
#pragma once

#include <allot/gguf/file.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/offsets/offset_plan.hpp>
#include <allot/pool/kv/stats.hpp>

#include <cstddef>
#include <cstdint>

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
  bool fuse = true;
};

/// In bytes.
struct MemoryLine {
  std::uint64_t planned, reserved, used;
};
struct MemoryReport {
  MemoryLine weights, cache, activations, scratch;
};

/// The buffers of a step, in the order in which it writes them.
enum class Buffer : std::size_t {
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
  count
};

struct RunPlan {
  Shape shape;
  Settings settings;
  allot::load::Plan weights;
  allot::KvCacheConfig cache;
  allot::OffsetPlan activations;  ///< by `Buffer`
  std::uint64_t scratch_floats;   ///< of each thread

  [[nodiscard]] std::uint64_t rows() const noexcept;  ///< of a batch
  [[nodiscard]] std::uint64_t width_of(Buffer buffer) const noexcept;
  [[nodiscard]] std::uint64_t activation_bytes() const noexcept;
  [[nodiscard]] std::uint64_t scratch_bytes() const noexcept;
  /// With nothing reserved or used yet.
  [[nodiscard]] MemoryReport memory() const noexcept;
};

/// Throws: `std::runtime_error` for a model that this engine does not run; `std::invalid_argument`
/// for settings out of range.
[[nodiscard]] RunPlan plan_run(const allot::gguf::File& file, const Settings& settings,
                               allot::load::PlannedDevice device);

}  // namespace llama
