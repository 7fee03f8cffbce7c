// SPDX-License-Identifier: MIT
// HIP functions that allot does not call, for programs that were written for HIP alone.
#include <dlfcn.h>

#include <atomic>

#include "hipsim/simulator.hpp"

using hipsim::Allocation;
using hipsim::current_device;
using hipsim::Kind;
using hipsim::Simulator;

/// Physical memory: charged to its device, without an address until it is mapped.
struct ihipMemGenericAllocationHandle {
  void* memory;  // where the simulator has it
  std::uint64_t bytes;
};

namespace {

template <class F>
hipError_t call(const char* name, F&& f) {
  Simulator& simulator = Simulator::get();
  if (const auto error = simulator.enter(name)) return *error;
  return f(simulator);
}

/// The block that an address lies in.
[[nodiscard]] Allocation* live_at(Simulator& simulator, const void* address) {
  Allocation* const found = simulator.find(address);
  return found != nullptr && found->is_live ? found : nullptr;
}

ihipMemPoolHandle_t default_pools[16];
std::atomic<bool> is_captured{false};

}  // namespace

extern "C" {

#if HIP_VERSION < 60200000
// Not in these headers. By version, as a library that stands in front of this one may have a plain `dlsym`.
hipError_t hipGetProcAddress(const char* name, void** function, int, std::uint64_t, void*);
hipError_t hipGetProcAddress(const char* name, void** function, int, std::uint64_t, void*) {
  return call("hipGetProcAddress", [&](Simulator&) {
    Dl_info own;
    if (::dladdr(&default_pools, &own) == 0) return hipErrorUnknown;
    void* const self = ::dlopen(own.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    *function = self == nullptr ? nullptr : ::dlvsym(self, name, "hip_4.2");
    return *function == nullptr ? hipErrorInvalidValue : hipSuccess;
  });
}
#endif
hipError_t hipInit(unsigned) {
  return call("hipInit", [](Simulator&) { return hipSuccess; });
}
hipError_t hipDeviceReset() {
  return call("hipDeviceReset", [](Simulator& simulator) {
    return simulator.synchronize_device(current_device);  // what is live stays: nothing may use it
  });
}
hipError_t hipStreamCreate(hipStream_t* stream) { return hipStreamCreateWithFlags(stream, 0); }
hipError_t hipEventCreate(hipEvent_t* event) { return hipEventCreateWithFlags(event, 0); }
hipError_t hipStreamIsCapturing(hipStream_t stream, hipStreamCaptureStatus* status) {
  return call("hipStreamIsCapturing", [&](Simulator& simulator) {
    if (stream != nullptr) {
      const hipError_t code = simulator.check_stream(stream, "hipStreamIsCapturing");
      if (code != hipSuccess) return code;
    }
    *status = is_captured ? hipStreamCaptureStatusActive : hipStreamCaptureStatusNone;
    return hipSuccess;
  });
}
// Captures say that they are ones, and do no more: what is submitted runs.
hipError_t hipStreamBeginCapture(hipStream_t, hipStreamCaptureMode) {
  return call("hipStreamBeginCapture", [](Simulator&) {
    is_captured = true;
    return hipSuccess;
  });
}
hipError_t hipStreamEndCapture(hipStream_t, hipGraph_t* graph) {
  return call("hipStreamEndCapture", [&](Simulator&) {
    is_captured = false;
    *graph = nullptr;
    return hipSuccess;
  });
}

hipError_t hipMallocAsync(void** address, std::size_t bytes, hipStream_t stream) {
  return hipMallocFromPoolAsync(address, bytes, &default_pools[current_device % 16], stream);
}
hipError_t hipDeviceGetDefaultMemPool(hipMemPool_t* pool, int device) {
  return call("hipDeviceGetDefaultMemPool", [&](Simulator&) {
    if (device < 0 || device >= 16) return hipErrorInvalidDevice;
    default_pools[device].device = device;
    *pool = &default_pools[device];
    return hipSuccess;
  });
}

hipError_t hipPointerGetAttributes(hipPointerAttribute_t* attributes, const void* address) {
  return call("hipPointerGetAttributes", [&](Simulator& simulator) {
    const std::scoped_lock lock{simulator.mutex};
    const Allocation* const found = live_at(simulator, address);
    if (attributes == nullptr || found == nullptr) return hipErrorInvalidValue;
    *attributes = {};
    attributes->memoryType = found->kind == Kind::pinned ? hipMemoryTypeHost : hipMemoryTypeDevice;
    attributes->device = found->device;
    attributes->devicePointer = const_cast<void*>(address);
    attributes->isManaged = found->kind == Kind::managed ? 1 : 0;
    return hipSuccess;
  });
}
hipError_t hipMemPtrGetInfo(void* address, std::size_t* bytes) {
  return call("hipMemPtrGetInfo", [&](Simulator& simulator) {
    const std::scoped_lock lock{simulator.mutex};
    const Allocation* const found = live_at(simulator, address);
    if (bytes == nullptr || found == nullptr) return hipErrorInvalidValue;
    *bytes = found->bytes;
    return hipSuccess;
  });
}

// Virtual memory: an address range is memory of the device while something is mapped to it.

hipError_t hipMemGetAllocationGranularity(std::size_t* granularity, const hipMemAllocationProp*,
                                          hipMemAllocationGranularity_flags) {
  return call("hipMemGetAllocationGranularity", [&](Simulator&) {
    *granularity = std::size_t{2} << 20;
    return hipSuccess;
  });
}
hipError_t hipMemCreate(hipMemGenericAllocationHandle_t* handle, std::size_t bytes,
                        const hipMemAllocationProp* properties, unsigned long long) {
  return call("hipMemCreate", [&](Simulator& simulator) {
    void* memory = nullptr;
    const hipError_t code =
        simulator.allocate(&memory, bytes, properties->location.id, Kind::device);
    if (code == hipSuccess) *handle = new ihipMemGenericAllocationHandle{memory, bytes};
    return code;
  });
}
hipError_t hipMemRelease(hipMemGenericAllocationHandle_t handle) {
  return call("hipMemRelease", [&](Simulator& simulator) {
    if (handle == nullptr) return hipErrorInvalidValue;
    const hipError_t code = simulator.release(handle->memory, false);
    delete handle;
    return code;
  });
}
hipError_t hipMemAddressReserve(void** address, std::size_t bytes, std::size_t, void*,
                                unsigned long long) {
  return call("hipMemAddressReserve", [&](Simulator&) {
    *address = hipsim::reserve_addresses(bytes);
    return *address == nullptr ? hipErrorOutOfMemory : hipSuccess;
  });
}
hipError_t hipMemAddressFree(void*, std::size_t) {
  return call("hipMemAddressFree", [](Simulator&) { return hipSuccess; });
}
hipError_t hipMemMap(void* address, std::size_t bytes, std::size_t offset,
                     hipMemGenericAllocationHandle_t handle, unsigned long long) {
  return call("hipMemMap", [&](Simulator& simulator) {
    const std::scoped_lock lock{simulator.mutex};
    const Allocation* const memory = live_at(simulator, handle->memory);
    if (memory == nullptr || offset > memory->bytes || bytes > memory->bytes - offset)
      return hipErrorInvalidValue;
    auto* const first = static_cast<std::byte*>(address);
    Allocation mapped{.kind = Kind::imported,
                      .device = memory->device,
                      .address = first,
                      .bytes = bytes,
                      .view = memory->view + offset,
                      .file_offset = memory->file_offset + offset,
                      .charged_bytes = 0,
                      .accesses = {},
                      .blocks = {}};
    simulator.allocations.insert_or_assign(first, std::move(mapped));
    return hipSuccess;
  });
}
hipError_t hipMemSetAccess(void*, std::size_t, const hipMemAccessDesc*, std::size_t) {
  return call("hipMemSetAccess", [](Simulator&) { return hipSuccess; });
}
hipError_t hipMemUnmap(void* address, std::size_t) {
  return call("hipMemUnmap", [&](Simulator& simulator) {
    const std::scoped_lock lock{simulator.mutex};
    Allocation* const found = live_at(simulator, address);
    if (found == nullptr || found->address != address) return hipErrorInvalidValue;
    found->is_live = false;
    return hipSuccess;
  });
}

}  // extern "C"
