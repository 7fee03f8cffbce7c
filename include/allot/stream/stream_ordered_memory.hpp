// SPDX-License-Identifier: MIT
/// \file
/// `StreamOrderedMemory<MemoryType>`: memory whose blocks are reused in the order of a stream. Work
/// under way may still write to a block that the host has freed. So regions are not notified of
/// blocks, and count as in use from end to end. A region is the memory policy's, or a slice.
#pragma once

#include <allot/memory/memory.hpp>
#include <allot/slice.hpp>

#include <cstdint>
#include <utility>

namespace allot::detail {

template <Memory MemoryType>
class StreamOrderedMemory {
 public:
  using slice_type = Slice<AccessOf<MemoryType>>;

  static constexpr bool host_accessible = MemoryType::host_accessible;
  static constexpr bool device_accessible = MemoryType::device_accessible;

  class Region {
   public:
    Region() noexcept = default;
    explicit Region(typename MemoryType::Region region) noexcept : region_{std::move(region)} {}
    explicit Region(slice_type slice) noexcept : slice_{std::move(slice)} {}

    [[nodiscard]] void* address() const noexcept {
      return slice_.empty() ? region_.address() : slice_.address();
    }
    [[nodiscard]] std::uint64_t bytes() const noexcept {
      return slice_.empty() ? region_.bytes() : slice_.bytes();
    }
    [[nodiscard]] std::uint64_t alignment() const noexcept {
      if (slice_.empty()) return region_.alignment();
      const auto address = reinterpret_cast<std::uintptr_t>(slice_.address());
      return address & (0 - address);
    }

   private:
    typename MemoryType::Region region_{};
    slice_type slice_{};
  };

  /// \param slice  what `acquire` gives; empty: memory of the policy
  explicit StreamOrderedMemory(MemoryType memory, slice_type slice = {}) noexcept
      : memory_{std::move(memory)}, slice_{std::move(slice)} {}

  /// Requires: at most as many bytes as the slice has, if there is one.
  [[nodiscard]] Region acquire(std::uint64_t bytes, std::uint64_t alignment) {
    if (!slice_.empty()) return Region{slice_};
    return Region{memory_.acquire(bytes, alignment)};
  }

 private:
  MemoryType memory_;
  slice_type slice_;
};

}  // namespace allot::detail
