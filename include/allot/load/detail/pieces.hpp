// SPDX-License-Identifier: MIT
/// \file
/// Steps that read bytes as they are, cut into pieces that threads can read at once.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/load/plan/plan.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace allot::load::detail {

/// Cuts steps that read bytes as they are into pieces that end at multiples of `piece_bytes` in the
/// arena, so that no two threads fault in the same huge page, and no two copies write to one page.
///
/// \tparam Steps  a vector of `Step`; as a parameter, so that this is compiled only where it is called
/// \param first   the first of them that is wanted
template <class Steps>
[[nodiscard]] Steps cut(const Steps& steps, std::uint64_t piece_bytes, std::size_t first = 0) {
  Steps pieces;
  for (std::size_t i = first; i < steps.size(); ++i) {
    auto rest = steps[i];
    while (rest.bytes != 0) {
      auto piece = rest;
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
template <class Steps>
[[nodiscard]] Steps cut_gradually(const Steps& steps, std::uint64_t slot_bytes) {
  Steps first;
  Steps rest = steps;
  std::size_t from = 0;
  for (std::uint64_t most = slot_bytes / 16; most >= 64 * KiB && most < slot_bytes; most *= 2) {
    if (from == rest.size()) break;
    auto& step = rest[from];
    auto piece = step;
    piece.bytes = smaller(most, step.bytes);
    piece.arena_bytes = piece.bytes;
    first.push_back(piece);
    step.file_offset += piece.bytes;
    step.arena_offset += piece.bytes;
    step.bytes -= piece.bytes;
    if (step.bytes == 0) ++from;
  }
  const Steps others = cut(rest, slot_bytes, from);
  first.insert(first.end(), others.begin(), others.end());
  return first;
}

/// Returns the bytes that steps put in place.
template <class Steps>
[[nodiscard]] std::uint64_t bytes_of(const Steps& steps) noexcept {
  std::uint64_t total = 0;
  for (const auto& step : steps) total += step.arena_bytes;
  return total;
}

}  // namespace allot::load::detail
