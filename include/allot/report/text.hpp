// SPDX-License-Identifier: MIT
/// \file
/// `text`: memory for a terminal, its figures, a map in one line and a histogram of its blocks: an
/// arena, a `BufferPool`, `NamedBuffers`, a `Workspace`, a `KvCache` or a loaded model.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/readable_bytes.hpp>
#include <allot/core/units.hpp>
#include <allot/report/detail/block_map.hpp>
#include <allot/report/detail/memory_view.hpp>
#include <allot/report/detail/views.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace allot::report {

namespace detail {

/// Appends a text to the right of a column.
inline void append_right(std::string& to, std::string_view text, std::size_t width) {
  if (text.size() < width) to.append(width - text.size(), ' ');
  to += text;
}

[[nodiscard]] constexpr BlockState state_of(const MappedBlock& block) noexcept {
  return block.is_used ? BlockState::used : BlockState::free;
}
[[nodiscard]] constexpr BlockState state_of(const ViewedBlock& block) noexcept {
  return block.state;
}

/// Each character is an equal part of the range: `#` used, `o` cached, `h` held, `.` free, `+` several.
template <class BlockType>
[[nodiscard]] std::string map_line(const std::vector<BlockType>& blocks, std::size_t width) {
  if (blocks.empty()) return std::string(width, ' ');
  const std::uint64_t begin = blocks.front().offset;
  const std::uint64_t span = blocks.back().offset + blocks.back().size - begin;
  const std::uint64_t step = span / width + (span % width != 0);
  std::string line(static_cast<std::size_t>((span - 1) / step) + 1, ' ');
  for (const BlockType& block : blocks) {
    const std::uint64_t first = (block.offset - begin) / step;
    const std::uint64_t last = (block.offset - begin + block.size - 1) / step;
    const char mark = "#oh."[static_cast<std::size_t>(state_of(block))];
    for (std::uint64_t i = first; i <= last; ++i) {
      char& c = line[static_cast<std::size_t>(i)];
      c = c == ' ' || c == mark ? mark : '+';
    }
  }
  return line;
}

/// How many blocks of each state have each size, in powers of two.
class SizeCounts {
 public:
  template <class BlockType>
  void add(const std::vector<BlockType>& blocks) noexcept {
    for (const BlockType& block : blocks) {
      const auto state = static_cast<std::size_t>(state_of(block));
      ++counts_[static_cast<std::size_t>(std::bit_width(block.size) - 1)][state];
      has_[state] = true;
    }
  }

  [[nodiscard]] std::string lines() const {
    std::string lines = "        from";
    for (std::size_t state = 0; state < states; ++state)
      if (is_shown(state))
        append_right(lines, to_text(BlockState{static_cast<std::uint8_t>(state)}), 10);
    lines += '\n';
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      if (counts_[i] == std::array<std::uint64_t, states>{}) continue;
      append_right(lines, ReadableBytes{std::uint64_t{1} << i}.c_str(), 12);
      for (std::size_t state = 0; state < states; ++state)
        if (is_shown(state)) append_right(lines, std::to_string(counts_[i][state]), 10);
      lines += '\n';
    }
    return lines;
  }

 private:
  static constexpr std::size_t states = 4;

  [[nodiscard]] bool is_shown(std::size_t state) const noexcept {
    return state == 0 || state == states - 1 || has_[state];
  }

  std::array<std::array<std::uint64_t, states>, 64> counts_{};
  std::array<bool, states> has_{};
};

}  // namespace detail

/// Returns lines of text: how full the arena is; a map in one line of at most `width` characters
/// between brackets (a hash: used, a dot: free, a plus: both); and how many used and free blocks
/// there are of each size, in powers of two.
/// Complexity: linear in the blocks. Throws: `std::bad_alloc`.
template <Reportable ArenaType>
[[nodiscard]] std::string text(const ArenaType& arena, std::size_t width = 64) {
  const Usage usage = arena.usage();
  const std::vector<detail::MappedBlock> blocks = detail::blocks_of(arena);
  FixedText<320> summary;
  summary.fill_in("~ of ~ used in # blocks, ~ free in #, ",
                  {usage.used, usage.capacity, usage.live_blocks, usage.free, usage.free_blocks});
  summary.fill_in("largest ~; padding ~; peak ~\n",
                  {usage.largest_free, usage.padding, usage.peak_used});
  std::string lines{summary.c_str()};
  lines += '[' + detail::map_line(blocks, width == 0 ? 1 : width) + "]\n";

  detail::SizeCounts counts;
  counts.add(blocks);
  return lines + counts.lines();
}

/// The same of a pool, named buffers, a workspace, a cache or a model: all of it together, its
/// statistics, a map for each of its arenas (also `o`: kept for reuse, `h`: held by slices, copies or
/// other code), and how many blocks of each size there are.
/// Complexity: as `dump`. Throws: `std::bad_alloc`.
template <detail::Viewable Type>
[[nodiscard]] std::string text(const Type& memory, std::size_t width = 64) {
  const detail::MemoryView view = detail::view_of(memory);
  const detail::ViewedUsage usage = view.usage();
  FixedText<320> summary;
  summary.fill_in("~ of ~ used in # blocks, ~ cached, ~ held, ~ free in #, ",
                  {usage.used, usage.capacity, usage.live_blocks, usage.cached, usage.held,
                   usage.free, usage.free_blocks});
  summary.fill_in("largest ~; padding ~; peak ~\n",
                  {usage.largest_free, usage.padding, usage.peak_used});
  std::string lines{summary.c_str()};
  for (const auto& figure : view.figures) {
    lines += &figure == view.figures.data() ? "" : ", ";
    lines += std::string{figure.key} + ' ';
    lines += figure.is_bytes ? ReadableBytes{figure.number}.c_str() : std::to_string(figure.number);
  }
  lines += '\n';
  detail::SizeCounts counts;
  for (const detail::ViewedArena& arena : view.arenas) {
    lines += '[' + detail::map_line(arena.blocks, width == 0 ? 1 : width) + "] " + arena.name;
    lines += (arena.device.empty() ? "" : " on " + arena.device) + '\n';
    counts.add(arena.blocks);
  }
  return lines + counts.lines();
}

}  // namespace allot::report
