// SPDX-License-Identifier: MIT
/// \file
/// `FilledSlots`: how many tokens each block has, and all together.
#pragma once

#include <allot/core/deferred_containers.hpp>

#include <cstdint>
#include <utility>

namespace allot::detail {

template <class Owner>
class FilledSlots {
 public:
  using Number = std::uint32_t;

  explicit FilledSlots(std::uint64_t blocks) : filled_(blocks) {}

  [[nodiscard]] Number operator[](Number block) const noexcept { return filled_[block]; }
  [[nodiscard]] std::uint64_t sum() const noexcept { return sum_; }

  void set(Number block, std::uint64_t tokens) noexcept {
    sum_ += tokens - filled_[block];
    filled_[block] = static_cast<Number>(tokens);
  }
  void move(Number from, Number to) noexcept { filled_[to] = std::exchange(filled_[from], 0); }

  /// Returns true if they add up, and free blocks have none: for tests.
  template <class Pool>
  [[nodiscard]] bool validate(const Pool& pool) const {
    std::uint64_t sum = 0;
    for (Number block = 0; block < filled_.size(); ++block) {
      if (filled_[block] != 0 && pool.ref_count(block) == 0) return false;
      sum += filled_[block];
    }
    return sum == sum_;
  }

 private:
  DeferredVector<Number, Owner> filled_;
  std::uint64_t sum_ = 0;
};

}  // namespace allot::detail
