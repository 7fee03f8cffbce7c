// SPDX-License-Identifier: MIT
/// \file
/// Divides portions of a model, in order, between devices: evenly by what each has room for, or
/// those that fit to the last devices and the rest to the host.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/load/plan/plan.hpp>

#include <cstddef>
#include <cstdint>

namespace allot::load::detail {

/// Items that stay together, and the bytes that they take.
struct Portion {
  std::uint64_t layer;  // as LayerOrder has it
  double bytes;
};

/// Gives each device portions from `first` on, in order, while they keep it within `ratio` of what it
/// has room for. Returns false if the devices do not take all.
/// \tparam Devices  the vector of them; this is compiled only where it is called
template <class Devices>
[[nodiscard]] bool fits_within(const DeferredVector<Portion, Devices>& portions, std::size_t first,
                               const Devices& devices, double ratio,
                               DeferredVector<std::uint32_t, Devices>& assigned) {
  std::uint32_t device = 0;
  double held = 0;
  for (std::size_t i = first; i < portions.size(); ++i) {
    while (held + portions[i].bytes > ratio * static_cast<double>(devices[device].room())) {
      if (++device == devices.size()) return false;
      held = 0;
    }
    held += portions[i].bytes;
    assigned[i] = device;
  }
  return true;
}

/// Returns the device of each portion from `first` on, so that the fullest device, relative to its
/// room, is as empty as whole portions in order allow. The ratio is found by bisection.
template <class Devices>
[[nodiscard]] DeferredVector<std::uint32_t, Devices> divide(
    const DeferredVector<Portion, Devices>& portions, std::size_t first, const Devices& devices) {
  DeferredVector<std::uint32_t, Devices> assigned(portions.size());
  const auto fits = [&](double ratio) {
    return fits_within(portions, first, devices, ratio, assigned);
  };
  double low = 0;
  double high = 1;
  while (!fits(high)) {
    high *= 2;
    if (high > 1e18) {  // no memory is free anywhere: the check will report it
      assigned.assign(assigned.size(), 0);
      return assigned;
    }
  }
  for (int step = 0; step < 60; ++step) {
    const double middle = (low + high) / 2;
    (fits(middle) ? high : low) = middle;
  }
  static_cast<void>(fits(high));
  return assigned;
}

/// Returns how many of the first portions the devices have no room for: the fewest.
template <class Devices>
[[nodiscard]] std::size_t count_left_over(const DeferredVector<Portion, Devices>& portions,
                                          const Devices& devices) {
  DeferredVector<std::uint32_t, Devices> assigned(portions.size());
  std::size_t fitting = portions.size();  // none of them: that fits
  std::size_t refused = 0;
  if (fits_within(portions, 0, devices, 1, assigned)) return 0;
  while (fitting - refused > 1) {
    const std::size_t middle = refused + (fitting - refused) / 2;
    const bool fits = fits_within(portions, middle, devices, 1, assigned);
    (fits ? fitting : refused) = middle;
  }
  return fitting;
}

}  // namespace allot::load::detail
