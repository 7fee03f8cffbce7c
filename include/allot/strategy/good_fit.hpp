// SPDX-License-Identifier: MIT
/// \file
/// `GoodFit`: a block about as large as the request, in constant time. For arenas that allocate and
/// free all the time and stay well below full; `BestFit` refuses less in a nearly full arena.
///
/// The family of TLSF (Masmano, Ripoll, Crespo and Real, 2004) and of OffsetAllocator (Aaltonen,
/// 2023): bins over floating-point sizes, a bitmap of two levels, a list in each bin.
#pragma once

#include <allot/strategy/detail/coalescing_range.hpp>
#include <allot/strategy/detail/size_lists.hpp>
#include <allot/strategy/strategy.hpp>

namespace allot {

/// Takes the most recently freed block of the request's own bin if it holds the request, otherwise
/// that of the next bin that has any.
///
/// Bins are 1/64 of a power of two wide, and each size below 128 units has its own. A request whose
/// size is the lowest of its bin finds any block of it, so also an exact fit. A request is
/// refused only if no free block has (size + alignment - 1) * 65 / 64 units; at alignment 1, and
/// with a size that is the lowest of a bin, only if no free block holds it.
///
/// Complexity: allocate and deallocate are O(1); `largest_free` is linear in the highest bin.
/// 32 bytes a block.
class GoodFit : public detail::CoalescingRange<detail::SizeLists> {
 public:
  using CoalescingRange::CoalescingRange;
};

static_assert(Strategy<GoodFit>);

/// It refuses only if no higher bin has a block.
template <>
inline constexpr bool keeps_refusing<GoodFit> = true;

}  // namespace allot
