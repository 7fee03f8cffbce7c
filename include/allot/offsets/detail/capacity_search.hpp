// SPDX-License-Identifier: MIT
/// \file
/// `CapacitySearch`: ever smaller capacities that a `CornerSearch` finds a plan for.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/offsets/detail/corner_search.hpp>
#include <allot/offsets/detail/packing.hpp>

#include <cstddef>
#include <cstdint>
#include <numeric>

namespace allot::detail {

/// Asks for the least capacity that is not refuted, which most graphs fit, then, while it is refuted,
/// for one further and further above it, and in turn for one nearer to what is known to fit. The runs get longer, and never depend on how much work is left:
/// more work continues where less stops.
template <class Owner = void>
class CapacitySearch {
 public:
  /// \param least  the first to ask for, or if plans cannot have it, the next one below
  CapacitySearch(const Packing<Owner>& packing, std::uint64_t least)
      : search_{packing}, nodes_{2 * packing.boxes.size()} {
    for (const Box& box : packing.boxes)
      unit_ = std::gcd(unit_, std::gcd(box.bytes, box.alignment));
    low_ = least - least % unit_;
  }

  /// Returns whether no plan of less than `bytes` is left to find.
  [[nodiscard]] bool is_exhausted(std::uint64_t bytes) const noexcept { return low_ >= bytes; }

  /// The sections whose boxes do not fit the last capacity that was refuted.
  [[nodiscard]] SectionSpan proof() const noexcept { return proof_; }

  /// One run for the lower bound; returns whether it found a plan.
  bool run_lowest(std::uint64_t most_work) {
    const bool is_found = try_capacity(low_, most_work) == SearchResult::found;
    if (!is_found) next_attempt();
    return is_found;
  }

  /// One run; returns whether it found a plan of less than `bytes`.
  bool run(std::uint64_t bytes, std::uint64_t most_work) {
    const std::uint64_t high = bytes - 1;
    const std::uint64_t low = low_ + smaller(stride_, high - low_);
    const std::uint64_t capacity = is_low_next_ ? low : high - ((high - low_) >> ease_);
    const SearchResult result = try_capacity(capacity, most_work);
    stride_ = result == SearchResult::impossible ? larger(unit_, 2 * smaller(stride_, high)) : 0;
    if (result != SearchResult::stopped) return result == SearchResult::found;
    if (!is_low_next_) next_attempt();
    is_low_next_ = !is_low_next_;
    return false;
  }

  [[nodiscard]] std::uint64_t offset(std::uint32_t box) const noexcept {
    return search_.offset(box);
  }
  [[nodiscard]] std::uint64_t work() const noexcept { return search_.work(); }

 private:
  static constexpr unsigned most_ease = 5;

  SearchResult try_capacity(std::uint64_t capacity, std::uint64_t most_work) {
    const SearchResult result = search_.run(capacity, attempt_, nodes_, most_work);
    if (result != SearchResult::impossible) return result;
    proof_ = search_.proof();
    low_ = capacity - capacity % unit_ + unit_;
    return result;
  }

  void next_attempt() noexcept {
    ++attempt_;
    ease_ = ease_ % most_ease + 1;
    if (attempt_ % 4 == 0) nodes_ += nodes_ / 4;
  }

  CornerSearch<Owner> search_;
  std::uint64_t unit_ = 0;    // plans that rest have multiples of it
  std::uint64_t low_ = 0;     // no plan of less is worth a try
  std::uint64_t stride_ = 0;  // doubled by each capacity that is refuted: one refutes all below
  std::uint64_t nodes_;
  std::uint64_t attempt_ = 0;
  SectionSpan proof_{0, 0};
  unsigned ease_ = 1;
  bool is_low_next_ = true;
};

}  // namespace allot::detail
