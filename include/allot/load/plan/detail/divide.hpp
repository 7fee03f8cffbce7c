// SPDX-License-Identifier: MIT
/// \file
/// Divides portions of a model, in order, between devices: evenly by what each has room for, or
/// those that fit to the last devices and the rest to the host.
#pragma once

#include <allot/load/plan/plan.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace allot::load::detail {

/// Items that stay together, and the bytes that they take.
struct Portion {
  std::uint64_t layer;  // as LayerOrder has it
  double bytes;
};

/// Gives each device portions, in order, while they keep it within `ratio` of what it has room for.
/// Returns false if the devices do not take all.
template <class = void>
[[nodiscard]] bool fits_within(std::span<const Portion> portions,
                               std::span<const PlannedDevice> devices, double ratio,
                               std::span<std::uint32_t> assigned) {
  std::uint32_t device = 0;
  double held = 0;
  for (std::size_t i = 0; i < portions.size(); ++i) {
    while (held + portions[i].bytes > ratio * static_cast<double>(devices[device].room())) {
      if (++device == devices.size()) return false;
      held = 0;
    }
    held += portions[i].bytes;
    assigned[i] = device;
  }
  return true;
}

/// Returns the device of each portion, so that the fullest device, relative to its room, is as empty
/// as whole portions in order allow. The ratio is found by bisection.
template <class = void>
[[nodiscard]] std::vector<std::uint32_t> divide(std::span<const Portion> portions,
                                                std::span<const PlannedDevice> devices) {
  std::vector<std::uint32_t> assigned(portions.size());
  const auto fits = [&](double ratio) { return fits_within(portions, devices, ratio, assigned); };
  double low = 0;
  double high = 1;
  while (!fits(high)) {
    high *= 2;
    if (high > 1e18) {  // no memory is free anywhere: the check will report it
      std::fill(assigned.begin(), assigned.end(), 0U);
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
template <class = void>
[[nodiscard]] std::size_t count_left_over(std::span<const Portion> portions,
                                          std::span<const PlannedDevice> devices) {
  std::vector<std::uint32_t> assigned(portions.size());
  std::size_t fitting = portions.size();  // none of them: that fits
  std::size_t refused = 0;
  if (fits_within(portions, devices, 1, assigned)) return 0;
  while (fitting - refused > 1) {
    const std::size_t middle = refused + (fitting - refused) / 2;
    const bool fits = fits_within(portions.subspan(middle), devices, 1, assigned);
    (fits ? fitting : refused) = middle;
  }
  return fitting;
}

}  // namespace allot::load::detail
