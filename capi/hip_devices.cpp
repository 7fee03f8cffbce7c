// SPDX-License-Identifier: MIT
// GPUs, in a library that is built with HIP.
#include <allot/device/hip_device.hpp>
#include <allot/memory/hip.hpp>

#include "device_over.hpp"
#include "devices.hpp"

namespace allot::capi {
namespace {

template <class Memory>
class RegionOf final : public AnyRegion {
 public:
  RegionOf(int device, std::uint64_t bytes, std::uint64_t alignment)
      : region_{Memory{device}.acquire(bytes, alignment)} {}
  void* address() const noexcept override { return region_.address(); }
  std::uint64_t alignment() const noexcept override { return region_.alignment(); }

 private:
  typename Memory::Region region_;
};

}  // namespace

std::shared_ptr<AnyDevice> make_hip_device(int id) {
  return std::make_shared<DeviceOver<HipDevice<>>>(HipDevice<>{id});
}

std::unique_ptr<AnyRegion> take_hip_memory(allot_memory memory, int device, std::uint64_t bytes,
                                           std::uint64_t alignment) {
  hip::require_device(device);
  switch (memory) {
    case ALLOT_HIP_PINNED:
      return std::make_unique<RegionOf<hip::PinnedMemory>>(device, bytes, alignment);
    case ALLOT_HIP_MANAGED:
      return std::make_unique<RegionOf<hip::ManagedMemory>>(device, bytes, alignment);
    default:
      return std::make_unique<RegionOf<hip::DeviceMemory>>(device, bytes, alignment);
  }
}

}  // namespace allot::capi
