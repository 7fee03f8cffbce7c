// SPDX-License-Identifier: MIT
/// \file
/// `Ledger`: counts an arena's operations and their bytes.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/errors.hpp>
#include <allot/observer/observer.hpp>

#include <cstdint>

namespace allot {

/// Counts operations, and bytes as granted, since the arena was made. Complexity of each: constant.
class Ledger {
 public:
  void allocated(const Block& block, const Request& request) noexcept {
    ++allocations_;
    allocated_bytes_ += block.size;
    largest_request_ = larger(largest_request_, request.bytes);
  }

  void deallocated(const Block& block) noexcept {
    ++deallocations_;
    deallocated_bytes_ += block.size;
  }

  void refused(const Request&, RefusalReason) noexcept { ++refusals_; }

  /// Returns the number of blocks that were allocated.
  [[nodiscard]] std::uint64_t allocations() const noexcept { return allocations_; }
  /// Returns the number of blocks that were freed.
  [[nodiscard]] std::uint64_t deallocations() const noexcept { return deallocations_; }
  /// Returns the number of requests that were refused.
  [[nodiscard]] std::uint64_t refusals() const noexcept { return refusals_; }
  /// Returns the bytes of all blocks that were allocated, as granted.
  [[nodiscard]] std::uint64_t allocated_bytes() const noexcept { return allocated_bytes_; }
  /// Returns the bytes of all blocks that were freed.
  [[nodiscard]] std::uint64_t deallocated_bytes() const noexcept { return deallocated_bytes_; }
  /// The bytes of the largest request that was granted, as requested.
  [[nodiscard]] std::uint64_t largest_request() const noexcept { return largest_request_; }

 private:
  std::uint64_t allocations_ = 0;
  std::uint64_t deallocations_ = 0;
  std::uint64_t refusals_ = 0;
  std::uint64_t allocated_bytes_ = 0;
  std::uint64_t deallocated_bytes_ = 0;
  std::uint64_t largest_request_ = 0;
};

static_assert(Observer<Ledger>);

}  // namespace allot
