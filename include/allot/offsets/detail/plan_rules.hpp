// SPDX-License-Identifier: MIT
/// \file
/// `PlanRules`: what lifetimes ask for beyond size, time and alignment, checked.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/core/units.hpp>
#include <allot/offsets/detail/breadth.hpp>
#include <allot/offsets/detail/plain_lifetime.hpp>
#include <allot/offsets/lifetime.hpp>
#include <allot/offsets/offset_plan.hpp>
#include <allot/os/algorithm.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>

namespace allot::detail {

/// Returns whether lifetimes ask for anything beyond size, time and alignment, in one memory.
template <class Owner = void>
[[nodiscard]] bool has_rules(DeferredSpan<const Lifetime, Owner> lifetimes,
                             const OffsetPlanOptions& options) {
  if (options.capacities.size() > 1) return true;
  return std::any_of(lifetimes.begin(), lifetimes.end(), [&](const Lifetime& each) {
    return each.fixed_offset || each.may_replace || !each.memories.empty() ||
           (options.stream_wait_bytes != 0 && each.stream != lifetimes[0].stream);
  });
}

/// What to search with. A single memory's capacity is compared with the plan: plans beyond it are
/// made lower, rather than refused. Not where waits have a price, as a plan may then be higher than
/// it must.
template <class Owner = void>
[[nodiscard]] Deferred<OffsetPlanOptions, Owner> search_options(const OffsetPlanOptions& options) {
  Deferred<OffsetPlanOptions, Owner> search = options;
  if (search.capacities.size() == 1 && search.stream_wait_bytes == 0)
    search.capacities.front() = largest_of<std::uint64_t>;
  return search;
}

/// Throws `std::invalid_argument`: "buffer 7 " and the rest.
template <class... Parts>
[[noreturn]] void throw_bad_rule(std::size_t buffer, const Parts&... rest) {
  FixedText<320> text;
  text << "buffer " << buffer << " ";
  (text << ... << rest);
  throw std::invalid_argument{text.c_str()};
}

template <class Owner = void>
class PlanRules {
 public:
  PlanRules(DeferredSpan<const Lifetime, Owner> lifetimes, const OffsetPlanOptions& options)
      : lifetimes_{lifetimes}, capacities_{options.capacities} {
    if (capacities_.empty()) capacities_.push_back(largest_of<std::uint64_t>);
    for (std::size_t m = 0; m < capacities_.size(); ++m) all_.push_back(m);
    for (std::uint32_t i = 0; i < lifetimes.size(); ++i) {
      check_memories(i, options.capacities.size());
      check_place(i);
      check_replaced(i);
      const Lifetime& lifetime = lifetimes[i];
      has_places_ = has_places_ || lifetime.fixed_offset.has_value();
      has_streams_ = has_streams_ || lifetime.stream != lifetimes[0].stream;
    }
    has_streams_ = has_streams_ && options.stream_wait_bytes != 0;
    std::sort(replacers_.begin(), replacers_.end(), [&](const Replacer& a, const Replacer& b) {
      if (a.replaced != b.replaced) return a.replaced < b.replaced;
      const std::uint64_t bytes = lifetimes_[a.buffer].bytes;
      const std::uint64_t others = lifetimes_[b.buffer].bytes;
      return bytes != others ? bytes > others : a.buffer < b.buffer;
    });
    check_places_are_apart();
  }

  /// Returns whether buffers that may share a place are all there is.
  [[nodiscard]] bool are_replacements_only() const noexcept {
    return !has_places_ && !has_streams_ && capacities_.size() == 1;
  }
  [[nodiscard]] bool has_places() const noexcept { return has_places_; }
  [[nodiscard]] bool has_streams() const noexcept { return has_streams_; }
  [[nodiscard]] bool has_replacements() const noexcept { return !replacers_.empty(); }

  [[nodiscard]] std::size_t memories() const noexcept { return capacities_.size(); }
  [[nodiscard]] std::uint64_t capacity(std::size_t memory) const noexcept {
    return capacities_[memory];
  }
  /// The memories that may hold a buffer, the preferred one first.
  [[nodiscard]] DeferredSpan<const std::size_t, Owner> memories_of(
      std::uint32_t buffer) const noexcept {
    const DeferredVector<std::size_t, Owner>& own = lifetimes_[buffer].memories;
    return own.empty() ? std::span{all_} : std::span{own};
  }
  /// The buffer whose place this one may take; both are alive at one step, and no longer.
  [[nodiscard]] std::optional<std::uint32_t> replaced_by(std::uint32_t buffer) const noexcept {
    const auto& other = lifetimes_[buffer].may_replace;
    if (!other) return std::nullopt;
    const Lifetime& before = lifetimes_[*other];
    const Lifetime& after = lifetimes_[buffer];
    if (before.last != after.first || after.bytes > before.bytes || after.bytes == 0)
      return std::nullopt;
    return static_cast<std::uint32_t>(*other);
  }
  /// A buffer that may take the place of another.
  struct Replacer {
    std::uint32_t replaced;
    std::uint32_t buffer;
  };
  /// The buffers that may take the place of this one, the largest first.
  [[nodiscard]] DeferredSpan<const Replacer, Owner> replacers_of(
      std::uint32_t buffer) const noexcept {
    const auto [begin, end] = std::equal_range(
        replacers_.begin(), replacers_.end(), Replacer{buffer, 0},
        [](const Replacer& a, const Replacer& b) { return a.replaced < b.replaced; });
    return {begin, end};
  }
  /// Returns whether these may be at one place.
  [[nodiscard]] bool may_share(std::uint32_t a, std::uint32_t b) const noexcept {
    return replaced_by(a) == b || replaced_by(b) == a;
  }

  /// The fewest bytes of any plan, as far as what is alive and what has a place says.
  /// Throws: `std::invalid_argument` beyond 64 bits.
  [[nodiscard]] std::uint64_t lower_bound() const {
    std::uint64_t placed = 0;
    for (const std::uint32_t i : last_places()) {
      const auto sum = checked_add(placed, end_of_place(i));
      if (!sum) throw_plan_overflows(lifetimes_.size());
      placed = *sum;
    }
    return larger(placed, most_alive(all_).bytes);
  }

  /// Of those that have their place, the one that ends last in each memory: in the order given.
  [[nodiscard]] DeferredVector<std::uint32_t, Owner> last_places() const {
    DeferredVector<std::uint32_t, Owner> last;
    for (std::uint32_t i = 0; i < lifetimes_.size(); ++i) {
      if (!has_place(i)) continue;
      const auto other = std::find_if(last.begin(), last.end(), [&](std::uint32_t each) {
        return memories_of(each).front() == memories_of(i).front();
      });
      if (other == last.end()) {
        last.push_back(i);
      } else if (end_of_place(*other) < end_of_place(i)) {
        *other = i;
      }
    }
    std::sort(last.begin(), last.end());
    return last;
  }

  struct Most {
    std::uint64_t bytes = 0;
    std::uint64_t step = 0;
  };

  /// The most bytes, at one step, of the buffers that can be in these memories only, each place
  /// counted once that buffers may share.
  [[nodiscard]] Most most_alive(DeferredSpan<const std::size_t, Owner> memories) const {
    const auto counts = [&](std::uint32_t buffer) {
      const auto allowed = memories_of(buffer);
      return std::all_of(allowed.begin(), allowed.end(), [&](std::size_t memory) {
        return std::find(memories.begin(), memories.end(), memory) != memories.end();
      });
    };
    // Of each buffer, the largest of those that count and may take its place: the others may be
    // elsewhere, and at most one of all takes it.
    DeferredVector<std::uint32_t, Owner> sharer(lifetimes_.size(), largest_of<std::uint32_t>);
    for (const Replacer& each : replacers_) {
      if (sharer[each.replaced] == largest_of<std::uint32_t> && counts(each.buffer))
        sharer[each.replaced] = each.buffer;
    }
    Most most;
    std::uint64_t alive = 0;
    std::uint64_t shared = 0;  // of what is alive, at that step only
    std::uint64_t step = 0;    // at which the last buffer began
    bool is_open = false;      // whether nothing has ended since
    const DeferredVector<PlainLifetime, Owner> plain_lifetimes = plain<Owner>(lifetimes_);
    for (const LifetimeChange& change : changes_of<Owner>(plain_lifetimes)) {
      if (!counts(change.buffer)) continue;
      const std::uint64_t bytes = lifetimes_[change.buffer].bytes;
      if (!change.begins) {
        if (change.step != step) shared = 0;
        if (is_open && alive - shared > most.bytes) most = {alive - shared, step};
        is_open = false;
        alive -= bytes;
        continue;
      }
      if (change.step != step) shared = 0;
      step = change.step;
      is_open = true;
      const auto sum = checked_add(alive, bytes);
      if (!sum) throw_plan_overflows(lifetimes_.size());
      alive = *sum;
      const auto replaced = replaced_by(change.buffer);
      if (replaced && sharer[*replaced] == change.buffer) shared += bytes;
    }
    return most;
  }

 private:
  [[nodiscard]] bool has_place(std::uint32_t buffer) const noexcept {
    return lifetimes_[buffer].fixed_offset && lifetimes_[buffer].bytes != 0;
  }
  /// Requires: it has a place.
  [[nodiscard]] std::uint64_t end_of_place(std::uint32_t buffer) const noexcept {
    return *lifetimes_[buffer].fixed_offset + lifetimes_[buffer].bytes;
  }

  void check_memories(std::uint32_t buffer, std::size_t given) const {
    const DeferredVector<std::size_t, Owner>& memories = lifetimes_[buffer].memories;
    for (std::size_t i = 0; i < memories.size(); ++i) {
      if (memories[i] >= given)
        throw_bad_rule(buffer, "names memory ", memories[i], ", but there are ", given,
                       "; give OffsetPlanOptions::capacities the bytes of each");
      if (std::find(memories.begin(), memories.begin() + std::ptrdiff_t(i), memories[i]) !=
          memories.begin() + std::ptrdiff_t(i))
        throw_bad_rule(buffer, "names memory ", memories[i], " twice; name each once");
    }
  }

  void check_place(std::uint32_t buffer) const {
    const Lifetime& lifetime = lifetimes_[buffer];
    if (!lifetime.fixed_offset) return;
    const std::uint64_t offset = *lifetime.fixed_offset;
    if (offset % lifetime.alignment != 0)
      throw_bad_rule(buffer, "has its place at ", offset,
                     ", which is not a multiple of its alignment, ", lifetime.alignment);
    if (memories_of(buffer).size() != 1)
      throw_bad_rule(buffer, "has its place at ", offset, ", but may be in ",
                     memories_of(buffer).size(), " memories; name the one in which its place is");
    const auto end = checked_add(offset, lifetime.bytes);
    const std::uint64_t capacity = capacities_[memories_of(buffer).front()];
    if (!end || *end > capacity)
      throw_bad_rule(buffer, "has its place at ", offset, " and ", lifetime.bytes,
                     " bytes, which end beyond its memory's ", capacity);
  }

  void check_replaced(std::uint32_t buffer) {
    const auto& other = lifetimes_[buffer].may_replace;
    if (!other) return;
    if (*other >= lifetimes_.size() || *other == buffer)
      throw_bad_rule(buffer, "may replace buffer ", *other, ", which is not another of the ",
                     lifetimes_.size());
    if (const auto replaced = replaced_by(buffer)) {
      replacers_.push_back({*replaced, buffer});
    }
  }

  void check_places_are_apart() const {
    if (!has_places_) return;
    const auto is_before = [&](std::uint32_t a, std::uint32_t b) {
      const std::size_t memory = memories_of(a).front();
      const std::size_t other = memories_of(b).front();
      if (memory != other) return memory < other;
      if (*lifetimes_[a].fixed_offset != *lifetimes_[b].fixed_offset)
        return *lifetimes_[a].fixed_offset < *lifetimes_[b].fixed_offset;
      return a < b;
    };
    DeferredVector<std::uint32_t, Owner>
        alive;  // by place: all apart, but for those that share one
    const DeferredVector<PlainLifetime, Owner> plain_lifetimes = plain<Owner>(lifetimes_);
    for (const LifetimeChange& change : changes_of<Owner>(plain_lifetimes)) {
      const std::uint32_t i = change.buffer;
      if (!has_place(i)) continue;
      const auto at = std::lower_bound(alive.begin(), alive.end(), i, is_before);
      if (!change.begins) {
        alive.erase(at);
        continue;
      }
      for (auto above = at; above != alive.end() && !are_apart(i, *above); ++above)
        check_shared(i, *above);
      for (auto below = at; below != alive.begin();) {
        --below;
        if (!are_apart(*below, i)) {
          check_shared(*below, i);
        } else if (below == alive.begin() ||
                   memories_of(*below).front() != memories_of(i).front() ||
                   *lifetimes_[*below].fixed_offset != *lifetimes_[*(below - 1)].fixed_offset) {
          break;  // what shares the place of the one below may be larger than it
        }
      }
      alive.insert(at, i);
    }
  }

  /// Returns whether places of which `a` has the lower one, or the same, do not overlap.
  [[nodiscard]] bool are_apart(std::uint32_t a, std::uint32_t b) const noexcept {
    const std::uint64_t low = *lifetimes_[a].fixed_offset;
    const std::uint64_t high = *lifetimes_[b].fixed_offset;
    return memories_of(a).front() != memories_of(b).front() || high - low >= lifetimes_[a].bytes;
  }

  void check_shared(std::uint32_t a, std::uint32_t b) const {
    const Lifetime& one = lifetimes_[a];
    const Lifetime& other = lifetimes_[b];
    if (*one.fixed_offset == *other.fixed_offset && may_share(a, b)) return;
    throw_bad_rule(a, "and buffer ", b, " have places that overlap while both are alive: at ",
                   *one.fixed_offset, " and ", *other.fixed_offset, ", ", one.bytes, " and ",
                   other.bytes, " bytes");
  }

  DeferredSpan<const Lifetime, Owner> lifetimes_;
  DeferredVector<std::uint64_t, Owner> capacities_;
  DeferredVector<std::size_t, Owner> all_;
  DeferredVector<Replacer, Owner> replacers_;  // by what they replace, then by size
  bool has_places_ = false;
  bool has_streams_ = false;
};

}  // namespace allot::detail
