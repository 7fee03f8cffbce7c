// SPDX-License-Identifier: MIT
/// \file
/// What a model's memory will look like, to the byte, before any of it is reserved.
///
/// | type             | what it is                                                             |
/// |------------------|------------------------------------------------------------------------|
/// | `Plan`           | a plain value: arenas, items, steps                                    |
/// | `WeightPolicy`   | the strategy, alignment and synchronization of a model's memory        |
/// | `make_plan`      | runs the real strategy over bare offsets: exact, and without a device  |
#pragma once

#include <allot/alignment/alignment.hpp>
#include <allot/arena.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/gguf/file.hpp>
#include <allot/memory/memory.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/strategy.hpp>
#include <allot/synchronization/locked.hpp>
#include <allot/synchronization/synchronization.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace allot::load {

/// One reservation on a device. All in bytes.
struct PlannedArena {
  std::string device;
  std::uint64_t capacity;
  std::uint64_t alignment;
  std::uint64_t used;
  std::uint64_t padding;  ///< used, but beyond what the tensors need
};

/// Where a tensor goes.
struct Item {
  std::string name;
  gguf::TensorType type;  ///< as it is stored
  gguf::Shape shape;
  std::uint32_t arena;   ///< index into `Plan::arenas`
  std::uint64_t offset;  ///< bytes from the start of the arena
  std::uint64_t bytes;   ///< 0: the tensor has no place
};

/// What happens to bytes on their way.
enum class Transform { none };

/// A range of a shard that goes to a range of an arena.
struct Step {
  std::uint32_t shard;
  std::uint64_t file_offset;  ///< bytes from the start of the shard
  std::uint64_t bytes;
  std::uint32_t arena;
  std::uint64_t arena_offset;
  Transform transform;
};

/// A model's memory. Items are in file order.
struct Plan {
  std::vector<PlannedArena> arenas;
  std::vector<Item> items;
  std::vector<Step> steps;

  /// Bytes that all arenas together reserve.
  [[nodiscard]] std::uint64_t total_bytes() const noexcept {
    std::uint64_t total = 0;
    for (const PlannedArena& arena : arenas) total += arena.capacity;
    return total;
  }
  /// Bytes of all tensors.
  [[nodiscard]] std::uint64_t tensor_bytes() const noexcept {
    std::uint64_t total = 0;
    for (const Item& item : items) total += item.bytes;
    return total;
  }
};

/// Names the policies of a model's memory; the memory itself is the device's.
template <class P>
concept WeightPolicy = Strategy<typename P::Strategy> && Alignment<typename P::Alignment> &&
    Synchronization<typename P::Synchronization> && P::Synchronization::is_thread_safe;

/// Best fit at 256 bytes, shared between threads.
struct DefaultWeights {
  using Strategy = allot::BestFit;
  using Alignment = allot::AlignTo<256>;
  using Synchronization = allot::Locked<>;
};

static_assert(WeightPolicy<DefaultWeights>);

struct PlanOptions {
  std::string device = "host";
};

namespace detail {

/// The policies of `P` over bare offsets: what a plan is made with.
template <WeightPolicy P>
using PlanningArena = Arena<typename P::Strategy, typename P::Alignment>;

/// The blocks of all tensors in an arena of that capacity, or nothing where they do not fit.
template <WeightPolicy P>
[[nodiscard]] std::optional<std::vector<Block>> place_all(const gguf::File& file,
                                                          std::uint64_t capacity) {
  PlanningArena<P> arena{capacity};
  std::vector<Block> blocks;
  blocks.reserve(file.tensors().size());
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    if (tensor.bytes == 0) {
      blocks.push_back(Block{});
    } else if (const auto block = arena.try_allocate(tensor.bytes)) {
      blocks.push_back(*block);
    } else {
      return std::nullopt;
    }
  }
  return blocks;
}

[[noreturn]] inline void throw_too_large() {
  throw std::length_error{"the tensors take more than 2^64 bytes of memory"};
}

struct Placed {
  std::uint64_t capacity;
  std::vector<Block> blocks;
};

/// The smallest capacity that is tried: the tensors in whole units. A strategy that rounds further
/// needs what it grants, and at the most what it grants in a range without end.
template <WeightPolicy P>
[[nodiscard]] Placed place_in_least(const gguf::File& file) {
  std::uint64_t capacity = 0;
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    const auto units = checked_align_up(tensor.bytes, P::Alignment::value);
    const auto sum = units ? checked_add(capacity, *units) : std::nullopt;
    if (!sum) throw_too_large();
    capacity = *sum;
  }
  if (auto blocks = place_all<P>(file, capacity)) return {capacity, std::move(*blocks)};

  constexpr std::uint64_t endless = std::uint64_t{1} << 63;
  const auto unbounded = place_all<P>(file, endless);
  if (!unbounded) throw_too_large();
  std::uint64_t granted = 0;
  std::uint64_t end = 0;
  for (const Block& block : *unbounded) {
    granted += block.size;
    end = std::max(end, block.offset + block.size);
  }
  for (const std::uint64_t larger : {granted, end, std::bit_ceil(end)}) {
    if (auto blocks = place_all<P>(file, larger)) return {larger, std::move(*blocks)};
  }
  throw_too_large();
}

/// Whether `next` continues `step`: the same distance in the file as in the arena, and nothing
/// between the two but the padding of the block before, which ends at `granted_end`.
[[nodiscard]] inline bool continues(const Step& step, const Step& next,
                                    std::uint64_t granted_end) noexcept {
  if (next.shard != step.shard || next.file_offset < step.file_offset + step.bytes) return false;
  if (next.arena_offset < step.arena_offset || next.arena_offset > granted_end) return false;
  return next.file_offset - step.file_offset == next.arena_offset - step.arena_offset;
}

[[nodiscard]] inline std::vector<Step> make_steps(const gguf::File& file,
                                                  const std::vector<Block>& blocks) {
  std::vector<Step> steps;
  std::uint64_t granted_end = 0;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const gguf::TensorInfo& tensor = file.tensors()[i];
    if (tensor.bytes == 0) continue;
    const Step step{.shard = tensor.shard,
                    .file_offset = file.shards()[tensor.shard].data_offset() + tensor.offset,
                    .bytes = tensor.bytes,
                    .arena = 0,
                    .arena_offset = blocks[i].offset,
                    .transform = Transform::none};
    if (!steps.empty() && continues(steps.back(), step, granted_end)) {
      steps.back().bytes = step.arena_offset + step.bytes - steps.back().arena_offset;
    } else {
      steps.push_back(step);
    }
    granted_end = blocks[i].offset + blocks[i].size;
  }
  return steps;
}

}  // namespace detail

/// Plans one arena for all tensors of a file, in file order. A model without tensor data needs no
/// arena. Neighbours whose distances agree in file and arena share a step.
/// Complexity: the strategy's, for each tensor; reads no tensor data.
/// Throws: `std::length_error` where the sizes overflow; `std::bad_alloc`.
template <WeightPolicy P = DefaultWeights>
[[nodiscard]] Plan make_plan(const gguf::File& file, const PlanOptions& options = {}) {
  Plan plan;
  plan.items.reserve(file.tensors().size());
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    plan.items.push_back({std::string{tensor.name}, tensor.type, tensor.shape, 0, 0, tensor.bytes});
  }
  const bool is_empty = std::all_of(plan.items.begin(), plan.items.end(),
                                    [](const Item& item) { return item.bytes == 0; });
  if (is_empty) return plan;

  const detail::Placed placed = detail::place_in_least<P>(file);
  std::uint64_t used = 0;
  for (std::size_t i = 0; i < placed.blocks.size(); ++i) {
    plan.items[i].offset = placed.blocks[i].offset;
    used += placed.blocks[i].size;
  }
  plan.arenas.push_back({.device = options.device,
                         .capacity = placed.capacity,
                         .alignment = P::Alignment::value,
                         .used = used,
                         .padding = used - plan.tensor_bytes()});
  plan.steps = detail::make_steps(file, placed.blocks);
  return plan;
}

}  // namespace allot::load
