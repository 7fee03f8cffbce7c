// SPDX-License-Identifier: MIT
/// \file
/// What a loader needs of a device: its memory, and how much of it is free.
///
/// | device       | its memory           | how bytes get there                             |
/// |--------------|----------------------|-------------------------------------------------|
/// | `HostDevice` | the host's           | the file is read straight into place            |
#pragma once

#include <allot/memory/memory.hpp>

#include <concepts>
#include <cstdint>
#include <string>

namespace allot {

/// Bytes of a device's memory.
struct MemoryInfo {
  std::uint64_t free;
  std::uint64_t total;
};

/// What `load` asks of a device.
///
/// | expression               | meaning                                                           |
/// |--------------------------|-------------------------------------------------------------------|
/// | `D::memory_type`         | the memory policy of its arenas                                   |
/// | `d.memory()`             | such a policy, for this device                                    |
/// | `cd.memory_info()`       | `MemoryInfo{free, total}`, now                                    |
/// | `cd.host_addressable()`  | whether the host may write the device's memory; known at run time |
/// | `cd.name()`              | for messages: `host`, `hip:0`                                     |
template <class D>
concept Device = Memory<typename D::memory_type> && requires(D d, const D cd) {
  { d.memory() } -> std::same_as<typename D::memory_type>;
  { cd.memory_info() } -> std::same_as<MemoryInfo>;
  { cd.host_addressable() } -> std::same_as<bool>;
  { cd.name() } -> std::convertible_to<std::string>;
};

}  // namespace allot
