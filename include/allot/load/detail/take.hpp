// SPDX-License-Identifier: MIT
/// \file
/// Copies one tensor's bytes into a separate allocation on a device.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/device/device.hpp>
#include <allot/load/plan/weight_policy.hpp>
#include <allot/policy_set.hpp>
#include <allot/slice.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>

namespace allot::load::detail {

/// Copies from memory of the host through a staging buffer. Waits until the bytes are there.
template <Device DeviceType>
void copy_from_host(DeviceType& device, std::byte* to, const std::byte* from, std::uint64_t bytes) {
  const std::uint64_t room = smaller<std::uint64_t>(bytes, 4 * MiB);
  auto memory = device.staging_memory();
  const auto staging = memory.acquire(room, 256);
  auto stream = device.make_stream();
  for (std::uint64_t at = 0; at < bytes; at += room) {
    const std::uint64_t piece = smaller(room, bytes - at);
    std::memcpy(staging.address(), from + at, static_cast<std::size_t>(piece));
    device.copy_to_device(to + at, staging.address(), piece, stream);
    device.synchronize(stream);
  }
}

/// Returns a copy of `bytes` bytes in a separate arena on `device`.
/// \param is_on_host    the host may touch the source
/// \param is_on_device  the source is memory of that device
/// Throws: `OutOfMemory`; what the device throws; `std::invalid_argument` if they are on another one.
template <Device DeviceType>
[[nodiscard]] Slice<AccessOf<typename DeviceType::memory_type>> take(
    DeviceType& device, const std::string& name, const void* from, std::uint64_t bytes,
    bool is_on_host, bool is_on_device) {
  using SharedArena = Shared<ArenaOf<DefaultWeights, typename DeviceType::memory_type>>;
  if (bytes == 0) return {};
  if (!is_on_host && !is_on_device) {
    throw std::invalid_argument{"tensor " + name + " is not on " + std::string{device.name()} +
                                ", nor where the host may touch it; take it with its own device"};
  }
  constexpr std::uint64_t unit = DefaultWeights::Alignment::value;
  SharedArena arena{bytes + (unit - 1), device.memory()};
  auto slice = arena.allocate({.bytes = bytes, .name = name});
  auto* const to = static_cast<std::byte*>(slice.address());
  if (is_on_device) {
    auto stream = device.make_stream();
    device.copy_on_device(to, from, bytes, stream);
    device.synchronize(stream);
  } else if (device.host_addressable()) {
    std::memcpy(to, from, static_cast<std::size_t>(bytes));
  } else {
    copy_from_host(device, to, static_cast<const std::byte*>(from), bytes);
  }
  return slice;
}

}  // namespace allot::load::detail
