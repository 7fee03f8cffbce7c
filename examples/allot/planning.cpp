// SPDX-License-Identifier: MIT
#include "planning.hpp"

#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/load/plan/shares.hpp>
#include <allot/load/planned_device.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "output.hpp"

namespace loading = allot::load;

ChosenMargin::ChosenMargin(const std::string& text)
    : kind_{text == "usual"  ? Kind::usual
            : text == "none" ? Kind::none
                             : Kind::percent} {
  if (kind_ == Kind::percent) std::from_chars(text.data(), text.data() + text.size(), percent_);
}

std::uint64_t ChosenMargin::operator()(std::uint64_t planned) const noexcept {
  switch (kind_) {
    case Kind::usual:
      return loading::UsualMargin{}(planned);
    case Kind::none:
      return loading::NoMargin{}(planned);
    default:
      return loading::PercentMargin{percent_}(planned);
  }
}

ChosenGrouping grouping_of(const MemoryOptions& options, const allot::gguf::File& file) {
  if (options.placement == "chunks") return ChosenGrouping{loading::ArenasOf{options.chunk_bytes}};
  if (options.placement == "selective")
    return ChosenGrouping{loading::Selective{loading::MatrixRules::of(file)}};
  return ChosenGrouping{loading::OneArena{}};
}

std::vector<std::string> device_names(const MemoryOptions& options) {
  std::vector<std::string> names;
  for (const DeviceName& device : read_devices(options.device)) names.push_back(device.text);
  return names;
}

bool is_beside_host(const MemoryOptions& options) {
  const std::vector<std::string> names = device_names(options);
  return names.size() > 1 && std::find(names.begin(), names.end(), "host") != names.end();
}

loading::PlanOptions plan_options(const MemoryOptions& options,
                                  std::vector<loading::PlannedDevice> devices) {
  loading::PlanOptions planned{.devices = std::move(devices)};
  planned.scratch_bytes = options.scratch_bytes;
  planned.transforms = options.transforms;
  planned.place = options.placing.rules;
  planned.draft = options.draft;
  planned.only = options.only;
  planned.shares = options.shares;
  if (options.context == 0) return planned;
  planned.cache = cache_options(options.cache, options.context);
  return planned;
}

loading::Plan make_plan(const MemoryOptions& options, const allot::gguf::File& file,
                        const loading::PlanOptions& planned) {
  return with_alignment(options.alignment, [&]<class Policy>() {
    return loading::make_plan<Policy>(file, planned, grouping_of(options, file));
  });
}

std::vector<loading::Plan> make_shares(const MemoryOptions& options, const allot::gguf::File& file,
                                       const loading::PlanOptions& planned) {
  return with_alignment(options.alignment, [&]<class Policy>() {
    return loading::make_shares<Policy>(file, planned, grouping_of(options, file));
  });
}

namespace {

loading::PlannedDevice ask_device(const DeviceName& device) {
  switch (device.kind) {
    case DeviceKind::host:
      return loading::planned_device(allot::HostDevice{});
    case DeviceKind::staged_host:
      return loading::planned_device(allot::StagedHostDevice{});
    default:
      return ask_hip_device(device);
  }
}

}  // namespace

void leave_margins(const MemoryOptions& options, std::vector<loading::PlannedDevice>& devices) {
  if (devices.size() == 1) return;
  for (loading::PlannedDevice& device : devices)
    device.usable_bytes = loading::usable_bytes(device.free_bytes, ChosenMargin{options.margin});
}

std::vector<loading::PlannedDevice> planned_devices(const MemoryOptions& options, bool must_ask) {
  const std::vector<DeviceName> names = read_devices(options.device);
  std::vector<loading::PlannedDevice> devices;
  for (std::size_t i = 0; i < names.size(); ++i) {
    loading::PlannedDevice device{.name = names[i].text,
                                  .transfer = names[i].kind == DeviceKind::host
                                                  ? loading::Transfer::direct
                                                  : loading::Transfer::staged};
    try {
      device = ask_device(names[i]);
    } catch (const std::exception& error) {
      if (must_ask && options.memory.empty()) throw;
      if (options.memory.empty() && !options.json)
        fmt::print(stderr, "allot: the free memory of {} is unknown: {}\n", names[i].text,
                   printable(error.what()));
    }
    if (!options.memory.empty()) {
      device.free_bytes = options.memory[i];
      device.sources = {{"--memory", device.free_bytes}};
    }
    devices.push_back(device);
  }
  const auto is_gpu = [](const loading::PlannedDevice& device) { return device.name != "host"; };
  // GPUs are loaded in one way: direct only if all of them can be.
  const bool is_direct =
      std::all_of(devices.begin(), devices.end(), [&](const loading::PlannedDevice& device) {
        return !is_gpu(device) || device.transfer == loading::Transfer::direct;
      });
  for (loading::PlannedDevice& device : devices) {
    if (is_gpu(device) && !is_direct) device.transfer = loading::Transfer::staged;
  }
  leave_margins(options, devices);
  return devices;
}
