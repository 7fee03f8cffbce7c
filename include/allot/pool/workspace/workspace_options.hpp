// SPDX-License-Identifier: MIT
/// \file
/// Configuration and statistics of a `Workspace`: plain values.
#pragma once

#include <allot/core/errors.hpp>
#include <allot/core/units.hpp>

#include <cstdint>

namespace allot {

/// The end of a workspace that a scope takes its memory from. The two ends are separate stacks.
enum class End { lower, upper };

/// How much a workspace takes, and when.
struct WorkspaceOptions {
  std::uint64_t initial_bytes = 0;  ///< taken by the constructor; 0: with the first allocation
  std::uint64_t minimum_bytes = 2 * MiB;  ///< the least to take from the device at a time
  std::uint64_t limit_bytes = OutOfMemory::unlimited;  ///< the most that `capacity()` may be
};

/// A snapshot. In bytes, unless it says counts.
struct WorkspaceStats {
  std::uint64_t capacity;    ///< taken from the device, without `retired`
  std::uint64_t used;        ///< by open scopes, including padding for alignment
  std::uint64_t high_water;  ///< the most that `used` was, since it was last reset
  std::uint64_t retired;     ///< given back once the stream's work is done
  std::uint64_t pieces;      ///< counts allocations of the device that make up `capacity`
  std::uint64_t scopes;      ///< counts open scopes
  std::uint64_t grown;       ///< counts how often addresses may have changed
};

}  // namespace allot
