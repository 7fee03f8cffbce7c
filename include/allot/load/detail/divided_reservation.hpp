// SPDX-License-Identifier: MIT
/// \file
/// The arenas of a plan on devices of different types, behind one interface.
#pragma once

#include <allot/core/block.hpp>
#include <allot/device/device.hpp>
#include <allot/load/detail/batches.hpp>
#include <allot/load/detail/device_of.hpp>
#include <allot/load/detail/reserve.hpp>
#include <allot/load/devices.hpp>
#include <allot/load/divided_model.hpp>
#include <allot/load/model_on.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/plan/weight_policy.hpp>
#include <allot/memory/free_pages.hpp>
#include <allot/os/smart_pointers.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace allot::load::detail {

/// An arena that is being filled.
class FilledArena : public DividedArena {
 public:
  using DividedArena::DividedArena;

  /// Allocates an item where the plan put it. Throws: as `allocate_as_planned`.
  [[nodiscard]] virtual DividedBytes allocate(const Item& item) = 0;
};

template <class SharedArena>
class FilledArenaOf final : public FilledArena {
 public:
  FilledArenaOf(std::string device, SharedArena arena)
      : FilledArena{std::move(device)}, arena_{std::move(arena)} {}

  [[nodiscard]] Usage usage() const override { return arena_.usage(); }
  void for_each(const Callback<void(std::uint64_t, std::uint64_t, bool)>& visitor) const override {
    arena_.for_each(visitor);
  }
  void return_free_pages() const override {
    if constexpr (ReturnsPages<typename SharedArena::memory_type>) allot::return_free_pages(arena_);
  }
  [[nodiscard]] DividedBytes allocate(const Item& item) override {
    using MemoryType = typename SharedArena::memory_type;
    const auto slice = allocate_as_planned(arena_, item);
    return {slice.owner(), slice.address(), slice.bytes(), MemoryType::host_accessible,
            MemoryType::device_accessible};
  }

 private:
  SharedArena arena_;
};

/// Returns a part of some bytes. Requires: it lies within them, as `check_plan` found.
template <class = void>
[[nodiscard]] DividedBytes part_of(const DividedBytes& whole, std::uint64_t offset,
                                   std::uint64_t bytes) {
  if (offset > whole.bytes || bytes > whole.bytes - offset) {
    throw std::logic_error{
        "a part of the plan reaches beyond its item; load a plan that make_plan made, unchanged"};
  }
  DividedBytes part = whole;
  part.address = static_cast<std::byte*>(whole.address) + offset;
  part.bytes = bytes;
  return part;
}

/// As `Reservation`, for devices of different types.
template <WeightPolicy Policy, Device... DeviceTypes>
class DividedReservation {
 public:
  explicit DividedReservation(const Devices<DeviceTypes...>& devices) : devices_{devices} {}

  std::vector<std::shared_ptr<FilledArena>> arenas{};
  std::vector<ArenaPlace> places{};   // devices count within their group
  std::vector<std::size_t> groups{};  // of devices

  void clear() noexcept {
    arenas.clear();
    places.clear();
    groups.clear();
  }
  void add(const PlannedArena& planned) {
    with_device(
        planned, [&]<class DeviceType>(std::size_t group, std::size_t number, DeviceType& device) {
          using SharedArena = SharedArenaOf<Policy, DeviceType>;
          SharedArena arena{planned.capacity, device.memory()};
          auto* const base = static_cast<std::byte*>(arena.base_address());
          arenas.push_back(
              std::make_shared<FilledArenaOf<SharedArena>>(planned.device, std::move(arena)));
          places.push_back({base, number});
          groups.push_back(group);
        });
  }
  [[nodiscard]] std::uint64_t free_on(const PlannedArena& planned) const {
    std::uint64_t free = 0;
    with_device(planned, [&](std::size_t, std::size_t, const auto& device) {
      free = device.memory_info().free;
    });
    return free;
  }
  [[nodiscard]] std::string name_of(const PlannedArena& planned) const { return planned.device; }

 private:
  /// Calls `function(group, number, device)` for the device of an arena.
  /// Throws: `std::logic_error` if it is not among them.
  template <class Function>
  void with_device(const PlannedArena& planned, Function&& function) const {
    std::size_t group = 0;
    bool is_found = false;
    devices_.for_each_group([&](auto of_type) {
      for (std::size_t i = 0; i < of_type.size() && !is_found; ++i) {
        if (of_type[i].name() != planned.device) continue;
        is_found = true;
        function(group, i, of_type[i]);
      }
      ++group;
    });
    if (!is_found) throw_unknown_device(planned);
  }

  Devices<DeviceTypes...> devices_;
};

}  // namespace allot::load::detail
