// SPDX-License-Identifier: MIT
/// \file
/// `OrderPlacer`: buffers in some order, each to the lowest or to the tightest gap that its
/// lifetime leaves.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/offsets/detail/best_fit_plan.hpp>
#include <allot/offsets/detail/gap_index.hpp>
#include <allot/offsets/detail/lifetime_index.hpp>
#include <allot/offsets/detail/packing.hpp>
#include <allot/offsets/detail/plain_lifetime.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace allot::detail {

template <class Owner = void>
class OrderPlacer {
 public:
  /// \param gaps  may be used in between
  /// \param work_left  units that may be spent, and are taken from it
  OrderPlacer(DeferredSpan<const PlainLifetime, Owner> lifetimes, const Packing<Owner>& packing,
              GapIndex<Owner>& gaps, std::uint64_t& work_left)
      : lifetimes_{lifetimes},
        packing_{packing},
        box_of_(lifetimes.size()),
        gaps_{gaps},
        work_left_{work_left} {
    for (std::uint32_t i = 0; i < packing.boxes.size(); ++i) box_of_[packing.buffers[i]] = i;
  }

  /// Each to the lowest gap; nothing once one ends beyond `limit`, below 2^62.
  [[nodiscard]] std::optional<Offsets<Owner>> place_lowest(
      const DeferredVector<std::uint32_t, Owner>& order, std::uint64_t limit) {
    gaps_.clear();
    Offsets<Owner> plan{DeferredVector<std::uint64_t, Owner>(lifetimes_.size()), 0};
    for (const std::uint32_t buffer : order) {
      const PlainLifetime& lifetime = lifetimes_[buffer];
      if (lifetime.bytes == 0) continue;
      if (work_left_ == 0) return std::nullopt;
      const std::uint64_t before = gaps_.work();
      const Box& box = packing_.boxes[box_of_[buffer]];
      const auto offset = gaps_.find(box, limit);
      if (offset) gaps_.insert(box, *offset);
      spend(gaps_.work() - before + 1);
      if (!offset) return std::nullopt;
      plan.offsets[buffer] = *offset;
      plan.bytes = larger(plan.bytes, *offset + lifetime.bytes);
    }
    return plan;
  }

  /// Each to the tightest gap; nothing if one has no gap below `limit`.
  [[nodiscard]] std::optional<Offsets<Owner>> place_tightest(
      const DeferredVector<std::uint32_t, Owner>& order, std::uint64_t limit) {
    return place(order, limit, true);
  }

  /// `place_lowest` up to 2^64, but n^2 when all are alive together.
  [[nodiscard]] std::optional<Offsets<Owner>> place_lowest_wide(
      const DeferredVector<std::uint32_t, Owner>& order, std::uint64_t limit) {
    return place(order, limit, false);
  }

 private:
  void spend(std::uint64_t units) noexcept { work_left_ -= smaller(work_left_, units); }

  [[nodiscard]] std::optional<Offsets<Owner>> place(
      const DeferredVector<std::uint32_t, Owner>& order, std::uint64_t limit, bool tightest) {
    if (index_) {
      index_->clear();
    } else {
      index_.emplace(lifetimes_);
      spend(index_cost * lifetimes_.size());
    }
    Offsets<Owner> plan{DeferredVector<std::uint64_t, Owner>(lifetimes_.size()), 0};
    for (const std::uint32_t buffer : order) {
      const PlainLifetime& lifetime = lifetimes_[buffer];
      if (lifetime.bytes == 0) continue;
      if (work_left_ == 0) return std::nullopt;
      const auto offset = find(lifetime, tightest);
      if (!offset || *offset > limit || lifetime.bytes > limit - *offset) return std::nullopt;
      plan.offsets[buffer] = *offset;
      plan.bytes = larger(plan.bytes, *offset + lifetime.bytes);
      index_->insert(buffer, *offset, lifetime);
    }
    return plan;
  }

  /// An offset that no buffer alive with this one has; nothing when it would exceed 64 bits.
  [[nodiscard]] std::optional<std::uint64_t> find(const PlainLifetime& lifetime, bool tightest) {
    const DeferredSpan<const PlacedRange, Owner> others = index_->alive_with(lifetime);
    spend((others.size() + 1) * (4 + std::size_t(std::bit_width(others.size()))));
    std::uint64_t end = 0;
    std::uint64_t least = largest_of<std::uint64_t>;
    std::optional<std::uint64_t> found;
    for (const PlacedRange& other : others) {
      if (other.offset > end) {
        const auto start = checked_align_up(end, lifetime.alignment);
        const auto reach = start ? checked_add(*start, lifetime.bytes) : std::nullopt;
        if (reach && *reach <= other.offset && other.offset - end < least) {
          found = start;
          if (!tightest) return found;
          least = other.offset - end;
        }
      }
      end = larger(end, other.end);
    }
    if (found) return found;
    const auto start = checked_align_up(end, lifetime.alignment);
    if (!start || !checked_add(*start, lifetime.bytes)) return std::nullopt;
    return start;
  }

  static constexpr std::uint64_t index_cost = 16;  // for each

  DeferredSpan<const PlainLifetime, Owner> lifetimes_;
  const Packing<Owner>& packing_;
  DeferredVector<std::uint32_t, Owner> box_of_;  // of each buffer that has bytes
  std::optional<LifetimeIndex<Owner>> index_;
  GapIndex<Owner>& gaps_;
  std::uint64_t& work_left_;
};

}  // namespace allot::detail
