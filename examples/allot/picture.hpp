// SPDX-License-Identifier: MIT
/// \file
/// A picture of memory: what `allot map` draws, whatever it was made from.
///
/// | made from | lanes | time |
/// |---|---|---|
/// | a trace | one arena | the events |
/// | a dump of an arena, a pool, a cache or a model | its arenas | none |
/// | a dump of VulkanMemoryAllocator | its blocks of memory | none |
/// | a plan | every arena of every device | none |
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

struct Picture {
  /// A figure as the page and `--json` have it.
  struct Figure {
    std::string key;
    std::string label;
    std::uint64_t number;
    bool is_bytes;
  };

  struct Block {
    std::uint64_t offset;  // bytes
    std::uint64_t size;
    std::uint32_t kind;      // index into `kinds`
    std::uint32_t name = 0;  // index into `names`
    std::uint64_t from = 0;  // events; of a picture without time both are 0
    std::uint64_t to = 0;
  };

  struct Lane {
    std::string name;
    std::uint64_t bytes;
    std::vector<Block> blocks;
  };

  /// What was in use in a part of the time.
  struct Moment {
    std::uint64_t event;  // its first
    std::uint64_t live;   // bytes, the most in that part
    double fragmentation;
  };

  std::string kind;  // trace, vma, plan, or what a dump is of
  std::string title;
  std::vector<Figure> figures;
  std::vector<std::string> kinds;      // of blocks, for the legend
  std::vector<std::string> names{""};  // of blocks; the first is of those without
  std::vector<Lane> lanes;
  std::uint64_t events = 0;  // 0: without time
  std::vector<Moment> moments;
  std::vector<Moment> peaks;   // the highest, apart from each other
  std::uint64_t left_out = 0;  // blocks that are too small to be drawn
  std::uint64_t left_out_bytes = 0;

  [[nodiscard]] std::uint64_t blocks() const {
    std::uint64_t count = 0;
    for (const Lane& lane : lanes) count += lane.blocks.size();
    return count;
  }
};

/// The most that a page has: about 40 bytes of it for each block.
inline constexpr std::size_t most_blocks = 60'000;
inline constexpr std::size_t most_names = 20'000;

/// Numbers texts in the order in which they come.
class TextNumbers {
 public:
  explicit TextNumbers(std::vector<std::string>& texts) : texts_{texts} {}

  std::uint32_t of(const std::string& text) {
    const auto [found, is_new] = numbers_.try_emplace(text, texts_.size());
    if (is_new) texts_.push_back(text);
    return static_cast<std::uint32_t>(found->second);
  }

 private:
  std::vector<std::string>& texts_;
  std::map<std::string, std::size_t> numbers_;
};

/// Leaves out the blocks that are smallest on the picture, until `most` are left.
void leave_out_small(Picture& picture, std::size_t most);

/// Returns a page of HTML with all that it needs. Throws: `std::bad_alloc`.
[[nodiscard]] std::string page_of(const Picture& picture);

/// Returns trace events in JSON, which Perfetto and Chrome's tracing open: counters of live bytes and
/// fragmentation, and each block from its allocation to its free. Requires: it has time.
/// Throws: `std::bad_alloc`.
[[nodiscard]] std::string perfetto_of(const Picture& picture);

/// Returns an SVG file. Throws: `std::bad_alloc`.
[[nodiscard]] std::string svg_of(const Picture& picture);
