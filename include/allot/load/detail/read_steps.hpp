// SPDX-License-Identifier: MIT
/// \file
/// Carries out the steps of a plan in memory that the host addresses, with several threads.
#pragma once

#include <allot/core/units.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/detail/crew.hpp>
#include <allot/load/detail/tiles.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/progress.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace allot::load::detail {

/// Cuts steps that read bytes as they are into pieces that end at multiples of `piece_bytes` in the
/// arena, so that no two threads fault in the same huge page, and no two copies write to one page.
[[nodiscard]] inline std::vector<Step> cut(std::span<const Step> steps, std::uint64_t piece_bytes) {
  std::vector<Step> pieces;
  for (Step rest : steps) {
    while (rest.bytes != 0) {
      Step piece = rest;
      piece.bytes = std::min(rest.bytes, piece_bytes - rest.arena_offset % piece_bytes);
      piece.arena_bytes = piece.bytes;
      rest.file_offset += piece.bytes;
      rest.arena_offset += piece.bytes;
      rest.bytes -= piece.bytes;
      pieces.push_back(piece);
    }
  }
  return pieces;
}

/// Bytes that steps put in place.
[[nodiscard]] inline std::uint64_t bytes_of(std::span<const Step> steps) noexcept {
  std::uint64_t total = 0;
  for (const Step& step : steps) total += step.arena_bytes;
  return total;
}

/// Steps that read bytes as they are, and the others in tiles.
class Work {
 public:
  /// \param plan        its steps must outlive this
  /// \param most_bytes  of a tile
  Work(const gguf::File& file, const Plan& plan, std::uint64_t most_bytes) {
    for (const Step& step : plan.steps) {
      if (step.transform == Transform::none) {
        plain_.push_back(step);
      } else if (step.arena_bytes != 0) {
        tilings_.emplace_back(file, plan, step, most_bytes);
        ends_.push_back(tiles() + tilings_.back().size());
      }
    }
  }

  [[nodiscard]] std::span<const Step> plain() const noexcept { return plain_; }

  /// How many tiles there are. Complexity: constant.
  [[nodiscard]] std::uint64_t tiles() const noexcept { return ends_.empty() ? 0 : ends_.back(); }

  /// Complexity: O(log n) in the steps.
  [[nodiscard]] Tile tile(std::uint64_t number) const noexcept {
    const auto end = std::upper_bound(ends_.begin(), ends_.end(), number);
    const auto at = static_cast<std::size_t>(end - ends_.begin());
    return tilings_[at][number - (at == 0 ? 0 : ends_[at - 1])];
  }

 private:
  std::vector<Step> plain_;
  std::vector<Tiling> tilings_;
  std::vector<std::uint64_t> ends_;  // for each tiling, how many tiles there are up to its last
};

/// Makes memory that is about to be written ready; may be null.
using Populate = void (*)(std::byte* first, std::uint64_t bytes) noexcept;

/// Reads one piece, in parts that a core's cache holds from being made ready to being written.
inline void read_piece(const gguf::File& file, const Step& piece, std::byte* arena,
                       Populate populate) {
  constexpr std::uint64_t part_bytes = 256 * KiB;
  const gguf::Shard& shard = file.shards()[piece.shard];
  std::byte* const first = arena + piece.arena_offset;
  for (std::uint64_t at = 0; at < piece.bytes; at += part_bytes) {
    const std::uint64_t bytes = std::min(part_bytes, piece.bytes - at);
    if (populate != nullptr) populate(first + at, bytes);
    shard.read(piece.file_offset + at, {first + at, static_cast<std::size_t>(bytes)});
  }
}

/// Carries out all steps of a plan; `bases` are the arenas' addresses. The caller's thread is one
/// of the readers: a thread that only waited for progress would take its wake-ups from them.
/// Blocks until done.
/// Throws: `Cancelled`, what `progress` throws, `gguf::ParseError`; by then no thread reads any
/// more.
inline void read_steps(const gguf::File& file, const Plan& plan, std::span<std::byte* const> bases,
                       Populate populate, std::size_t readers, const ProgressCallback& progress) {
  constexpr std::uint64_t piece_bytes = 4 * MiB;
  const Work work{file, plan, piece_bytes};
  const std::vector<Step> pieces = cut(work.plain(), piece_bytes);
  SharedProgress shared{bytes_of(plan.steps)};
  Crew crew{pieces.size() + work.tiles(), shared, [&](std::size_t i) {
              if (i < pieces.size()) {
                read_piece(file, pieces[i], bases[pieces[i].arena], populate);
                shared.add(pieces[i].bytes);
              } else {
                const Tile tile = work.tile(i - pieces.size());
                make_tile_in_place(file, plan, tile, bases[tile.step->arena]);
                shared.add(tile.bytes);
              }
            }};
  Progress told = shared.now();
  report(progress, told);
  crew.start((readers != 0 ? readers : usual_readers()) - 1);
  while (crew.do_one()) {
    told = shared.now();
    report(progress, told);
  }
  while (told.done < told.total) {
    told = shared.wait_beyond(told.done);
    report(progress, told);
  }
}

}  // namespace allot::load::detail
