// SPDX-License-Identifier: MIT
/// \file
/// Steps that read bytes as they are, cut into pieces that threads can read at once.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/load/plan/plan.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace allot::load::detail {

/// Cuts steps that read bytes as they are into pieces that end at multiples of `piece_bytes` in the
/// arena, so that no two threads fault in the same huge page, and no two copies write to one page.
///
/// \tparam Owner  any type of the caller's: this is compiled only when the caller is
template <class Owner>
[[nodiscard]] std::vector<Step> cut(std::span<const Step> steps, std::uint64_t piece_bytes) {
  std::vector<Step> pieces;
  for (Step rest : steps) {
    while (rest.bytes != 0) {
      Step piece = rest;
      piece.bytes = smaller(rest.bytes, piece_bytes - rest.arena_offset % piece_bytes);
      piece.arena_bytes = piece.bytes;
      rest.file_offset += piece.bytes;
      rest.arena_offset += piece.bytes;
      rest.bytes -= piece.bytes;
      pieces.push_back(piece);
    }
  }
  return pieces;
}

/// The same, into pieces of at most a slot. The first ones are smaller, each twice the one before:
/// so the link is busy while the first slots are still being filled.
template <class Owner>
[[nodiscard]] std::vector<Step> cut_gradually(std::span<const Step> steps,
                                              std::uint64_t slot_bytes) {
  std::vector<Step> first;
  std::vector<Step> rest{steps.begin(), steps.end()};
  std::size_t from = 0;
  for (std::uint64_t most = slot_bytes / 16; most >= 64 * KiB && most < slot_bytes; most *= 2) {
    if (from == rest.size()) break;
    Step& step = rest[from];
    Step piece = step;
    piece.bytes = smaller(most, step.bytes);
    piece.arena_bytes = piece.bytes;
    first.push_back(piece);
    step.file_offset += piece.bytes;
    step.arena_offset += piece.bytes;
    step.bytes -= piece.bytes;
    if (step.bytes == 0) ++from;
  }
  const auto others = cut<Owner>(std::span{rest}.subspan(from), slot_bytes);
  first.insert(first.end(), others.begin(), others.end());
  return first;
}

/// Returns the bytes that steps put in place.
template <class Steps>
[[nodiscard]] std::uint64_t bytes_of(const Steps& steps) noexcept {
  std::uint64_t total = 0;
  for (const Step& step : steps) total += step.arena_bytes;
  return total;
}

}  // namespace allot::load::detail
