// SPDX-License-Identifier: MIT
/// \file
/// Functions that reserve, fill and release address space and its pages. None of them throws.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

namespace allot::os {

/// Maps `bytes` of fresh memory at a multiple of `alignment`, a power of two. Touches no page.
/// Returns null if the system refuses. Requires: both are multiples of the page size, and their sum
/// fits 64 bits.
[[nodiscard]] inline std::byte* map_pages(std::uint64_t bytes, std::uint64_t alignment) noexcept {
  void* const start = ::mmap(nullptr, bytes + alignment, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return nullptr;
  auto* const first = static_cast<std::byte*>(start);
  const std::uint64_t front = (0 - reinterpret_cast<std::uintptr_t>(start)) & (alignment - 1);
  if (front != 0) ::munmap(first, front);
  ::munmap(first + front + bytes, alignment - front);  // at least a page
  return first + front;
}

/// Unmaps what `map_pages` mapped.
inline void unmap_pages(std::byte* first, std::uint64_t bytes) noexcept { ::munmap(first, bytes); }

/// Asks for huge pages: fewer page faults when the memory is first written. Only advice.
inline void prefer_huge_pages(std::byte* first, std::uint64_t bytes) noexcept {
  ::madvise(first, bytes, MADV_HUGEPAGE);
}

/// Takes the pages of a range from the system at once, instead of by one fault each. Only advice:
/// kernels before 5.14 refuse it, at no cost.
inline void populate_pages([[maybe_unused]] std::byte* first,
                           [[maybe_unused]] std::uint64_t bytes) noexcept {
#if defined(MADV_POPULATE_WRITE)
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t front = reinterpret_cast<std::uintptr_t>(first) & (page - 1);
  ::madvise(first - front, bytes + front, MADV_POPULATE_WRITE);
#endif
}

}  // namespace allot::os
