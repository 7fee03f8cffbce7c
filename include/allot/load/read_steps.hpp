// SPDX-License-Identifier: MIT
/// \file
/// Reads the steps of a plan straight into memory that the host addresses, with several threads.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/crew.hpp>
#include <allot/load/plan_data.hpp>
#include <allot/load/progress.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace allot::load::detail {

/// Throws: `std::logic_error` unless the step lies inside its shard and its arena.
inline void check_step(const Step& step, const gguf::File& file, const Plan& plan) {
  const auto file_end = checked_add(step.file_offset, step.bytes);
  const auto arena_end = checked_add(step.arena_offset, step.bytes);
  const bool fits = step.shard < file.shards().size() && step.arena < plan.arenas.size() &&
                    file_end && *file_end <= file.shards()[step.shard].size() && arena_end &&
                    *arena_end <= plan.arenas[step.arena].capacity;
  if (!fits) {
    throw std::logic_error{"a step of " + std::to_string(step.bytes) + " bytes at " +
                           std::to_string(step.file_offset) + " of shard " +
                           std::to_string(step.shard) +
                           " lies outside of the file or its arena; "
                           "load the file that the plan was made for"};
  }
}

/// Cuts steps into pieces that end at multiples of `piece_bytes` in the arena, so that no two
/// threads fault in the same huge page, and no two copies write to one page.
[[nodiscard]] inline std::vector<Step> cut(std::span<const Step> steps, std::uint64_t piece_bytes) {
  std::vector<Step> pieces;
  for (Step rest : steps) {
    while (rest.bytes != 0) {
      Step piece = rest;
      piece.bytes = std::min(rest.bytes, piece_bytes - rest.arena_offset % piece_bytes);
      rest.file_offset += piece.bytes;
      rest.arena_offset += piece.bytes;
      rest.bytes -= piece.bytes;
      pieces.push_back(piece);
    }
  }
  return pieces;
}

[[nodiscard]] inline std::uint64_t bytes_of(std::span<const Step> steps) noexcept {
  std::uint64_t total = 0;
  for (const Step& step : steps) total += step.bytes;
  return total;
}

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

/// Reads all steps; `bases` are the arenas' addresses. The caller's thread is one of the readers: a
/// thread that only waited for progress would take its wake-ups from them. Blocks until done.
/// Throws: `Cancelled`, what `progress` throws, `gguf::ParseError`; by then no thread reads any
/// more.
inline void read_steps(const gguf::File& file, std::span<const Step> steps,
                       std::span<std::byte* const> bases, Populate populate, std::size_t readers,
                       const ProgressCallback& progress) {
  const std::vector<Step> pieces = cut(steps, 4 * MiB);
  SharedProgress shared{bytes_of(steps)};
  Crew crew{pieces.size(), shared, [&](std::size_t i) {
              read_piece(file, pieces[i], bases[pieces[i].arena], populate);
              shared.add(pieces[i].bytes);
            }};
  report(progress, shared.now());
  crew.start((readers != 0 ? readers : usual_readers()) - 1);
  while (crew.do_one()) report(progress, shared.now());
  for (Progress now = shared.now(); now.done < now.total;) {
    now = shared.wait_beyond(now.done);
    report(progress, now);
  }
}

}  // namespace allot::load::detail
