// SPDX-License-Identifier: MIT
/// \file
/// `HostDevice`: the host itself as a device. Its free memory is the least of what the system has
/// available and what the process's control groups and limits leave.
#pragma once

#include <allot/core/memory_info.hpp>
#include <allot/device/device.hpp>
#include <allot/memory/host_memory.hpp>
#include <allot/os/host_memory_info.hpp>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace allot {

/// The host, with memory from one anonymous mapping. Its streams run their work immediately.
class HostDevice {
 public:
  using memory_type = HostMemory;
  using staging_memory_type = HostMemory;
  struct stream_type {};
  struct event_type {};

  /// Asks for huge pages: reading a model into fresh memory is mostly page faults.
  explicit HostDevice(HostMemory::Options options = {.huge_pages = true}) noexcept
      : options_{options} {}

  [[nodiscard]] HostMemory memory() const noexcept { return HostMemory{options_}; }

  [[nodiscard]] HostMemory staging_memory() const noexcept { return HostMemory{}; }
  [[nodiscard]] stream_type make_stream() const noexcept { return {}; }
  [[nodiscard]] event_type make_event() const noexcept { return {}; }

  void copy_to_device(void* to, const void* from, std::uint64_t bytes,
                      stream_type&) const noexcept {
    std::memmove(to, from, bytes);
  }
  void copy_to_host(void* to, const void* from, std::uint64_t bytes, stream_type&) const noexcept {
    std::memmove(to, from, bytes);
  }
  void copy_on_device(void* to, const void* from, std::uint64_t bytes,
                      stream_type&) const noexcept {
    std::memmove(to, from, bytes);
  }
  void record(event_type&, stream_type&) const noexcept {}
  void wait(stream_type&, event_type&) const noexcept {}
  void synchronize(stream_type&) const noexcept {}
  void synchronize(event_type&) const noexcept {}
  [[nodiscard]] bool is_done(const event_type&) const noexcept { return true; }

  template <class = void>
  [[nodiscard]] MemoryInfo memory_info() const {
    return host_memory();
  }
  template <class = void>
  [[nodiscard]] std::vector<MemorySource> memory_sources() const {
    return host_memory_sources();
  }
  [[nodiscard]] bool host_addressable() const noexcept { return true; }
  [[nodiscard]] std::string name() const { return "host"; }

 private:
  HostMemory::Options options_;
};

static_assert(Device<HostDevice>);

}  // namespace allot
