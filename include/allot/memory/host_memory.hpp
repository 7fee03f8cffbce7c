// SPDX-License-Identifier: MIT
/// \file
/// `HostMemory`: one anonymous mapping, its base aligned to 2 MiB. The system provides each page
/// when it is first touched. Under AddressSanitizer, an arena's bytes outside live blocks are poisoned.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/errors.hpp>
#include <allot/core/units.hpp>
#include <allot/memory/memory.hpp>
#include <allot/os/pages.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#define ALLOT_HAS_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ALLOT_HAS_ADDRESS_SANITIZER 1
#endif
#endif
#if defined(ALLOT_HAS_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#endif

namespace allot {

/// Host memory, from `mmap`.
class HostMemory {
 public:
  static constexpr bool host_accessible = true;
  static constexpr bool device_accessible = false;
  static constexpr std::uint64_t base_alignment = 2 * MiB;  ///< bytes: a huge page

  /// How it is mapped.
  struct Options {
    /// Asks for transparent huge pages: fewer page faults when the memory is first written.
    bool huge_pages = false;
  };

  HostMemory() noexcept = default;
  /// Takes how to map it.
  explicit HostMemory(Options options) noexcept : options_{options} {}

  /// Owns a mapping; unmaps it when destroyed.
  class Region {
   public:
    Region() noexcept = default;
    Region(Region&& other) noexcept
        : address_{std::exchange(other.address_, nullptr)},
          bytes_{std::exchange(other.bytes_, 0)} {}
    Region& operator=(Region&& other) noexcept {
      std::swap(address_, other.address_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Region() {
      if (address_ == nullptr) return;
      unpoison(0, bytes_);
      os::unmap_pages(address_, bytes_);
    }

    [[nodiscard]] void* address() const noexcept { return address_; }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
    /// Returns the alignment of its address, in bytes.
    [[nodiscard]] std::uint64_t alignment() const noexcept { return base_alignment; }

    /// Marks the range as accessible for AddressSanitizer, if the program is built with it.
    void mark_used(std::uint64_t offset, std::uint64_t size) noexcept { unpoison(offset, size); }

    /// Marks the range as inaccessible for AddressSanitizer. Its granules are 8 bytes; a granule
    /// that reaches into a neighboring block stays as it is.
    void mark_free(std::uint64_t offset, std::uint64_t size) noexcept { poison(offset, size); }

   private:
    friend HostMemory;
    Region(std::byte* address, std::uint64_t bytes) noexcept : address_{address}, bytes_{bytes} {}

    void poison([[maybe_unused]] std::uint64_t offset,
                [[maybe_unused]] std::uint64_t size) noexcept {
#if defined(ALLOT_HAS_ADDRESS_SANITIZER)
      const std::uint64_t first = align_down(offset + 7, 8);
      const std::uint64_t last = align_down(offset + size, 8);
      if (first < last) __asan_poison_memory_region(address_ + first, last - first);
#endif
    }

    void unpoison([[maybe_unused]] std::uint64_t offset,
                  [[maybe_unused]] std::uint64_t size) noexcept {
#if defined(ALLOT_HAS_ADDRESS_SANITIZER)
      const std::uint64_t first = align_down(offset, 8);
      __asan_unpoison_memory_region(address_ + first, offset + size - first);
#endif
    }

    std::byte* address_ = nullptr;
    std::uint64_t bytes_ = 0;
  };

  /// Takes the pages of a range from the system at once, instead of by one fault each while the
  /// range is written: filling fresh 4 KiB pages takes a tenth to a sixth less time. Only advice,
  /// for any mapping of the process that will be written completely: kernels before 5.14 refuse it,
  /// at no cost.
  static void populate(std::byte* first, std::uint64_t bytes) noexcept {
    os::populate_pages(first, bytes);
  }

  /// Gives the pages that lie wholly in a range back to the system, as `return_free_pages` asks. The
  /// range stays part of its region; its bytes are undefined.
  static void return_pages(std::byte* first, std::uint64_t bytes) noexcept {
    os::return_pages(first, bytes);
  }

#if defined(__cpp_exceptions)
  /// Maps `bytes`, rounded up to 2 MiB, at a multiple of 2 MiB. Touches no page.
  /// Throws: `OutOfMemory` of reason `source` if the system refuses, or for an alignment above
  /// `base_alignment`.
  [[nodiscard]] Region acquire(std::uint64_t bytes, std::uint64_t alignment) {
    std::optional<Region> region = try_acquire(bytes, alignment);
    if (!region) throw OutOfMemory{RefusalReason::source, bytes, alignment, 0, 0, 0};
    return std::move(*region);
  }
#endif

  /// Like `acquire`, but returns nothing instead of throwing.
  [[nodiscard]] std::optional<Region> try_acquire(std::uint64_t bytes,
                                                  std::uint64_t alignment) noexcept {
    const auto rounded = checked_align_up(bytes, base_alignment);
    if (bytes == 0 || alignment > base_alignment || !rounded ||
        !checked_add(*rounded, base_alignment)) {
      return std::nullopt;
    }
    std::byte* const first = os::map_pages(*rounded, base_alignment);
    if (first == nullptr) return std::nullopt;
    if (options_.huge_pages) os::prefer_huge_pages(first, *rounded);
    return Region{first, *rounded};
  }

 private:
  Options options_{};
};

static_assert(Memory<HostMemory> && Addressable<HostMemory> && TryAcquirable<HostMemory>);

}  // namespace allot
