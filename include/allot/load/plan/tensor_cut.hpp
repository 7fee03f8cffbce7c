// SPDX-License-Identifier: MIT
/// \file
/// `load::TensorCut`: the part of a file's tensor that a share of a model has (`shares.hpp`).
#pragma once

#include <allot/core/deferred.hpp>

#include <cstdint>
#include <vector>

namespace allot::load {

/// Some consecutive columns, rows or matrices of a tensor.
struct CutRange {
  std::uint64_t first;  ///< from 0
  std::uint64_t count;  ///< at least 1

  bool operator==(const CutRange&) const = default;
};

/// The part of a tensor: along one dimension some ranges of it, along the others everything. In
/// memory the ranges follow each other.
struct TensorCut {
  std::uint32_t dimension;       ///< in the file: 0 columns, 1 rows, 2 matrices
  std::vector<CutRange> ranges;  ///< in order and apart; more than one of rows only, or of a vector

  bool operator==(const TensorCut&) const = default;

  /// Returns the extent of the part along its dimension. Complexity: linear in the ranges.
  template <class Owner = void>
  [[nodiscard]] std::uint64_t extent() const noexcept {
    std::uint64_t sum = 0;
    for (const auto& range : deferred<Owner>(ranges)) sum += range.count;
    return sum;
  }
  /// Returns the place in the tensor of an element of the part, both along the dimension.
  /// Complexity: linear in the ranges. Requires: `place` is below `extent()`.
  template <class Owner = void>
  [[nodiscard]] std::uint64_t in_tensor(std::uint64_t place) const noexcept {
    for (const auto& range : deferred<Owner>(ranges)) {
      if (place < range.count) return range.first + place;
      place -= range.count;
    }
    return place;
  }
};

}  // namespace allot::load
