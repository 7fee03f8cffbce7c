// SPDX-License-Identifier: MIT
/// \file
/// `devices(gpu, host)`: devices of different types, for one model that is divided between them.
///
///     auto both = load::devices(gpu, host);
///     const auto plan = load::make_plan(file, {.devices = both.planned()});
///     load::DividedModel model = load::load(file, plan, both);       // load_divided.hpp
#pragma once

#include <allot/device/device.hpp>
#include <allot/load/plan/margin.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/planned_device.hpp>

#include <cstddef>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

namespace allot::load {

/// Views of devices, in the order given; each of them must outlive this. Devices of one type that
/// are given as one span are loaded at the same time, the others one after the other.
template <Device... DeviceTypes>
class Devices {
 public:
  /// Names the devices, which must outlive it.
  explicit Devices(std::span<DeviceTypes>... groups) noexcept : groups_{groups...} {}

  /// Returns the devices as a plan sees them now: `PlanOptions::devices`. A plan for them leaves each
  /// the margin.
  template <Margin MarginType = UsualMargin>
  [[nodiscard]] std::vector<PlannedDevice> planned(const MarginType& margin = {}) const {
    std::vector<PlannedDevice> all;
    for_each_group([&](auto group) {
      for (const auto& device : group) {
        all.push_back(planned_device(device));
        all.back().usable_bytes = usable_bytes(all.back().free_bytes, margin);
      }
    });
    return all;
  }

  /// Calls `function(span)` for each type's devices, in order.
  template <class Function>
  void for_each_group(Function&& function) const {
    std::apply([&](const auto&... groups) { (function(groups), ...); }, groups_);
  }

 private:
  std::tuple<std::span<DeviceTypes>...> groups_;
};

namespace detail {

template <Device DeviceType>
[[nodiscard]] std::span<DeviceType> group_of(DeviceType& device) noexcept {
  return {&device, 1};
}
template <Device DeviceType>
[[nodiscard]] std::span<DeviceType> group_of(std::span<DeviceType> devices) noexcept {
  return devices;
}

template <Device... DeviceTypes>
[[nodiscard]] Devices<DeviceTypes...> devices_of(std::span<DeviceTypes>... groups) noexcept {
  return Devices<DeviceTypes...>{groups...};
}

}  // namespace detail

/// Names devices of different types: `devices(gpu, host)`, or `devices(std::span{gpus}, host)`. They
/// must outlive the load, not the model. No two may have the same name.
template <class... Groups>
[[nodiscard]] auto devices(Groups&&... groups) noexcept requires(sizeof...(Groups) != 0) {
  return detail::devices_of(detail::group_of(groups)...);
}

}  // namespace allot::load
