// SPDX-License-Identifier: MIT
/// \file
/// All memory of a run, planned to the byte before any of it is taken: one plan of the loader, which
/// reserves the cache, the activations and the scratch memory with the weights.
#pragma once

#include <allot/load/plan/make_plan.hpp>
#include <allot/offsets/plan_offsets.hpp>
#include <allot/pool/kv/kv_shape_of.hpp>
#include <allot/pool/kv/stats.hpp>

#include <algorithm>

#include "model.hpp"

namespace llama {

struct Settings {
  std::uint64_t context = 0;    ///< tokens of a sequence
  std::uint64_t sequences = 1;  ///< at most
  std::uint64_t batch = 32;     ///< tokens of a prompt that are computed at once
  std::uint64_t threads = 1;
  std::uint64_t cache_blocks = 0;  ///< 0: enough for all sequences
  std::uint64_t block_tokens = 16;
  gguf::TensorType cache_type = gguf::TensorType::F32;
  bool fuse = true;  ///< Q, K and V as one matrix, gate and up as another, if their types agree
};

/// The buffers of a step, in the order in which it writes them.
enum Buffer { residual, normed, qkv, attended, mixed, normed_2, gate_up, down, outputs, logits };

/// Rows of floats in the activations.
struct BufferPlan {
  std::uint64_t offset;  ///< bytes
  std::uint64_t width;   ///< floats of a row
};

struct RunPlan {
  Shape shape;
  Settings settings;
  std::uint64_t rows;            ///< tokens of a step, at most
  std::uint64_t scratch_floats;  ///< of each thread
  KvCacheConfig cache;
  std::vector<BufferPlan> buffers{};  ///< by `Buffer`
  load::Plan memory{};  ///< arenas for the weights, "cache", "activations" and "scratch"
};

[[nodiscard]] inline std::uint64_t bytes_of(std::uint64_t rows, std::uint64_t floats) {
  const auto bytes = checked_multiply(checked_multiply(rows, floats).value_or(~0ULL), 4);
  if (!bytes) throw std::invalid_argument{"a batch exceeds 2^64 bytes; make it smaller"};
  return *bytes;
}

/// Places the buffers of a step, each alive from the first to the last operation that uses it: those of
/// a layer begin again with the next layer. Returns the bytes that they take together.
[[nodiscard]] inline std::uint64_t plan_activations(RunPlan& plan) {
  const Shape& s = plan.shape;
  const struct {
    std::uint64_t rows, width, first, last;
  } buffers[] = {
      {plan.rows, s.width, 0, 9},                              // residual
      {plan.rows, s.width, 1, 2},                              // normed
      {plan.rows, s.queries() + s.keys() + s.values(), 2, 3},  // qkv
      {plan.rows, s.attended(), 3, 4},                         // attended
      {plan.rows, s.width, 4, 5},                              // mixed
      {plan.rows, s.width, 5, 6},                              // normed_2
      {plan.rows, 2 * s.hidden, 6, 7},                         // gate_up
      {plan.rows, s.width, 7, 8},                              // down
      {plan.settings.sequences, s.width, 9, 10},               // outputs
      {plan.settings.sequences, s.vocabulary, 10, 11},         // logits
  };
  std::vector<Lifetime> lifetimes;
  for (const auto& [rows, width, first, last] : buffers)
    lifetimes.push_back({bytes_of(rows, width), first, last});
  const OffsetPlan placed = plan_offsets(lifetimes);
  for (std::size_t i = 0; i < lifetimes.size(); ++i)
    plan.buffers.push_back({placed.offsets[i], buffers[i].width});
  return placed.bytes;
}

/// Throws: `std::runtime_error` for a model that this engine does not run; `std::invalid_argument`
/// for settings out of range.
[[nodiscard]] inline RunPlan plan_run(const gguf::File& file, const Settings& settings,
                                      load::PlannedDevice device) {
  const auto& [context, sequences, batch, threads, blocks, block_tokens, type, fuse] = settings;
  for (const std::uint64_t number : {context, sequences, batch, threads, block_tokens}) {
    if (number == 0 || number >= std::uint64_t{1} << 32)
      throw std::invalid_argument{
          "context, sequences, batch, threads and the tokens of a block are from 1 to 2^32 - 1"};
  }
  const Shape shape = shape_of(file);
  RunPlan plan{
      .shape = shape,
      .settings = settings,
      .rows = std::max(sequences, std::min(batch, context)),
      // A row of weights; or the scores of all tokens, and a head's key or value.
      .scratch_floats = std::max({shape.width, shape.hidden, shape.attended(),
                                  context + std::max(shape.key_length, shape.value_length)}),
      .cache = {.shape = kv_shape_of(file, type, type), .block_tokens = block_tokens}};
  const KvLayout layout{plan.cache.shape, block_tokens};
  const std::uint64_t all_blocks = sequences * layout.blocks_for(context);
  load::PlanOptions options;
  options.devices = {std::move(device)};
  options.transforms.fuse = {.qkv = fuse, .gate_up = fuse};
  for (const char* const names : {"*norm.weight", "*.bias", "rope_freqs.weight"})
    options.transforms.dequantize.push_back({names, gguf::TensorType::F32, false});
  options.reserved = {{"cache", layout.bytes_for(blocks != 0 ? blocks : all_blocks)},
                      {"activations", plan_activations(plan)},
                      {"scratch", bytes_of(threads, plan.scratch_floats)}};
  plan.memory = load::make_plan(file, options, load::ReservedApart{});
  static_cast<void>(weights_of(shape, load::Binder{plan.memory}));  // are all there?
  return plan;
}

}  // namespace llama
