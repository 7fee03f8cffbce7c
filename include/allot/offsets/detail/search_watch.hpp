// SPDX-License-Identifier: MIT
/// \file
/// `SearchWatch`: reports to the caller how far a search is, and asks whether to stop.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/offsets/offset_plan.hpp>

#include <cstdint>

namespace allot::detail {

template <class Owner = void>
class SearchWatch {
 public:
  SearchWatch(const OffsetPlanOptions& options, std::uint64_t total_work)
      : options_{options}, total_{total_work}, next_{total_work} {}

  /// To be called often: whether to stop; then, as without work left, nothing more may be tried.
  [[nodiscard]] bool stops(std::uint64_t work_left, std::uint64_t bytes, std::uint64_t bound) {
    if (options_.progress && work_left <= next_) {
      next_ = work_left - smaller(work_left, total_ / calls + 1);
      options_.progress({total_ - work_left, total_, bytes, bound});
    }
    return options_.stop.stop_requested();
  }

 private:
  static constexpr std::uint64_t calls = 200;

  const OffsetPlanOptions& options_;
  std::uint64_t total_;
  std::uint64_t next_;  // work that is left when the caller is notified next
};

}  // namespace allot::detail
