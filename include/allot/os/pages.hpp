// SPDX-License-Identifier: MIT
/// \file
/// Functions that reserve, fill and release address space and its pages. None of them throws.
#pragma once

#if defined(_WIN32)
#include <allot/os/detail/windows.hpp>
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

#include <cstddef>
#include <cstdint>

namespace allot::os {

#if defined(_WIN32)

namespace detail {

inline constexpr unsigned long commit = 0x1000;
inline constexpr unsigned long reserve = 0x2000;
inline constexpr unsigned long reset = 0x80000;
inline constexpr unsigned long release = 0x8000;
inline constexpr unsigned long read_write = 0x04;

}  // namespace detail

/// Maps `bytes` of fresh memory at a multiple of `alignment`, a power of two. Touches no page, but
/// counts as committed. Returns null if the system refuses.
[[nodiscard]] inline std::byte* map_pages(std::uint64_t bytes, std::uint64_t alignment) noexcept {
  // A mapping is released as a whole, so room for the alignment cannot be cut off. It is looked for, given
  // back and taken again where it fits; another thread may be faster, but hardly eight times.
  for (int tries = 0; tries < 8; ++tries) {
    void* const room =
        VirtualAlloc(nullptr, bytes + alignment, detail::reserve, detail::read_write);
    if (room == nullptr) return nullptr;
    const std::uint64_t front = (0 - reinterpret_cast<std::uintptr_t>(room)) & (alignment - 1);
    VirtualFree(room, 0, detail::release);
    if (void* const first = VirtualAlloc(static_cast<std::byte*>(room) + front, bytes,
                                         detail::reserve | detail::commit, detail::read_write))
      return static_cast<std::byte*>(first);
  }
  return nullptr;
}

/// Unmaps what `map_pages` mapped.
inline void unmap_pages(std::byte* first, std::uint64_t) noexcept {
  VirtualFree(first, 0, detail::release);
}

/// These are only advice, and nothing here.
inline void prefer_huge_pages(std::byte*, std::uint64_t) noexcept {}
inline void populate_pages(std::byte*, std::uint64_t) noexcept {}

/// Tells the system that it may drop what the pages wholly in a range hold, instead of writing it to the
/// page file. The range stays mapped.
inline void return_pages(std::byte* first, std::uint64_t bytes) noexcept {
  constexpr std::uint64_t page = 4096;
  const std::uint64_t front = (0 - reinterpret_cast<std::uintptr_t>(first)) & (page - 1);
  if (bytes < front + page) return;
  static_cast<void>(VirtualAlloc(first + front, (bytes - front) & ~(page - 1), detail::reset,
                                 detail::read_write));
}

#else

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
inline void prefer_huge_pages([[maybe_unused]] std::byte* first,
                              [[maybe_unused]] std::uint64_t bytes) noexcept {
#if defined(MADV_HUGEPAGE)
  ::madvise(first, bytes, MADV_HUGEPAGE);
#endif
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

/// Gives the pages that lie wholly in a range back to the system. The range stays mapped; fresh pages
/// come when it is touched again.
inline void return_pages(std::byte* first, std::uint64_t bytes) noexcept {
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t front = (0 - reinterpret_cast<std::uintptr_t>(first)) & (page - 1);
  if (bytes < front + page) return;
  ::madvise(first + front, (bytes - front) & ~(page - 1), MADV_DONTNEED);
}

#endif

}  // namespace allot::os
