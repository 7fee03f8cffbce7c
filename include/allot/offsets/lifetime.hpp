// SPDX-License-Identifier: MIT
/// \file
/// `Lifetime`: what `plan_offsets` (`plan_offsets.hpp`) plans.
#pragma once

#include <allot/core/version.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace allot {

/// A buffer, and when it is used: from step `first` to step `last`, both included. What follows the
/// alignment is optional: each is a wish or a rule that planners are asked for.
struct Lifetime {
  std::uint64_t bytes;            ///< zero is allowed: such a buffer is at offset 0
  std::uint64_t first;            ///< the step that writes it
  std::uint64_t last;             ///< the last step that reads it
  std::uint64_t alignment = 256;  ///< bytes, a power of two

  /// Its place, if it has one already: a KV cache, weights, what another plan decided. A multiple of
  /// the alignment.
  std::optional<std::uint64_t> fixed_offset{};
  /// The number of a buffer whose place it may take at the step that makes it, if that one is used
  /// for the last time then: an operation that works in place. At the same offset of the same
  /// memory, and not larger than that one; otherwise they stay apart.
  std::optional<std::size_t> may_replace{};
  /// The memories that may hold it, numbers in `OffsetPlanOptions::capacities`, the preferred one
  /// first; empty: any.
  std::vector<std::size_t> memories{};
  /// The stream that uses it. Reuse between streams makes one wait for the other.
  std::uint32_t stream = 0;
};

}  // namespace allot
