// SPDX-License-Identifier: MIT
/// \file
/// The third of a plan's four steps: places every item. Runs the real strategy over bare offsets,
/// and finds the size that each arena needs.
#pragma once

#include <allot/arena.hpp>
#include <allot/core/block.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/deferred.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/load/plan/detail/assign.hpp>
#include <allot/load/plan/layout.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/plan/weight_policy.hpp>
#include <allot/strategy/strategy.hpp>
#include <allot/strategy/wide.hpp>

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace allot::load::detail {

/// An arena with the policies of `Policy` over bare offsets: plans are made with it. The wide form
/// of a strategy places blocks as the other form does, and takes ranges of any length.
template <WeightPolicy Policy>
using PlanningArena = Arena<WideOf<typename Policy::Strategy>, typename Policy::Alignment>;

/// Blocks in an arena, one for each of its items.
template <class Owner>
struct Blocks {
  std::uint64_t capacity;
  DeferredVector<Block, Owner> blocks;
};

/// Places the chosen items in an arena of that capacity. Returns nothing if they do not fit.
template <WeightPolicy Policy>
[[nodiscard]] std::optional<Blocks<Policy>> place_all(
    DeferredSpan<const ItemLayout, Policy> items, DeferredSpan<const std::uint32_t, Policy> chosen,
    std::uint64_t capacity) {
  PlanningArena<Policy> arena{capacity};
  Blocks<Policy> placed{capacity, {}};
  placed.blocks.reserve(chosen.size());
  for (const std::uint32_t index : chosen) {
    const auto block = arena.try_allocate(items[index].bytes);
    if (!block) return std::nullopt;
    placed.blocks.push_back(*block);
  }
  return placed;
}

/// Places the items in the smallest capacity that is tried: first that of the items in whole units.
/// A strategy that rounds further needs what it grants, at most what it grants in an endless range.
template <WeightPolicy Policy>
[[nodiscard]] Blocks<Policy> place_in_least(DeferredSpan<const ItemLayout, Policy> items,
                                            DeferredSpan<const std::uint32_t, Policy> chosen) {
  std::uint64_t capacity = 0;
  for (const std::uint32_t index : chosen) {
    const auto units = checked_align_up(items[index].bytes, Policy::Alignment::value);
    if (!units) throw_too_large();
    capacity = add_sizes(capacity, *units);
  }
  if (auto placed = place_all<Policy>(items, chosen, capacity)) return std::move(*placed);

  constexpr std::uint64_t endless = std::uint64_t{1} << 63;
  const auto unbounded = place_all<Policy>(items, chosen, endless);
  if (!unbounded) throw_too_large();
  std::uint64_t granted = 0;
  std::uint64_t end = 0;
  for (const Block& block : unbounded->blocks) {
    granted += block.size;
    end = larger(end, block.offset + block.size);
  }
  for (const std::uint64_t size : {granted, end, std::bit_ceil(end)}) {
    if (auto placed = place_all<Policy>(items, chosen, size)) return std::move(*placed);
  }
  throw_too_large();
}

/// An item with its place.
struct PlacedItem {
  Item item;
  std::uint64_t granted_end;  // the end of its block in its arena; 0: not placed
};

/// The place of every item.
template <class Owner>
struct Placed {
  DeferredVector<PlannedArena, Owner> arenas;
  DeferredVector<PlacedItem, Owner> items;
  DeferredVector<Fusion, Owner> fusions;
  DeferredVector<std::string, Owner> notes{};
};

/// Returns the place of a part within its item.
template <class Owner = void>
[[nodiscard]] PlacedItem part_in(const Item& whole, ItemLayout part) {
  const std::uint64_t offset = whole.offset + part.part_of->offset;
  const std::uint64_t end = offset + part.bytes;
  return {{std::move(part), whole.arena, offset}, end};
}

/// Gives every item its place, and every arena its size.
/// Throws: `std::length_error`.
template <WeightPolicy Policy, class Owner>
[[nodiscard]] Placed<Owner> place(Assignment<Owner> assignment) {
  struct Place {
    std::uint32_t arena = 0;
    Block block{};
  };
  auto& layouts = assignment.layouts.items;
  DeferredVector<Place, Policy> places(layouts.size());
  Placed<Owner> placed{{}, {}, std::move(assignment.layouts.fusions), std::move(assignment.notes)};
  for (auto& of : assignment.arenas) {
    const Blocks<Policy> in_arena = place_in_least<Policy>(layouts, of.group.items);
    PlannedArena arena{.device = std::move(of.device),
                       .capacity = in_arena.capacity,
                       .alignment = Policy::Alignment::value,
                       .used = 0,
                       .padding = 0,
                       .transfer = of.transfer,
                       .rule = std::move(of.group.rule)};
    for (std::size_t i = 0; i < of.group.items.size(); ++i) {
      const Block& block = in_arena.blocks[i];
      places[of.group.items[i]] = {static_cast<std::uint32_t>(placed.arenas.size()), block};
      arena.used += block.size;
      arena.padding += block.size - layouts[of.group.items[i]].bytes;
    }
    placed.arenas.push_back(std::move(arena));
  }
  placed.items.reserve(layouts.size());
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    const auto& [arena, block] = places[i];
    placed.items.push_back(
        {{std::move(layouts[i]), arena, block.offset}, block.offset + block.size});
  }
  for (PlacedItem& part : placed.items) {
    if (!part.item.part_of) continue;
    const Item& whole = placed.items[part.item.part_of->item].item;
    part = part_in(whole, std::move(part.item));
  }
  return placed;
}

}  // namespace allot::load::detail
