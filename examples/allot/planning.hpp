// SPDX-License-Identifier: MIT
/// \file
/// How the tool's options become a plan: grouping, cache and margin chosen at run time.
#pragma once

#include <allot/load/check.hpp>
#include <allot/load/plan/make_plan.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "commands.hpp"
#include "device_names.hpp"

/// A grouping that is chosen at run time.
class ChosenGrouping {
 public:
  template <allot::load::GroupingPolicy Grouping>
  explicit ChosenGrouping(Grouping grouping)
      : groups_{[grouping](auto items, auto chosen, std::uint64_t alignment) {
          return grouping.groups(items, chosen, alignment);
        }} {}

  [[nodiscard]] std::vector<allot::load::Group> groups(
      std::span<const allot::load::ItemLayout> items, std::span<const std::uint32_t> chosen,
      std::uint64_t alignment) const {
    return groups_(items, chosen, alignment);
  }

 private:
  std::function<std::vector<allot::load::Group>(std::span<const allot::load::ItemLayout>,
                                                std::span<const std::uint32_t>, std::uint64_t)>
      groups_;
};

/// A margin that is chosen at run time: `usual`, `none`, `N%`.
class ChosenMargin {
 public:
  explicit ChosenMargin(const std::string& text);
  [[nodiscard]] std::uint64_t operator()(std::uint64_t planned) const noexcept;

 private:
  enum class Kind { usual, none, percent } kind_;
  std::uint64_t percent_ = 0;
};

[[nodiscard]] ChosenGrouping grouping_of(const MemoryOptions& options,
                                         const allot::gguf::File& file);

/// The names in `host` or `hip:0,hip:1`; `hip` is `hip:0`.
[[nodiscard]] std::vector<std::string> device_names(const MemoryOptions& options);

/// Returns true if the host is one of several devices.
[[nodiscard]] bool is_beside_host(const MemoryOptions& options);

/// The options of a plan for those devices.
[[nodiscard]] allot::load::PlanOptions plan_options(
    const MemoryOptions& options, std::vector<allot::load::PlannedDevice> devices);

/// The plan, with the policies of the alignment chosen.
[[nodiscard]] allot::load::Plan make_plan(const MemoryOptions& options,
                                          const allot::gguf::File& file,
                                          const allot::load::PlanOptions& planned);

/// The plans of all ranks, likewise.
[[nodiscard]] std::vector<allot::load::Plan> make_shares(const MemoryOptions& options,
                                                         const allot::gguf::File& file,
                                                         const allot::load::PlanOptions& planned);

/// The devices as a plan sees them: queried, or with the memory that the options give them. A
/// device that does not exist is an error if `must_ask`, and otherwise known by name only.
[[nodiscard]] std::vector<allot::load::PlannedDevice> planned_devices(const MemoryOptions& options,
                                                                      bool must_ask);

/// Lets a plan that is divided between devices leave each of them the margin.
void leave_margins(const MemoryOptions& options, std::vector<allot::load::PlannedDevice>& devices);

/// Returns a HIP device as a plan sees it, now. Throws: if there is none, or this build has no HIP.
[[nodiscard]] allot::load::PlannedDevice ask_hip_device(const DeviceName& device);
