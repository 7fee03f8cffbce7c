// SPDX-License-Identifier: MIT
/// \file
/// `FirstFit`: the free block with the lowest offset that can hold the request. Keeps blocks packed
/// toward the start of the range and the largest free block at its end.
#pragma once

#include <allot/strategy/detail/address_tree.hpp>
#include <allot/strategy/detail/coalescing_range.hpp>
#include <allot/strategy/strategy.hpp>

#include <cstdint>

namespace allot {

/// `FirstFit` for a range of any length: its index has 64-bit keys.
using WideFirstFit = detail::CoalescingRange<detail::AddressTree<std::uint64_t>>;

/// Takes the free block with the lowest offset that can hold the request.
///
/// Complexity: allocate and deallocate are O(log n) in the free blocks; for an alignment above one
/// unit, free blocks below size + alignment - 1 units are checked one by one. 32 bytes a block,
/// 14 more for the index.
class FirstFit : public detail::CoalescingRange<detail::AddressTree<std::uint32_t>> {
 public:
  using CoalescingRange::CoalescingRange;

  /// 2^32 - 2 units: offsets and sizes are 32-bit keys.
  static constexpr std::uint64_t largest_capacity = 0xffff'fffe;
  using Wide = WideFirstFit;
  static constexpr const char* wide_name = "WideFirstFit";
};

static_assert(Strategy<FirstFit>);

/// It refuses only what no free block can hold.
template <>
inline constexpr bool keeps_refusing<FirstFit> = true;
/// Like `FirstFit`.
template <>
inline constexpr bool keeps_refusing<WideFirstFit> = true;

}  // namespace allot
