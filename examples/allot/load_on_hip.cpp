// SPDX-License-Identifier: MIT
#include <allot/device/hip_device.hpp>

#include <algorithm>
#include <vector>

#include "load_on.hpp"

/// Integrated GPUs share the host's memory: the file is read straight into it.
Result load_on_hip(const MemoryOptions& options, const allot::gguf::File& file) {
  std::vector<allot::HipDevice<>> discrete;
  std::vector<allot::HipDevice<allot::hip::ManagedMemory>> managed;
  for (const DeviceName& name : read_devices(options.device)) {
    if (name.kind != DeviceKind::hip) continue;
    discrete.emplace_back(name.number);
    const allot::hip::DeviceProperties& properties = discrete.back().properties();
    if (properties.is_integrated && properties.has_managed_memory)
      managed.emplace_back(name.number);
  }
  if (managed.size() == discrete.size()) return load_on(options, file, std::move(managed));
  return load_on(options, file, std::move(discrete));
}

allot::load::PlannedDevice ask_hip_device(const DeviceName& name) {
  const allot::HipDevice<> device{name.number};
  allot::load::PlannedDevice planned = allot::load::planned_device(device);
  const allot::hip::DeviceProperties& properties = device.properties();
  if (properties.is_integrated && properties.has_managed_memory)
    planned.transfer = allot::load::Transfer::direct;
  return planned;
}
