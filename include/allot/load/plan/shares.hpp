// SPDX-License-Identifier: MIT
/// \file
/// Plans a model for several processes: what each of them has of it, and where that lies. Nothing
/// here needs to know how the processes talk to each other.
///
/// | name          | what it is                                                                   |
/// |---------------|------------------------------------------------------------------------------|
/// | `Shares`      | how many stages and parts (`share_options.hpp`), an option of a plan         |
/// | `make_shares` | a plan for each rank                                                         |
/// | `TensorCut`   | the part of a tensor that an item is (`tensor_cut.hpp`)                      |
/// | `Plan::share` | which share a plan is; `Plan::repeated`: what others have too, and why       |
///
/// A rank's plan is loaded like any other: `load(file, plans[rank], device)`. Which matrix is cut
/// along what is in docs/distributed.md.
#pragma once

#include <allot/core/deferred.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/plan/detail/model_part.hpp>
#include <allot/load/plan/detail/stages.hpp>
#include <allot/load/plan/detail/tensor_parallel.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/plan/share_options.hpp>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace allot::load {

namespace detail {

/// Returns the numbers of parts, up to 64, that a model's matrices can be divided into.
template <class Caller = void>
[[nodiscard]] std::string sizes_that_work(const TensorParallel<Caller>& division,
                                          bool move_to_blocks) {
  std::string sizes;
  for (std::uint32_t ranks = 1; ranks <= 64; ++ranks) {
    if (!TensorParallel<Caller>{division, ranks, move_to_blocks}.problem().empty()) continue;
    sizes += (sizes.empty() ? "" : ", ") + std::to_string(ranks);
  }
  return sizes;
}

/// Throws: `std::invalid_argument` for shares that the model cannot be divided into.
template <class Caller>
void check_shares(const PlanOptions& options, const TensorParallel<Caller>& division) {
  const Shares& shares = options.shares;
  constexpr std::uint32_t most = 65'536;
  if (shares.pipeline == 0 || shares.tensor == 0 || shares.pipeline > most ||
      shares.tensor > most || shares.count() > most) {
    throw std::invalid_argument{
        "a model cannot be divided into " + std::to_string(shares.pipeline) + " stages of " +
        std::to_string(shares.tensor) + " parts; use 1 to " + std::to_string(most) + " ranks"};
  }
  if (options.draft != nullptr) {
    throw std::invalid_argument{
        "a model and its draft model cannot be divided in one plan; plan each by itself"};
  }
  if (division.problem().empty()) return;
  const std::string work = sizes_that_work(division, shares.move_to_blocks);
  const std::string moved = shares.move_to_blocks ? work : sizes_that_work(division, true);
  throw std::invalid_argument{"the matrices cannot be divided into " +
                              std::to_string(shares.tensor) + " parts: " + division.problem() +
                              (work.empty() ? "; divide it by layers only"
                                            : "; numbers of parts that work, up to 64: " + work) +
                              (moved == work ? "" : "; if cuts move to the next block: " + moved)};
}

/// Marks what other ranks have too.
template <class = void>
void note_repeated(Plan& plan, const ModelPart& part) {
  for (std::size_t i = 0; i < part.tensors.size(); ++i) {
    if (part.tensors[i].repeated.empty() || plan.items[i].left_out) continue;
    plan.repeated.push_back({static_cast<std::uint32_t>(i), part.tensors[i].repeated});
  }
}

}  // namespace detail

/// Plans a model for `options.shares.count()` ranks, stage after stage. Each plan is for the devices
/// of the options: every rank has those. What is divided is on exactly one rank, what is repeated is
/// in `Plan::repeated` of each that has it, and nothing is missing.
///
/// Complexity: `make_plan`'s, for each rank.
/// Throws: as `make_plan`; `std::invalid_argument` for shares that the model does not allow: more
/// parts than heads, cuts within a block, more stages than layers; the message says which numbers
/// work.
template <WeightPolicy Policy = DefaultWeights, GroupingPolicy Grouping = OneArena>
[[nodiscard]] std::vector<Plan> make_shares(const gguf::File& file, const PlanOptions& options,
                                            const Grouping& grouping = {}) {
  const Shares& shares = options.shares;
  const Deferred<detail::TensorParallel<>, Policy> division{file, shares.tensor,
                                                            shares.move_to_blocks};
  detail::check_shares(options, division);
  std::vector<Deferred<detail::ModelPart, Policy>> parts;
  for (std::uint32_t i = 0; i < shares.tensor; ++i) parts.push_back(division.part(i));
  const Deferred<detail::Stages<>, Policy> stages{file, options, parts.front(),
                                                  Policy::Alignment::value};
  std::vector<Plan> plans;
  for (std::uint32_t stage = 0; stage < shares.pipeline; ++stage) {
    for (std::uint32_t i = 0; i < shares.tensor; ++i) {
      const detail::ModelPart part = stages.only(parts[i], stage);
      Plan plan = detail::plan_part<Policy>(file, options, grouping, &part);
      plan.share = ShareNumber{.rank = plans.size(),
                               .ranks = shares.count(),
                               .stage = stage,
                               .stages = shares.pipeline,
                               .part = i,
                               .parts = shares.tensor};
      detail::note_repeated(plan, part);
      plans.push_back(std::move(plan));
    }
  }
  return plans;
}

}  // namespace allot::load
