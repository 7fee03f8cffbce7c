// SPDX-License-Identifier: MIT
/// \file
/// `explain`: why an arena refuses a request, and which blocks stand in its way.
#pragma once

#include <allot/arena.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/errors.hpp>
#include <allot/core/units.hpp>
#include <allot/report/detail/block_map.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace allot::report {

/// A part of an arena, in bytes.
struct BlockRange {
  std::uint64_t offset = 0;  ///< from the arena's start
  std::uint64_t size = 0;    ///< as granted

  friend bool operator==(const BlockRange&, const BlockRange&) = default;
};

/// What `explain` finds. All figures in bytes.
struct Explanation {
  bool fits = false;                                ///< there is a free place for it
  bool never = false;                               ///< not even an empty arena could hold it
  RefusalReason reason = RefusalReason::too_large;  ///< of the refusal, unless it fits
  std::uint64_t bytes = 0;                          ///< of the request, rounded up
  std::uint64_t offset = 0;  ///< where it can be, if it fits or what is in the way is freed
  /// The live blocks to free for it, by their offsets: no others have fewer bytes together.
  std::vector<BlockRange> in_the_way;
  std::uint64_t bytes_in_the_way = 0;  ///< of these
  std::string text;                    ///< all of it as sentences
};

namespace detail {

/// What a request needs of a range: N bytes from a multiple of `step` on.
struct NeededPlace {
  std::uint64_t bytes = 0;  ///< 0: no range of the strategy has room for it
  std::uint64_t step = 1;
};

template <Strategy StrategyType>
[[nodiscard]] NeededPlace needed_place(const Request& request, std::uint64_t unit) {
  const auto units = allot::detail::units_of(request, unit);
  std::uint64_t size = units.size;
  std::uint64_t step = units.alignment;
  if constexpr (OneSized<StrategyType>) {
    if (size > StrategyType::largest_size || StrategyType::largest_size % step != 0) return {};
    size = step = StrategyType::largest_size;
  } else if constexpr (Rounding<
                           StrategyType>) {  // halves of halves, each at a multiple of its size
    size = larger(StrategyType::rounded(size), step);
    step = size;
  }
  const auto bytes = checked_multiply(size, unit);
  const auto step_bytes = checked_multiply(step, unit);
  return bytes && step_bytes ? NeededPlace{*bytes, *step_bytes} : NeededPlace{};
}

/// Finds the place that has the fewest used bytes: the first of equal ones.
class PlaceSearch {
 public:
  PlaceSearch(const std::vector<MappedBlock>& blocks, const NeededPlace& needed)
      : blocks_{blocks}, needed_{needed} {}

  /// Complexity: linear. Returns false if no place is long enough.
  [[nodiscard]] bool find() {
    if (blocks_.empty() || needed_.bytes == 0) return false;
    const std::uint64_t end = blocks_.back().offset + blocks_.back().size;
    if (needed_.bytes > end) return false;
    std::size_t first = 0;  // the block that holds the place's start
    std::size_t after = 0;  // the one behind its end
    std::uint64_t used = 0;
    bool has_found = false;
    for (const MappedBlock& block : blocks_) {
      // A place that begins in a block may as well begin at the first multiple in it; one that
      // begins before it, at the last multiple before it.
      for (const std::uint64_t start :
           {block.offset / needed_.step * needed_.step,
            checked_align_up(block.offset, needed_.step).value_or(end)}) {
        if (start > end - needed_.bytes || (has_tried_ && start <= last_tried_)) continue;
        has_tried_ = true;
        last_tried_ = start;
        for (; after < blocks_.size() && blocks_[after].offset < start + needed_.bytes; ++after)
          used += used_in(after);
        for (; blocks_[first].offset + blocks_[first].size <= start; ++first)
          used -= used_in(first);
        if (has_found && used >= used_) continue;
        has_found = true;
        used_ = used;
        offset_ = start;
        first_ = first;
        after_ = after;
      }
    }
    return has_found;
  }

  [[nodiscard]] std::uint64_t offset() const { return offset_; }
  [[nodiscard]] std::vector<BlockRange> used_blocks() const {
    std::vector<BlockRange> found;
    for (std::size_t i = first_; i < after_; ++i) {
      if (blocks_[i].is_used) found.push_back({blocks_[i].offset, blocks_[i].size});
    }
    return found;
  }

 private:
  [[nodiscard]] std::uint64_t used_in(std::size_t i) const {
    return blocks_[i].is_used ? blocks_[i].size : 0;
  }

  const std::vector<MappedBlock>& blocks_;
  NeededPlace needed_;
  bool has_tried_ = false;
  std::uint64_t last_tried_ = 0;
  std::uint64_t offset_ = 0;
  std::uint64_t used_ = 0;
  std::size_t first_ = 0;
  std::size_t after_ = 0;
};

/// Appends the sentences.
template <class = void>
void describe(Explanation& found, const Request& request, const Usage& usage) {
  FixedText<256> text;
  text.fill_in("~ (# bytes)", {request.bytes, request.bytes});
  if (found.bytes > request.bytes) text.fill_in(", ~ as rounded up,", {found.bytes});
  if (found.fits) {
    text.fill_in(" can be had at offset #", {found.offset});
  } else if (found.never) {
    text.fill_in(" can never be had of this arena of ~", {usage.capacity});
  } else {
    text << " is refused (" << to_text(found.reason);
    text.fill_in("): ~ free in # blocks, the largest of ~.",
                 {usage.free, usage.free_blocks, usage.largest_free});
    text.fill_in(" It would fit at offset # if # blocks of together ~ were freed:",
                 {found.offset, found.in_the_way.size(), found.bytes_in_the_way});
  }
  found.text = text.c_str();
  constexpr std::size_t most_named = 8;
  for (std::size_t i = 0; i < found.in_the_way.size() && i < most_named; ++i) {
    FixedText<64> block;
    block.fill_in(" ~ at #", {found.in_the_way[i].size, found.in_the_way[i].offset});
    found.text += (i == 0 ? "" : ",");
    found.text += block.c_str();
  }
  if (found.in_the_way.size() > most_named) found.text += ", ...";
}

}  // namespace detail

/// Says whether an arena has a place for a request now, and if not which live blocks to free for it:
/// those of a place where the fewest bytes are used. Absent for strategies with marks (`Linear`),
/// whose free blocks wait for what was allocated after them. `GoodFit` may refuse although there is
/// a place. Complexity: linear in the blocks.
/// Throws: `std::invalid_argument` as `allocate`; `std::bad_alloc`.
template <Strategy StrategyType, Alignment AlignmentType, Synchronization SynchronizationType,
          Memory MemoryType, Observer ObserverType>
requires(!Markable<StrategyType>) [[nodiscard]] Explanation explain(
    const Arena<StrategyType, AlignmentType, SynchronizationType, MemoryType, ObserverType>& arena,
    const Request& request) {
  const Usage usage = arena.usage();
  const std::vector<detail::MappedBlock> blocks = detail::blocks_of(arena);
  const auto needed = detail::needed_place<StrategyType>(request, AlignmentType::value);
  Explanation found;
  found.bytes = needed.bytes;
  detail::PlaceSearch search{blocks, needed};
  found.never = !search.find();
  if (!found.never) {
    found.offset = search.offset();
    found.in_the_way = search.used_blocks();
    found.fits = found.in_the_way.empty();
  }
  for (const BlockRange& block : found.in_the_way) found.bytes_in_the_way += block.size;
  if (usage.free >= needed.bytes)
    found.reason =
        usage.largest_free < needed.bytes ? RefusalReason::fragmented : RefusalReason::alignment;
  detail::describe(found, request, usage);
  return found;
}

}  // namespace allot::report
