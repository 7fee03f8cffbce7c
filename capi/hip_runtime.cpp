// SPDX-License-Identifier: MIT
// HIP's functions, for the library alone: the first call of one loads libamdhip64, so that a program that uses
// only the host neither waits for ROCm nor needs it.
#include <hip/hip_runtime_api.h>

#include <dlfcn.h>

#include <string>

#include "guarded.hpp"

namespace {

#define ALLOT_TEXT_OF(macro) ALLOT_TEXT_OF_EXPANDED(macro)
#define ALLOT_TEXT_OF_EXPANDED(text) #text
// Major versions of HIP are not compatible with each other.
constexpr const char* runtime_name = "libamdhip64.so." ALLOT_TEXT_OF(HIP_VERSION_MAJOR);

[[noreturn]] void refuse(const std::string& problem) {
  throw allot::capi::Failure{ALLOT_SYSTEM_ERROR, "cannot use HIP's runtime: " + problem +
                                                     "; install ROCm with " + runtime_name +
                                                     ", or name its folder in LD_LIBRARY_PATH"};
}

/// Returns the runtime, which stays loaded. Throws: `Failure`, and a later call tries again.
void* runtime() {
  static void* const loaded = [] {
    void* const library = ::dlopen(runtime_name, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) refuse(::dlerror());
    return library;
  }();
  return loaded;
}

/// Returns the runtime's function of that name. Throws: `Failure`. Functions that are `noexcept` call HIP only after
/// another call has succeeded, and so has loaded it.
void* function_of_runtime(const char* name) {
  void* const found = ::dlsym(runtime(), name);
  if (found == nullptr) refuse(std::string{"it has no "} + name);
  return found;
}

}  // namespace

// The name is the one behind HIP's macros: in later versions some of them name another function.
#define ALLOT_FROM_RUNTIME(result, name, parameters, arguments)                                    \
  result name parameters {                                                                         \
    static const auto function =                                                                   \
        reinterpret_cast<result(*) parameters>(function_of_runtime(ALLOT_TEXT_OF_EXPANDED(name))); \
    return function arguments;                                                                     \
  }
#define ALLOT_HIP(name, parameters, arguments) \
  ALLOT_FROM_RUNTIME(hipError_t, name, parameters, arguments)

extern "C" {

// If one that the library calls is missing here, the library does not link.
ALLOT_FROM_RUNTIME(const char*, hipGetErrorName, (hipError_t code), (code))
ALLOT_FROM_RUNTIME(const char*, hipGetErrorString, (hipError_t code), (code))
ALLOT_HIP(hipGetLastError, (), ())

ALLOT_HIP(hipGetDeviceCount, (int* count), (count))
ALLOT_HIP(hipGetDevice, (int* device), (device))
ALLOT_HIP(hipSetDevice, (int device), (device))
ALLOT_HIP(hipGetDeviceProperties, (hipDeviceProp_t * properties, int device), (properties, device))
ALLOT_HIP(hipDeviceGetAttribute, (int* value, hipDeviceAttribute_t attribute, int device),
          (value, attribute, device))
ALLOT_HIP(hipDeviceSynchronize, (), ())

ALLOT_HIP(hipMemGetInfo, (size_t * available, size_t* total), (available, total))
ALLOT_HIP(hipMalloc, (void** address, size_t bytes), (address, bytes))
ALLOT_HIP(hipFree, (void* address), (address))
ALLOT_HIP(hipHostMalloc, (void** address, size_t bytes, unsigned int flags),
          (address, bytes, flags))
ALLOT_HIP(hipHostFree, (void* address), (address))
ALLOT_HIP(hipMallocManaged, (void** address, size_t bytes, unsigned int flags),
          (address, bytes, flags))
ALLOT_HIP(hipMemcpyAsync,
          (void* to, const void* from, size_t bytes, hipMemcpyKind kind, hipStream_t stream),
          (to, from, bytes, kind, stream))

ALLOT_HIP(hipStreamCreateWithFlags, (hipStream_t * stream, unsigned int flags), (stream, flags))
ALLOT_HIP(hipStreamDestroy, (hipStream_t stream), (stream))
ALLOT_HIP(hipStreamSynchronize, (hipStream_t stream), (stream))
ALLOT_HIP(hipStreamWaitEvent, (hipStream_t stream, hipEvent_t event, unsigned int flags),
          (stream, event, flags))

ALLOT_HIP(hipEventCreateWithFlags, (hipEvent_t * event, unsigned int flags), (event, flags))
ALLOT_HIP(hipEventDestroy, (hipEvent_t event), (event))
ALLOT_HIP(hipEventQuery, (hipEvent_t event), (event))
ALLOT_HIP(hipEventRecord, (hipEvent_t event, hipStream_t stream), (event, stream))
ALLOT_HIP(hipEventSynchronize, (hipEvent_t event), (event))

}  // extern "C"
