// SPDX-License-Identifier: MIT
/// \file
/// `GapIndex`: the lowest gap that stays free for a stretch of sections.
///
/// A tree over the sections. A box is in the nodes that its sections fall into, as few as there
/// are; each node keeps what is occupied by its own boxes, and what is by those and all below, as
/// runs: boxes that touch are one run, however many they are.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/offsets/detail/packing.hpp>
#include <allot/os/algorithm.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace allot::detail {

/// Complexity: `insert` and `find` O(log n) nodes, and a binary search of one for each run passed.
/// Memory: n log n at most.
template <class Owner = void>
class GapIndex {
 public:
  explicit GapIndex(std::size_t sections) {
    while (leaves_ < sections) leaves_ *= 2;
    nodes_.resize(2 * leaves_);
  }

  void clear() noexcept {
    for (Node& node : nodes_) {
      node.own.clear();
      node.below.clear();
    }
  }

  /// Units of about 5 ns.
  [[nodiscard]] std::uint64_t work() const noexcept { return work_; }

  void insert(const Box& box, std::uint64_t offset) {
    const Run run{offset, offset + box.bytes};
    visit_nodes(box, [&](std::size_t node) {
      add(nodes_[node].own, run);
      for (; node != 0 && add(nodes_[node].below, run); node /= 2) {
      }
    });
  }

  /// The lowest offset, or nothing when the box would end beyond `limit`. If that takes more than
  /// `most_work`: above all that is alive with it.
  [[nodiscard]] std::optional<std::uint64_t> find(
      const Box& box, std::uint64_t limit, std::uint64_t most_work = largest_of<std::uint64_t>) {
    collect(box);
    last_work_ = work_ + smaller(most_work, largest_of<std::uint64_t> - work_);
    std::uint64_t offset = 0;
    std::size_t free = 0;  // lists, one after another, that leave the offset as it is
    for (std::size_t i = 0; free <= count_ && work_ <= last_work_;
         i = i + 1 == count_ ? 0 : i + 1) {
      if (count_ == 0) break;
      const std::uint64_t next = pass(*lists_[i], offset, box);
      free = next == offset ? free + 1 : 0;
      offset = next;
      if (offset > limit || box.bytes > limit - offset) return std::nullopt;
    }
    if (work_ > last_work_) return above_all(box, limit);
    if (offset > limit || box.bytes > limit - offset) return std::nullopt;
    return offset;
  }

  /// Returns whether the box could be there.
  [[nodiscard]] bool is_free(const Box& box, std::uint64_t offset) {
    collect(box);
    last_work_ = largest_of<std::uint64_t>;
    for (std::size_t i = 0; i < count_; ++i) {
      if (pass(*lists_[i], offset, box) != offset) return false;
    }
    return true;
  }

 private:
  struct Run {
    std::uint64_t offset;
    std::uint64_t end;
  };
  using Runs = DeferredVector<Run, Owner>;
  struct Node {
    Runs own;    // of its own boxes
    Runs below;  // of those and of all below
  };

  template <class Visit>
  void visit_nodes(const Box& box, Visit visit) {
    std::size_t low = leaves_ + box.begin;
    std::size_t high = leaves_ + box.end;
    for (; low < high; low /= 2, high /= 2) {
      if (low % 2 != 0) visit(low++);
      if (high % 2 != 0) visit(--high);
    }
  }

  /// The lists of what is alive with a box: below its nodes, and of the nodes above them.
  void collect(const Box& box) {
    count_ = 0;
    const auto use = [&](const Runs& runs) {
      if (!runs.empty()) lists_[count_++] = &runs;
    };
    visit_nodes(box, [&](std::size_t node) { use(nodes_[node].below); });
    // The nodes above those are above the first or the last section.
    std::size_t low = (leaves_ + box.begin) / 2;
    std::size_t high = (leaves_ + box.end - 1) / 2;
    for (; low != high; low /= 2, high /= 2) {
      use(nodes_[low].own);
      use(nodes_[high].own);
    }
    for (; low != 0; low /= 2) use(nodes_[low].own);
  }

  [[nodiscard]] std::optional<std::uint64_t> above_all(const Box& box, std::uint64_t limit) {
    std::uint64_t end = 0;
    for (std::size_t i = 0; i < count_; ++i) end = larger(end, lists_[i]->back().end);
    work_ += count_;
    const std::uint64_t offset = (end + box.alignment - 1) & ~(box.alignment - 1);
    if (offset > limit || box.bytes > limit - offset) return std::nullopt;
    return offset;
  }

  /// The lowest offset from `offset` on that a list leaves free.
  [[nodiscard]] std::uint64_t pass(const Runs& runs, std::uint64_t offset, const Box& box) {
    work_ += 2;
    auto run = std::upper_bound(runs.begin(), runs.end(), offset,
                                [](std::uint64_t at, const Run& other) { return at < other.end; });
    for (; run != runs.end() && run->offset < offset + box.bytes; ++run) {
      if (++work_ > last_work_) break;
      offset = (run->end + box.alignment - 1) & ~(box.alignment - 1);
    }
    return offset;
  }

  /// Returns whether that changed anything.
  bool add(Runs& runs, Run run) {
    work_ += 2;
    auto first =
        std::lower_bound(runs.begin(), runs.end(), run.offset,
                         [](const Run& other, std::uint64_t at) { return other.end < at; });
    work_ += static_cast<std::size_t>(runs.end() - first) / runs_moved_in_a_unit;
    if (first == runs.end() || first->offset > run.end) {
      runs.insert(first, run);
      return true;
    }
    if (first->offset <= run.offset && run.end <= first->end) return false;
    auto last = first;
    for (; last != runs.end() && last->offset <= run.end; ++last)
      run.end = larger(run.end, last->end);
    first->offset = smaller(first->offset, run.offset);
    first->end = run.end;
    runs.erase(first + 1, last);
    return true;
  }

  static constexpr std::size_t runs_moved_in_a_unit = 4;

  std::size_t leaves_ = 1;
  DeferredVector<Node, Owner> nodes_;
  std::array<const Runs*, 192> lists_{};  // two for each level, thrice
  std::size_t count_ = 0;
  std::uint64_t work_ = 0;
  std::uint64_t last_work_ = largest_of<std::uint64_t>;  // that a call may reach
};

}  // namespace allot::detail
