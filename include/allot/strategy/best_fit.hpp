// SPDX-License-Identifier: MIT
/// \file
/// `BestFit`: the smallest free block that can hold the request. The default choice: it refuses
/// only what no free block could hold, and refuses least as memory fills up.
#pragma once

#include <allot/strategy/detail/coalescing_range.hpp>
#include <allot/strategy/detail/size_bins.hpp>
#include <allot/strategy/strategy.hpp>

#include <cstdint>

namespace allot {

/// `BestFit` for a range of any length: its index has 64-bit keys.
using WideBestFit = detail::CoalescingRange<detail::SizeBins<std::uint64_t>>;

/// Takes the first free block by (size, offset) that can hold the request.
///
/// Complexity: allocate finds its bin in O(1) and its block in O(log m), m being the free blocks of
/// that bin; for an alignment above one unit, free blocks below size + alignment - 1 units are
/// checked one by one. deallocate is O(log m). 32 bytes a block, 11 to 16 more for the index.
class BestFit : public detail::CoalescingRange<detail::SizeBins<std::uint32_t>> {
 public:
  using CoalescingRange::CoalescingRange;

  /// 2^32 - 2 units: offsets and sizes are 32-bit keys.
  static constexpr std::uint64_t largest_capacity = 0xffff'fffe;
  using Wide = WideBestFit;
  static constexpr const char* wide_name = "WideBestFit";
};

static_assert(Strategy<BestFit>);

}  // namespace allot
