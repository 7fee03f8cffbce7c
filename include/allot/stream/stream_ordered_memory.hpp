// SPDX-License-Identifier: MIT
/// \file
/// `StreamOrderedMemory<MemoryType>`: memory whose blocks are reused in the order of a stream. Work
/// under way may still write to a block that the host has freed. So regions are not notified of
/// blocks, and count as in use from end to end.
#pragma once

#include <allot/memory/memory.hpp>

#include <cstdint>
#include <utility>

namespace allot::detail {

template <Memory MemoryType>
class StreamOrderedMemory {
 public:
  static constexpr bool host_accessible = MemoryType::host_accessible;
  static constexpr bool device_accessible = MemoryType::device_accessible;

  class Region {
   public:
    Region() noexcept = default;
    explicit Region(typename MemoryType::Region region) noexcept : region_{std::move(region)} {}

    [[nodiscard]] void* address() const noexcept { return region_.address(); }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return region_.bytes(); }
    [[nodiscard]] std::uint64_t alignment() const noexcept { return region_.alignment(); }

   private:
    typename MemoryType::Region region_;
  };

  explicit StreamOrderedMemory(MemoryType memory) noexcept : memory_{std::move(memory)} {}

  [[nodiscard]] Region acquire(std::uint64_t bytes, std::uint64_t alignment) {
    return Region{memory_.acquire(bytes, alignment)};
  }

 private:
  MemoryType memory_;
};

}  // namespace allot::detail
