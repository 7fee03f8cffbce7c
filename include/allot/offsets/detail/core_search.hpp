// SPDX-License-Identifier: MIT
/// \file
/// `CoreSearch`: of many boxes, places those that decide the height: what is large, and alive when
/// the most is.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/offsets/detail/corner_search.hpp>
#include <allot/offsets/detail/packing.hpp>
#include <allot/os/algorithm.hpp>

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>

namespace allot::detail {

/// The core: the fullest sections, with the largest boxes in them. The room that the small ones
/// need is kept on top of it.
template <class Owner = void>
class CoreSearch {
 public:
  CoreSearch(const Packing<Owner>& packing, std::size_t most_boxes)
      : core_{make(packing, most_boxes)}, search_{core_} {}
  CoreSearch(const CoreSearch&) = delete;
  CoreSearch& operator=(const CoreSearch&) = delete;

  [[nodiscard]] std::size_t boxes() const noexcept { return core_.boxes.size(); }

  /// As `CornerSearch::run`, for the capacity of all boxes.
  [[nodiscard]] SearchResult run(std::uint64_t capacity, std::uint64_t attempt,
                                 std::uint64_t most_nodes, std::uint64_t most_work) {
    const std::uint64_t height = capacity - smaller(capacity, kept_);
    return search_.run(larger(height, bound_), attempt, most_nodes, most_work);
  }

  /// Calls `visit` with each box and its offset, after `found`.
  template <class Visit>
  void visit(Visit visit) const {
    for (std::uint32_t i = 0; i < core_.boxes.size(); ++i)
      visit(core_.buffers[i], search_.offset(i));
  }

  [[nodiscard]] std::uint64_t work() const noexcept { return search_.work(); }

 private:
  /// The least rank in a row of sections.
  class LeastRank {
   public:
    explicit LeastRank(const DeferredVector<std::uint32_t, Owner>& ranks)
        : leaves_{ranks.size()}, least_(2 * ranks.size()) {
      std::copy(ranks.begin(), ranks.end(), least_.begin() + static_cast<std::ptrdiff_t>(leaves_));
      for (std::size_t i = leaves_; i-- > 1;) least_[i] = smaller(least_[2 * i], least_[2 * i + 1]);
    }
    [[nodiscard]] std::uint32_t of(const Box& box) const noexcept {
      std::uint32_t least = largest_of<std::uint32_t>;
      std::size_t low = leaves_ + box.begin;
      std::size_t high = leaves_ + box.end;
      for (; low < high; low /= 2, high /= 2) {
        if (low % 2 != 0) least = smaller(least, least_[low++]);
        if (high % 2 != 0) least = smaller(least, least_[--high]);
      }
      return least;
    }

   private:
    std::size_t leaves_;
    DeferredVector<std::uint32_t, Owner> least_;
  };

  /// Sections by their total, the fullest first.
  [[nodiscard]] static DeferredVector<std::uint32_t, Owner> by_total(
      const Packing<Owner>& packing) {
    DeferredVector<std::uint32_t, Owner> sections(packing.totals.size());
    std::iota(sections.begin(), sections.end(), 0U);
    std::stable_sort(sections.begin(), sections.end(), [&](std::uint32_t a, std::uint32_t b) {
      return packing.totals[a] > packing.totals[b];
    });
    return sections;
  }

  /// What a box of the core exceeds: half of the core is for the fullest section.
  [[nodiscard]] static std::uint64_t most_small(const Packing<Owner>& packing,
                                                std::uint32_t fullest, std::size_t most_boxes) {
    DeferredVector<std::uint64_t, Owner> sizes;
    for (const Box& box : packing.boxes) {
      if (SectionSpan{box.begin, box.end}.contains(fullest)) sizes.push_back(box.bytes);
    }
    if (sizes.size() <= most_boxes / 2) return 0;
    const auto middle = sizes.begin() + static_cast<std::ptrdiff_t>(most_boxes / 2);
    std::nth_element(sizes.begin(), middle, sizes.end(),
                     [](std::uint64_t a, std::uint64_t b) { return a > b; });
    return *middle;
  }

  [[nodiscard]] Packing<Owner> make(const Packing<Owner>& packing, std::size_t most_boxes) {
    if (packing.totals.empty()) return {};
    const DeferredVector<std::uint32_t, Owner> sections = by_total(packing);
    DeferredVector<std::uint32_t, Owner> ranks(sections.size());
    for (std::uint32_t i = 0; i < sections.size(); ++i) ranks[sections[i]] = i;
    const std::uint64_t small_bytes = most_small(packing, sections[0], most_boxes);
    const LeastRank least_rank{ranks};
    DeferredVector<std::pair<std::uint32_t, std::uint32_t>, Owner> boxes;  // rank, box
    for (std::uint32_t i = 0; i < packing.boxes.size(); ++i) {
      if (packing.boxes[i].bytes > small_bytes)
        boxes.emplace_back(least_rank.of(packing.boxes[i]), i);
    }
    std::sort(boxes.begin(), boxes.end());
    std::size_t count = smaller(most_boxes, boxes.size());
    if (count < boxes.size()) {  // whole sections only
      while (count != 0 && boxes[count].first == boxes[count - 1].first) --count;
    }
    const std::size_t last_rank = count < boxes.size() ? boxes[count].first : sections.size();
    return select(packing, boxes, count, ranks, last_rank, small_bytes);
  }

  /// The first of `boxes`, over all of their sections; the fullest sections are those before
  /// `last_rank`.
  [[nodiscard]] Packing<Owner> select(
      const Packing<Owner>& packing,
      const DeferredVector<std::pair<std::uint32_t, std::uint32_t>, Owner>& boxes,
      std::size_t count, const DeferredVector<std::uint32_t, Owner>& ranks, std::size_t last_rank,
      std::uint64_t small_bytes) {
    DeferredVector<PlainLifetime, Owner> lifetimes;
    lifetimes.reserve(count);
    DeferredVector<std::uint64_t, Owner> changes(ranks.size() +
                                                 1);  // of the core's bytes, modulo 2^64
    for (std::size_t i = 0; i < count; ++i) {
      const Box& box = packing.boxes[boxes[i].second];
      lifetimes.push_back({box.bytes, box.begin, box.end - 1, box.alignment});
      changes[box.begin] += box.bytes;
      changes[box.end] -= box.bytes;
    }
    std::uint64_t total = 0;
    for (std::size_t s = 0; s < ranks.size(); ++s) {
      total += changes[s];
      bound_ = larger(bound_, total);
      if (small_bytes != 0 && ranks[s] < last_rank)
        kept_ = larger(kept_, packing.totals[s] - total);
    }
    Packing<Owner> core = make_packing<Owner>(lifetimes);
    for (std::uint32_t& buffer : core.buffers) buffer = boxes[buffer].second;
    return core;
  }

  std::uint64_t kept_ = 0;   // for the small ones
  std::uint64_t bound_ = 0;  // of the core's own
  Packing<Owner> core_;      // `buffers` are boxes of the whole
  CornerSearch<Owner> search_;
};

}  // namespace allot::detail
