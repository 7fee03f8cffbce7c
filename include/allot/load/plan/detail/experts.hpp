// SPDX-License-Identifier: MIT
/// \file
/// Which experts to keep on the host so that the rest of a model fits elsewhere: those of which the
/// fewest bytes a token are read. A token reads a few experts of each tensor, so a tensor's cost is
/// the bytes of one expert.
///
/// The choice is a covering knapsack: at least N bytes at the least cost. Models have few different
/// sizes, all multiples of a large number, so the table of the dynamic program has thousands of
/// entries, not billions. If it would be larger, a search over the number of tensors of each size
/// goes as far as its budget, the cheapest first.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/load/plan/sort.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

namespace allot::load::detail {

/// A tensor that may go to the host.
struct Movable {
  std::uint32_t item;
  std::uint64_t bytes;  // what it takes where it is
  std::uint64_t cost;   // bytes that are read for a token, in any unit
};

/// Returns true for tensors of which a token reads only some experts' part; shared experts are read
/// whole.
template <class Owner = void>
[[nodiscard]] bool is_of_experts(std::string_view name) noexcept {
  return name.find("_exps.") != std::string_view::npos ||
         name.find(".experts.") != std::string_view::npos;
}

/// Equal tensors.
template <class Owner>
struct MovableKind {
  std::uint64_t bytes;
  std::uint64_t cost;
  DeferredVector<std::uint32_t, Owner> items;
};

/// Returns the tensors by size and cost, the cheapest a byte first. Complexity: O(n log n).
/// \tparam Movables  a vector of `Movable`; this is compiled only where it is called
template <class Movables>
[[nodiscard]] DeferredVector<MovableKind<Movables>, Movables> kinds_of(Movables movable) {
  sort_stably(movable, [](const Movable& a, const Movable& b) {
    const double first = static_cast<double>(a.cost) / static_cast<double>(a.bytes);
    const double second = static_cast<double>(b.cost) / static_cast<double>(b.bytes);
    if (first != second) return first < second;
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.cost < b.cost;
  });
  DeferredVector<MovableKind<Movables>, Movables> kinds;
  for (const Movable& one : movable) {
    if (kinds.empty() || kinds.back().bytes != one.bytes || kinds.back().cost != one.cost)
      kinds.push_back({one.bytes, one.cost, {}});
    kinds.back().items.push_back(one.item);
  }
  return kinds;
}

/// How many tensors of each kind.
template <class Owner>
using KindCounts = DeferredVector<std::size_t, Owner>;

/// A table: for each number of units, the least cost of tensors that take that many together.
template <class Kinds>
class CostTable {
 public:
  /// \param unit   divides the bytes of every kind
  /// \param units  the largest number in the table
  CostTable(const Kinds& kinds, std::uint64_t unit, std::size_t units)
      : kinds_{kinds}, costs_(units + 1, none), unit_{unit} {
    costs_[0] = 0;
    for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
      std::size_t left = kinds[kind].items.size();
      for (std::size_t count = 1; left != 0; count *= 2) {  // any number is a sum of these
        add({kind, smaller(count, left)});
        left -= smaller(count, left);
      }
    }
  }

  /// Returns the cheapest choice of at least `least` and at most `most` units.
  [[nodiscard]] std::optional<KindCounts<Kinds>> cheapest(std::size_t least,
                                                          std::size_t most) const {
    std::size_t best = costs_.size();
    for (std::size_t i = least; i < costs_.size() && i <= most; ++i) {
      if (costs_[i] != none && (best == costs_.size() || costs_[i] < costs_[best])) best = i;
    }
    if (best == costs_.size()) return std::nullopt;
    KindCounts<Kinds> counts(kinds_.size(), 0);
    for (std::size_t bundle = bundles_.size(); bundle-- != 0;) {
      if (!taken_[bundle][best]) continue;
      counts[bundles_[bundle].kind] += bundles_[bundle].count;
      best -= units_of(bundles_[bundle]);
    }
    return counts;
  }

 private:
  static constexpr std::uint64_t none = ~std::uint64_t{0};

  struct Bundle {
    std::size_t kind;
    std::size_t count;
  };

  [[nodiscard]] std::size_t units_of(const Bundle& bundle) const noexcept {
    return static_cast<std::size_t>(kinds_[bundle.kind].bytes / unit_) * bundle.count;
  }

  void add(const Bundle& bundle) {
    const std::size_t units = units_of(bundle);
    const std::uint64_t cost = kinds_[bundle.kind].cost * bundle.count;
    DeferredVector<bool, Kinds> taken(costs_.size());
    for (std::size_t i = costs_.size(); i-- > units;) {
      if (costs_[i - units] == none || costs_[i - units] + cost >= costs_[i]) continue;
      costs_[i] = costs_[i - units] + cost;
      taken[i] = true;
    }
    bundles_.push_back(bundle);
    taken_.push_back(std::move(taken));
  }

  const Kinds& kinds_;
  DeferredVector<std::uint64_t, Kinds> costs_;
  std::uint64_t unit_;
  DeferredVector<Bundle, Kinds> bundles_;
  DeferredVector<DeferredVector<bool, Kinds>, Kinds> taken_;  // by bundle
};

/// Tries numbers of each kind, depth first, the most of the cheapest kind first. Does not recurse: a
/// file may have any number of kinds.
template <class Kinds>
class CountSearch {
 public:
  CountSearch(const Kinds& kinds, std::uint64_t least, std::uint64_t most)
      : kinds_{kinds},
        most_{most},
        states_(kinds.size() + 1),
        counts_(kinds.size(), 0),
        best_(kinds.size(), 0) {
    std::size_t kind = 0;
    if (!enter(kind, {least, 0, 0})) return;
    while (true) {
      if (counts_[kind] != 0) {
        set_count(kind, counts_[kind] - 1);
        if (enter(kind + 1, after(states_[kind], kinds[kind], counts_[kind]))) ++kind;
      } else if (kind-- == 0) {
        return;
      }
    }
  }

  [[nodiscard]] std::optional<KindCounts<Kinds>> best() && {
    if (!has_best_) return std::nullopt;
    return std::move(best_);
  }

 private:
  /// What the kinds before one have come to.
  struct State {
    std::uint64_t missing;
    std::uint64_t moved;
    std::uint64_t cost;
  };

  [[nodiscard]] static State after(const State& state, const auto& kind,
                                   std::uint64_t count) noexcept {
    const std::uint64_t bytes = kind.bytes * count;
    return {state.missing - smaller(state.missing, bytes), state.moved + bytes,
            state.cost + kind.cost * count};
  }

  /// Begins with a kind: `counts_` of it is one more than the first number to try. Returns false if
  /// there is nothing to try.
  [[nodiscard]] bool enter(std::size_t kind, const State& state) {
    if (state.missing == 0) {
      if (state.moved <= most_ && (!has_best_ || state.cost < best_cost_)) {
        note_best(kind);
        best_cost_ = state.cost;
      }
      return false;
    }
    if (kind == kinds_.size() || budget_ == 0) return false;
    --budget_;
    const auto& here = kinds_[kind];
    if (has_best_ && static_cast<double>(state.cost) + static_cast<double>(state.missing) /
                                                           static_cast<double>(here.bytes) *
                                                           static_cast<double>(here.cost) >=
                         static_cast<double>(best_cost_)) {
      return false;  // not even parts of this kind, the cheapest that is left, would be cheaper
    }
    const std::uint64_t enough =
        state.missing / here.bytes + (state.missing % here.bytes != 0 ? 1 : 0);
    states_[kind] = state;
    set_count(kind,
              static_cast<std::size_t>(smaller<std::uint64_t>(here.items.size(), enough)) + 1);
    return true;
  }

  void set_count(std::size_t kind, std::size_t count) noexcept {
    counts_[kind] = count;
    noted_ = smaller(noted_, kind);
  }

  /// Copies the counts of the first `kinds` kinds, as the others are 0; only those that changed
  /// since the last time, so that all calls together take no longer than the search.
  void note_best(std::size_t kinds) noexcept {
    for (std::size_t i = noted_; i < kinds; ++i) best_[i] = counts_[i];
    for (std::size_t i = larger(noted_, kinds); i < best_kinds_; ++i) best_[i] = 0;
    noted_ = best_kinds_ = kinds;
    has_best_ = true;
  }

  const Kinds& kinds_;
  std::uint64_t most_;
  DeferredVector<State, Kinds> states_;  // before each kind
  KindCounts<Kinds> counts_;
  KindCounts<Kinds> best_;
  std::size_t best_kinds_ = 0;  // the others are 0 in the best
  std::size_t noted_ = 0;       // the first that many have the counts that they have in the best
  bool has_best_ = false;
  std::uint64_t best_cost_ = 0;
  std::uint64_t budget_ = 1 << 20;
};

[[nodiscard]] constexpr std::uint64_t greatest_common_divisor(std::uint64_t a,
                                                              std::uint64_t b) noexcept {
  while (b != 0) a = std::exchange(b, a % b);
  return a;
}

/// Returns the items to move so that at least `least` bytes and at most `most` go, at the least
/// cost; nothing if no choice does. Of equal tensors, the first.
/// Requires: sizes that are not 0, and sums below 2^63.
template <class Movables>
[[nodiscard]] std::optional<DeferredVector<std::uint32_t, Movables>> cheapest_to_move(
    const Movables& movable, std::uint64_t least, std::uint64_t most) {
  if (least == 0) return DeferredVector<std::uint32_t, Movables>{};
  const auto kinds = kinds_of(movable);
  std::uint64_t unit = 0;
  std::uint64_t total = 0;
  std::uint64_t largest = 0;
  std::uint64_t bundles = 0;
  for (const auto& kind : kinds) {
    unit = greatest_common_divisor(unit, kind.bytes);
    total += kind.bytes * kind.items.size();
    largest = larger(largest, kind.bytes);
    for (std::size_t left = kind.items.size(); left != 0; left /= 2) ++bundles;
  }
  if (total < least || most < least) return std::nullopt;
  // Nothing above is needed: without any one of its tensors it would still be enough.
  const std::uint64_t units = smaller(total, least + largest) / unit;
  constexpr std::uint64_t largest_table = std::uint64_t{1} << 24;
  const std::uint64_t needed = least / unit + (least % unit != 0 ? 1 : 0);
  const auto counts = units < largest_table / bundles
                          ? CostTable{kinds, unit, static_cast<std::size_t>(units)}.cheapest(
                                static_cast<std::size_t>(needed),
                                static_cast<std::size_t>(smaller(most / unit, units)))
                          : CountSearch{kinds, least, most}.best();
  if (!counts) return std::nullopt;
  DeferredVector<std::uint32_t, Movables> items;
  for (std::size_t kind = 0; kind < kinds.size(); ++kind)
    items.insert(items.end(), kinds[kind].items.begin(),
                 kinds[kind].items.begin() + static_cast<std::ptrdiff_t>((*counts)[kind]));
  return items;
}

}  // namespace allot::load::detail
