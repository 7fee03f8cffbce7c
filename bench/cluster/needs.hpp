// SPDX-License-Identifier: MIT
/// \file
/// What the ranks of a model's shares need of its file, piece by piece, as `load_distributed` cuts it.
#pragma once

#include <allot/gguf/file.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/plan/shared_pieces.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace allot::bench {

/// What one rank needs of a piece.
struct RankNeed {
  std::uint32_t rank;   ///< of the group
  std::uint64_t bytes;  ///< fewer than the piece has, if columns are cut
};

/// Some consecutive bytes of the file, and who needs them.
struct NeededPiece {
  std::uint64_t bytes;
  std::vector<RankNeed> by;  ///< in the order of the ranks

  /// Returns what ranks need together, if those from `first` on share a node: each byte once.
  [[nodiscard]] std::uint64_t needed_together(std::uint32_t first, std::uint32_t ranks) const {
    std::uint64_t sum = 0;
    for (const RankNeed& need : by) {
      if (need.rank >= first && need.rank - first < ranks) sum += need.bytes;
    }
    return std::min(sum, bytes);  // ranks need all of a piece, or columns of their own
  }
};

/// The pieces of a model's file, in its order.
struct Needs {
  Needs(const gguf::File& file, const std::vector<load::Plan>& plans, std::uint64_t piece_bytes)
      : group(static_cast<std::uint32_t>(plans.size())) {
    const load::detail::SharedPieces<void> shared{file, plans, piece_bytes};
    for (const load::detail::SharedPiece& each : shared.all()) {
      NeededPiece piece{each.bytes, {}};
      for (const std::uint32_t rank : shared.ranks_of(each)) {
        std::uint64_t bytes = 0;
        for (const load::detail::ByteRun& run : shared.needs_of(each, rank)) bytes += run.bytes;
        if (bytes != 0) piece.by.push_back({rank, bytes});
      }
      pieces.push_back(std::move(piece));
    }
  }

  /// Returns the bytes that any rank needs, each counted once.
  [[nodiscard]] std::uint64_t file_bytes() const noexcept {
    std::uint64_t sum = 0;
    for (const NeededPiece& piece : pieces) sum += piece.bytes;
    return sum;
  }

  std::uint32_t group;  ///< ranks that share a model
  std::vector<NeededPiece> pieces;
};

}  // namespace allot::bench
