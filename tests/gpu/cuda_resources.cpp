// SPDX-License-Identifier: MIT
// What tests/hip/test_cuda_resource.cpp states again, by libcu++'s own headers: compiled by scripts/gpu-test, not
// run. (Before libcu++ 3.1 its concepts had other members, behind a macro.)
#include <cuda/memory_resource>
#include <cuda/stream_ref>

#include <allot/arena.hpp>
#include <allot/device/hip_device.hpp>
#include <allot/interop/cuda_resource.hpp>
#include <allot/memory/host_memory.hpp>
#include <allot/observer/address_index.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/synchronization/locked.hpp>

namespace {

using cuda::mr::device_accessible;
using cuda::mr::host_accessible;

using OverPool = allot::mr::PoolResource<allot::BufferPool<allot::HipDevice<>>, device_accessible>;
static_assert(cuda::mr::resource_with<OverPool, device_accessible>);
static_assert(!cuda::mr::resource_with<OverPool, host_accessible>);

using HostArena = allot::Arena<allot::BestFit, allot::AlignTo<256>, allot::Locked<>,
                               allot::HostMemory, allot::AddressIndex>;
using OverArena = allot::mr::ArenaResource<HostArena, host_accessible>;
static_assert(cuda::mr::resource_with<OverArena, host_accessible>);
static_assert(!cuda::mr::resource_with<OverArena, device_accessible>);

}  // namespace

/// As programs take any resource: by reference, or as a copy.
void* take_from_pool(OverPool& resource, cuda::stream_ref stream) {
  cuda::mr::resource_ref<device_accessible> reference{resource};
  void* const address = reference.allocate(stream, 1000, 256);
  reference.deallocate(stream, address, 1000, 256);
  return cuda::mr::any_resource<device_accessible>{resource}.allocate(stream, 1000, 256);
}
void* take_from_arena(OverArena& resource, cuda::stream_ref stream) {
  cuda::mr::resource_ref<host_accessible> reference{resource};
  reference.deallocate_sync(reference.allocate_sync(1000, 256), 1000, 256);
  return reference.allocate(stream, 1000, 256);
}
