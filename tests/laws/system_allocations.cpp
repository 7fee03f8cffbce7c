// SPDX-License-Identifier: MIT
#include "system_allocations.hpp"

#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

thread_local std::uint64_t calls = 0;

}  // namespace

// The linker's --wrap makes of every call of malloc and realloc in this program one of these.
extern "C" {
void* __real_malloc(std::size_t bytes);
void* __real_realloc(void* memory, std::size_t bytes);
void* __wrap_malloc(std::size_t bytes) {
  ++calls;
  return __real_malloc(bytes);
}
void* __wrap_realloc(void* memory, std::size_t bytes) {
  ++calls;
  return __real_realloc(memory, bytes);
}
}

std::uint64_t allot::test::system_allocator_calls() noexcept { return calls; }

void* operator new(std::size_t bytes) {
  if (void* const memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc{};
}

void operator delete(void* memory) noexcept {
  ++calls;
  std::free(memory);
}

void operator delete(void* memory, std::size_t) noexcept {
  ++calls;
  std::free(memory);
}
