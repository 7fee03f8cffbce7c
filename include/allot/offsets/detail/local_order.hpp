// SPDX-License-Identifier: MIT
/// \file
/// `LocalOrder`: an order of many buffers, with those that are alive one after another close together.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/offsets/detail/packing.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace allot::detail {

/// A buffer's place depends only on those that come before it and are alive with it. So an order by
/// time, in which each buffer follows all of those, gives every buffer the place that the order
/// itself gives it; but what it reads is still in the processor's caches.
///
/// Complexity: the number of pairs that are alive together, and of buffers. Memory: the same.
template <class Owner = void>
class LocalOrder {
 public:
  /// Below it all is in the caches as it is.
  static constexpr std::size_t fewest_boxes = std::size_t{1} << 16;

  explicit LocalOrder(const Packing<Owner>& packing, std::size_t fewest = fewest_boxes)
      : packing_{packing} {
    if (packing.boxes.size() < fewest) return;
    DeferredVector<std::uint32_t, Owner> alive;
    earlier_from_.push_back(0);
    for (std::uint32_t i = 0; i < packing.boxes.size(); ++i) {
      std::size_t kept = 0;
      for (const std::uint32_t other : alive) {
        if (packing.boxes[other].end > packing.boxes[i].begin) alive[kept++] = other;
      }
      alive.resize(kept);
      if (earlier_.size() + kept > most_alive * packing.boxes.size()) return;
      earlier_.insert(earlier_.end(), alive.begin(), alive.end());
      earlier_from_.push_back(earlier_.size());
      alive.push_back(i);
    }
    is_worth_it_ = true;
  }

  /// Units of about 5 ns that an order takes.
  [[nodiscard]] std::uint64_t work() const noexcept {
    return is_worth_it_ ? 2 * packing_.boxes.size() + earlier_.size() / 2 : 0;
  }

  /// The same as `order`, if buffers are few, or many are alive together.
  [[nodiscard]] DeferredVector<std::uint32_t, Owner> of(
      DeferredVector<std::uint32_t, Owner> order) const {
    if (!is_worth_it_) return order;
    DeferredVector<std::uint32_t, Owner> ranks(order.size());
    for (std::uint32_t i = 0; i < order.size(); ++i) ranks[order[i]] = i;
    DeferredVector<std::uint32_t, Owner> rank_of(packing_.boxes.size());
    for (std::uint32_t i = 0; i < rank_of.size(); ++i) rank_of[i] = ranks[packing_.buffers[i]];
    DeferredVector<std::uint8_t, Owner> is_done(packing_.boxes.size());
    DeferredVector<std::uint8_t, Owner> is_listed(order.size());
    DeferredVector<std::uint32_t, Owner> result;
    result.reserve(order.size());
    DeferredVector<Visit, Owner> stack;
    for (std::uint32_t first = 0; first < packing_.boxes.size(); ++first) {
      if (is_done[first] != 0) continue;
      stack.push_back(visit(first));
      while (!stack.empty()) {
        const std::uint32_t box = stack.back().box;
        const auto before = next_before(stack.back(), rank_of, is_done);
        if (before != box) {
          stack.push_back(visit(before));
          continue;
        }
        is_done[box] = 1;
        is_listed[packing_.buffers[box]] = 1;
        result.push_back(packing_.buffers[box]);
        stack.pop_back();
      }
    }
    for (const std::uint32_t buffer : order) {  // of no bytes
      if (is_listed[buffer] == 0) result.push_back(buffer);
    }
    return result;
  }

 private:
  static constexpr std::size_t most_alive = 24;  // with each, on average

  /// The boxes alive with one that are still to be looked at.
  struct Visit {
    std::uint32_t box;
    std::uint32_t later;  // those that begin later have the next numbers
    std::size_t earlier;
  };
  [[nodiscard]] Visit visit(std::uint32_t box) const { return {box, box + 1, earlier_from_[box]}; }

  /// One that comes before `visit.box` and is not done, or `visit.box` itself if there is none.
  [[nodiscard]] std::uint32_t next_before(
      Visit& visit, const DeferredVector<std::uint32_t, Owner>& rank_of,
      const DeferredVector<std::uint8_t, Owner>& is_done) const {
    const auto comes_first = [&](std::uint32_t other) {
      return is_done[other] == 0 && rank_of[other] < rank_of[visit.box];
    };
    while (visit.earlier < earlier_from_[visit.box + 1]) {
      const std::uint32_t other = earlier_[visit.earlier++];
      if (comes_first(other)) return other;
    }
    while (visit.later < packing_.boxes.size() &&
           packing_.boxes[visit.later].begin < packing_.boxes[visit.box].end) {
      const std::uint32_t other = visit.later++;
      if (comes_first(other)) return other;
    }
    return visit.box;
  }

  const Packing<Owner>& packing_;
  DeferredVector<std::uint32_t, Owner> earlier_;  // the boxes alive when one begins, box after box
  DeferredVector<std::size_t, Owner> earlier_from_;  // where those of each box begin
  bool is_worth_it_ = false;
};

}  // namespace allot::detail
