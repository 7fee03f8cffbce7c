// SPDX-License-Identifier: MIT
/// \file
/// `Skyline`: part of a plan, filled from below, and what follows from it for the rest.
///
/// Each section has a floor: nothing that is still to be placed there can be lower. A placed box
/// lifts it, and so does the decision to leave room empty. From the floors follow the least offset
/// of each box, and a bound for each section: what is left there, one on the other, none before
/// its least offset. If a bound exceeds the capacity, the part of the plan leads nowhere, and
/// `conflict` names sections that prove it: whatever does not change them does not help.
///
/// Only plans are looked for whose offsets have the least sum. They rest: each box stands on the
/// block's beginning or on another box. And no box of theirs fits into a hole below it.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/offsets/detail/bit_rows.hpp>
#include <allot/offsets/detail/packing.hpp>
#include <allot/os/algorithm.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace allot::detail {

template <class Owner = void>
class Skyline {
 public:
  /// A point of the search to come back to.
  using Mark = std::size_t;

  explicit Skyline(const Packing<Owner>& packing)
      : packing_{packing},
        overlapping_{packing.boxes.size(), packing.boxes.size()},
        alive_{packing.totals.size(), packing.boxes.size()},
        spanned_{packing.boxes.size(), packing.totals.size()},
        failures_(packing.totals.size(), 1) {
    for (std::uint32_t i = 0; i < packing.boxes.size(); ++i) {
      for (std::uint32_t s = packing.boxes[i].begin; s < packing.boxes[i].end; ++s) {
        alive_.set(s, i);
        spanned_.set(i, s);
      }
    }
    for (std::uint32_t i = 0; i < packing.boxes.size(); ++i) {
      for (std::uint32_t s = packing.boxes[i].begin; s < packing.boxes[i].end; ++s)
        overlapping_.add(i, alive_, s);
    }
  }

  /// Forgets all but the count of failures.
  void clear(std::uint64_t capacity) {
    const std::size_t boxes = packing_.boxes.size();
    const std::size_t sections = packing_.totals.size();
    capacity_ = capacity;
    floors_.assign(sections, 0);
    tops_.assign(sections, 0);
    left_ = packing_.totals;
    least_.assign(boxes, 0);
    offsets_.assign(boxes, 0);
    unplaced_.assign((boxes + 63) / 64, 0);
    for (std::size_t i = 0; i < boxes; ++i) unplaced_[i / 64] |= std::uint64_t{1} << i % 64;
    crossing_.assign(sections, 0);
    for (const Box& box : packing_.boxes) {
      for (std::uint32_t s = box.begin; s + 1 < box.end; ++s) ++crossing_[s];
    }
    changed_.assign((sections + 63) / 64, 0);
    changes_.clear();
    hash_ = mix(0, capacity, 0);
    for (std::uint32_t s = 0; s < sections; ++s) hash_ ^= mix(s + 1, 0, 0);
  }

  [[nodiscard]] std::uint64_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] std::uint64_t floor(std::uint32_t section) const noexcept {
    return floors_[section];
  }
  /// Bytes of a section that are still to be placed.
  [[nodiscard]] std::uint64_t left(std::uint32_t section) const noexcept { return left_[section]; }
  /// The least offset that a box can still have.
  [[nodiscard]] std::uint64_t least(std::uint32_t box) const noexcept { return least_[box]; }
  [[nodiscard]] std::uint64_t offset(std::uint32_t box) const noexcept { return offsets_[box]; }
  [[nodiscard]] bool is_unplaced(std::uint32_t box) const noexcept {
    return (unplaced_[box / 64] >> box % 64 & 1) != 0;
  }
  /// Returns whether a box that is still to be placed is alive in this section and in the next one.
  [[nodiscard]] bool is_crossed(std::uint32_t section) const noexcept {
    return crossing_[section] != 0;
  }
  /// How often a section was where it failed.
  [[nodiscard]] std::uint64_t failures(std::uint32_t section) const noexcept {
    return failures_[section];
  }
  /// The sections that prove the last failure.
  [[nodiscard]] SectionSpan conflict() const noexcept { return conflict_; }
  [[nodiscard]] std::uint64_t work() const noexcept { return work_; }
  void spend(std::uint64_t units) noexcept { work_ += units; }

  /// Calls `visit` with each box that is still to be placed and alive in the section, until it
  /// returns false.
  template <class Visit>
  bool visit_unplaced(std::uint32_t section, Visit visit) const {
    return visit_common<Owner>(alive_.row(section), unplaced_, visit);
  }

  /// Returns whether the box, at its least offset, would stand on something.
  [[nodiscard]] bool is_supported(std::uint32_t box) const noexcept {
    return rest(box) == least_[box];
  }

  /// Equal for parts of plans with the same capacity that leave the same to do in these sections,
  /// which no unplaced box leaves.
  [[nodiscard]] std::uint64_t hash(SectionSpan part) const noexcept {
    if (part.begin == 0 && part.end == floors_.size()) return hash_;
    std::uint64_t hash = mix(part.begin, capacity_, part.end);
    for (std::uint32_t s = part.begin; s < part.end; ++s) {
      hash ^= mix(s + 1, floors_[s], tops_[s]);
      visit_unplaced(s, [&](std::uint32_t box) {
        if (packing_.boxes[box].begin == s) hash ^= mix(0, box, 1);
        return true;
      });
    }
    return hash;
  }

  /// Places a box at its least offset; false if that leads nowhere.
  bool place(std::uint32_t index) {
    const Box& box = packing_.boxes[index];
    const std::uint64_t offset = least_[index];
    const std::uint64_t top = offset + box.bytes;
    if (top > capacity_ || leaves_hole(index)) return fails({box.begin, box.end});
    changes_.push_back({Change::Kind::placed, index, 0, 0});
    offsets_[index] = offset;
    unplaced_[index / 64] ^= std::uint64_t{1} << index % 64;
    hash_ ^= mix(0, index, 1);
    for (std::uint32_t s = box.begin; s < box.end; ++s) {
      left_[s] -= box.bytes;
      set(s, top, top);
      mark_changed(s);
      if (s + 1 < box.end) --crossing_[s];
    }
    lift(overlapping_.row(index), top);
    return check_changed();
  }

  /// Leaves the room of a section below `height` empty; false if that leads nowhere.
  bool raise(std::uint32_t section, std::uint64_t height) {
    if (height > capacity_ - left_[section]) return fails({section, section + 1});
    if (!visit_unplaced(section, [&](std::uint32_t box) {
          if (!fits_hole(box, section, height)) return true;
          return fails({packing_.boxes[box].begin, packing_.boxes[box].end});
        }))
      return false;
    set(section, height, tops_[section]);
    mark_changed(section);
    lift(alive_.row(section), height);
    return check_changed();
  }

  [[nodiscard]] Mark mark() const noexcept { return changes_.size(); }

  void undo(Mark mark) noexcept {
    for (; changes_.size() > mark; changes_.pop_back()) revert(changes_.back());
    std::fill(changed_.begin(), changed_.end(), 0);
  }

  /// Returns whether anything since `mark` changed these sections.
  [[nodiscard]] bool has_changed(Mark mark, SectionSpan sections) const noexcept {
    for (std::size_t i = mark; i < changes_.size(); ++i) {
      const Change& change = changes_[i];
      if (change.kind == Change::Kind::raised && sections.contains(change.index)) return true;
      if (change.kind != Change::Kind::placed) continue;
      const Box& box = packing_.boxes[change.index];
      if (box.begin < sections.end && sections.begin < box.end) return true;
    }
    return false;
  }

  /// Adds a section, near `section`, whose floor keeps the box from being below `offset`.
  void explain(SectionSpan& span, std::uint32_t index, std::uint32_t section,
               std::uint64_t offset) const noexcept {
    const Box& box = packing_.boxes[index];
    const auto holds = [&](std::uint32_t s) { return align(floors_[s], box) >= offset; };
    if (offset == 0) return;
    for (std::uint32_t away = 0; away <= section - box.begin || section + away < box.end; ++away) {
      if (away <= section - box.begin && holds(section - away))
        return span.add({section - away, section - away + 1});
      if (section + away < box.end && holds(section + away))
        return span.add({section + away, section + away + 1});
    }
    span.add({box.begin, box.end});
  }

 private:
  struct Change {
    enum class Kind : std::uint32_t { raised, lifted, placed };
    Kind kind;
    std::uint32_t index;
    std::uint64_t floor;  // of a section, or the least offset of a box, before
    std::uint64_t top;
  };
  struct Released {
    std::uint64_t offset;  // none lower
    std::uint64_t bytes;
  };

  [[nodiscard]] static std::uint64_t align(std::uint64_t offset, const Box& box) noexcept {
    return (offset + box.alignment - 1) & ~(box.alignment - 1);
  }

  [[nodiscard]] static std::uint64_t mix(std::uint64_t a, std::uint64_t b,
                                         std::uint64_t c) noexcept {
    std::uint64_t x = a * 0xD1B54A32D192ED03 + b * 0x9E3779B97F4A7C15 + c * 0x8CB92BA72F3D8DD7;
    x = (x ^ x >> 32) * 0xD6E8FEB86659FD93;
    x = (x ^ x >> 32) * 0xD6E8FEB86659FD93;
    return x ^ x >> 32;
  }

  void revert(const Change& change) noexcept {
    switch (change.kind) {
      case Change::Kind::raised:
        hash_ ^= mix(change.index + 1, floors_[change.index], tops_[change.index]) ^
                 mix(change.index + 1, change.floor, change.top);
        floors_[change.index] = change.floor;
        tops_[change.index] = change.top;
        return;
      case Change::Kind::lifted:
        least_[change.index] = change.floor;
        return;
      case Change::Kind::placed:
        const Box& box = packing_.boxes[change.index];
        unplaced_[change.index / 64] ^= std::uint64_t{1} << change.index % 64;
        hash_ ^= mix(0, change.index, 1);
        for (std::uint32_t s = box.begin; s < box.end; ++s) {
          left_[s] += box.bytes;
          if (s + 1 < box.end) ++crossing_[s];
        }
        return;
    }
  }

  bool fails(SectionSpan proof) noexcept {
    conflict_ = proof;
    return false;
  }

  void set(std::uint32_t section, std::uint64_t floor, std::uint64_t top) {
    if (floors_[section] == floor && tops_[section] == top) return;
    changes_.push_back({Change::Kind::raised, section, floors_[section], tops_[section]});
    hash_ ^= mix(section + 1, floors_[section], tops_[section]) ^ mix(section + 1, floor, top);
    floors_[section] = floor;
    tops_[section] = top;
  }

  void mark_changed(std::uint32_t section) noexcept {
    changed_[section / 64] |= std::uint64_t{1} << section % 64;
  }

  /// No box of these is below `height` any more.
  void lift(BitWords<Owner> boxes, std::uint64_t height) {
    visit_common<Owner>(boxes, unplaced_, [&](std::uint32_t i) {
      ++work_;
      const std::uint64_t offset = align(height, packing_.boxes[i]);
      if (offset <= least_[i]) return true;
      changes_.push_back({Change::Kind::lifted, i, least_[i], 0});
      least_[i] = offset;
      const BitWords<Owner> sections = spanned_.row(i);
      for (std::size_t k = 0; k < changed_.size(); ++k) changed_[k] |= sections[k];
      return true;
    });
  }

  bool check_changed() {
    for (std::size_t k = 0; k < changed_.size(); ++k) {
      for (; changed_[k] != 0; changed_[k] &= changed_[k] - 1) {
        const auto bit = static_cast<std::size_t>(std::countr_zero(changed_[k]));
        if (!check(static_cast<std::uint32_t>(k * 64 + bit))) return false;
      }
    }
    return true;
  }

  /// Returns whether what is left of a section may fit; lifts its floor to the least offset there.
  bool check(std::uint32_t section) {
    if (left_[section] == 0) {
      set(section, capacity_, capacity_);
      return true;
    }
    if (floors_[section] > capacity_ - left_[section]) {
      ++failures_[section];
      return fails({section, section + 1});
    }
    released_.clear();
    std::uint64_t lowest = capacity_;
    std::uint64_t highest = 0;
    visit_unplaced(section, [&](std::uint32_t i) {
      released_.push_back({least_[i], packing_.boxes[i].bytes});
      lowest = smaller(lowest, least_[i]);
      highest = larger(highest, least_[i]);
      return true;
    });
    work_ += released_.size();
    if (highest > capacity_ - left_[section] && !fits_released()) return blame(section);
    if (lowest > floors_[section]) set(section, lowest, tops_[section]);
    return true;
  }

  /// Returns whether the boxes fit on each other, none below its least offset.
  bool fits_released() {
    std::sort(released_.begin(), released_.end(),
              [](const Released& a, const Released& b) { return a.offset < b.offset; });
    work_ += released_.size();
    std::uint64_t top = 0;
    for (const Released& box : released_) {
      top = larger(top, box.offset);
      if (top > capacity_ || box.bytes > capacity_ - top) return false;
      top += box.bytes;
    }
    return true;
  }

  bool blame(std::uint32_t section) {
    ++failures_[section];
    SectionSpan proof{section, section + 1};
    visit_unplaced(section, [&](std::uint32_t i) {
      explain(proof, i, section, least_[i]);
      return true;
    });
    return fails(proof);
  }

  /// Where the box comes to rest on what is placed.
  [[nodiscard]] std::uint64_t rest(std::uint32_t index) const noexcept {
    const Box& box = packing_.boxes[index];
    std::uint64_t top = 0;
    for (std::uint32_t s = box.begin; s < box.end; ++s) top = larger(top, tops_[s]);
    return align(top, box);
  }

  /// Returns whether a box would have room below what is left empty, if `section` were empty up
  /// to `height`.
  [[nodiscard]] bool fits_hole(std::uint32_t index, std::uint32_t section,
                               std::uint64_t height) const noexcept {
    const Box& box = packing_.boxes[index];
    if (box.bytes > height - tops_[section]) return false;
    std::uint64_t roof = height;
    for (std::uint32_t s = box.begin; s < box.end; ++s)
      roof = s == section ? roof : smaller(roof, floors_[s]);
    return rest(index) + box.bytes <= roof;
  }

  /// Returns whether a box still to be placed would have room below this one.
  [[nodiscard]] bool leaves_hole(std::uint32_t index) const noexcept {
    const Box& box = packing_.boxes[index];
    const std::uint64_t roof = least_[index];
    for (std::uint32_t s = box.begin; s < box.end; ++s) {
      if (tops_[s] >= roof) continue;
      const bool is_free = !visit_unplaced(s, [&](std::uint32_t i) {
        const Box& other = packing_.boxes[i];
        return i == index || other.begin < box.begin || other.end > box.end ||
               other.bytes > roof - tops_[s] || rest(i) + other.bytes > roof;
      });
      if (is_free) return true;
    }
    return false;
  }

  const Packing<Owner>& packing_;
  BitRows<Owner> overlapping_;  // of each box: the boxes alive with it
  BitRows<Owner> alive_;        // of each section: its boxes
  BitRows<Owner> spanned_;      // of each box: its sections
  DeferredVector<std::uint64_t, Owner> failures_;
  std::uint64_t capacity_ = 0;
  DeferredVector<std::uint64_t, Owner> floors_;  // of each section: nothing more goes below
  DeferredVector<std::uint64_t, Owner> tops_;    // of each section: the end of what is placed
  DeferredVector<std::uint64_t, Owner> left_;    // of each section: bytes to place
  DeferredVector<std::uint32_t, Owner>
      crossing_;  // of each section: boxes to place that go on in the next
  DeferredVector<std::uint64_t, Owner> least_;     // of each box
  DeferredVector<std::uint64_t, Owner> offsets_;   // of each box
  DeferredVector<std::uint64_t, Owner> unplaced_;  // bits of boxes
  DeferredVector<std::uint64_t, Owner> changed_;   // bits of sections to check
  DeferredVector<Change, Owner> changes_;
  DeferredVector<Released, Owner> released_;
  SectionSpan conflict_{0, 0};
  std::uint64_t hash_ = 0;
  std::uint64_t work_ = 0;
};

}  // namespace allot::detail
