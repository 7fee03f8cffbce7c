// SPDX-License-Identifier: MIT
/// \file
/// `FirstFit`: the free block with the lowest offset that can hold the request. Keeps blocks packed
/// towards the start of the range and the largest free block at its end.
#pragma once

#include <allot/strategy/detail/address_tree.hpp>
#include <allot/strategy/detail/coalescing_range.hpp>
#include <allot/strategy/strategy.hpp>

namespace allot {

/// Takes the free block with the lowest offset that can hold the request.
///
/// Complexity: allocate and deallocate are O(log n) in the free blocks; for an alignment above one
/// unit, free blocks below size + alignment - 1 units are looked at one by one. 32 bytes a block,
/// 14 more for the index.
class FirstFit : public detail::CoalescingRange<detail::ByKeyWidth<detail::AddressTree>> {
 public:
  using CoalescingRange::CoalescingRange;
};

static_assert(Strategy<FirstFit>);

}  // namespace allot
