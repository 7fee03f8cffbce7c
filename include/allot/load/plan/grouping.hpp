// SPDX-License-Identifier: MIT
/// \file
/// The items that share a device allocation: a policy of `make_plan`.
///
/// | grouping                | device allocations                                               |
/// |-------------------------|------------------------------------------------------------------|
/// | `OneArena`              | one for everything on a device (default)                         |
/// | `ChunkedArenas<Bytes>`  | several of at most `Bytes`; a larger item gets its own           |
/// | `Selective<Classifier>` | one for each item that the classifier names, one for the rest    |
/// | `ReservedApart`         | one for each item of `PlanOptions::reserved`, one for the model  |
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/core/units.hpp>
#include <allot/load/plan/plan.hpp>

#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace allot::load {

/// Items that share an arena, in the order in which they are allocated.
struct Group {
  std::string rule;                  ///< why they share one: `all`, `chunk`, or a classifier's
  std::vector<std::uint32_t> items;  ///< indices
};

/// What `make_plan` requires of a grouping: it divides `chosen`, the indices of items that have
/// bytes and are on one device, into groups: `grouping.groups(items, chosen, alignment)`, with spans of
/// `ItemLayout` and of indices; `alignment` is the arena's, in bytes.
template <class Model>
concept GroupingPolicy = requires(const Model grouping, std::uint64_t alignment) {
  // Not named objects: a copy of one makes the compiler look at every way to make a span.
  {
    grouping.groups(std::span<const ItemLayout>{}, std::span<const std::uint32_t>{}, alignment)
    } -> std::same_as<std::vector<Group>>;
};

/// Everything in one arena: one device allocation.
struct OneArena {
  /// Returns one group of all, or none.
  template <class Items, class Chosen>
  [[nodiscard]] static std::vector<Group> groups(const Items&, const Chosen& chosen,
                                                 std::uint64_t) {
    if (chosen.empty()) return {};
    return {{"all", {chosen.begin(), chosen.end()}}};
  }
};

/// Arenas of limited size, filled in order: for drivers that refuse one large allocation although
/// the memory is free. An item above the limit gets its own arena.
class ArenasOf {
 public:
  /// \param bytes  the most in one arena
  constexpr explicit ArenasOf(std::uint64_t bytes) noexcept : bytes_{bytes} {}

  /// Returns groups in the order of the items. Complexity: linear.
  template <class Items, class Chosen>
  [[nodiscard]] std::vector<Group> groups(const Items& items, const Chosen& chosen,
                                          std::uint64_t alignment) const {
    DeferredVector<Group, Items> made;
    std::uint64_t filled = 0;
    for (const auto index : chosen) {
      const auto rounded = checked_align_up(items[index].bytes, alignment);
      const bool fits = rounded && filled <= bytes_ && *rounded <= bytes_ - filled;
      if (made.empty() || !fits) {
        made.push_back({"chunk", {}});
        filled = 0;
      }
      made.back().items.push_back(index);
      filled += rounded.value_or(bytes_);
    }
    return made;
  }

 private:
  std::uint64_t bytes_;
};

/// `ArenasOf` with its limit, in bytes, in its type.
template <std::uint64_t Bytes>
struct ChunkedArenas : ArenasOf {
  constexpr ChunkedArenas() noexcept : ArenasOf{Bytes} {}
};

/// Names the rule by which an item gets its own device allocation; an empty text: it gets none.
template <class Model>
concept Classifier = requires(const Model classifier, const ItemLayout& item) {
  { classifier.rule_of(item) } -> std::convertible_to<std::string_view>;
};

/// A separate device allocation for each item that the classifier names, and one arena for the
/// rest. Costs more allocations, which the driver rounds up: measure before choosing it.
template <Classifier ClassifierType>
class Selective {
 public:
  /// Takes the classifier.
  explicit Selective(ClassifierType classifier) : classifier_{std::move(classifier)} {}

  /// Returns a group for each item that has a rule, and one for the others.
  [[nodiscard]] std::vector<Group> groups(std::span<const ItemLayout> items,
                                          std::span<const std::uint32_t> chosen,
                                          std::uint64_t) const {
    DeferredVector<Group, ClassifierType> made;
    Group pooled{"pooled", {}};
    for (const std::uint32_t index : chosen) {
      const std::string_view rule = classifier_.rule_of(items[index]);
      if (rule.empty()) {
        pooled.items.push_back(index);
      } else {
        made.push_back({std::string{rule}, {index}});
      }
    }
    if (!pooled.items.empty()) made.insert(made.begin(), std::move(pooled));
    return made;
  }

 private:
  ClassifierType classifier_;
};

/// The model in one arena, `weights`, and each item that is reserved beside it in its own, named as it
/// is: an engine's cache, its activations, its scratch memory.
struct ReservedApart {
  /// Returns the model's group first.
  template <class Items, class Chosen>
  [[nodiscard]] static std::vector<Group> groups(const Items& items, const Chosen& chosen,
                                                 std::uint64_t) {
    std::vector<Group> made;
    Group model{"weights", {}};
    for (const auto index : chosen) {
      if (items[index].purpose == Purpose::scratch) {
        made.push_back({items[index].name, {index}});
      } else {
        model.items.push_back(index);
      }
    }
    if (!model.items.empty()) made.insert(made.begin(), std::move(model));
    return made;
  }
};

static_assert(GroupingPolicy<OneArena> && GroupingPolicy<ArenasOf> &&
              GroupingPolicy<ChunkedArenas<1 * GiB>> && GroupingPolicy<ReservedApart>);

}  // namespace allot::load
