// SPDX-License-Identifier: MIT
// A HIP that does nothing at once, so that what stands in front of it can be timed.
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace {
std::atomic<std::uint64_t> next_address{std::uint64_t{1} << 32};
}

extern "C" {

int hipMalloc(void** address, std::size_t) {
  const std::uint64_t at = next_address.fetch_add(4096, std::memory_order_relaxed);
  *address = reinterpret_cast<void*>(at);
  return 0;
}
int hipFree(void*) { return 0; }
int hipMallocAsync(void** address, std::size_t bytes, void*) { return hipMalloc(address, bytes); }
int hipFreeAsync(void*, void*) { return 0; }
int hipMemcpyAsync(void*, const void*, std::size_t, int, void*) { return 0; }

// What a pool needs of a device.
int hipGetDeviceCount(int* count) {
  *count = 1;
  return 0;
}
int hipGetDevice(int* device) {
  *device = 0;
  return 0;
}
int hipSetDevice(int) { return 0; }
int hipGetDeviceProperties(void*, int) { return 0; }
int hipDeviceGetAttribute(int* value, int, int) {
  *value = 0;
  return 0;
}
int hipDeviceSynchronize() { return 0; }
int hipStreamCreateWithFlags(void** stream, unsigned) {
  *stream = &next_address;
  return 0;
}
int hipStreamDestroy(void*) { return 0; }
int hipStreamSynchronize(void*) { return 0; }
int hipStreamWaitEvent(void*, void*, unsigned) { return 0; }
int hipStreamIsCapturing(void*, int* status) {
  *status = 0;
  return 0;
}
int hipEventCreateWithFlags(void** event, unsigned) {
  *event = &next_address;
  return 0;
}
int hipEventDestroy(void*) { return 0; }
int hipEventRecord(void*, void*) { return 0; }
int hipEventQuery(void*) { return 0; }
int hipEventSynchronize(void*) { return 0; }
int hipGetLastError() { return 0; }

}  // extern "C"
