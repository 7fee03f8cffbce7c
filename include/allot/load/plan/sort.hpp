// SPDX-License-Identifier: MIT
/// \file
/// A stable sort, without the time that `<algorithm>` takes to compile.
#pragma once

#include <allot/core/checked.hpp>

#include <cstddef>
#include <utility>

namespace allot::load::detail {

/// Sorts a vector by merging: equal elements keep their order. `before(a, b)`: whether `a` is to
/// precede `b`. Complexity: O(n log n); linear, and without memory, if it is sorted already.
template <class Elements, class Before>
void sort_stably(Elements& elements, const Before& before) {
  const std::size_t count = elements.size();
  std::size_t sorted = 1;
  while (sorted < count && !before(elements[sorted], elements[sorted - 1])) ++sorted;
  if (sorted >= count) return;
  Elements merged(count);
  for (std::size_t width = 1; width < count; width *= 2) {
    for (std::size_t first = 0; first < count; first += 2 * width) {
      std::size_t left = first;
      const std::size_t middle = smaller(first + width, count);
      std::size_t right = middle;
      const std::size_t end = smaller(first + 2 * width, count);
      for (std::size_t at = first; at < end; ++at) {
        const bool takes_right =
            left == middle || (right < end && before(elements[right], elements[left]));
        merged[at] = std::move(elements[takes_right ? right++ : left++]);
      }
    }
    std::swap(elements, merged);
  }
}

}  // namespace allot::load::detail
