// SPDX-License-Identifier: MIT
/// \file
/// What a loader requires of a device: its memory, how much of it is free, and how bytes get there.
/// docs/policies.md lists the devices.
#pragma once

#include <allot/core/memory_info.hpp>
#include <allot/memory/memory.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>

namespace allot {

/// What `load` requires of a device.
///
/// | expression                             | meaning                                            |
/// |----------------------------------------|----------------------------------------------------|
/// | `Type::memory_type`, `d.memory()`      | the memory policy of its arenas, for this device   |
/// | `Type::staging_memory_type`,           |                                                    |
/// | `d.staging_memory()`                   | host memory that it copies from at full speed      |
/// | `Type::stream_type`, `d.make_stream()` | work in order; synchronized before it is released  |
/// | `Type::event_type`, `d.make_event()`   | a point in a stream's work                         |
/// | `d.copy_to_device(to, from, bytes, s)` | from staging memory, on a stream                   |
/// | `d.copy_to_host(to, from, bytes, s)`   | into staging memory, on a stream                   |
/// | `d.copy_on_device(to, from, bytes, s)` | between two places on it, on a stream              |
/// | `d.record(e, s)`                       | records the event after the stream's work so far   |
/// | `d.wait(s, e)`                         | makes later work of the stream wait, not the host  |
/// | `d.synchronize(s)`, `d.synchronize(e)` | the host waits; an event never recorded is done    |
/// | `cd.is_done(e)`                        | false if `synchronize(e)` would wait               |
/// | `cd.memory_info()`                     | `MemoryInfo{free, total}`, now                     |
/// | `cd.host_addressable()`                | whether the host may write its memory; at run time |
/// | `cd.name()`                            | for messages: `host`, `hip:0`                      |
///
/// One may also have `memory_sources()`: what its free memory is the least of, `MemorySource`s.
///
/// Any thread may call any of these; copies on one stream, only one thread at a time. All but
/// `host_addressable` may throw the device's errors, such as `hip::Error`. An error of a copy may
/// be thrown by a later call on its stream instead.
template <class DeviceType>
concept Device = Memory<typename DeviceType::memory_type> &&
    Memory<typename DeviceType::staging_memory_type> &&
    DeviceType::staging_memory_type::host_accessible &&
    detail::Movable<typename DeviceType::stream_type> &&
    detail::Movable<typename DeviceType::event_type> &&
    requires(DeviceType d, const DeviceType cd, typename DeviceType::stream_type& stream,
             typename DeviceType::event_type& event, void* to, const void* from,
             std::uint64_t bytes) {
  { d.memory() } -> std::same_as<typename DeviceType::memory_type>;
  { d.staging_memory() } -> std::same_as<typename DeviceType::staging_memory_type>;
  { d.make_stream() } -> std::same_as<typename DeviceType::stream_type>;
  { d.make_event() } -> std::same_as<typename DeviceType::event_type>;
  d.copy_to_device(to, from, bytes, stream);
  d.copy_to_host(to, from, bytes, stream);
  d.copy_on_device(to, from, bytes, stream);
  d.record(event, stream);
  d.wait(stream, event);
  d.synchronize(stream);
  d.synchronize(event);
  { cd.is_done(event) } -> std::same_as<bool>;
  { cd.memory_info() } -> std::same_as<MemoryInfo>;
  { cd.host_addressable() } -> std::same_as<bool>;
  { cd.name() } -> std::convertible_to<std::string>;
};

}  // namespace allot
