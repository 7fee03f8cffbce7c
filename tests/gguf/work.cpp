// SPDX-License-Identifier: MIT
#include "work.hpp"

#include <malloc.h>
#include <sys/types.h>

#include <cstddef>

namespace {

thread_local allot::test::Work work;

}  // namespace

// The linker's --wrap (meson.build) makes of every such call in this program one of these.
extern "C" {
void* __real_malloc(std::size_t bytes);
void* __wrap_malloc(std::size_t bytes) {
  work.allocated += bytes;
  return __real_malloc(bytes);
}
void* __real_realloc(void* memory, std::size_t bytes);
void* __wrap_realloc(void* memory, std::size_t bytes) {
  const std::size_t before = memory == nullptr ? 0 : ::malloc_usable_size(memory);
  if (bytes > before) work.allocated += bytes - before;
  return __real_realloc(memory, bytes);
}
void* __real__Znwm(std::size_t bytes);
void* __wrap__Znwm(std::size_t bytes) {
  work.allocated += bytes;
  return __real__Znwm(bytes);
}
void* __real__Znam(std::size_t bytes);
void* __wrap__Znam(std::size_t bytes) {
  work.allocated += bytes;
  return __real__Znam(bytes);
}
::ssize_t __real_pread(int file, void* into, std::size_t bytes, ::off_t offset);
::ssize_t __wrap_pread(int file, void* into, std::size_t bytes, ::off_t offset) {
  ++work.reads;
  work.read += bytes;
  return __real_pread(file, into, bytes, offset);
}
::ssize_t __real_pread64(int file, void* into, std::size_t bytes, ::off_t offset);
::ssize_t __wrap_pread64(int file, void* into, std::size_t bytes, ::off_t offset) {
  ++work.reads;
  work.read += bytes;
  return __real_pread64(file, into, bytes, offset);
}
int __real_memcmp(const void* a, const void* b, std::size_t bytes);
int __wrap_memcmp(const void* a, const void* b, std::size_t bytes) {
  ++work.comparisons;
  return __real_memcmp(a, b, bytes);
}
int __real_bcmp(const void* a, const void* b, std::size_t bytes);
int __wrap_bcmp(const void* a, const void* b, std::size_t bytes) {
  ++work.comparisons;
  return __real_bcmp(a, b, bytes);
}
}

allot::test::Work allot::test::work_so_far() noexcept { return work; }
