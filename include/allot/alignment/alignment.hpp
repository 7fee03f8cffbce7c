// SPDX-License-Identifier: MIT
/// \file
/// The granularity of an arena, which is also its default alignment: a compile-time policy.
/// This header has its concept and `AlignTo`; docs/policies.md says which value to use.
#pragma once

#include <allot/core/units.hpp>

#include <concepts>
#include <cstdint>
#include <type_traits>

namespace allot {

/// What `Arena` requires of an alignment policy.
///
/// `AlignmentType::value` is a constant `std::uint64_t`, a power of two: the bytes in one unit.
template <class AlignmentType>
concept Alignment = requires {
  { &AlignmentType::value } -> std::same_as<const std::uint64_t*>;
}
&&requires { typename std::integral_constant<std::uint64_t, AlignmentType::value>; }
&&is_power_of_two(AlignmentType::value);

/// Offsets, sizes and default alignments are multiples of `Bytes`. `AlignTo<1>`, the null model,
/// has units of one byte.
template <std::uint64_t Bytes>
struct AlignTo {
  static_assert(is_power_of_two(Bytes), "AlignTo<Bytes>: Bytes must be a power of two");
  static constexpr std::uint64_t value = Bytes;  ///< bytes
};

static_assert(Alignment<AlignTo<1>>);
static_assert(Alignment<AlignTo<256>>);

}  // namespace allot
