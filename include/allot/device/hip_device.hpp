// SPDX-License-Identifier: MIT
/// \file
/// `HipDevice`: a GPU through HIP's runtime. Includes HIP.
#pragma once

#include <allot/core/memory_info.hpp>
#include <allot/device/device.hpp>
#include <allot/hip/current_device.hpp>
#include <allot/hip/properties.hpp>
#include <allot/hip/stream.hpp>
#include <allot/memory/hip.hpp>
#include <allot/os/host_memory_info.hpp>

#include <concepts>
#include <cstdint>
#include <string>
#include <vector>

namespace allot {

/// A GPU. Copies of the object refer to the same device.
///
/// \tparam MemoryType  the memory policy of its arenas: `hip::DeviceMemory`; `hip::ManagedMemory`
/// for an integrated GPU, whose memory the host can then address; or one of your own
template <Memory MemoryType = hip::DeviceMemory>
requires std::constructible_from<MemoryType, int> && std::copyable<MemoryType>
class HipDevice {
 public:
  using memory_type = MemoryType;
  using staging_memory_type = hip::PinnedMemory;
  using stream_type = hip::Stream;
  using event_type = hip::Event;

  /// The device `hip:ID`. Throws: `hip::NoDevice` if there is none at all, saying what to check;
  /// `std::invalid_argument` if none has that number; `hip::Error`.
  explicit HipDevice(int id = 0) : properties_{hip::properties(id)}, memory_{id} {}

  /// Returns the device's properties, as they were when this was made.
  [[nodiscard]] const hip::DeviceProperties& properties() const noexcept { return properties_; }
  /// Returns the device's number, as HIP counts them.
  [[nodiscard]] int id() const noexcept { return properties_.device; }

  /// Copies share whatever the policy shares, such as a pool.
  [[nodiscard]] memory_type memory() const { return memory_; }
  [[nodiscard]] staging_memory_type staging_memory() const noexcept {
    return staging_memory_type{id()};
  }
  /// Throws: `hip::Error`, as do all that follow.
  [[nodiscard]] stream_type make_stream() const { return stream_type{id()}; }
  [[nodiscard]] event_type make_event() const { return event_type{id()}; }

  void copy_to_device(void* to, const void* from, std::uint64_t bytes, stream_type& stream) const {
    stream.copy(to, from, bytes, hipMemcpyHostToDevice);
  }
  void copy_to_host(void* to, const void* from, std::uint64_t bytes, stream_type& stream) const {
    stream.copy(to, from, bytes, hipMemcpyDeviceToHost);
  }
  void copy_on_device(void* to, const void* from, std::uint64_t bytes, stream_type& stream) const {
    stream.copy(to, from, bytes, hipMemcpyDeviceToDevice);
  }
  void record(event_type& event, stream_type& stream) const { stream.record(event); }
  void wait(stream_type& stream, event_type& event) const { stream.wait(event); }
  void synchronize(stream_type& stream) const { stream.synchronize(); }
  void synchronize(event_type& event) const { event.synchronize(); }
  [[nodiscard]] bool is_done(const event_type& event) const { return event.is_done(); }

  /// Directs this thread's kernel launches to this device, for a scope. The members here do that
  /// themselves.
  [[nodiscard]] hip::CurrentDevice make_current() const { return hip::CurrentDevice{id()}; }

  /// Returns the total, and as free the least of what `memory_sources` lists.
  [[nodiscard]] MemoryInfo memory_info() const {
    return {.free = host_memory_info::least_of(memory_sources()), .total = properties_.total_bytes};
  }
  [[nodiscard]] std::vector<MemorySource> memory_sources() const {
    return hip::memory_sources(properties_);
  }
  /// Returns whether the host may write the memory of its arenas.
  [[nodiscard]] bool host_addressable() const noexcept { return MemoryType::host_accessible; }
  [[nodiscard]] std::string name() const { return "hip:" + std::to_string(id()); }

 private:
  hip::DeviceProperties properties_;
  memory_type memory_;
};

static_assert(Device<HipDevice<>> && Device<HipDevice<hip::ManagedMemory>>);

}  // namespace allot
