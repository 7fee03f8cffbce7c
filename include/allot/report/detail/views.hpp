// SPDX-License-Identifier: MIT
/// \file
/// `view_of`: what there is to show of a `BufferPool`, `NamedBuffers`, a `Workspace`, a `KvCache` and a
/// model. Includes none of them: what is shown is found by its members.
#pragma once

#include <allot/core/block.hpp>
#include <allot/pool/buffers/stats.hpp>
#include <allot/pool/kv/stats.hpp>
#include <allot/pool/named/stats.hpp>
#include <allot/pool/workspace/workspace_options.hpp>
#include <allot/report/detail/json_text.hpp>
#include <allot/report/detail/memory_view.hpp>
#include <allot/report/detail/metrics.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace allot::report::detail {

template <class Type, class Stats>
concept HasStats = requires(const Type& object) {
  { object.stats() } -> std::same_as<Stats>;
};
/// A `load::Model` or a `load::DividedModel`.
template <class Type>
concept ViewableModel = requires(const Type& model) {
  model.plan().arenas;
  model.planned();
  model.arenas();
  model.report().device_allocations;
};

/// Returns the arena of that number; makes it, and those before it.
inline ViewedArena& arena_at(MemoryView& view, std::size_t number, std::string_view name) {
  while (view.arenas.size() <= number)
    view.arenas.push_back({std::string{name} + ' ' + std::to_string(view.arenas.size())});
  return view.arenas[number];
}

template <HasStats<PoolStats> Pool>
[[nodiscard]] MemoryView view_of(const Pool& pool) {
  MemoryView view{"buffer_pool"};
  const PoolStats stats = pool.stats();
  view.add_figures(stats, pool_metrics);
  view.peak_used = stats.peak_in_use;
  pool.for_each([&](const PoolBlock& block) {
    ViewedBlock viewed{block.offset, block.size, BlockState::free, block.requested};
    if (block.state == PoolBlock::State::in_use) viewed.state = BlockState::used;
    if (block.state == PoolBlock::State::cached) viewed.state = BlockState::cached;
    if (viewed.state != BlockState::free) viewed.stream = block.stream;
    arena_at(view, block.chunk, "chunk").blocks.push_back(std::move(viewed));
  });
  for (ViewedArena& arena : view.arenas) sort_by_offset(arena.blocks);
  return view;
}

template <HasStats<NamedBuffersStats> Buffers>
[[nodiscard]] MemoryView view_of(const Buffers& buffers) {
  MemoryView view{"named_buffers"};
  const NamedBuffersStats stats = buffers.stats();
  view.add_figures(stats, named_metrics);
  view.peak_used = stats.arena.peak_used;
  std::vector<ViewedBlock> named;
  named.reserve(stats.buffers.size());
  buffers.for_each([&](const PlacedBuffer& buffer) {
    named.push_back({buffer.offset, buffer.size, BlockState::used, buffer.bytes,
                     std::string{buffer.name}, buffer.type});
  });
  view.arenas.push_back({"arena", named_blocks_of(buffers.arena(), std::move(named))});
  return view;
}

template <HasStats<WorkspaceStats> WorkspaceType>
[[nodiscard]] MemoryView view_of(const WorkspaceType& workspace) {
  MemoryView view{"workspace"};
  view.add_figures(workspace.stats(), workspace_metrics);
  view.peak_used = workspace.stats().high_water;
  workspace.for_each(
      [&](std::size_t piece, std::uint64_t offset, std::uint64_t size, bool is_used) {
        const BlockState state = is_used ? BlockState::used : BlockState::free;
        arena_at(view, piece, "piece").blocks.push_back({offset, size, state, is_used ? size : 0});
      });
  return view;
}

/// Free blocks that follow each other are one.
template <HasStats<KvCacheStats> Cache>
[[nodiscard]] MemoryView view_of(const Cache& cache) {
  MemoryView view{"kv_cache"};
  view.add_figures(cache.stats(), kv_metrics);
  const std::uint64_t each = cache.layout().block_bytes();
  const std::uint64_t of_token = each / cache.layout().block_tokens();
  view.peak_used = cache.stats().peak_used * each;
  std::vector<ViewedBlock> blocks;
  cache.for_each([&](const KvBlock& block) {
    const bool is_free = block.state == KvBlock::State::free;
    if (is_free && !blocks.empty() && blocks.back().state == BlockState::free) {
      blocks.back().size += each;
      return;
    }
    ViewedBlock viewed{block.number * each, each, BlockState::free, block.filled * of_token};
    if (block.state == KvBlock::State::in_use) viewed.state = BlockState::used;
    if (block.state == KvBlock::State::cached) viewed.state = BlockState::cached;
    if (!is_free) viewed.references = block.references;
    blocks.push_back(std::move(viewed));
  });
  view.arenas.push_back({"blocks", std::move(blocks)});
  return view;
}

template <ViewableModel Model>
[[nodiscard]] MemoryView view_of(const Model& model) {
  MemoryView view{"model"};
  view.figures = {{"bytes", model.report().bytes, true},
                  {"device_allocations", model.report().device_allocations, false},
                  {"staging_bytes", model.report().staging_bytes, true}};
  const auto& plan = model.plan();
  std::vector<std::vector<ViewedBlock>> named(plan.arenas.size());
  for (std::size_t i = 0; i < plan.items.size(); ++i) {
    const auto& item = plan.items[i];
    if (!item.has_own_memory() || !model.planned()[i].is_loaded()) continue;
    named[item.arena].push_back(
        {item.offset, item.bytes, BlockState::used, item.bytes, item.name, type_name(item.type)});
  }
  for (std::size_t i = 0; i < plan.arenas.size(); ++i) {
    const auto show = [&](const auto& arena) {
      view.peak_used += arena.usage().peak_used;
      view.arenas.push_back({"arena " + std::to_string(i),
                             named_blocks_of(arena, std::move(named[i])), plan.arenas[i].device,
                             plan.arenas[i].used});
    };
    if constexpr (requires { model.arenas()[i].usage(); }) {
      show(model.arenas()[i]);
    } else {
      show(*model.arenas()[i]);
    }
  }
  return view;
}

/// What `view_of` takes.
template <class Type>
concept Viewable = requires(const Type& object) {
  view_of(object);
};

}  // namespace allot::report::detail
