// SPDX-License-Identifier: MIT
/// \file
/// `RulePlacer`: buffers in some order, each where the rules of the plan let it be.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/offsets/detail/gap_index.hpp>
#include <allot/offsets/detail/lifetime_index.hpp>
#include <allot/offsets/detail/packing.hpp>
#include <allot/offsets/detail/plain_lifetime.hpp>
#include <allot/offsets/detail/plan_rules.hpp>
#include <allot/offsets/detail/stream_waits.hpp>
#include <allot/offsets/lifetime.hpp>
#include <allot/os/algorithm.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace allot::detail {

/// What came of placing all buffers.
template <class Owner = void>
struct RulePlan {
  DeferredVector<std::uint64_t, Owner> offsets;
  DeferredVector<std::size_t, Owner> memories;
  DeferredVector<std::uint64_t, Owner> memory_bytes;
  DeferredVector<std::uint32_t, Owner> refused;  ///< for which no memory had room
  std::uint64_t refused_bytes = 0;
  std::uint64_t bytes = 0;  ///< of all memories
  std::uint64_t waits = 0;  ///< between streams, if they have a price

  [[nodiscard]] bool is_whole() const noexcept { return refused.empty(); }
};

/// Complexity of a plan: as `GapIndex`. If waits have a price, or places are near 2^64: n times what
/// is placed.
template <class Owner = void>
class RulePlacer {
 public:
  /// \param work_left  units that may be spent, and are taken from it
  RulePlacer(DeferredSpan<const Lifetime, Owner> lifetimes, const PlanRules<Owner>& rules,
             std::uint64_t wait_bytes, std::uint64_t& work_left)
      : lifetimes_{lifetimes},
        rules_{rules},
        plain_{plain<Owner>(lifetimes)},
        packing_{make_packing<Owner>(DeferredSpan<const PlainLifetime, Owner>{plain_})},
        box_of_(lifetimes.size()),
        wait_bytes_{rules.has_streams() ? wait_bytes : 0},
        is_narrow_{is_narrow()},
        held_(rules.memories()),
        work_left_{work_left} {
    for (std::uint32_t i = 0; i < packing_.boxes.size(); ++i) box_of_[packing_.buffers[i]] = i;
  }

  /// Those that have a place first, then the others in this order. Nothing if the work ends, unless
  /// `must_end` says that it may not.
  [[nodiscard]] std::optional<RulePlan<Owner>> place(
      const DeferredVector<std::uint32_t, Owner>& order, bool shares_places, bool must_end) {
    spend(order.size());
    for (Held& held : held_) held.clear();
    // Waits are priced by what is placed, n^2: not in a plan that must come to an end.
    prices_waits_ = wait_bytes_ != 0 && !must_end;
    most_work_ = must_end ? most_work_to_end : largest_of<std::uint64_t>;
    is_placed_.assign(lifetimes_.size(), 0);
    is_taken_.assign(lifetimes_.size(), 0);
    plan_ = {};
    plan_.offsets.resize(lifetimes_.size());
    plan_.memories.resize(lifetimes_.size());
    plan_.memory_bytes.resize(rules_.memories());
    for (std::uint32_t i = 0; i < lifetimes_.size(); ++i) {
      plan_.memories[i] = rules_.memories_of(i).front();
      if (!lifetimes_[i].fixed_offset) continue;
      plan_.offsets[i] = *lifetimes_[i].fixed_offset;
      if (lifetimes_[i].bytes != 0) insert(i, {plan_.memories[i], plan_.offsets[i]});
    }
    for (const std::uint32_t buffer : order) {
      if (lifetimes_[buffer].bytes == 0 || lifetimes_[buffer].fixed_offset) continue;
      if (work_left_ == 0 && !must_end) return std::nullopt;
      const auto place = shares_places ? shared_place(buffer) : std::nullopt;
      const auto found = place ? place : free_place(buffer);
      if (found) {
        insert(buffer, *found);
      } else {
        plan_.refused.push_back(buffer);
        plan_.refused_bytes += lifetimes_[buffer].bytes;
      }
    }
    for (const std::uint64_t bytes : plan_.memory_bytes)
      plan_.bytes = checked_add(plan_.bytes, bytes).value_or(largest_of<std::uint64_t>);
    if (wait_bytes_ != 0) {
      plan_.waits = stream_waits<Owner>(lifetimes_, plan_.offsets, plan_.memories);
      spend(lifetimes_.size());
    }
    return std::move(plan_);
  }

 private:
  struct Place {
    std::size_t memory;
    std::uint64_t offset;
    [[nodiscard]] bool operator==(const Place&) const = default;
  };
  /// What is placed in one memory.
  struct Held {
    std::optional<GapIndex<Owner>> gaps;           // if places are below 2^62
    std::optional<LifetimeIndex<Owner>> index;     // if they are not, or waits count
    DeferredVector<std::uint32_t, Owner> buffers;  // if waits count

    void clear() {
      if (gaps) gaps->clear();
      if (index) index->clear();
      buffers.clear();
    }
  };

  void spend(std::uint64_t units) noexcept { work_left_ -= smaller(work_left_, units); }

  /// Returns whether no buffer can end beyond 2^62, wherever it is placed.
  [[nodiscard]] bool is_narrow() const {
    std::uint64_t sum = 0;
    const auto add = [&](std::uint64_t bytes) { sum += smaller(bytes, most_narrow - sum); };
    for (const Lifetime& each : lifetimes_) {
      if (each.bytes == 0) continue;
      add(each.bytes);
      add(each.alignment);
      add(each.fixed_offset.value_or(0));
    }
    return sum < most_narrow;
  }
  /// For one buffer of a plan that must come to an end.
  static constexpr std::uint64_t most_work_to_end = 256;
  static constexpr std::uint64_t most_narrow = std::uint64_t{1} << 62;

  [[nodiscard]] const Box& box_of(std::uint32_t buffer) const noexcept {
    return packing_.boxes[box_of_[buffer]];
  }

  void insert(std::uint32_t buffer, Place place) {
    plan_.offsets[buffer] = place.offset;
    plan_.memories[buffer] = place.memory;
    plan_.memory_bytes[place.memory] =
        larger(plan_.memory_bytes[place.memory], place.offset + lifetimes_[buffer].bytes);
    is_placed_[buffer] = 1;
    if (const auto replaced = rules_.replaced_by(buffer)) {
      if (is_at(*replaced, place)) is_taken_[*replaced] = 1;
    }
    for (const auto& replacer : rules_.replacers_of(buffer)) {
      if (is_at(replacer.buffer, place)) is_taken_[buffer] = 1;
    }
    Held& held = held_[place.memory];
    if (is_narrow_) {
      if (!held.gaps) held.gaps.emplace(packing_.totals.size());
      const std::uint64_t before = held.gaps->work();
      held.gaps->insert(box_of(buffer), place.offset);
      spend(held.gaps->work() - before);
    }
    if (prices_waits_ || !is_narrow_) {
      if (!held.index) held.index.emplace(plain_);
      held.index->insert(buffer, place.offset, plain_[buffer]);
    }
    if (prices_waits_) held.buffers.push_back(buffer);
  }

  [[nodiscard]] bool is_at(std::uint32_t buffer, Place place) const noexcept {
    return is_placed_[buffer] != 0 && place == Place{plan_.memories[buffer], plan_.offsets[buffer]};
  }

  [[nodiscard]] DeferredSpan<const PlacedRange, Owner> alive_with(std::uint32_t buffer,
                                                                  std::size_t memory) {
    auto& index = held_[memory].index;
    const DeferredSpan<const PlacedRange, Owner> others =
        index ? index->alive_with(plain_[buffer]) : DeferredSpan<const PlacedRange, Owner>{};
    spend((others.size() + 1) * (4 + std::size_t(std::bit_width(others.size()))));
    return others;
  }

  /// The place of a buffer that this one may replace, or that may replace it, if it is free but for
  /// those.
  [[nodiscard]] std::optional<Place> shared_place(std::uint32_t buffer) {
    if (const auto replaced = rules_.replaced_by(buffer)) {
      if (const auto place = place_of(buffer, *replaced)) return place;
    }
    for (const auto& replacer : rules_.replacers_of(buffer)) {
      if (const auto place = place_of(buffer, replacer.buffer)) return place;
    }
    return std::nullopt;
  }

  [[nodiscard]] std::optional<Place> place_of(std::uint32_t buffer, std::uint32_t partner) {
    spend(1);
    const Place place{plan_.memories[partner], plan_.offsets[partner]};
    if (is_placed_[partner] == 0) return std::nullopt;
    const auto allowed = rules_.memories_of(buffer);
    if (std::find(allowed.begin(), allowed.end(), place.memory) == allowed.end())
      return std::nullopt;
    const std::uint64_t bytes = lifetimes_[buffer].bytes;
    const std::uint64_t capacity = rules_.capacity(place.memory);
    if (place.offset % lifetimes_[buffer].alignment != 0 || place.offset > capacity ||
        bytes > capacity - place.offset)
      return std::nullopt;
    const bool is_free =
        is_narrow_ ? is_free_but_shared(buffer, place) : is_free_but_shared_wide(buffer, place);
    return is_free ? std::optional{place} : std::nullopt;
  }

  /// Returns whether a place is free but for buffers at it that may share it. These are alive in the
  /// buffer's first or last section only; what else is there in that section shares with them.
  [[nodiscard]] bool is_free_but_shared(std::uint32_t buffer, Place place) {
    const Box& box = box_of(buffer);
    SectionSpan all_free{box.begin, box.end};
    std::uint64_t covered = 0;  // of the last section, by one that may replace this
    for (const auto& replacer : rules_.replacers_of(buffer)) {
      spend(1);
      if (!is_at(replacer.buffer, place)) continue;
      const Box& other = box_of(replacer.buffer);
      if (covered != 0 || (is_taken_[replacer.buffer] != 0 && other.end - other.begin == 1))
        return false;
      covered = other.bytes;
      --all_free.end;
    }
    const auto replaced = rules_.replaced_by(buffer);
    if (replaced && is_at(*replaced, place)) {
      const Box& other = box_of(*replaced);
      const auto first = rules_.replaced_by(*replaced);
      if (is_taken_[*replaced] != 0 ||
          (other.end - other.begin == 1 && first && is_at(*first, place)))
        return false;
      // It covers all of this one, whatever else does.
      if (box.end - box.begin == 1) return covered == 0;
      ++all_free.begin;
    }
    if (!is_free(place, {all_free.begin, all_free.end, box.bytes, 1})) return false;
    return covered == 0 || covered == box.bytes ||
           is_free({place.memory, place.offset + covered},
                   {box.end - 1, box.end, box.bytes - covered, 1});
  }

  [[nodiscard]] bool is_free(Place place, const Box& box) {
    auto& gaps = held_[place.memory].gaps;
    if (!gaps || box.begin >= box.end) return true;
    const std::uint64_t before = gaps->work();
    const bool is_free = gaps->is_free(box, place.offset);
    spend(gaps->work() - before + 1);
    return is_free;
  }

  [[nodiscard]] bool is_free_but_shared_wide(std::uint32_t buffer, Place place) {
    const std::uint64_t bytes = lifetimes_[buffer].bytes;
    for (const PlacedRange& other : alive_with(buffer, place.memory)) {
      if (other.offset >= place.offset + bytes || other.end <= place.offset) continue;
      if (other.offset != place.offset || !rules_.may_share(buffer, other.buffer)) return false;
    }
    return true;
  }

  /// In the first memory with room, the offset that costs the least.
  [[nodiscard]] std::optional<Place> free_place(std::uint32_t buffer) {
    for (const std::size_t memory : rules_.memories_of(buffer)) {
      const auto place = is_narrow_ && !prices_waits_ ? lowest_place(buffer, memory)
                                                      : cheapest_place(buffer, memory);
      if (place) return place;
    }
    return std::nullopt;
  }

  [[nodiscard]] std::optional<Place> lowest_place(std::uint32_t buffer, std::size_t memory) {
    const std::uint64_t limit = smaller(rules_.capacity(memory), most_narrow);
    auto& gaps = held_[memory].gaps;
    if (!gaps) {
      spend(1);
      return lifetimes_[buffer].bytes <= limit ? std::optional{Place{memory, 0}} : std::nullopt;
    }
    const std::uint64_t before = gaps->work();
    const auto offset = gaps->find(box_of(buffer), limit, most_work_);
    spend(gaps->work() - before + 1);
    return offset ? std::optional{Place{memory, *offset}} : std::nullopt;
  }

  /// What costs the least by what the memory grows by, and what waits cost.
  [[nodiscard]] std::optional<Place> cheapest_place(std::uint32_t buffer, std::size_t memory) {
    const std::uint64_t bytes = lifetimes_[buffer].bytes;
    std::optional<Place> best;
    std::uint64_t least = largest_of<std::uint64_t>;
    const std::uint64_t height = plan_.memory_bytes[memory];
    const auto offer = [&](std::uint64_t end, std::uint64_t limit) {
      const auto offset = checked_align_up(end, lifetimes_[buffer].alignment);
      if (!offset || *offset > limit || bytes > limit - *offset) return false;
      const std::uint64_t waits = prices_waits_ ? waits_at(buffer, memory, *offset) : 0;
      const std::uint64_t growth = larger(height, *offset + bytes) - height;
      const auto price = checked_multiply(waits, wait_bytes_);
      const auto sum = price ? checked_add(*price, growth) : std::nullopt;
      const std::uint64_t cost = sum.value_or(largest_of<std::uint64_t>);
      if (best && cost >= least) return false;
      best = Place{memory, *offset};
      least = cost;
      return true;
    };
    const std::uint64_t capacity = rules_.capacity(memory);
    std::uint64_t end = 0;
    for (const PlacedRange& other : alive_with(buffer, memory)) {
      if (other.offset > end && offer(end, other.offset) && !prices_waits_) break;
      end = larger(end, other.end);
    }
    if (!best || prices_waits_) offer(end, capacity);
    if (prices_waits_) offer(larger(end, height), capacity);  // not used by any before
    return best;
  }

  /// How many waits it takes to be there: one for each other stream that had some of these bytes
  /// before, and one for each buffer of another stream that has them later.
  [[nodiscard]] std::uint64_t waits_at(std::uint32_t buffer, std::size_t memory,
                                       std::uint64_t offset) {
    const Lifetime& lifetime = lifetimes_[buffer];
    std::uint64_t waits = 0;
    streams_.clear();
    spend(held_[memory].buffers.size());
    for (const std::uint32_t i : held_[memory].buffers) {
      const Lifetime& other = lifetimes_[i];
      if (other.stream == lifetime.stream || plan_.offsets[i] >= offset + lifetime.bytes ||
          offset >= plan_.offsets[i] + other.bytes)
        continue;
      if (other.first > lifetime.last) ++waits;
      if (other.last >= lifetime.first) continue;
      if (std::find(streams_.begin(), streams_.end(), other.stream) != streams_.end()) continue;
      streams_.push_back(other.stream);
      ++waits;
    }
    return waits;
  }

  DeferredSpan<const Lifetime, Owner> lifetimes_;
  const PlanRules<Owner>& rules_;
  DeferredVector<PlainLifetime, Owner> plain_;
  Packing<Owner> packing_;
  DeferredVector<std::uint32_t, Owner> box_of_;  // of each buffer that has bytes
  std::uint64_t wait_bytes_;
  bool is_narrow_;
  bool prices_waits_ = false;
  std::uint64_t most_work_ = 0;                    // for one buffer
  DeferredVector<Held, Owner> held_;               // by each memory
  DeferredVector<std::uint8_t, Owner> is_placed_;  // each buffer
  DeferredVector<std::uint8_t, Owner>
      is_taken_;  // the place of each buffer, by one that may replace it
  DeferredVector<std::uint32_t, Owner> streams_;
  RulePlan<Owner> plan_;
  std::uint64_t& work_left_;
};

}  // namespace allot::detail
