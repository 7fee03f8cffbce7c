// SPDX-License-Identifier: MIT
/// \file
/// `text`: an arena for a terminal, its figures, a map in one line and a histogram of its blocks.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/units.hpp>
#include <allot/report/detail/block_map.hpp>

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

/// Each character is an equal part of the range: `#` used, `.` free, `+` both.
template <class = void>
[[nodiscard]] std::string map_line(const std::vector<MappedBlock>& blocks, std::size_t width) {
  if (blocks.empty()) return std::string(width, ' ');
  const std::uint64_t begin = blocks.front().offset;
  const std::uint64_t span = blocks.back().offset + blocks.back().size - begin;
  const std::uint64_t step = span / width + (span % width != 0);
  std::string line(static_cast<std::size_t>((span - 1) / step) + 1, ' ');
  for (const MappedBlock& block : blocks) {
    const std::uint64_t first = (block.offset - begin) / step;
    const std::uint64_t last = (block.offset - begin + block.size - 1) / step;
    const char mark = block.is_used ? '#' : '.';
    for (std::uint64_t i = first; i <= last; ++i) {
      char& c = line[static_cast<std::size_t>(i)];
      c = c == ' ' || c == mark ? mark : '+';
    }
  }
  return line;
}

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

  struct Count {
    std::uint64_t used = 0;
    std::uint64_t free = 0;
  };
  std::array<Count, 64> counts{};
  for (const detail::MappedBlock& block : blocks) {
    Count& count = counts[static_cast<std::size_t>(std::bit_width(block.size) - 1)];
    ++(block.is_used ? count.used : count.free);
  }
  lines += "        from      used      free\n";
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i].used == 0 && counts[i].free == 0) continue;
    detail::append_right(lines, ReadableBytes{std::uint64_t{1} << i}.c_str(), 12);
    detail::append_right(lines, std::to_string(counts[i].used), 10);
    detail::append_right(lines, std::to_string(counts[i].free), 10);
    lines += '\n';
  }
  return lines;
}

}  // namespace allot::report
