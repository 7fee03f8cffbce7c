// SPDX-License-Identifier: MIT
#include "system_allocations.hpp"

#include <cstddef>

namespace {

thread_local std::uint64_t counted_calls = 0;

}  // namespace

// The linker's --wrap (tests/laws/meson.build) makes of every call of malloc, realloc, operator new and
// operator delete in this program one of these. Operators of our own would take the sanitizers' place.
extern "C" {
void* __real_malloc(std::size_t bytes);
void* __wrap_malloc(std::size_t bytes) {
  ++counted_calls;
  return __real_malloc(bytes);
}
void* __real_realloc(void* memory, std::size_t bytes);
void* __wrap_realloc(void* memory, std::size_t bytes) {
  ++counted_calls;
  return __real_realloc(memory, bytes);
}
void* __real__Znwm(std::size_t bytes);
void* __wrap__Znwm(std::size_t bytes) {
  ++counted_calls;
  return __real__Znwm(bytes);
}
void* __real__ZnwmSt11align_val_t(std::size_t bytes, std::size_t alignment);
void* __wrap__ZnwmSt11align_val_t(std::size_t bytes, std::size_t alignment) {
  ++counted_calls;
  return __real__ZnwmSt11align_val_t(bytes, alignment);
}
void __real__ZdlPv(void* memory);
void __wrap__ZdlPv(void* memory) {
  ++counted_calls;
  __real__ZdlPv(memory);
}
void __real__ZdlPvm(void* memory, std::size_t bytes);
void __wrap__ZdlPvm(void* memory, std::size_t bytes) {
  ++counted_calls;
  __real__ZdlPvm(memory, bytes);
}
}

std::uint64_t allot::test::system_allocator_calls() noexcept { return counted_calls; }
