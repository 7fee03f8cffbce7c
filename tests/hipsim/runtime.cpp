// SPDX-License-Identifier: MIT
// The HIP functions that allot calls, and those of hipsim.hpp.
#include <unistd.h>

#include <cstring>
#include <thread>

#include "hipsim/simulator.hpp"

using hipsim::Crime;
using hipsim::current_device;
using hipsim::Kind;
using hipsim::Simulator;

namespace {

thread_local hipError_t last_error = hipSuccess;

hipError_t noted(hipError_t code) {
  if (code != hipSuccess) last_error = code;
  return code;
}

/// Does a call, unless it is to fail.
template <class F>
hipError_t call(const char* name, F&& f) {
  Simulator& simulator = Simulator::get();
  if (const auto error = simulator.enter(name)) return noted(*error);
  return noted(f(simulator));
}

[[nodiscard]] bool is_device(Simulator& simulator, int device) {
  const std::scoped_lock lock{simulator.mutex};
  return device >= 0 && static_cast<std::size_t>(device) < simulator.devices.size();
}

[[nodiscard]] hipStream_t stream_or_default(Simulator& simulator, hipStream_t stream) {
  return stream != nullptr ? stream : simulator.default_stream(current_device);
}

struct Named {
  hipError_t code;
  const char* name;
};
constexpr Named error_names[] = {
    {hipSuccess, "hipSuccess"},
    {hipErrorInvalidValue, "hipErrorInvalidValue"},
    {hipErrorOutOfMemory, "hipErrorOutOfMemory"},
    {hipErrorNotInitialized, "hipErrorNotInitialized"},
    {hipErrorNoDevice, "hipErrorNoDevice"},
    {hipErrorInvalidDevice, "hipErrorInvalidDevice"},
    {hipErrorInvalidContext, "hipErrorInvalidContext"},
    {hipErrorInvalidHandle, "hipErrorInvalidHandle"},
    {hipErrorInvalidMemcpyDirection, "hipErrorInvalidMemcpyDirection"},
    {hipErrorNotReady, "hipErrorNotReady"},
    {hipErrorNotSupported, "hipErrorNotSupported"},
    {hipErrorUnknown, "hipErrorUnknown"},
};

}  // namespace

extern "C" {

const char* hipGetErrorName(hipError_t code) {
  for (const Named& named : error_names) {
    if (named.code == code) return named.name;
  }
  return "hipErrorUnknown";
}
const char* hipGetErrorString(hipError_t code) { return hipGetErrorName(code); }
hipError_t hipGetLastError() {
  const hipError_t code = last_error;
  last_error = hipSuccess;
  return code;
}

// Devices

hipError_t hipGetDeviceCount(int* count) {
  return call("hipGetDeviceCount", [&](Simulator& simulator) {
    const std::scoped_lock lock{simulator.mutex};
    *count = static_cast<int>(simulator.devices.size());
    return simulator.devices.empty() ? hipErrorNoDevice : hipSuccess;
  });
}
hipError_t hipGetDevice(int* device) {
  return call("hipGetDevice", [&](Simulator& simulator) {
    if (!is_device(simulator, current_device)) return hipErrorInvalidDevice;
    *device = current_device;
    return hipSuccess;
  });
}
hipError_t hipSetDevice(int device) {
  return call("hipSetDevice", [&](Simulator& simulator) {
    if (!is_device(simulator, device)) return hipErrorInvalidDevice;
    current_device = device;
    return hipSuccess;
  });
}
hipError_t hipGetDeviceProperties(hipDeviceProp_t* properties, int device) {
  return call("hipGetDeviceProperties", [&](Simulator& simulator) {
    if (!is_device(simulator, device)) return hipErrorInvalidDevice;
    const std::scoped_lock lock{simulator.mutex};
    const auto& model = simulator.devices[static_cast<std::size_t>(device)].model;
    *properties = hipDeviceProp_t{};
    std::strncpy(properties->name, model.name.c_str(), sizeof properties->name - 1);
    std::strncpy(properties->gcnArchName, model.architecture.c_str(),
                 sizeof properties->gcnArchName - 1);
    properties->totalGlobalMem = model.memory;
    return hipSuccess;
  });
}
hipError_t hipDeviceGetAttribute(int* value, hipDeviceAttribute_t attribute, int device) {
  return call("hipDeviceGetAttribute", [&](Simulator& simulator) {
    if (!is_device(simulator, device)) return hipErrorInvalidDevice;
    const std::scoped_lock lock{simulator.mutex};
    const auto& model = simulator.devices[static_cast<std::size_t>(device)].model;
    switch (attribute) {
      case hipDeviceAttributeIntegrated:
        *value = model.is_integrated ? 1 : 0;
        return hipSuccess;
      case hipDeviceAttributeManagedMemory:
        *value = 1;
        return hipSuccess;
      case hipDeviceAttributeMemoryPoolsSupported:
        *value = model.has_pools ? 1 : 0;
        return hipSuccess;
      default:
        return hipErrorInvalidValue;
    }
  });
}
hipError_t hipDeviceSynchronize() {
  return call("hipDeviceSynchronize",
              [](Simulator& simulator) { return simulator.synchronize_device(current_device); });
}
hipError_t hipMemGetInfo(std::size_t* free, std::size_t* total) {
  return call("hipMemGetInfo", [&](Simulator& simulator) {
    const std::scoped_lock lock{simulator.mutex};
    const auto& device = simulator.devices[static_cast<std::size_t>(current_device)];
    *free = device.model.memory - device.used;
    *total = device.model.memory;
    return hipSuccess;
  });
}

// Memory

hipError_t hipMalloc(void** address, std::size_t bytes) {
  return call("hipMalloc", [&](Simulator& simulator) {
    if (address == nullptr) return hipErrorInvalidValue;
    if (bytes == 0) {
      *address = nullptr;
      return hipSuccess;
    }
    return simulator.allocate(address, bytes, current_device, Kind::device);
  });
}
hipError_t hipFree(void* address) {
  return call("hipFree", [&](Simulator& simulator) {
    return address == nullptr ? hipSuccess : simulator.release(address, false);
  });
}
hipError_t hipHostMalloc(void** address, std::size_t bytes, unsigned) {
  return call("hipHostMalloc", [&](Simulator& simulator) {
    return simulator.allocate(address, bytes, current_device, Kind::pinned);
  });
}
hipError_t hipHostFree(void* address) {
  return call("hipHostFree", [&](Simulator& simulator) {
    return address == nullptr ? hipSuccess : simulator.release(address, true);
  });
}
hipError_t hipMallocManaged(void** address, std::size_t bytes, unsigned) {
  return call("hipMallocManaged", [&](Simulator& simulator) {
    return simulator.allocate(address, bytes, current_device, Kind::managed);
  });
}
hipError_t hipMemGetAddressRange(hipDeviceptr_t* base, std::size_t* bytes, hipDeviceptr_t address) {
  return call("hipMemGetAddressRange", [&](Simulator& simulator) {
    const std::scoped_lock lock{simulator.mutex};
    const auto* const found = simulator.find(address);
    if (found == nullptr || !found->is_live) return hipErrorInvalidValue;
    *base = found->address;
    *bytes = found->bytes;
    return hipSuccess;
  });
}
hipError_t hipMemPoolCreate(hipMemPool_t* pool, const hipMemPoolProps* properties) {
  return call("hipMemPoolCreate", [&](Simulator& simulator) {
    const std::scoped_lock lock{simulator.mutex};
    *pool = new ihipMemPoolHandle_t{properties->location.id};
    simulator.pools.insert(*pool);
    return hipSuccess;
  });
}
hipError_t hipMemPoolSetAttribute(hipMemPool_t, hipMemPoolAttr, void*) {
  return call("hipMemPoolSetAttribute", [](Simulator&) { return hipSuccess; });
}
hipError_t hipMemPoolTrimTo(hipMemPool_t, std::size_t) {
  return call("hipMemPoolTrimTo", [](Simulator&) { return hipSuccess; });
}
hipError_t hipMemPoolDestroy(hipMemPool_t pool) {
  return call("hipMemPoolDestroy", [&](Simulator& simulator) {
    const std::scoped_lock lock{simulator.mutex};
    if (simulator.pools.erase(pool) == 0) return hipErrorInvalidValue;
    delete pool;
    return hipSuccess;
  });
}
hipError_t hipMallocFromPoolAsync(void** address, std::size_t bytes, hipMemPool_t pool,
                                  hipStream_t stream) {
  return call("hipMallocFromPoolAsync", [&](Simulator& simulator) {
    hipStream_t const on = stream_or_default(simulator, stream);
    const hipError_t code = simulator.check_stream(on, "hipMallocFromPoolAsync");
    if (code != hipSuccess) return code;
    return simulator.allocate(address, bytes, pool->device, Kind::device);
  });
}
hipError_t hipFreeAsync(void* address, hipStream_t stream) {
  return call("hipFreeAsync", [&](Simulator& simulator) {
    hipStream_t const on = stream_or_default(simulator, stream);
    const hipError_t code = simulator.check_stream(on, "hipFreeAsync");
    if (code != hipSuccess) return code;
    return simulator.release(address, false);
  });
}

// Other processes

hipError_t hipIpcGetMemHandle(hipIpcMemHandle_t* handle, void* address) {
  return call("hipIpcGetMemHandle",
              [&](Simulator& simulator) { return simulator.export_handle(address, handle); });
}
hipError_t hipIpcOpenMemHandle(void** address, hipIpcMemHandle_t handle, unsigned) {
  return call("hipIpcOpenMemHandle", [&](Simulator& simulator) {
    return simulator.import_handle(address, handle, current_device);
  });
}
hipError_t hipIpcCloseMemHandle(void* address) {
  return call("hipIpcCloseMemHandle",
              [&](Simulator& simulator) { return simulator.close_import(address); });
}

// Streams

hipError_t hipStreamCreateWithFlags(hipStream_t* stream, unsigned) {
  return call("hipStreamCreateWithFlags", [&](Simulator& simulator) {
    *stream = simulator.make_stream(current_device);
    return hipSuccess;
  });
}
hipError_t hipStreamDestroy(hipStream_t stream) {
  return call("hipStreamDestroy", [&](Simulator& simulator) {
    const hipError_t code = simulator.check_stream(stream, "hipStreamDestroy");
    return code == hipSuccess ? simulator.destroy_stream(stream) : code;
  });
}
hipError_t hipStreamSynchronize(hipStream_t stream) {
  return call("hipStreamSynchronize", [&](Simulator& simulator) {
    hipStream_t const on = stream_or_default(simulator, stream);
    const hipError_t code = simulator.check_stream(on, "hipStreamSynchronize");
    return code == hipSuccess ? simulator.synchronize(on) : code;
  });
}
hipError_t hipStreamWaitEvent(hipStream_t stream, hipEvent_t event, unsigned) {
  return call("hipStreamWaitEvent", [&](Simulator& simulator) {
    hipStream_t const on = stream_or_default(simulator, stream);
    hipError_t code = simulator.check_stream(on, "hipStreamWaitEvent");
    if (code == hipSuccess) code = simulator.check_event(event, "hipStreamWaitEvent");
    return code == hipSuccess ? simulator.wait(on, event) : code;
  });
}
hipError_t hipMemcpyAsync(void* to, const void* from, std::size_t bytes, hipMemcpyKind kind,
                          hipStream_t stream) {
  return call("hipMemcpyAsync", [&](Simulator& simulator) {
    hipStream_t const on = stream_or_default(simulator, stream);
    const hipError_t code = simulator.check_stream(on, "hipMemcpyAsync");
    return code == hipSuccess ? simulator.copy(to, from, bytes, kind, on) : code;
  });
}
hipError_t hipMemcpy(void* to, const void* from, std::size_t bytes, hipMemcpyKind kind) {
  return call("hipMemcpy", [&](Simulator& simulator) {
    hipStream_t const on = simulator.default_stream(current_device);
    const hipError_t code = simulator.copy(to, from, bytes, kind, on);
    return code == hipSuccess ? simulator.synchronize(on) : code;
  });
}

// Events

hipError_t hipEventCreateWithFlags(hipEvent_t* event, unsigned) {
  return call("hipEventCreateWithFlags", [&](Simulator& simulator) {
    *event = simulator.make_event(current_device);
    return hipSuccess;
  });
}
hipError_t hipEventDestroy(hipEvent_t event) {
  return call("hipEventDestroy", [&](Simulator& simulator) {
    const hipError_t code = simulator.check_event(event, "hipEventDestroy");
    return code == hipSuccess ? simulator.destroy_event(event) : code;
  });
}
hipError_t hipEventRecord(hipEvent_t event, hipStream_t stream) {
  return call("hipEventRecord", [&](Simulator& simulator) {
    hipStream_t const on = stream_or_default(simulator, stream);
    hipError_t code = simulator.check_stream(on, "hipEventRecord");
    if (code == hipSuccess) code = simulator.check_event(event, "hipEventRecord");
    return code == hipSuccess ? simulator.record(event, on) : code;
  });
}
hipError_t hipEventSynchronize(hipEvent_t event) {
  return call("hipEventSynchronize", [&](Simulator& simulator) {
    const hipError_t code = simulator.check_event(event, "hipEventSynchronize");
    return code == hipSuccess ? simulator.synchronize(event) : code;
  });
}
hipError_t hipEventQuery(hipEvent_t event) {
  return call("hipEventQuery", [&](Simulator& simulator) {
    const hipError_t code = simulator.check_event(event, "hipEventQuery");
    return code == hipSuccess ? simulator.query(event) : code;
  });
}

}  // extern "C"

namespace hipsim {

void reset(const Options& options) {
  Simulator::get().reset(options);
  current_device = 0;
  last_error = hipSuccess;
}

const char* to_text(Crime crime) {
  switch (crime) {
    case Crime::use_after_free:
      return "use after free";
    case Crime::double_free:
      return "double free";
    case Crime::out_of_bounds:
      return "out of bounds";
    case Crime::race:
      return "race";
    case Crime::freed_in_flight:
      return "freed in flight";
    case Crime::host_freed_in_flight:
      return "host memory freed in flight";
    case Crime::pageable:
      return "pageable";
    case Crime::wrong_device:
      return "wrong device";
    case Crime::stale_handle:
      return "stale handle";
  }
  return "unknown";
}

std::vector<Record> crimes() {
  Simulator& simulator = Simulator::get();
  const std::scoped_lock lock{simulator.mutex};
  return simulator.records;
}

std::size_t count(Crime crime) {
  std::size_t found = 0;
  for (const Record& record : crimes()) found += record.crime == crime ? 1 : 0;
  return found;
}

std::uint64_t calls() {
  Simulator& simulator = Simulator::get();
  const std::scoped_lock lock{simulator.mutex};
  return simulator.names.size();
}

std::uint64_t calls(const std::string& name) {
  Simulator& simulator = Simulator::get();
  const std::scoped_lock lock{simulator.mutex};
  const auto found = simulator.counts.find(name);
  return found == simulator.counts.end() ? 0 : found->second;
}

std::vector<std::string> call_names() {
  Simulator& simulator = Simulator::get();
  const std::scoped_lock lock{simulator.mutex};
  return simulator.names;
}

void fail_call(std::uint64_t skipped, hipError_t error) { fail_call("", skipped, error); }

void fail_call(const std::string& name, std::uint64_t skipped, hipError_t error) {
  Simulator& simulator = Simulator::get();
  const std::scoped_lock lock{simulator.mutex};
  simulator.failures.push_back({name, skipped, error});
}

void fail_always(const std::string& name, hipError_t error) {
  Simulator& simulator = Simulator::get();
  const std::scoped_lock lock{simulator.mutex};
  if (error == hipSuccess) {
    simulator.always.erase(name);
  } else {
    simulator.always[name] = error;
  }
}

void stop_failing() {
  Simulator& simulator = Simulator::get();
  const std::scoped_lock lock{simulator.mutex};
  simulator.failures.clear();
  simulator.always.clear();
}

Live live() {
  Simulator& simulator = Simulator::get();
  const std::scoped_lock lock{simulator.mutex};
  Live found{.streams = simulator.streams.size(),
             .events = simulator.events.size(),
             .pools = simulator.pools.size()};
  for (const auto& [address, allocation] : simulator.allocations) {
    if (!allocation.is_live) continue;
    ++(allocation.kind == Kind::pinned ? found.pinned_allocations : found.device_allocations);
  }
  return found;
}

std::uint64_t used(int device) {
  Simulator& simulator = Simulator::get();
  const std::scoped_lock lock{simulator.mutex};
  return simulator.devices[static_cast<std::size_t>(device)].used;
}

std::uint64_t peak_pinned() {
  Simulator& simulator = Simulator::get();
  const std::scoped_lock lock{simulator.mutex};
  return simulator.peak_pinned_bytes;
}

void flip_bit(std::uint64_t skipped, std::uint64_t byte) {
  Simulator& simulator = Simulator::get();
  const std::scoped_lock lock{simulator.mutex};
  simulator.flip = Simulator::Flip{skipped, byte};
}

void block_used(const void* address, std::uint64_t bytes) {
  Simulator::get().tell_block(address, bytes, true);
}

void block_freed(const void* address, std::uint64_t bytes) {
  Simulator::get().tell_block(address, bytes, false);
}

std::byte* view_of(void* device_address) {
  Simulator& simulator = Simulator::get();
  const std::scoped_lock lock{simulator.mutex};
  Allocation* const found = simulator.find(device_address);
  if (found == nullptr || !found->is_live) return nullptr;
  return found->view + (static_cast<std::byte*>(device_address) - found->address);
}

}  // namespace hipsim
