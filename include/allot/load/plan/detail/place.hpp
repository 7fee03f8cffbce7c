// SPDX-License-Identifier: MIT
/// \file
/// Runs the real strategy over bare offsets: where items come to lie in an arena, and how large it
/// has to be.
#pragma once

#include <allot/arena.hpp>
#include <allot/core/block.hpp>
#include <allot/core/checked.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/plan/transform.hpp>
#include <allot/load/plan/weight_policy.hpp>
#include <allot/memory/memory.hpp>
#include <allot/strategy/strategy.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace allot::load::detail {

/// The policies of `P` over bare offsets: what a plan is made with. The wide form of a strategy
/// puts blocks where the other does, and takes ranges of any length.
template <WeightPolicy P>
using PlanningArena = Arena<WideOf<typename P::Strategy>, typename P::Alignment>;

struct Placed {
  std::uint64_t capacity;
  std::vector<Block> blocks;  // one for each item chosen
};

/// The chosen items in an arena of that capacity, or nothing where they do not fit.
template <WeightPolicy P>
[[nodiscard]] std::optional<Placed> place_all(std::span<const Item> items,
                                              std::span<const std::uint32_t> chosen,
                                              std::uint64_t capacity) {
  PlanningArena<P> arena{capacity};
  Placed placed{capacity, {}};
  placed.blocks.reserve(chosen.size());
  for (const std::uint32_t index : chosen) {
    const auto block = arena.try_allocate(items[index].bytes);
    if (!block) return std::nullopt;
    placed.blocks.push_back(*block);
  }
  return placed;
}

/// The smallest capacity that is tried: the items in whole units. A strategy that rounds further
/// needs what it grants, and at the most what it grants in a range without end.
template <WeightPolicy P>
[[nodiscard]] Placed place_in_least(std::span<const Item> items,
                                    std::span<const std::uint32_t> chosen) {
  std::uint64_t capacity = 0;
  for (const std::uint32_t index : chosen) {
    const auto units = checked_align_up(items[index].bytes, P::Alignment::value);
    const auto sum = units ? checked_add(capacity, *units) : std::nullopt;
    if (!sum) throw_too_large();
    capacity = *sum;
  }
  if (auto placed = place_all<P>(items, chosen, capacity)) return std::move(*placed);

  constexpr std::uint64_t endless = std::uint64_t{1} << 63;
  const auto unbounded = place_all<P>(items, chosen, endless);
  if (!unbounded) throw_too_large();
  std::uint64_t granted = 0;
  std::uint64_t end = 0;
  for (const Block& block : unbounded->blocks) {
    granted += block.size;
    end = std::max(end, block.offset + block.size);
  }
  for (const std::uint64_t larger : {granted, end, std::bit_ceil(end)}) {
    if (auto placed = place_all<P>(items, chosen, larger)) return std::move(*placed);
  }
  throw_too_large();
}

}  // namespace allot::load::detail
