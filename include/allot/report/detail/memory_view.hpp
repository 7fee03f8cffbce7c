// SPDX-License-Identifier: MIT
/// \file
/// `MemoryView`: what dumps and texts show of a pool, a cache or a model, whichever it is: arenas of
/// blocks, each of which is used, kept for reuse, held by others, or free.
#pragma once

#include <allot/core/block.hpp>
#include <allot/os/algorithm.hpp>
#include <allot/report/detail/block_map.hpp>
#include <allot/report/detail/metrics.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace allot::report::detail {

/// In the order of the columns of texts.
enum class BlockState : std::uint8_t {
  used,
  cached,  // kept for reuse: makes room when it is needed
  held,    // has no name or owner any more, but slices, copies or other code hold it
  free,
};

[[nodiscard]] constexpr const char* to_text(BlockState state) noexcept {
  constexpr const char* names[] = {"used", "cached", "held", "free"};
  return names[static_cast<std::size_t>(state)];
}

/// What a block does not have is empty.
struct ViewedBlock {
  std::uint64_t offset;
  std::uint64_t size;
  BlockState state;
  std::uint64_t requested = 0;
  std::string name = {};
  std::string_view type = {};
  std::optional<std::uint32_t> stream = {};
  std::optional<std::uint32_t> references = {};
};

/// A model's has a device, and the bytes that the plan puts there.
struct ViewedArena {
  std::string name;
  std::vector<ViewedBlock> blocks = {};  // by their offsets
  std::string device = {};
  std::optional<std::uint64_t> planned = {};
};

/// `used + cached + held + free == capacity`, in bytes.
struct ViewedUsage : Usage {
  std::uint64_t cached = 0;
  std::uint64_t held = 0;
};

struct MemoryView {
  /// A member of the statistics.
  struct Figure {
    const char* key;
    std::uint64_t number;
    bool is_bytes;
  };

  const char* kind;
  std::vector<ViewedArena> arenas = {};
  std::vector<Figure> figures = {};
  std::uint64_t peak_used = 0;

  [[nodiscard]] ViewedUsage usage() const noexcept {
    ViewedUsage all{};
    for (const ViewedArena& arena : arenas)
      for (const ViewedBlock& block : arena.blocks) add(all, block);
    all.padding = all.used - all.requested;
    all.peak_used = peak_used;
    return all;
  }

  template <class Stats, std::size_t Count>
  void add_figures(const Stats& stats, const Metric<Stats> (&metrics)[Count]) {
    for (const Metric<Stats>& metric : metrics) {
      const bool is_bytes = std::string_view{metric.name}.find("_bytes") != std::string_view::npos;
      figures.push_back({metric.key, stats.*metric.value, is_bytes});
    }
  }

 private:
  static void add(ViewedUsage& all, const ViewedBlock& block) noexcept {
    all.capacity += block.size;
    if (block.state == BlockState::cached) all.cached += block.size;
    if (block.state == BlockState::held) all.held += block.size;
    if (block.state == BlockState::used) {
      all.used += block.size;
      all.requested += block.requested;
      ++all.live_blocks;
    }
    if (block.state == BlockState::free) {
      all.free += block.size;
      all.largest_free = larger(all.largest_free, block.size);
      ++all.free_blocks;
    }
  }
};

inline void sort_by_offset(std::vector<ViewedBlock>& blocks) {
  std::sort(blocks.begin(), blocks.end(),
            [](const auto& a, const auto& b) { return a.offset < b.offset; });
}

/// Returns the blocks of an arena: those that are used and in `named`, as they are there, and others
/// that are used as held.
template <Reportable ArenaType>
[[nodiscard]] std::vector<ViewedBlock> named_blocks_of(const ArenaType& arena,
                                                       std::vector<ViewedBlock> named) {
  sort_by_offset(named);
  const std::vector<MappedBlock> all = blocks_of(arena);
  std::vector<ViewedBlock> blocks;
  blocks.reserve(all.size());
  std::size_t next = 0;
  for (const MappedBlock& block : all) {
    while (next < named.size() && named[next].offset < block.offset) ++next;
    const bool is_named =
        block.is_used && next < named.size() && named[next].offset == block.offset;
    ViewedBlock viewed{block.offset, block.size,
                       block.is_used ? BlockState::held : BlockState::free};
    if (is_named) {
      viewed = std::move(named[next]);
      viewed.size = block.size;
    }
    blocks.push_back(std::move(viewed));
  }
  return blocks;
}

}  // namespace allot::report::detail
