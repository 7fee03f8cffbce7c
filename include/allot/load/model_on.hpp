// SPDX-License-Identifier: MIT
/// \file
/// `ModelOn<DeviceType>`: the type that `load` returns, to be stored as a member. For the header of
/// a class that has a model: it does not include the loader.
///
///     struct Engine {
///       allot::load::ModelOn<allot::HipDevice<>> weights;
///     };
#pragma once

#include <allot/device/device.hpp>
#include <allot/load/model.hpp>
#include <allot/load/plan/weight_policy.hpp>
#include <allot/policy_set.hpp>
#include <allot/slice.hpp>

namespace allot::load {

/// The arena of a model's memory on a device.
template <WeightPolicy Policy, Device DeviceType>
using SharedArenaOf =
    Shared<ArenaOf<Policy, typename DeviceType::memory_type, detail::ObserverOf<Policy>>>;

/// What `load<Policy>(file, plan, device)` returns.
template <Device DeviceType, WeightPolicy Policy = DefaultWeights>
using ModelOn = Model<SharedArenaOf<Policy, DeviceType>>;

}  // namespace allot::load
