// SPDX-License-Identifier: MIT
#include "device_allocations.hpp"

#include <sys/mman.h>

#include <atomic>

namespace {

std::atomic<std::uint64_t> mappings{0};

}  // namespace

// The linker's --wrap (tests/tool/meson.build) makes of every call of mmap in this program one of these.
extern "C" {
void* __real_mmap64(void* address, std::size_t bytes, int protection, int flags, int file,
                    off_t at);
void* __wrap_mmap64(void* address, std::size_t bytes, int protection, int flags, int file,
                    off_t at) {
  ++mappings;
  return __real_mmap64(address, bytes, protection, flags, file, at);
}
}

std::uint64_t allot::test::device_allocations() noexcept { return mappings.load(); }
