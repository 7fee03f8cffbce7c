// SPDX-License-Identifier: MIT
/// \file
/// `WatchedMemory`: HIP device memory whose regions tell hipsim which blocks their arena has in
/// use.
#pragma once

#include <allot/device/hip_device.hpp>
#include <allot/memory/hip.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "hipsim/hipsim.hpp"

namespace hipsim {

class WatchedMemory {
 public:
  static constexpr bool host_accessible = false;
  static constexpr bool device_accessible = true;

  class Region : public allot::hip::DeviceMemory::Region {
   public:
    Region() noexcept = default;
    explicit Region(allot::hip::DeviceMemory::Region region) noexcept
        : allot::hip::DeviceMemory::Region{std::move(region)} {}

    void mark_used(std::uint64_t offset, std::uint64_t bytes) noexcept {
      block_used(static_cast<std::byte*>(address()) + offset, bytes);
    }
    void mark_free(std::uint64_t offset, std::uint64_t bytes) noexcept {
      block_freed(static_cast<std::byte*>(address()) + offset, bytes);
    }
  };

  explicit WatchedMemory(int device) : memory_{device} {}

  [[nodiscard]] Region acquire(std::uint64_t bytes, std::uint64_t alignment) {
    return Region{memory_.acquire(bytes, alignment)};
  }

 private:
  allot::hip::DeviceMemory memory_;
};

using WatchedDevice = allot::HipDevice<WatchedMemory>;
static_assert(allot::Device<WatchedDevice>);

}  // namespace hipsim
