// SPDX-License-Identifier: MIT
// liballot_run: stands in front of libamdhip64 and serves a program's device memory from arenas and a pool.
// What the pool itself calls of HIP comes through here, too, and goes to the driver.
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "hip_abi.hpp"
#include "next.hpp"
#include "own_file.hpp"
#include "run_counts.hpp"
#include "server.hpp"

namespace {

using namespace allot::seam;

/// While the server works, its calls are the driver's.
thread_local bool is_inside = false;
thread_local bool is_in_driver = false;
/// What was refused here, the driver does not know of: hipGetLastError does.
thread_local HipError last_error = hip_success;

class Inside {
 public:
  Inside() noexcept : was_inside_{std::exchange(is_inside, true)}, errno_{errno} {}
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  ~Inside() {
    is_inside = was_inside_;
    errno = errno_;
  }

 private:
  bool was_inside_;
  int errno_;
};

/// Asks the server, and the driver if that has no answer.
template <class Ask, class Otherwise>
HipError served(Ask&& ask, Otherwise&& otherwise) {
  if (is_inside) return otherwise();
  Answer answer;
  {
    const Inside inside;
    answer = ask(Server::get());
  }
  if (!answer) return otherwise();
  if (*answer != hip_success) last_error = *answer;
  return *answer;
}

/// Calls that HIP makes of its own functions are neither served nor counted.
template <class... Arguments>
HipError in_driver(Next& next, Arguments... arguments) {
  const bool was_inside = std::exchange(is_inside, true);
  const bool was_in_driver = std::exchange(is_in_driver, true);
  const HipError code = next(arguments...);
  is_inside = was_inside;
  is_in_driver = was_in_driver;
  return code;
}

/// What the driver is asked about memory is counted.
template <class... Arguments>
HipError driver(Next& next, const char* call, Arguments... arguments) {
  if (!is_in_driver) RunCounts::get().driver_call(call);
  return in_driver(next, arguments...);
}

/// Notes a call that allocates and is never served.
void passed_on(const char* call, HipError code, std::uint64_t bytes) {
  if (!is_inside && code == hip_success)
    RunCounts::get().not_served(call, "left to the driver", bytes);
}

/// Refuses what would show another process all of an arena.
HipError refused(const char* call) {
  RunCounts::get().not_served(call, "refused: the memory is a part of an arena", 0);
  last_error = hip_not_supported;
  return hip_not_supported;
}

[[nodiscard]] Place place_of(const void* address) {
  if (is_inside) return {};
  const Inside inside;
  return Server::get().place_of(address);
}

HipError invalid() {
  last_error = hip_invalid_value;
  return hip_invalid_value;
}

[[nodiscard]] void* address_of(std::uint64_t number) { return reinterpret_cast<void*>(number); }

/// What a stream is to a pool.
struct StreamState {
  const char* why_not;  // null: as any other
  HipError code;        // HIP's, if it does not know the stream
};

/// Allocations of a captured stream become parts of a graph; the stream of each thread has one handle.
[[nodiscard]] StreamState state_of(void* stream) {
  constexpr std::uint64_t per_thread = 2;
  if (stream == address_of(per_thread)) return {"hipStreamPerThread", hip_success};
  static constinit Next next{"hipStreamIsCapturing"};
  int status = 0;
  const HipError code = next(stream, &status);
  if (code == hip_not_supported) return {nullptr, hip_success};
  if (code != hip_success) return {"a stream that HIP does not know", code};
  return {status == 0 ? nullptr : "a stream that is captured", hip_success};
}

/// hipStreamLegacy is the default stream.
[[nodiscard]] void* usual(void* stream) { return stream == address_of(1) ? nullptr : stream; }

[[gnu::destructor]] void end() {
  const Inside inside;
  RunCounts::get().report();
}

}  // namespace

#define ALLOT_NEXT(function) \
  static constinit Next next { #function }

extern "C" {

// Served

HipError hipMalloc(void** address, std::size_t bytes) {
  ALLOT_NEXT(hipMalloc);
  return served([&](Server& server) { return server.allocate(address, bytes); },
                [&] { return driver(next, "hipMalloc", address, bytes); });
}
HipError hipFree(void* address) {
  ALLOT_NEXT(hipFree);
  return served([&](Server& server) { return server.free(address); },
                [&] { return driver(next, "hipFree", address); });
}
HipError hipMallocAsync(void** address, std::size_t bytes, void* stream) {
  ALLOT_NEXT(hipMallocAsync);
  return served(
      [&](Server& server) -> Answer {
        if (const char* const why = state_of(stream).why_not) {
          RunCounts::get().not_served("hipMallocAsync", why, bytes);
          return {};
        }
        return server.allocate_async(address, bytes, nullptr, usual(stream));
      },
      [&] { return driver(next, "hipMallocAsync", address, bytes, stream); });
}
HipError hipMallocFromPoolAsync(void** address, std::size_t bytes, void* pool, void* stream) {
  ALLOT_NEXT(hipMallocFromPoolAsync);
  return served(
      [&](Server& server) -> Answer {
        if (const char* const why = state_of(stream).why_not) {
          RunCounts::get().not_served("hipMallocFromPoolAsync", why, bytes);
          return {};
        }
        return server.allocate_async(address, bytes, pool, usual(stream));
      },
      [&] { return driver(next, "hipMallocFromPoolAsync", address, bytes, pool, stream); });
}
HipError hipFreeAsync(void* address, void* stream) {
  ALLOT_NEXT(hipFreeAsync);
  return served(
      [&](Server& server) -> Answer {
        const StreamState state = state_of(stream);
        if (state.code != hip_success && server.place_of(address).kind != Place::Kind::foreign)
          return state.code;
        // A wait for the device is behind the stream, whichever it is.
        if (state.why_not != nullptr) return server.free(address);
        return server.free_async(address, usual(stream));
      },
      [&] { return driver(next, "hipFreeAsync", address, stream); });
}
HipError hipMemGetInfo(std::size_t* free, std::size_t* total) {
  ALLOT_NEXT(hipMemGetInfo);
  return served([&](Server& server) { return server.memory_info(free, total); },
                [&] { return next(free, total); });
}

// What programs ask of an address

HipError hipMemGetAddressRange(void** base, std::size_t* bytes, void* address) {
  ALLOT_NEXT(hipMemGetAddressRange);
  const Place place = place_of(address);
  if (place.kind == Place::Kind::foreign) return next(base, bytes, address);
  if (place.kind == Place::Kind::free) return invalid();
  if (base != nullptr) *base = address_of(place.address);
  if (bytes != nullptr) *bytes = place.bytes;
  return hip_success;
}
HipError hipMemPtrGetInfo(void* address, std::size_t* bytes) {
  ALLOT_NEXT(hipMemPtrGetInfo);
  const Place place = place_of(address);
  if (place.kind == Place::Kind::foreign) return next(address, bytes);
  if (place.kind == Place::Kind::free || bytes == nullptr) return invalid();
  *bytes = place.bytes;
  return hip_success;
}
HipError hipPointerGetAttributes(PointerAttributes* attributes, const void* address) {
  ALLOT_NEXT(hipPointerGetAttributes);
  const Place place = place_of(address);
  if (place.kind == Place::Kind::free) return invalid();
  // Kind and device are the arena's, which the driver knows.
  const HipError code = next(attributes, address);
  if (place.kind == Place::Kind::live && code == hip_success)
    attributes->device_address = const_cast<void*>(address);
  return code;
}
HipError hipPointerGetAttribute(void* data, int attribute, void* address) {
  ALLOT_NEXT(hipPointerGetAttribute);
  enum Attribute : int {
    is_ipc_capable = 10,
    range_start = 11,
    range_size = 12,
    handle_types = 14
  };
  const Place place = place_of(address);
  if (place.kind == Place::Kind::free) return invalid();
  if (place.kind == Place::Kind::foreign || data == nullptr) return next(data, attribute, address);
  switch (attribute) {
    case is_ipc_capable:
      *static_cast<bool*>(data) = false;
      return hip_success;
    case range_start:
      *static_cast<void**>(data) = address_of(place.address);
      return hip_success;
    case range_size:
      *static_cast<std::size_t*>(data) = place.bytes;
      return hip_success;
    case handle_types:
      *static_cast<int*>(data) = 0;
      return hip_success;
    default:
      return next(data, attribute, address);
  }
}
HipError hipDrvPointerGetAttributes(unsigned count, int* attributes, void** data, void* address) {
  ALLOT_NEXT(hipDrvPointerGetAttributes);
  const Place place = place_of(address);
  if (place.kind == Place::Kind::foreign) return next(count, attributes, data, address);
  if (attributes == nullptr || data == nullptr) return invalid();
  HipError first = hip_success;
  for (unsigned i = 0; i < count; ++i) {
    const HipError code = hipPointerGetAttribute(data[i], attributes[i], address);
    if (first == hip_success) first = code;
  }
  return first;
}

// Other processes

HipError hipIpcGetMemHandle(IpcHandle* handle, void* address) {
  ALLOT_NEXT(hipIpcGetMemHandle);
  if (place_of(address).kind != Place::Kind::foreign) return refused("hipIpcGetMemHandle");
  return next(handle, address);
}
HipError hipMemPoolExportPointer(void* exported, void* address) {
  ALLOT_NEXT(hipMemPoolExportPointer);
  if (place_of(address).kind != Place::Kind::foreign) return refused("hipMemPoolExportPointer");
  return next(exported, address);
}
HipError hipMemRetainAllocationHandle(void** handle, void* address) {
  ALLOT_NEXT(hipMemRetainAllocationHandle);
  if (place_of(address).kind != Place::Kind::foreign)
    return refused("hipMemRetainAllocationHandle");
  return next(handle, address);
}
HipError hipMemGetHandleForAddressRange(void* handle, void* address, std::size_t bytes, int type,
                                        unsigned long long flags) {
  ALLOT_NEXT(hipMemGetHandleForAddressRange);
  if (place_of(address).kind != Place::Kind::foreign)
    return refused("hipMemGetHandleForAddressRange");
  return next(handle, address, bytes, type, flags);
}

// Streams, pools and devices that come and go

HipError hipStreamCreate(void** stream) {
  ALLOT_NEXT(hipStreamCreate);
  const HipError code = in_driver(next, stream);
  if (is_inside || code != hip_success) return code;
  const Inside inside;
  Server::get().stream_made(*stream);
  return code;
}
HipError hipStreamCreateWithFlags(void** stream, unsigned flags) {
  ALLOT_NEXT(hipStreamCreateWithFlags);
  const HipError code = in_driver(next, stream, flags);
  if (is_inside || code != hip_success) return code;
  const Inside inside;
  Server::get().stream_made(*stream);
  return code;
}
HipError hipStreamCreateWithPriority(void** stream, unsigned flags, int priority) {
  ALLOT_NEXT(hipStreamCreateWithPriority);
  const HipError code = in_driver(next, stream, flags, priority);
  if (is_inside || code != hip_success) return code;
  const Inside inside;
  Server::get().stream_made(*stream);
  return code;
}
HipError hipStreamDestroy(void* stream) {
  ALLOT_NEXT(hipStreamDestroy);
  if (!is_inside) {
    const Inside inside;
    Server::get().stream_ends(stream);
  }
  return in_driver(next, stream);
}
HipError hipMemPoolCreate(void** pool, const PoolProperties* properties) {
  ALLOT_NEXT(hipMemPoolCreate);
  const HipError code = in_driver(next, pool, properties);
  if (is_inside || code != hip_success) return code;
  const Inside inside;
  Server::get().pool_made(*pool, properties->device, properties->handle_types != 0);
  return code;
}
HipError hipMemPoolDestroy(void* pool) {
  ALLOT_NEXT(hipMemPoolDestroy);
  if (!is_inside) {
    const Inside inside;
    Server::get().pool_ends(pool);
  }
  return in_driver(next, pool);
}
HipError hipDeviceGetDefaultMemPool(void** pool, int device) {
  ALLOT_NEXT(hipDeviceGetDefaultMemPool);
  const HipError code = in_driver(next, pool, device);
  if (is_inside || code != hip_success) return code;
  const Inside inside;
  Server::get().pool_made(*pool, device, false);
  return code;
}
HipError hipDeviceReset() {
  ALLOT_NEXT(hipDeviceReset);
  if (!is_inside) {
    const Inside inside;
    Server::get().device_ends();
  }
  return in_driver(next);
}

// Errors

HipError hipGetLastError() {
  ALLOT_NEXT(hipGetLastError);
  const HipError of_driver = next();
  if (is_inside) return of_driver;
  const HipError own = std::exchange(last_error, hip_success);
  return own != hip_success ? own : of_driver;
}
HipError hipPeekAtLastError() {
  ALLOT_NEXT(hipPeekAtLastError);
  return last_error != hip_success ? last_error : next();
}

// Never served

HipError hipMallocManaged(void** address, std::size_t bytes, unsigned flags) {
  ALLOT_NEXT(hipMallocManaged);
  const HipError code = in_driver(next, address, bytes, flags);
  passed_on("hipMallocManaged", code, bytes);
  return code;
}
HipError hipExtMallocWithFlags(void** address, std::size_t bytes, unsigned flags) {
  ALLOT_NEXT(hipExtMallocWithFlags);
  const HipError code = in_driver(next, address, bytes, flags);
  passed_on("hipExtMallocWithFlags", code, bytes);
  return code;
}
HipError hipMallocPitch(void** address, std::size_t* pitch, std::size_t width, std::size_t height) {
  ALLOT_NEXT(hipMallocPitch);
  const HipError code = in_driver(next, address, pitch, width, height);
  passed_on("hipMallocPitch", code, code == hip_success ? std::uint64_t{*pitch} * height : 0);
  return code;
}
HipError hipMemAllocPitch(void** address, std::size_t* pitch, std::size_t width, std::size_t height,
                          unsigned element) {
  ALLOT_NEXT(hipMemAllocPitch);
  const HipError code = in_driver(next, address, pitch, width, height, element);
  passed_on("hipMemAllocPitch", code, code == hip_success ? std::uint64_t{*pitch} * height : 0);
  return code;
}
HipError hipMalloc3D(PitchedPointer* pointer, Extent extent) {
  ALLOT_NEXT(hipMalloc3D);
  const HipError code = in_driver(next, pointer, extent);
  passed_on("hipMalloc3D", code,
            code == hip_success ? std::uint64_t{pointer->pitch} * extent.height * extent.depth : 0);
  return code;
}
HipError hipMallocArray(void** array, const ChannelFormat* format, std::size_t width,
                        std::size_t height, unsigned flags) {
  ALLOT_NEXT(hipMallocArray);
  const HipError code = in_driver(next, array, format, width, height, flags);
  passed_on("hipMallocArray", code, 0);
  return code;
}
HipError hipMemCreate(void** handle, std::size_t bytes, const void* properties,
                      unsigned long long flags) {
  ALLOT_NEXT(hipMemCreate);
  const HipError code = in_driver(next, handle, bytes, properties, flags);
  passed_on("hipMemCreate", code, bytes);
  return code;
}

// Programs that end without their destructors

[[noreturn]] void leave(int status, const char* name) {
  end();
  if (void* const found = find_next(name)) reinterpret_cast<void (*)(int)>(found)(status);
  std::abort();  // not reached
}
void _exit(int status) { leave(status, "_exit"); }
void _Exit(int status) { leave(status, "_Exit"); }

// What the server itself calls. Not exported: a program's calls do not come here.

#define ALLOT_FORWARD(function, parameters, ...) \
  HipError function parameters {                 \
    ALLOT_NEXT(function);                        \
    return next(__VA_ARGS__);                    \
  }

ALLOT_FORWARD(hipGetDevice, (int* device), device)
ALLOT_FORWARD(hipSetDevice, (int device), device)
ALLOT_FORWARD(hipGetDeviceCount, (int* count), count)
ALLOT_FORWARD(hipGetDeviceProperties, (void* properties, int device), properties, device)
ALLOT_FORWARD(hipGetDevicePropertiesR0600, (void* properties, int device), properties, device)
ALLOT_FORWARD(hipDeviceGetAttribute, (int* value, int which, int device), value, which, device)
ALLOT_FORWARD(hipDeviceSynchronize, (), )
ALLOT_FORWARD(hipStreamSynchronize, (void* stream), stream)
ALLOT_FORWARD(hipStreamWaitEvent, (void* stream, void* event, unsigned flags), stream, event, flags)
ALLOT_FORWARD(hipEventCreateWithFlags, (void** event, unsigned flags), event, flags)
ALLOT_FORWARD(hipEventDestroy, (void* event), event)
ALLOT_FORWARD(hipEventQuery, (void* event), event)
ALLOT_FORWARD(hipEventRecord, (void* event, void* stream), event, stream)
ALLOT_FORWARD(hipEventSynchronize, (void* event), event)
ALLOT_FORWARD(hipHostMalloc, (void** address, std::size_t bytes, unsigned flags), address, bytes,
              flags)
ALLOT_FORWARD(hipHostFree, (void* address), address)
ALLOT_FORWARD(hipMemcpyAsync,
              (void* to, const void* from, std::size_t bytes, int kind, void* stream), to, from,
              bytes, kind, stream)

const char* hipGetErrorName(HipError code) {
  void* const found = find_next("hipGetErrorName");
  return found == nullptr ? "an error" : reinterpret_cast<const char* (*)(HipError)>(found)(code);
}
const char* hipGetErrorString(HipError code) {
  void* const found = find_next("hipGetErrorString");
  return found == nullptr ? "an error" : reinterpret_cast<const char* (*)(HipError)>(found)(code);
}

}  // extern "C"
