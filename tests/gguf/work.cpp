// SPDX-License-Identifier: MIT
#include "work.hpp"

#include <malloc.h>
#include <sys/types.h>

#include <cerrno>
#include <cstddef>
#include <new>

namespace {

thread_local allot::test::Work work;
thread_local std::size_t refused_allocation = 0;
thread_local bool refuses_permissions = false;

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
  if (refused_allocation != 0 && --refused_allocation == 0) throw std::bad_alloc{};
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
int __real_fchmod(int file, ::mode_t mode);
int __wrap_fchmod(int file, ::mode_t mode) {
  if (!refuses_permissions) return __real_fchmod(file, mode);
  errno = EPERM;
  return -1;
}
}

allot::test::Work allot::test::work_so_far() noexcept { return work; }
void allot::test::refuse_allocation(std::size_t number) noexcept { refused_allocation = number; }
void allot::test::refuse_permissions(bool refuse) noexcept { refuses_permissions = refuse; }
