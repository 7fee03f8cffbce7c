// SPDX-License-Identifier: MIT
#include "plan.hpp"

#include <allot/core/checked.hpp>
#include <allot/offsets/plan_offsets.hpp>
#include <allot/pool/kv/kv_layout.hpp>
#include <allot/pool/kv/kv_shape_of.hpp>

#include <algorithm>
#include <stdexcept>
#include <utility>
#include <vector>

namespace llama {
namespace {

constexpr std::uint64_t unit = 256;  // bytes, of every arena here

std::uint64_t whole_units(std::uint64_t bytes) noexcept { return (bytes + unit - 1) / unit * unit; }

/// A step's buffers and when they are alive: those of a layer begin again with the next layer.
std::vector<allot::Lifetime> lifetimes_of(const RunPlan& plan) {
  constexpr std::pair<std::uint64_t, std::uint64_t> alive[] = {
      {0, 9}, {1, 2}, {2, 3}, {3, 4}, {4, 5}, {5, 6}, {6, 7}, {7, 8}, {9, 10}, {10, 11}};
  std::vector<allot::Lifetime> lifetimes;
  for (std::size_t i = 0; i < static_cast<std::size_t>(Buffer::count); ++i) {
    const auto buffer = static_cast<Buffer>(i);
    const std::uint64_t rows =
        buffer >= Buffer::output_normed ? plan.settings.sequences : plan.rows();
    const auto floats = allot::checked_multiply(rows, plan.width_of(buffer));
    const auto bytes = floats ? allot::checked_multiply(*floats, 4) : std::nullopt;
    if (!bytes) throw std::invalid_argument{"a batch exceeds 2^64 bytes; make it smaller"};
    lifetimes.push_back({*bytes, alive[i].first, alive[i].second});
  }
  return lifetimes;
}

void check(const Settings& settings) {
  constexpr std::uint64_t most = std::uint64_t{1} << 32;
  for (const std::uint64_t number : {settings.context, settings.sequences, settings.batch,
                                     settings.threads, settings.block_tokens}) {
    if (number == 0 || number >= most)
      throw std::invalid_argument{
          "context, sequences, batch, threads and the tokens of a block are from 1 to 2^32 - 1"};
  }
}

}  // namespace

std::uint64_t RunPlan::rows() const noexcept {
  return std::max(settings.sequences, std::min(settings.batch, settings.context));
}

std::uint64_t RunPlan::width_of(Buffer buffer) const noexcept {
  switch (buffer) {
    case Buffer::qkv:
      return shape.queries() + shape.keys() + shape.values();
    case Buffer::attended:
      return shape.attended();
    case Buffer::gate_up:
      return 2 * shape.hidden;
    case Buffer::logits:
      return shape.vocabulary;
    default:
      return shape.width;
  }
}

std::uint64_t RunPlan::activation_bytes() const noexcept { return whole_units(activations.bytes); }

std::uint64_t RunPlan::scratch_bytes() const noexcept {
  return whole_units(settings.threads * scratch_floats * 4);
}

MemoryReport RunPlan::memory() const noexcept {
  return {.weights = {weights.total_bytes(), 0, 0},
          .cache = {cache.budget_bytes, 0, 0},
          .activations = {activation_bytes(), 0, 0},
          .scratch = {scratch_bytes(), 0, 0}};
}

RunPlan plan_run(const allot::gguf::File& file, const Settings& settings,
                 allot::load::PlannedDevice device) {
  check(settings);
  RunPlan plan{
      .shape = shape_of(file),
      .settings = settings,
      .weights = plan_weights(file, std::move(device), settings.fuse),
      .cache = {.shape = allot::kv_shape_of(file, settings.cache_type, settings.cache_type),
                .block_tokens = settings.block_tokens},
      .activations = {},
      .scratch_floats = 0};
  const allot::KvLayout layout{plan.cache.shape, settings.block_tokens};
  const auto blocks = settings.cache_blocks != 0
                          ? settings.cache_blocks
                          : settings.sequences * layout.blocks_for(settings.context);
  plan.cache.budget_bytes = layout.bytes_for(blocks);
  plan.activations = allot::plan_offsets(lifetimes_of(plan));
  const Shape& shape = plan.shape;
  // A row of weights; or the scores of all tokens, and a head's key or value.
  plan.scratch_floats =
      std::max({shape.width, shape.hidden, shape.attended(),
                settings.context + std::max(shape.key_length, shape.value_length)});
  return plan;
}

}  // namespace llama
