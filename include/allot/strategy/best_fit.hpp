// SPDX-License-Identifier: MIT
/// \file
/// `BestFit`: the smallest free block that can hold the request. The default choice: it refuses
/// nothing that one free block could hold, and refuses least as memory fills.
#pragma once

#include <allot/strategy/detail/coalescing_range.hpp>
#include <allot/strategy/detail/size_bins.hpp>
#include <allot/strategy/strategy.hpp>

namespace allot {

/// Takes the first free block by (size, offset) that can hold the request.
///
/// Complexity: allocate finds its bin in O(1) and its block in O(log m), m being the free blocks of
/// that bin; for an alignment above one unit, free blocks below size + alignment - 1 units are
/// looked at one by one. deallocate is O(log m). 32 bytes a block, 11 to 16 more for the index.
class BestFit : public detail::CoalescingRange<detail::ByKeyWidth<detail::SizeBins>> {
 public:
  using CoalescingRange::CoalescingRange;
};

static_assert(Strategy<BestFit>);

}  // namespace allot
