// SPDX-License-Identifier: MIT
/// \file
/// Divides a model's items between devices, by whole layers, in proportion to what each has free.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/load/insufficient_memory.hpp>
#include <allot/load/plan_data.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace allot::load {

/// What a plan needs to know of a device.
struct PlannedDevice {
  std::string name = "host";
  std::uint64_t free_bytes = std::numeric_limits<std::uint64_t>::max();
  Path path = Path::straight;
};

namespace detail {

/// The layer in a name such as `blk.12.attn_q.weight` or `cache.12.k`; nothing where it has none.
[[nodiscard]] inline std::optional<std::uint64_t> layer_of(std::string_view name) {
  for (const std::string_view prefix : {"blk.", "cache."}) {
    if (!name.starts_with(prefix)) continue;
    const std::string_view rest = name.substr(prefix.size());
    std::uint64_t layer = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
    if (error == std::errc{} && end != rest.data() + rest.size() && *end == '.') return layer;
  }
  return std::nullopt;
}

/// Items that stay together, and what they take.
struct Portion {
  std::uint64_t layer;  // 0: what comes before the first layer; then layer + 1; then the output
  double bytes;
};

/// The device of each portion, so that the fullest device, against what it has free, is as empty as
/// whole portions in order allow. The ratio is found by bisection: each device takes portions while
/// they keep it within the ratio.
[[nodiscard]] inline std::vector<std::uint32_t> divide(std::span<const Portion> portions,
                                                       std::span<const PlannedDevice> devices) {
  std::vector<std::uint32_t> assigned(portions.size());
  const auto fits = [&](double ratio) {
    std::uint32_t device = 0;
    double held = 0;
    for (std::size_t i = 0; i < portions.size(); ++i) {
      while (held + portions[i].bytes > ratio * static_cast<double>(devices[device].free_bytes)) {
        if (++device == devices.size()) return false;
        held = 0;
      }
      held += portions[i].bytes;
      assigned[i] = device;
    }
    return true;
  };
  double low = 0;
  double high = 1;
  while (!fits(high)) {
    high *= 2;
    if (high > 1e18) {  // nothing free anywhere: the check will say so
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

/// The device of every item. What has no layer goes to the first device, the output to the last.
/// Throws: `InsufficientMemory` for an item that no device has room for.
[[nodiscard]] inline std::vector<std::uint32_t> split_by_layers(
    std::span<const Item> items, std::span<const PlannedDevice> devices) {
  std::vector<std::uint32_t> of_item(items.size(), 0);
  if (devices.size() == 1) return of_item;

  const auto roomiest = std::max_element(
      devices.begin(), devices.end(),
      [](const PlannedDevice& a, const PlannedDevice& b) { return a.free_bytes < b.free_bytes; });
  constexpr std::uint64_t output = std::numeric_limits<std::uint64_t>::max();
  const auto place_of = [&](const Item& item) -> std::uint64_t {
    if (const auto layer = layer_of(item.name)) return *layer + 1;
    return item.name.starts_with("output") ? output : 0;
  };
  std::vector<Portion> portions;
  for (const Item& item : items) {
    if (item.bytes > roomiest->free_bytes) {
      throw InsufficientMemory{roomiest->name, item.bytes, 0, roomiest->free_bytes,
                               item.name + " alone takes " + ReadableBytes{item.bytes}.c_str() +
                                   ", more than any of the devices has free: use one with more "
                                   "memory, or a smaller quantisation"};
    }
    portions.push_back({place_of(item), static_cast<double>(item.bytes)});
  }
  std::stable_sort(portions.begin(), portions.end(),
                   [](const Portion& a, const Portion& b) { return a.layer < b.layer; });
  std::size_t kept = 0;
  for (const Portion& portion : portions) {
    if (kept != 0 && portions[kept - 1].layer == portion.layer) {
      portions[kept - 1].bytes += portion.bytes;
    } else {
      portions[kept++] = portion;
    }
  }
  portions.resize(kept);

  const std::vector<std::uint32_t> of_portion = divide(portions, devices);
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto found = std::lower_bound(
        portions.begin(), portions.end(), place_of(items[i]),
        [](const Portion& portion, std::uint64_t place) { return portion.layer < place; });
    of_item[i] = of_portion[static_cast<std::size_t>(found - portions.begin())];
  }
  return of_item;
}

}  // namespace detail

}  // namespace allot::load
