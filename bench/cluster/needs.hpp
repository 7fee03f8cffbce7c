// SPDX-License-Identifier: MIT
/// \file
/// What the nodes of a cluster need of a model's file, piece by piece, from the real plans of its
/// shares.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/plan/plan.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <utility>
#include <vector>

namespace allot::bench {

/// Some bytes of the file that one rank needs. Shards count one after another.
struct NeededRange {
  std::uint64_t first;  ///< bytes from the start of the first shard
  std::uint64_t end;    ///< past the last
  std::uint64_t bytes;  ///< of these that it needs: fewer where columns are cut
};

/// Returns what a plan needs, in file order. Complexity: n log n in the steps.
[[nodiscard]] inline std::vector<NeededRange> ranges_of(const gguf::File& file,
                                                        const load::Plan& plan) {
  std::vector<std::uint64_t> starts{0};
  for (const auto& shard : file.shards()) starts.push_back(starts.back() + shard.size());
  std::vector<NeededRange> ranges;
  for (const load::Step& step : plan.steps) {
    if (step.bytes == 0) continue;
    const load::Item& item = plan.items[step.item];
    std::uint64_t extent = step.bytes;
    const bool is_tensor = item.purpose == load::Purpose::weight || item.copy_of.has_value();
    if (is_tensor && item.cut && item.cut->dimension == 0) {
      const gguf::TensorInfo& tensor = file.tensors()[plan.source_of(step.item)];
      const gguf::TypeInfo type = gguf::type_info(tensor.type);
      const auto row_of = [&](std::uint64_t elements) {
        return elements / type.block_elements * type.block_bytes;
      };
      const std::uint64_t part = row_of(item.cut->extent());
      const std::uint64_t rows = step.bytes / part;
      if (tensor.shape.rank > 1) extent = (rows - 1) * row_of(tensor.shape.extent[0]) + part;
    }
    const std::uint64_t first = starts[step.shard] + step.file_offset;
    ranges.push_back({first, first + extent, step.bytes});
  }
  std::sort(ranges.begin(), ranges.end(),
            [](const NeededRange& a, const NeededRange& b) { return a.first < b.first; });
  return ranges;
}

/// Calls `f(piece, bytes)` for the pieces that a range covers; `bytes` of the range's, in proportion.
template <class F>
void each_piece(const NeededRange& range, std::uint64_t piece_bytes, F&& f) {
  const double density =
      static_cast<double>(range.bytes) / static_cast<double>(range.end - range.first);
  std::uint64_t told = 0;
  for (std::uint64_t at = range.first; at < range.end;) {
    const std::uint64_t piece = at / piece_bytes;
    const std::uint64_t end = std::min(range.end, (piece + 1) * piece_bytes);
    const std::uint64_t upto =
        end == range.end
            ? range.bytes
            : static_cast<std::uint64_t>(density * static_cast<double>(end - range.first));
    f(piece, upto - told);
    told = upto;
    at = end;
  }
}

/// Returns ranges, in order and apart, that have the bytes of all.
[[nodiscard]] inline std::vector<NeededRange> joined(std::vector<NeededRange> ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const NeededRange& a, const NeededRange& b) { return a.first < b.first; });
  std::vector<NeededRange> apart;
  for (const NeededRange& range : ranges) {
    if (apart.empty() || apart.back().end < range.first) {
      apart.push_back(range);
    } else {
      apart.back().end = std::max(apart.back().end, range.end);
    }
    apart.back().bytes = apart.back().end - apart.back().first;
  }
  return apart;
}

/// What a rank needs of a piece.
struct RankPart {
  std::uint32_t rank;   ///< of the node, from 0
  std::uint64_t bytes;  ///< that go to its device
};

/// What a node needs of a piece.
struct NodePiece {
  std::uint64_t piece;          ///< number of the piece in the file
  std::uint64_t bytes = 0;      ///< read or sent for the node: what any of its ranks needs, once
  std::vector<RankPart> parts;  ///< for each rank that needs some
};

/// The pieces of a model's file that each node of a group needs. Nodes beyond a group are replicas.
///
/// \invariant the pieces of a node are in file order
class Needs {
 public:
  /// \param plans  of a group of ranks, which has whole nodes or is a part of one
  /// Throws: `std::invalid_argument` unless one divides the other.
  Needs(const gguf::File& file, const std::vector<load::Plan>& plans, std::uint32_t ranks_per_node,
        std::uint64_t piece_bytes)
      : ranks_per_node_{ranks_per_node}, group_(plans.size()) {
    if (plans.size() % ranks_per_node != 0 && ranks_per_node % plans.size() != 0)
      throw std::invalid_argument{"shares and ranks of a node: one must divide the other"};
    std::vector<std::vector<NeededRange>> of_rank;
    for (const load::Plan& plan : plans) of_rank.push_back(ranges_of(file, plan));
    const std::size_t nodes = std::max<std::size_t>(1, plans.size() / ranks_per_node);
    for (std::size_t node = 0; node < nodes; ++node) {
      std::vector<NeededRange> all;
      std::vector<NodePiece> pieces;
      for (std::uint32_t rank = 0; rank < ranks_per_node; ++rank) {
        const auto& ranges = of_rank[(node * ranks_per_node + rank) % plans.size()];
        all.insert(all.end(), ranges.begin(), ranges.end());
        for (const NeededRange& range : ranges) {
          each_piece(range, piece_bytes, [&](std::uint64_t piece, std::uint64_t bytes) {
            add(pieces, piece, rank, bytes);
          });
        }
      }
      std::sort(pieces.begin(), pieces.end(),
                [](const NodePiece& a, const NodePiece& b) { return a.piece < b.piece; });
      nodes_.push_back(merged(std::move(pieces)));
      count_union(nodes_.back(), joined(std::move(all)), piece_bytes);
    }
    std::vector<NeededRange> all;
    for (const auto& ranges : of_rank) all.insert(all.end(), ranges.begin(), ranges.end());
    for (const NeededRange& range : joined(std::move(all))) {
      each_piece(range, piece_bytes, [this](std::uint64_t piece, std::uint64_t bytes) {
        if (pieces_.size() <= piece) pieces_.resize(piece + 1);
        pieces_[piece] += bytes;
      });
    }
  }

  /// Returns the different nodes of a group: node `n` of a cluster is like `n % size()`.
  [[nodiscard]] std::size_t size() const noexcept { return nodes_.size(); }
  [[nodiscard]] const std::vector<NodePiece>& operator[](std::size_t node) const noexcept {
    return nodes_[node];
  }
  [[nodiscard]] std::uint32_t ranks_per_node() const noexcept { return ranks_per_node_; }
  /// Returns the number of shares.
  [[nodiscard]] std::size_t group() const noexcept { return group_; }
  /// Returns the bytes that any rank needs, each counted once.
  [[nodiscard]] std::uint64_t file_bytes() const noexcept {
    return std::accumulate(pieces_.begin(), pieces_.end(), std::uint64_t{0});
  }
  /// Returns the bytes of each piece of the file that any rank needs.
  [[nodiscard]] const std::vector<std::uint64_t>& pieces() const noexcept { return pieces_; }

 private:
  static void add(std::vector<NodePiece>& pieces, std::uint64_t piece, std::uint32_t rank,
                  std::uint64_t bytes) {
    if (!pieces.empty() && pieces.back().piece == piece &&
        pieces.back().parts.back().rank == rank) {
      pieces.back().parts.back().bytes += bytes;
    } else {
      pieces.push_back({piece, 0, {{rank, bytes}}});
    }
  }
  /// Joins neighbors that are of one piece.
  [[nodiscard]] static std::vector<NodePiece> merged(std::vector<NodePiece> pieces) {
    std::vector<NodePiece> made;
    for (NodePiece& each : pieces) {
      if (made.empty() || made.back().piece != each.piece) {
        made.push_back(std::move(each));
        continue;
      }
      for (const RankPart& part : each.parts) {
        auto& parts = made.back().parts;
        const auto same = std::find_if(parts.begin(), parts.end(), [&](const RankPart& known) {
          return known.rank == part.rank;
        });
        if (same == parts.end()) {
          parts.push_back(part);
        } else {
          same->bytes += part.bytes;
        }
      }
    }
    return made;
  }
  static void count_union(std::vector<NodePiece>& pieces, const std::vector<NeededRange>& ranges,
                          std::uint64_t piece_bytes) {
    auto at = pieces.begin();
    for (const NeededRange& range : ranges) {
      each_piece(range, piece_bytes, [&](std::uint64_t piece, std::uint64_t bytes) {
        while (at->piece != piece) ++at;
        at->bytes += bytes;
      });
    }
  }

  std::uint32_t ranks_per_node_;
  std::size_t group_;
  std::vector<std::vector<NodePiece>> nodes_;
  std::vector<std::uint64_t> pieces_;  // bytes
};

}  // namespace allot::bench
