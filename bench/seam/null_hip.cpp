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

}  // extern "C"
