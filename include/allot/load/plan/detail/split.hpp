// SPDX-License-Identifier: MIT
/// \file
/// Divides a model's items between devices, by whole layers, in proportion to what each has free.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/gguf/name_index.hpp>
#include <allot/load/plan/insufficient_memory.hpp>
#include <allot/load/plan/layer_name.hpp>
#include <allot/load/plan/plan.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace allot::load::detail {

/// Items that stay together, and the bytes that they take.
struct Portion {
  std::uint64_t layer;  // as LayerOrder has it
  double bytes;
};

/// Returns the device of each portion, so that the fullest device, relative to its free memory, is
/// as empty as whole portions in order allow. The ratio is found by bisection: each device takes
/// portions while they keep it within the ratio.
template <class = void>
[[nodiscard]] std::vector<std::uint32_t> divide(std::span<const Portion> portions,
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

/// The position of items in the order of layers: 0 before the first layer; then stack after stack,
/// in file order; the output last.
template <class = void>
class LayerOrder {
  /// Returns the name at a place, for the index.
  struct NameAt {
    const LayerOrder* self;
    [[nodiscard]] std::string_view operator()(std::size_t place) const noexcept {
      return self->stacks_[place].name;
    }
  };

 public:
  static constexpr std::uint64_t output = largest_of<std::uint64_t>;

  /// Requires: the items' names outlive this. Complexity: linear.
  explicit LayerOrder(std::span<const ItemLayout> items) {
    for (const ItemLayout& item : items) {
      const auto layer = layer_name_of(item.name);
      if (!layer || item.purpose != Purpose::weight) continue;
      if (names_.add(layer->stack, stacks_.size(), NameAt{this}))
        stacks_.push_back({layer->stack, stacks_.size()});
    }
    const auto decoder = names_.find("dec.", NameAt{this});
    if (!decoder) return;
    const std::uint64_t before = stacks_[*decoder].place;
    for (Stack& stack : stacks_) stack.place -= stack.place > before ? 1 : 0;
    stacks_[*decoder].place = stacks_.size() - 1;  // the decoder comes after the encoder
  }

  [[nodiscard]] std::uint64_t place_of(const ItemLayout& item) const {
    const auto layer = layer_name_of(item.name);
    if (!layer) return item.name.starts_with("output") ? output : 0;
    // The cache belongs to the decoding stack: the one without a name, or the last.
    const bool is_cache = item.purpose == Purpose::cache;
    const auto found = names_.find(is_cache ? std::string_view{} : layer->stack, NameAt{this});
    const std::uint64_t stack = found ? stacks_[*found].place : stacks_.size() - 1;
    return ((stack & 0xffffU) << 32) + (layer->number & 0xffffffffU) + 1;
  }

 private:
  struct Stack {
    std::string_view name;
    std::uint64_t place;  // in the order of layers
  };

  std::vector<Stack> stacks_;
  gguf::NameIndex names_;
};

/// Groups items by layer, each layer once, in order.
/// Throws: `InsufficientMemory` for an item that does not fit the device with the most free memory.
template <class = void>
[[nodiscard]] std::vector<Portion> portions_of(std::span<const ItemLayout> items,
                                               const LayerOrder<>& order,
                                               const PlannedDevice& roomiest) {
  std::vector<Portion> portions;
  portions.reserve(items.size());
  for (const ItemLayout& item : items) {
    const std::uint64_t bytes = item.has_own_memory() ? item.bytes : 0;
    if (bytes > roomiest.free_bytes) {
      throw InsufficientMemory{roomiest.name, item.bytes, 0, roomiest.free_bytes,
                               item.name + " alone takes " + ReadableBytes{item.bytes}.c_str() +
                                   ", more than any device has free; use a device with more "
                                   "memory, or a smaller quantization"};
    }
    portions.push_back({order.place_of(item), static_cast<double>(bytes)});
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
  return portions;
}

/// Returns the items that need memory, for each device; in order. Items without a layer go to the
/// first device, the output to the last.
/// \param reserved  the bytes of each device that are taken already
/// Throws: `InsufficientMemory` for an item that no device has room for.
template <class = void>
[[nodiscard]] std::vector<std::vector<std::uint32_t>> split_by_layers(
    std::span<const ItemLayout> items, std::vector<PlannedDevice> devices, std::uint64_t reserved) {
  std::vector<std::vector<std::uint32_t>> of_device(devices.size());
  const auto give = [&](std::size_t device, std::size_t item) {
    if (items[item].has_own_memory()) of_device[device].push_back(static_cast<std::uint32_t>(item));
  };
  if (devices.size() == 1) {
    for (std::size_t i = 0; i < items.size(); ++i) give(0, i);
    return of_device;
  }
  for (PlannedDevice& device : devices) device.free_bytes -= smaller(device.free_bytes, reserved);
  const auto roomiest = std::max_element(
      devices.begin(), devices.end(),
      [](const PlannedDevice& a, const PlannedDevice& b) { return a.free_bytes < b.free_bytes; });
  const LayerOrder order{items};
  const std::vector<Portion> portions = portions_of(items, order, *roomiest);
  const std::vector<std::uint32_t> of_portion = divide(portions, devices);
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto found = std::lower_bound(
        portions.begin(), portions.end(), order.place_of(items[i]),
        [](const Portion& portion, std::uint64_t place) { return portion.layer < place; });
    give(of_portion[static_cast<std::size_t>(found - portions.begin())], i);
  }
  return of_device;
}

}  // namespace allot::load::detail
