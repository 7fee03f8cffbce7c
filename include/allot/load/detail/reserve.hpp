// SPDX-License-Identifier: MIT
/// \file
/// Reserves a plan's arenas. If a driver refuses one large allocation although the memory is free,
/// its device's arenas are divided.
#pragma once

#include <allot/core/deferred.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/core/errors.hpp>
#include <allot/core/readable_bytes.hpp>
#include <allot/core/units.hpp>
#include <allot/device/device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/detail/batches.hpp>
#include <allot/load/detail/device_of.hpp>
#include <allot/load/plan/check_plan.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/plan/weight_policy.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace allot::load::detail {

/// Allocates an item where the plan put it.
/// Throws: `std::logic_error` if the strategy put it elsewhere.
template <class SharedArena>
[[nodiscard]] auto allocate_as_planned(SharedArena& arena, const Item& item) {
  auto slice = arena.allocate({.bytes = item.bytes, .name = item.name});
  if (const std::uint64_t offset = arena.offset_of(slice); offset != item.offset) {
    throw std::logic_error{"tensor " + item.name + " was placed at offset " +
                           std::to_string(offset) + ", but the plan says " +
                           std::to_string(item.offset) +
                           "; load with the policy that the plan was made with"};
  }
  return slice;
}

/// The arenas of a plan on devices of one type. What `reserve` needs of it, a reservation for
/// devices of several types has too.
template <class SharedArena, Device DeviceType>
struct Reservation {
  std::span<DeviceType> devices;
  std::vector<SharedArena> arenas{};
  DeferredVector<ArenaPlace, SharedArena> places{};

  void clear() noexcept {
    arenas.clear();
    places.clear();
  }
  /// Throws: what the memory throws; `std::logic_error` for an unknown device.
  void add(const PlannedArena& planned) {
    const std::size_t device = device_of(planned, devices);
    arenas.emplace_back(planned.capacity, devices[device].memory());
    places.push_back({static_cast<std::byte*>(arenas.back().base_address()), device});
  }
  [[nodiscard]] std::uint64_t free_on(const PlannedArena& planned) const {
    return devices[device_of(planned, devices)].memory_info().free;
  }
  [[nodiscard]] std::string name_of(const PlannedArena& planned) const {
    return devices[device_of(planned, devices)].name();
  }
};

/// The memory refused an arena, although perhaps not its bytes.
struct Refusal {
  std::size_t arena;
  std::exception_ptr error;
};

/// Reserves every arena, or keeps none and returns which one was refused.
template <class Reserved>
[[nodiscard]] std::optional<Deferred<Refusal, Reserved>> try_reserve(const Plan& plan,
                                                                     Reserved& reserved) {
  reserved.clear();
  for (std::size_t i = 0; i < plan.arenas.size(); ++i) {
    try {
      reserved.add(plan.arenas[i]);
    } catch (const OutOfMemory& refusal) {
      if (refusal.reason() != RefusalReason::source) throw;
      reserved.clear();
      return Deferred<Refusal, Reserved>{i, std::current_exception()};
    }
  }
  return std::nullopt;
}

/// Reserves the arenas of `plan`. A driver may refuse one large allocation although the memory is
/// free: the device's arenas are then halved repeatedly, down to 16 MiB, and the plan is updated.
/// Throws: what the memory threw, if the memory is not free or nothing helps; `std::logic_error` if
/// the plan's items do not agree with each other.
template <WeightPolicy Policy, class Reserved>
void reserve(const gguf::File& file, Plan& plan, Reserved& reserved,
             DeferredVector<std::string, Policy>& fallbacks) {
  constexpr std::uint64_t least_chunk = 16 * MiB;
  while (const auto refusal = try_reserve(plan, reserved)) {
    const PlannedArena refused = plan.arenas[refusal->arena];
    const std::uint64_t free = reserved.free_on(refused);
    const std::uint64_t chunk = refused.capacity / 2;
    if (free < plan.bytes_on(refused.device) || chunk < least_chunk)
      std::rethrow_exception(refusal->error);
    const std::size_t before = plan.arenas.size();
    plan = in_chunks<Policy>(file, plan, refused.device, chunk);
    check_plan(plan, file);  // its steps are new: made from items that may not agree with the old
    if (plan.arenas.size() == before) std::rethrow_exception(refusal->error);
    fallbacks.push_back(
        reserved.name_of(refused) + " refused an allocation of " +
        ReadableBytes{refused.capacity}.c_str() + " although " + ReadableBytes{free}.c_str() +
        " is free; divided it into arenas of at most " + ReadableBytes{chunk}.c_str());
  }
}

}  // namespace allot::load::detail
