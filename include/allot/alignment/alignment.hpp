// SPDX-License-Identifier: MIT
/// \file
/// The granularity of an arena, which is also its default alignment: a compile-time policy.
///
/// | policy           | one unit is | use it for                                            |
/// |------------------|-------------|-------------------------------------------------------|
/// | `AlignTo<1>`     | one byte    | offsets that need no alignment: the null model        |
/// | `AlignTo<Bytes>` | `Bytes`     | 256: tensors on GPUs; 4096: pages; 2 MiB: huge pages  |
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <type_traits>

namespace allot {

/// What `Arena` asks of an alignment policy.
///
/// `AlignmentType::value` is a constant `std::uint64_t`, a power of two: the bytes in one unit.
template <class AlignmentType>
concept Alignment = requires {
  { &AlignmentType::value } -> std::same_as<const std::uint64_t*>;
}
&&requires { typename std::integral_constant<std::uint64_t, AlignmentType::value>; }
&&std::has_single_bit(AlignmentType::value);

/// Offsets and sizes are multiples of `Bytes`, and so are default alignments.
template <std::uint64_t Bytes>
struct AlignTo {
  static_assert(std::has_single_bit(Bytes), "AlignTo<Bytes>: Bytes must be a power of two");
  static constexpr std::uint64_t value = Bytes;
};

static_assert(Alignment<AlignTo<1>>);
static_assert(Alignment<AlignTo<256>>);

}  // namespace allot
