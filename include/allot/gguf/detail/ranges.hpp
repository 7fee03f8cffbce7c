// SPDX-License-Identifier: MIT
/// \file
/// Ranges of tensor data: finds two that overlap.
#pragma once

#include <allot/core/deferred_containers.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

namespace allot::gguf::detail {

/// A tensor's range in the data section.
struct Range {
  std::uint64_t offset;
  std::uint64_t bytes;
  std::size_t tensor;
};

// The C library's sort: <algorithm> would be a tenth of this header's compile time, and files
// have their tensors in order.
inline void sort(std::vector<Range>& ranges) {
  bool is_sorted = true;
  for (std::size_t i = 1; i < ranges.size(); ++i)
    is_sorted = is_sorted && ranges[i - 1].offset <= ranges[i].offset;
  if (is_sorted) return;
  std::qsort(ranges.data(), ranges.size(), sizeof(Range), [](const void* left, const void* right) {
    const Range& a = *static_cast<const Range*>(left);
    const Range& b = *static_cast<const Range*>(right);
    if (a.offset != b.offset) return a.offset < b.offset ? -1 : 1;
    return a.tensor < b.tensor ? -1 : 1;
  });
}

/// Calls `found` with each pair of neighbors that overlap, the lower first.
/// Complexity: linear if the ranges are in order, n log n otherwise.
template <class Found>
void find_overlaps(DeferredVector<Range, Found>& ranges, const Found& found) {
  sort(ranges);
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].offset - ranges[i - 1].offset < ranges[i - 1].bytes)
      found(ranges[i - 1], ranges[i]);
  }
}

}  // namespace allot::gguf::detail
