// SPDX-License-Identifier: MIT
/// \file
/// `load::memory_use`: what each part of an engine's memory was planned with, has reserved and uses. With
/// the grouping `ReservedApart` there is a row for the weights, and one for each reserved item.
///
///     auto rows = load::memory_use(plan);         // before loading: planned alone
///     auto rows = load::memory_use(plan, model);  // reserved and used, too
///
/// What is reserved counts as used as long as a slice of it lives: of a `KvCache` or a `Workspace` ask
/// these how much of theirs they used (`stats().peak_used`, `high_water()`).
#pragma once

#include <allot/load/model.hpp>
#include <allot/load/plan/plan.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace allot::load {

/// The arenas of one rule of the grouping, together. All in bytes.
struct MemoryUse {
  std::string name;            ///< the rule's: `PlannedArena::rule`
  std::uint64_t planned = 0;   ///< before loading
  std::uint64_t reserved = 0;  ///< by the model's arenas
  std::uint64_t used = 0;      ///< of these, by slices that live
};

namespace detail {

template <class = void>
[[nodiscard]] MemoryUse& row_of(const std::string& name, std::vector<MemoryUse>& rows) {
  for (MemoryUse& row : rows) {
    if (row.name == name) return row;
  }
  return rows.emplace_back(MemoryUse{name});
}

}  // namespace detail

/// Returns a row for each rule, in the order of their first arenas, with nothing reserved yet.
/// Complexity: linear in arenas times rules.
template <class = void>
[[nodiscard]] std::vector<MemoryUse> memory_use(const Plan& plan) {
  std::vector<MemoryUse> rows;
  for (const PlannedArena& arena : plan.arenas)
    detail::row_of(arena.rule, rows).planned += arena.capacity;
  return rows;
}

/// The same with what a model has reserved and uses now.
/// \param plan  as it was given to `load`
template <class SharedArena>
[[nodiscard]] std::vector<MemoryUse> memory_use(const Plan& plan, const Model<SharedArena>& model) {
  std::vector<MemoryUse> rows = memory_use(plan);
  for (std::size_t i = 0; i < model.arenas().size(); ++i) {
    MemoryUse& row = detail::row_of(model.plan().arenas[i].rule, rows);
    row.reserved += model.arenas()[i].capacity();
    row.used += model.arenas()[i].usage().used;
  }
  return rows;
}

}  // namespace allot::load
