// SPDX-License-Identifier: MIT
/// \file
/// Plans a model's memory, to the byte, before any of it is reserved.
///
/// | name               | what it is                                                              |
/// |--------------------|-------------------------------------------------------------------------|
/// | `make_plan`        | runs the real strategy over bare offsets: exact, and without a device   |
/// | `PlanOptions`      | the devices, and the sizes of KV cache and scratch memory               |
/// | `Plan`             | a plain value: arenas, items, steps (`plan.hpp`)                        |
/// | `TransformOptions` | how tensors are transformed on their way (`transform.hpp`)              |
/// | `PlaceRule`        | tensors that go to one device, by pattern (`placing.hpp`)               |
/// | `GroupingPolicy`   | chooses items that share a device allocation (`grouping.hpp`)           |
/// | `WeightPolicy`     | strategy, alignment, synchronization of the arenas (`weight_policy.hpp`)|
///
/// A plan is made in four steps, each a function of the one before it: tensors become layouts,
/// which are assigned to arenas, then placed in them; steps then bring the file's bytes there.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/plan/cache.hpp>
#include <allot/load/plan/detail/assign.hpp>
#include <allot/load/plan/detail/layouts.hpp>
#include <allot/load/plan/detail/place.hpp>
#include <allot/load/plan/detail/steps.hpp>
#include <allot/load/plan/grouping.hpp>
#include <allot/load/plan/matrix_rules.hpp>
#include <allot/load/plan/placing.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/plan/share_options.hpp>
#include <allot/load/plan/transform.hpp>
#include <allot/load/plan/weight_policy.hpp>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace allot::load {

/// What to plan, and for which devices.
struct PlanOptions {
  /// The name of the one device that the model goes to, if `devices` is empty.
  std::string device = "host";
  /// The devices that share the model, in the order of its layers. The host beside others takes
  /// what they have no room for: what comes before the layers, and the first layers.
  std::vector<PlannedDevice> devices{};
  /// Loads only the tensors whose names match one of these shell patterns (`*.attn_*`); the others
  /// stay in the file. Empty: all. Rules and transforms apply to those that are loaded.
  std::vector<std::string> only{};
  /// Also plans a KV cache.
  std::optional<CacheOptions> cache{};
  /// Also plans that many bytes of working memory on each device.
  std::uint64_t scratch_bytes = 0;
  /// Also plans memory for something of the caller's, such as a `KvCache`.
  std::vector<ReservedMemory> reserved{};
  /// How tensors are transformed on their way.
  TransformOptions transforms{};
  /// Items that go to one device, whatever layer they are of.
  std::vector<PlaceRule> place{};
  /// A draft model whose tensors were added to the file (`model_files.hpp`): its cache is planned
  /// too, for the same context.
  const gguf::File* draft = nullptr;
  /// If the host is one of several devices: gives it those experts of which the fewest bytes a token
  /// are read, so that all the rest fits the other devices.
  bool move_experts = false;
  /// How many processes share the model, and how: for `make_shares` (`shares.hpp`).
  Shares shares{};
};

namespace detail {

/// Plans a part of a model; null: all of it.
template <WeightPolicy Policy, GroupingPolicy Grouping>
[[nodiscard]] Plan plan_part(const gguf::File& file, const PlanOptions& options,
                             const Grouping& grouping, const ModelPart* part) {
  using Owner = Deferred<void, Policy>;  // what follows is the same for all policies
  DeferredVector<PlannedDevice, Owner> devices = options.devices;
  if (devices.empty()) devices.push_back({.name = options.device});
  Layouts<Owner> layouts =
      lay_out_model<Owner>(file, options.transforms, options.only, options.cache,
                           devices.size() > 1, options.draft, part);
  Assignment<Owner> assignment = assign(std::move(layouts), devices,
                                        {.reserved = options.scratch_bytes,
                                         .alignment = Policy::Alignment::value,
                                         .place = options.place,
                                         .move_experts = options.move_experts},
                                        options.reserved, grouping);
  auto plan = with_steps(file, place<Policy>(std::move(assignment)));
  if (options.cache) plan.cache = plan_cache_of<Owner>(file, *options.cache, part);
  if (options.cache && options.draft != nullptr)
    plan.draft = plan_cache<Owner>(*options.draft, draft_cache(*options.cache));
  return plan;
}

}  // namespace detail

/// Plans the memory of a model: all tensors of a file in file order, and the cache and scratch
/// memory that the options ask for. Items without bytes need no arena. Neighbors with the same
/// distance in file and arena share a step.
///
/// \tparam Policy    the policies of the arenas; `load` takes the same
/// \param grouping   chooses which items share a device allocation
/// Complexity: the strategy's, for each item; reads no tensor data.
/// Throws: `std::length_error` if the sizes overflow; `InsufficientMemory` for an item that no
/// device has room for, if there are several; `std::invalid_argument` for transforms that a
/// tensor does not allow, for rules of devices that there are not, for patterns that leave no tensor,
/// for names that are taken and for shares; what `cache_items` throws; `std::bad_alloc`.
template <WeightPolicy Policy = DefaultWeights, GroupingPolicy Grouping = OneArena>
[[nodiscard]] Plan make_plan(const gguf::File& file, const PlanOptions& options = {},
                             const Grouping& grouping = {}) {
  if (options.shares.count() != 1) {
    throw std::invalid_argument{"make_plan plans for one process, not for " +
                                std::to_string(options.shares.count()) +
                                "; call make_shares (allot/load/plan/shares.hpp)"};
  }
  return detail::plan_part<Policy>(file, options, grouping, nullptr);
}

namespace detail {

/// Returns a plan with the arenas of one device divided into chunks of at most `bytes`.
template <WeightPolicy Policy>
[[nodiscard]] Plan in_chunks(const gguf::File& file, const Plan& plan, const std::string& device,
                             std::uint64_t bytes) {
  using Owner = Deferred<void, Policy>;
  auto made = with_steps(
      file, place<Policy>(divided<Owner>(plan, device, bytes, Policy::Alignment::value)));
  made.cache = plan.cache;
  made.draft = plan.draft;
  return made;
}

}  // namespace detail

}  // namespace allot::load
