// SPDX-License-Identifier: MIT
/// \file
/// `CornerSearch`: whether boxes fit a capacity, by depth-first search over the corners of a
/// skyline.
///
/// A valley is a row of sections with one floor and higher neighbours. In its corner either a box
/// stands that begins (or ends) there and does not leave the valley, or none does, and the corner's
/// floor rises to the next height that a box could have. The corner with the fewest choices, in
/// proportion to how often its valley was where the search failed, is decided first; other runs have
/// other rules. A failure that the last decision has no part in is not tried again with another one:
/// the search goes back to the decision that has. What was shown to lead nowhere is remembered over
/// all runs.
///
/// Its ideas of canonical plans, floors and independent parts are MiniMalloc's: Moffitt, "MiniMalloc:
/// A Lightweight Memory Allocator for Hardware-Accelerated Machine Learning" (ASPLOS 2023).
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/offsets/detail/packing.hpp>
#include <allot/offsets/detail/skyline.hpp>
#include <allot/os/algorithm.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>

namespace allot::detail {

enum class SearchResult { found, impossible, stopped };

template <class Owner = void>
class CornerSearch {
 public:
  /// Recursion and memory bound what it is for.
  static constexpr std::size_t most_boxes = 2048;

  explicit CornerSearch(const Packing<Owner>& packing)
      : packing_{packing},
        skyline_{packing},
        begins_(packing.totals.size()),
        ends_(packing.totals.size()) {
    std::size_t states = 1024;
    while (states < 256 * packing.boxes.size() && states < std::size_t{1} << 18) states *= 2;
    refuted_.resize(states);
    const auto digits = static_cast<std::uint64_t>(std::bit_width(packing.boxes.size()));
    for (const Box& box : packing.boxes) run_cost_ += digits + (box.end - box.begin) / 16;
  }

  /// \param attempt  choices are tried in another order for each
  /// \param most_nodes  of the tree
  /// \param most_work  units, of about 20 ns
  [[nodiscard]] SearchResult run(std::uint64_t capacity, std::uint64_t attempt,
                                 std::uint64_t most_nodes, std::uint64_t most_work) {
    skyline_.clear(capacity);
    for (std::uint32_t s = 0; s < packing_.totals.size(); ++s) {
      conflict_ = {s, s + 1};
      if (packing_.totals[s] > capacity) return SearchResult::impossible;
    }
    sort_choices(attempt);
    rule_ = rules[attempt / 4 % rules.size()];
    choices_.clear();
    depth_ = 0;
    nodes_left_ = most_nodes;
    last_work_ = skyline_.work() + most_work;
    skyline_.spend(run_cost_);
    is_stopped_ = false;
    if (fill_parts({0, static_cast<std::uint32_t>(packing_.totals.size())}))
      return SearchResult::found;
    return is_stopped_ ? SearchResult::stopped : SearchResult::impossible;
  }

  /// Of each box, after `found`.
  [[nodiscard]] std::uint64_t offset(std::uint32_t box) const noexcept {
    return skyline_.offset(box);
  }
  /// After `impossible`: sections whose boxes alone do not fit.
  [[nodiscard]] SectionSpan proof() const noexcept { return conflict_; }
  /// Units of all runs.
  [[nodiscard]] std::uint64_t work() const noexcept { return skyline_.work(); }

 private:
  /// A corner of a valley, what may stand there, and where its floor goes when nothing does.
  struct Corner {
    SectionSpan valley{0, 0};
    bool is_right = false;
    std::uint64_t choices = 0;
    std::uint64_t failures = 1;
    std::uint64_t next_floor = 0;

    [[nodiscard]] std::uint32_t section() const noexcept {
      return is_right ? valley.end - 1 : valley.begin;
    }
  };
  enum class Rule { failures, narrowest, lowest };
  static constexpr std::array rules{Rule::failures, Rule::failures, Rule::failures, Rule::lowest,
                                    Rule::narrowest};
  struct Refuted {
    std::uint64_t hash = 0;
    SectionSpan proof{0, 0};
  };
  static constexpr std::uint64_t nowhere = largest_of<std::uint64_t>;
  /// Each takes up to 512 bytes of the stack. The deepest search seen made 1,812 decisions, for
  /// 2,000 boxes.
  static constexpr std::uint32_t most_depth = most_boxes / 2 * 3;

  /// The order of choices: wide, full, large in area or in size first, from the second round on
  /// with places exchanged at random.
  void sort_choices(std::uint64_t attempt) {
    const std::size_t count = packing_.boxes.size();
    DeferredVector<std::array<double, 3>, Owner> keys(count);
    for (std::size_t i = 0; i < count; ++i) keys[i] = key_of(packing_.boxes[i], attempt % 4);
    DeferredVector<std::uint32_t, Owner> order(count);
    std::iota(order.begin(), order.end(), 0U);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return keys[a] > keys[b]; });
    if (attempt >= 4) shuffle(order, attempt / 4);
    for (auto& boxes : begins_) boxes.clear();
    for (auto& boxes : ends_) boxes.clear();
    for (const std::uint32_t i : order) {
      begins_[packing_.boxes[i].begin].push_back(i);
      ends_[packing_.boxes[i].end - 1].push_back(i);
    }
  }

  [[nodiscard]] std::array<double, 3> key_of(const Box& box, std::uint64_t order) const {
    const double bytes = static_cast<double>(box.bytes);
    const double width = box.end - box.begin;
    std::uint64_t total = 0;
    for (std::uint32_t s = box.begin; s < box.end; ++s) total = larger(total, packing_.totals[s]);
    switch (order) {
      case 0:
        return {width, width * bytes, static_cast<double>(total)};
      case 1:
        return {static_cast<double>(total), width * bytes, width};
      case 2:
        return {width * bytes, 0, 0};
      default:
        return {bytes, width, 0};
    }
  }

  /// Moves each by up to a sixth of the whole.
  static void shuffle(DeferredVector<std::uint32_t, Owner>& order, std::uint64_t seed) {
    std::uint64_t state = seed * 0x9E3779B97F4A7C15;
    DeferredVector<std::pair<std::uint64_t, std::uint32_t>, Owner> places;
    places.reserve(order.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      places.emplace_back(6 * i + (state >> 33) % (order.size() + 1), order[i]);
    }
    std::sort(places.begin(), places.end());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = places[i].second;
  }

  /// Fills the parts that no box to place connects, one after another; false leaves what was placed
  /// to be undone.
  bool fill_parts(SectionSpan sections) {
    for (std::uint32_t begin = sections.begin; begin < sections.end;) {
      std::uint32_t end = begin + 1;
      bool is_done = skyline_.left(begin) == 0;
      for (; end < sections.end && skyline_.is_crossed(end - 1); ++end) is_done = false;
      if (!is_done && !fill({begin, end})) return false;
      begin = end;
    }
    return true;
  }

  bool fill(SectionSpan part) {
    if (nodes_left_ == 0 || depth_ == most_depth || skyline_.work() > last_work_) {
      is_stopped_ = true;
      return false;
    }
    --nodes_left_;
    skyline_.spend(2 + (part.end - part.begin) / 2);
    const std::uint64_t hash = skyline_.hash(part);
    const Refuted& refuted = refuted_[hash % refuted_.size()];
    if (refuted.hash == hash) {
      conflict_ = refuted.proof;
      return false;
    }
    ++depth_;
    const bool is_filled = decide(part);
    --depth_;
    if (!is_filled && !is_stopped_) refuted_[hash % refuted_.size()] = {hash, conflict_};
    return is_filled;
  }

  bool decide(SectionSpan part) {
    const Corner corner = choose(part);
    SectionSpan proof = explain(corner, part);
    conflict_ = proof;
    if (corner.choices == 0) return false;
    const std::size_t first = choices_.size();
    list_choices(corner, part);
    const std::size_t last = choices_.size();
    const typename Skyline<Owner>::Mark mark = skyline_.mark();
    // The last turn leaves the corner empty.
    for (std::size_t i = first; i <= last; ++i) {
      if (i != last && is_repeated(first, i)) continue;
      const bool is_possible = i == last ? skyline_.raise(corner.section(), corner.next_floor)
                                         : skyline_.place(choices_[i]);
      if (!is_possible) {
        conflict_ = skyline_.conflict();
      } else if (fill_parts(part)) {
        return true;
      } else if (is_stopped_) {
        return false;
      }
      const bool has_part = skyline_.mark() == mark || skyline_.has_changed(mark, conflict_);
      skyline_.undo(mark);
      if (!has_part) {
        choices_.resize(first);
        return false;
      }
      proof.add(conflict_);
    }
    choices_.resize(first);
    conflict_ = proof;
    return false;
  }

  /// The corner to decide next.
  [[nodiscard]] Corner choose(SectionSpan part) {
    Corner best;
    bool is_any = false;
    for (std::uint32_t begin = part.begin, end; begin < part.end; begin = end) {
      const std::uint64_t floor = skyline_.floor(begin);
      std::uint64_t failures = skyline_.failures(begin);
      for (end = begin + 1; end < part.end && skyline_.floor(end) == floor; ++end)
        failures = larger(failures, skyline_.failures(end));
      const bool is_valley = (begin == part.begin || skyline_.floor(begin - 1) > floor) &&
                             (end == part.end || skyline_.floor(end) > floor);
      if (!is_valley || floor == skyline_.capacity()) continue;
      for (const bool is_right : {false, true}) {
        Corner corner{{begin, end}, is_right, 0, failures, 0};
        count_choices(corner, part);
        if (corner.choices == 0) return corner;
        if (!is_any || is_before(corner, best)) best = corner;
        is_any = true;
      }
    }
    return best;
  }

  /// By turns: the fewest choices for their failures, the fewest in the narrowest valley, or the
  /// lowest.
  [[nodiscard]] bool is_before(const Corner& a, const Corner& b) const noexcept {
    const std::uint64_t floor = skyline_.floor(a.valley.begin);
    const std::uint64_t other_floor = skyline_.floor(b.valley.begin);
    if (rule_ == Rule::narrowest) {
      if (a.choices != b.choices) return a.choices < b.choices;
      const std::uint32_t width = a.valley.end - a.valley.begin;
      const std::uint32_t other_width = b.valley.end - b.valley.begin;
      if (width != other_width) return width < other_width;
    }
    if (rule_ == Rule::lowest && floor != other_floor) return floor < other_floor;
    const std::uint64_t left = (a.choices - 1) * b.failures;
    const std::uint64_t right = (b.choices - 1) * a.failures;
    return left != right ? left < right : floor < other_floor;
  }

  template <class Visit>
  void visit_choices(const Corner& corner, Visit visit) const {
    for (const std::uint32_t i :
         corner.is_right ? ends_[corner.section()] : begins_[corner.section()]) {
      if (skyline_.is_unplaced(i) && is_inside(i, corner.valley) && skyline_.is_supported(i))
        visit(i);
    }
  }

  [[nodiscard]] bool is_inside(std::uint32_t box, SectionSpan valley) const noexcept {
    return packing_.boxes[box].begin >= valley.begin && packing_.boxes[box].end <= valley.end;
  }

  void count_choices(Corner& corner, SectionSpan part) {
    visit_choices(corner, [&](std::uint32_t) { ++corner.choices; });
    corner.next_floor = next_floor(corner, part);
    skyline_.spend(4 + (corner.valley.end - corner.valley.begin) / 2);
    const std::uint64_t left = skyline_.left(corner.section());
    if (corner.next_floor <= skyline_.capacity() - left) ++corner.choices;
  }

  /// The least offset in the corner's section of a box that does not stand in the corner.
  [[nodiscard]] std::uint64_t next_floor(const Corner& corner, SectionSpan part) const {
    std::uint64_t next = nowhere;
    bool is_any_inside = false;
    skyline_.visit_unplaced(corner.section(), [&](std::uint32_t i) {
      if (is_inside(i, corner.valley)) {
        is_any_inside = true;
      } else {
        next = smaller(next, skyline_.least(i));
      }
      return true;
    });
    if (!is_any_inside) return next;
    // A box that stays inside stands on one that does not reach the corner.
    const SectionSpan valley = corner.valley;
    if (valley.begin > part.begin) next = smaller(next, skyline_.floor(valley.begin - 1));
    if (valley.end < part.end) next = smaller(next, skyline_.floor(valley.end));
    const std::uint64_t floor = skyline_.floor(valley.begin);
    for (std::uint32_t s = valley.begin; s < valley.end; ++s) {
      for (const std::uint32_t i : begins_[s]) {
        const Box& box = packing_.boxes[i];
        if (box.end > valley.end || !skyline_.is_unplaced(i)) continue;
        const bool is_at_corner = SectionSpan{box.begin, box.end}.contains(corner.section());
        if (!is_at_corner) next = smaller(next, floor + box.bytes);
      }
    }
    return next;
  }

  /// The sections that leave the corner no other choices.
  [[nodiscard]] SectionSpan explain(const Corner& corner, SectionSpan part) const {
    SectionSpan proof = corner.valley;
    if (proof.begin > part.begin) --proof.begin;
    if (proof.end < part.end) ++proof.end;
    const std::uint64_t too_high = skyline_.capacity() - skyline_.left(corner.section()) + 1;
    skyline_.visit_unplaced(corner.section(), [&](std::uint32_t i) {
      if (!is_inside(i, corner.valley))
        skyline_.explain(proof, i, corner.section(), smaller(corner.next_floor, too_high));
      return true;
    });
    return proof;
  }

  /// First what fits the valley or its walls exactly, then by the order of this run.
  void list_choices(const Corner& corner, SectionSpan part) {
    const auto first = static_cast<std::ptrdiff_t>(choices_.size());
    visit_choices(corner, [&](std::uint32_t i) { choices_.push_back(i); });
    const SectionSpan valley = corner.valley;
    const std::uint64_t left = valley.begin > part.begin ? skyline_.floor(valley.begin - 1) : 0;
    const std::uint64_t right = valley.end < part.end ? skyline_.floor(valley.end) : 0;
    const auto exact = [&](std::uint32_t i) {
      const Box& box = packing_.boxes[i];
      const std::uint64_t top = skyline_.least(i) + box.bytes;
      return (box.begin == valley.begin && box.end == valley.end ? 1 : 0) +
             (box.begin == valley.begin && top == left ? 1 : 0) +
             (box.end == valley.end && top == right ? 1 : 0);
    };
    std::stable_sort(choices_.begin() + first, choices_.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return exact(a) > exact(b); });
  }

  /// Returns whether a box like this one was tried before it.
  [[nodiscard]] bool is_repeated(std::size_t first, std::size_t i) const noexcept {
    const Box& box = packing_.boxes[choices_[i]];
    for (; first < i; ++first) {
      const Box& other = packing_.boxes[choices_[first]];
      if (other.begin == box.begin && other.end == box.end && other.bytes == box.bytes &&
          other.alignment == box.alignment)
        return true;
    }
    return false;
  }

  const Packing<Owner>& packing_;
  Skyline<Owner> skyline_;
  DeferredVector<DeferredVector<std::uint32_t, Owner>, Owner>
      begins_;  // boxes by their first section
  DeferredVector<DeferredVector<std::uint32_t, Owner>, Owner> ends_;  // boxes by their last section
  DeferredVector<std::uint32_t, Owner> choices_;                      // of all open decisions
  DeferredVector<Refuted, Owner> refuted_;                            // by hash
  SectionSpan conflict_{0, 0};  // the sections that prove the last failure
  std::uint64_t nodes_left_ = 0;
  std::uint64_t last_work_ = 0;
  std::uint64_t run_cost_ = 0;  // of clearing and sorting, before the first node
  std::uint32_t depth_ = 0;
  Rule rule_ = Rule::failures;
  bool is_stopped_ = false;
};

}  // namespace allot::detail
