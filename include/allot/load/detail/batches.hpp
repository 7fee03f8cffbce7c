// SPDX-License-Identifier: MIT
/// \file
/// Pieces of steps that lie close together, read at once: otherwise each small tensor would cost a
/// read and a slot.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/core/units.hpp>
#include <allot/load/plan/plan.hpp>

#include <cstddef>
#include <cstdint>

namespace allot::load::detail {

/// The address of an arena, and the number of its device.
struct ArenaPlace {
  std::byte* base;
  std::size_t device;
};

/// Pieces that lie close together in one shard and go to one device: read at once, copied one by
/// one.
struct Batch {
  std::uint32_t shard;
  std::uint64_t file_offset;
  std::uint64_t bytes;  // of the file, gaps included
  std::size_t first;    // piece
  std::size_t count;
};

/// Batches of at most `slot_bytes`; gaps of up to 64 KiB are read along.
/// \tparam Pieces, Places  ranges of `Step` and `ArenaPlace`
template <class Pieces, class Places>
[[nodiscard]] DeferredVector<Batch, Pieces> batches_of(const Pieces& pieces, const Places& arenas,
                                                       std::uint64_t slot_bytes) {
  constexpr std::uint64_t most_gap = 64 * KiB;
  constexpr std::size_t most_pieces = 64;
  DeferredVector<Batch, Pieces> batches;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto& piece = pieces[i];
    if (!batches.empty()) {
      Batch& last = batches.back();
      const auto& before = pieces[i - 1];
      const std::uint64_t end = last.file_offset + last.bytes;
      if (piece.shard == last.shard && piece.file_offset >= end &&
          piece.file_offset - end <= most_gap && last.count < most_pieces &&
          piece.file_offset + piece.bytes - last.file_offset <= slot_bytes &&
          arenas[piece.arena].device == arenas[before.arena].device) {
        last.bytes = piece.file_offset + piece.bytes - last.file_offset;
        ++last.count;
        continue;
      }
    }
    batches.push_back({piece.shard, piece.file_offset, piece.bytes, i, 1});
  }
  return batches;
}

}  // namespace allot::load::detail
