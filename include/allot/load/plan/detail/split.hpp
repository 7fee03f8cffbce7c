// SPDX-License-Identifier: MIT
/// \file
/// Divides a model's items between devices: first what rules place, then whole layers in order.
/// Several devices share them in proportion to their room. Beside the host, the others take the
/// last layers that fit, as llama.cpp offloads them, and the host the rest; or the host takes
/// experts.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/core/readable_bytes.hpp>
#include <allot/core/units.hpp>
#include <allot/load/plan/detail/divide.hpp>
#include <allot/load/plan/detail/experts.hpp>
#include <allot/load/plan/detail/layer_order.hpp>
#include <allot/load/plan/insufficient_memory.hpp>
#include <allot/load/plan/placing.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/plan/sort.hpp>
#include <allot/os/pattern.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace allot::load::detail {

struct SplitOptions {
  std::uint64_t reserved = 0;  // bytes of each device that are taken already
  std::uint64_t alignment = 1;
  std::vector<PlaceRule> place{};
  bool move_experts = false;
  std::vector<std::uint32_t> pinned{};  // the device of each item that has to stay on it
};

/// What `SplitOptions::pinned` has for an item that may go anywhere.
inline constexpr std::uint32_t no_device = ~std::uint32_t{0};

/// Throws: `std::invalid_argument` for a rule whose device the plan does not have.
/// \tparam Devices  the vector of them; this is compiled only where it is called
template <class Devices>
[[nodiscard]] DeferredVector<std::uint32_t, Devices> devices_of_rules(
    const DeferredVector<PlaceRule, Devices>& rules, const Devices& devices) {
  DeferredVector<std::uint32_t, Devices> found;
  for (const PlaceRule& rule : rules) {
    std::string names;
    for (std::size_t i = 0; i < devices.size(); ++i) {
      if (devices[i].name == rule.device) found.push_back(static_cast<std::uint32_t>(i));
      names += (i == 0 ? "" : ", ") + devices[i].name;
    }
    if (found.size() > static_cast<std::size_t>(&rule - rules.data())) continue;
    throw std::invalid_argument{"tensors cannot be placed on " + rule.device + " (" + rule.names +
                                "): the plan is for " + names + "; add the device to it"};
  }
  return found;
}

/// Divides the items that need memory.
///
/// \tparam Items    a range of `ItemLayout`
/// \tparam Devices  the vector of them; with both as parameters, this is compiled only where it is used
template <class Items, class Devices>
class Splitter {
 public:
  Splitter(const Items& items, Devices devices, const SplitOptions& options)
      : items_{items},
        devices_{std::move(devices)},
        options_{options},
        order_{items},
        device_of_(items.size(), none) {
    const std::uint64_t reserved =
        checked_align_up(options.reserved, options.alignment).value_or(options.reserved);
    for (auto& device : devices_) take(device, reserved);
  }

  /// Returns the device of every item.
  /// Throws: `InsufficientMemory` for an item that no device has room for; as `devices_of_rules`.
  [[nodiscard]] DeferredVector<std::uint32_t, Items> run() && {
    apply_rules();
    const auto host = host_beside_others();
    Devices others = devices_;
    if (host) others.erase(others.begin() + static_cast<std::ptrdiff_t>(*host));
    if (host && options_.move_experts) move_experts(*host, others);
    require_room_for_each();
    const DeferredVector<Portion, Items> portions = portions_left();
    const std::size_t on_host = host ? count_left_over(portions, others) : 0;
    const DeferredVector<std::uint32_t, Items> of_portion = divide(portions, on_host, others);
    for (std::size_t i = 0; i < items_.size(); ++i) {
      if (device_of_[i] != none) continue;
      const std::size_t at = portion_at(portions, place_of(i));
      if (at < on_host) {
        device_of_[i] = *host;
      } else {
        const std::uint32_t other = of_portion[at];
        device_of_[i] = other + (host && other >= *host ? 1 : 0);
      }
    }
    return std::move(device_of_);
  }

 private:
  static constexpr std::uint32_t none = no_device;

  static void take(PlannedDevice& device, std::uint64_t bytes) noexcept {
    device.usable_bytes = device.room() - smaller(device.room(), bytes);
  }

  /// Returns what an item takes of a device.
  [[nodiscard]] std::uint64_t bytes_of(std::size_t item) const noexcept {
    if (!items_[item].has_own_memory()) return 0;
    const std::uint64_t bytes = items_[item].bytes;
    return checked_align_up(bytes, options_.alignment).value_or(bytes);
  }

  /// Returns an item's place in the order; without any layers each item is one.
  [[nodiscard]] std::uint64_t place_of(std::size_t item) const {
    return order_.has_layers() ? order_.place_of(items_[item]) : item;
  }

  /// Returns the number of the portion at a place in the order. Requires: there is one.
  [[nodiscard]] static std::size_t portion_at(const DeferredVector<Portion, Items>& portions,
                                              std::uint64_t place) noexcept {
    std::size_t first = 0;
    for (std::size_t end = portions.size(); end - first > 1;) {
      const std::size_t middle = first + (end - first) / 2;
      (portions[middle].layer <= place ? first : end) = middle;
    }
    return first;
  }

  void apply_rules() {
    const auto of_rule = devices_of_rules(options_.place, devices_);
    for (std::size_t i = 0; i < items_.size(); ++i) {
      if (!items_[i].has_own_memory() && items_[i].purpose != Purpose::copy) continue;
      device_of_[i] = i < options_.pinned.size() ? options_.pinned[i] : none;
      for (std::size_t rule = 0; rule < of_rule.size() && device_of_[i] == none; ++rule) {
        if (os::matches(options_.place[rule].names.c_str(), items_[i].name.c_str()))
          device_of_[i] = of_rule[rule];
      }
      if (device_of_[i] != none) take(devices_[device_of_[i]], bytes_of(i));
    }
  }

  /// Returns the host, if it is one of several devices.
  [[nodiscard]] std::optional<std::uint32_t> host_beside_others() const {
    for (std::size_t i = 0; devices_.size() != 1 && i < devices_.size(); ++i) {
      if (devices_[i].name == "host") return static_cast<std::uint32_t>(i);
    }
    return std::nullopt;
  }

  /// Gives the host the experts that cost the fewest bytes a token, so that all the rest fits the
  /// other devices; all experts, if that is not enough.
  void move_experts(std::uint32_t host, const Devices& others) {
    DeferredVector<Movable, Items> experts;
    std::optional<std::uint64_t> needed = 0;
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < items_.size(); ++i) {
      const std::uint64_t bytes = bytes_of(i);
      if (bytes == 0 || device_of_[i] != none) continue;
      if (needed) needed = checked_add(*needed, bytes);
      if (items_[i].purpose == Purpose::cache || !is_of_experts(items_[i].name)) continue;
      const auto& shape = items_[i].shape;
      const std::uint64_t count = shape.rank == 0 ? 1 : shape.extent[shape.rank - 1U];
      experts.push_back({static_cast<std::uint32_t>(i), bytes, items_[i].bytes / count});
      total += bytes;
    }
    if (!needed || *needed > std::uint64_t{1} << 62 || experts.empty()) return;
    std::uint64_t room = 0;
    for (const auto& other : others) room += smaller(other.room(), *needed);
    const auto move = [&](const DeferredVector<std::uint32_t, Items>& moved, std::uint32_t to) {
      for (const std::uint32_t item : moved) device_of_[item] = to;
    };
    const auto fits = [&] { return count_left_over(portions_left(), others) == 0; };
    if (fits()) return;
    const std::uint64_t least = larger<std::uint64_t>(1, *needed - smaller(*needed, room));
    const auto choose = [&](std::uint64_t bytes) {
      auto moved = cheapest_to_move(experts, bytes, devices_[host].room());
      return moved ? moved : cheapest_to_move(experts, bytes, total);
    };
    // Several devices take whole layers, which leaves some room on each: more has to go then.
    std::uint64_t refused = least - 1;
    std::uint64_t fitting = total;
    for (std::uint64_t bytes = least; bytes <= total && fitting - refused > 1;
         bytes = refused + (fitting - refused) / 2) {
      const auto moved = choose(bytes);
      if (!moved) break;
      move(*moved, host);
      const bool is_enough = fits();
      if (is_enough && bytes == least) return;
      (is_enough ? fitting : refused) = bytes;
      move(*moved, none);
      if (fitting - refused <= total / 1024) break;
    }
    if (const auto moved = choose(fitting)) move(*moved, host);
  }

  /// Throws: `InsufficientMemory`.
  void require_room_for_each() const {
    const auto* roomiest = &devices_.front();
    for (const auto& device : devices_) {
      if (device.room() > roomiest->room()) roomiest = &device;
    }
    for (std::size_t i = 0; i < items_.size(); ++i) {
      if (device_of_[i] != none || !items_[i].has_own_memory()) continue;
      if (items_[i].bytes <= roomiest->room()) continue;
      throw InsufficientMemory{roomiest->name, items_[i].bytes, 0, roomiest->room(),
                               items_[i].name + " alone takes " +
                                   ReadableBytes{items_[i].bytes}.c_str() +
                                   ", more than any device has free; use a device with more "
                                   "memory, or a smaller quantization"};
    }
  }

  /// Groups the items that have no device yet by layer, each layer once, in order.
  [[nodiscard]] DeferredVector<Portion, Items> portions_left() const {
    DeferredVector<Portion, Items> portions;
    portions.reserve(items_.size());
    for (std::size_t i = 0; i < items_.size(); ++i) {
      if (device_of_[i] == none)
        portions.push_back({place_of(i), static_cast<double>(bytes_of(i))});
    }
    sort_stably(portions, [](const Portion& a, const Portion& b) { return a.layer < b.layer; });
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

  const Items& items_;
  Devices devices_;
  const SplitOptions& options_;
  LayerOrder<Items> order_;
  DeferredVector<std::uint32_t, Items> device_of_;  // by item
};

/// Keeps an embedding, and the output that shares its weights, where they are.
/// \param copy    the number of the output's copy of the embedding
/// \param pinned  as `SplitOptions` has it
template <class Items>
void pin_output(const Items& items, std::size_t copy,
                const DeferredVector<std::uint32_t, Items>& device_of,
                DeferredVector<std::uint32_t, Items>& pinned) {
  const LayerOrder order{items};
  const std::uint64_t output = order.place_of(items[copy]);
  pinned.resize(items.size(), no_device);
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto& item = items[i];
    if (item.purpose == Purpose::copy || !item.has_own_memory()) continue;
    if (i == *items[copy].copy_of || order.place_of(item) == output) pinned[i] = device_of[i];
  }
}

/// Keeps those copies that would be on another device than what they are a copy of. Returns, as
/// `SplitOptions::pinned`, the outputs that no device but the embedding's has room for, as there they
/// need their copy: without it, they must not go back.
/// Throws: as `Splitter::run`. Complexity: the splitter's.
/// \tparam Items  a vector of `ItemLayout`
template <class Items>
[[nodiscard]] DeferredVector<std::uint32_t, Items> keep_needed_copies(
    Items& items, const DeferredVector<PlannedDevice, Items>& devices,
    const SplitOptions& options) {
  DeferredVector<std::uint32_t, Items> pinned;
  const auto is_copy = [](const auto& item) { return item.purpose == Purpose::copy; };
  bool has_copies = false;
  for (const auto& item : items) has_copies = has_copies || is_copy(item);
  if (!has_copies) return pinned;
  for (const bool counted : {false, true}) {  // the room that copies take can move others
    Items tried = items;
    for (auto& item : tried) {
      if (is_copy(item) && !counted) item.bytes = 0;
    }
    const DeferredVector<std::uint32_t, Items> device_of = Splitter{tried, devices, options}.run();
    DeferredVector<std::size_t, Items> unneeded;  // from the last
    for (std::size_t i = items.size(); i-- != 0;) {
      if (!is_copy(items[i]) || device_of[i] != device_of[*items[i].copy_of]) continue;
      if (counted) pin_output(tried, i, device_of, pinned);
      unneeded.push_back(i);
    }
    for (const std::size_t i : unneeded) {
      items.erase(items.begin() + static_cast<std::ptrdiff_t>(i));
      if (!pinned.empty()) pinned.erase(pinned.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  return pinned;
}

/// Returns the items that need memory, for each device; in order.
/// Throws: as `Splitter::run`.
/// \tparam Items  a range of `ItemLayout`
template <class Items>
[[nodiscard]] DeferredVector<DeferredVector<std::uint32_t, Items>, Items> split_by_layers(
    const Items& items, const DeferredVector<PlannedDevice, Items>& devices,
    const SplitOptions& options) {
  DeferredVector<DeferredVector<std::uint32_t, Items>, Items> of_device(devices.size());
  DeferredVector<std::uint32_t, Items> device_of(items.size(), 0);
  if (devices.size() == 1) {
    static_cast<void>(devices_of_rules(options.place, devices));
  } else {
    device_of = Splitter{items, devices, options}.run();
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (items[i].has_own_memory()) of_device[device_of[i]].push_back(static_cast<std::uint32_t>(i));
  }
  return of_device;
}

}  // namespace allot::load::detail
