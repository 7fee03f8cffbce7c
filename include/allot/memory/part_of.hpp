// SPDX-License-Identifier: MIT
/// \file
/// `PartOf`: a memory policy that gives a part of a region, which the caller owns and must not
/// move. The shards of an arena use it.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/memory/memory.hpp>

#include <cstddef>
#include <cstdint>

namespace allot::detail {

/// \tparam Whole  the memory policy of the whole region
template <Memory Whole>
class PartOf {
 public:
  static constexpr bool host_accessible = Whole::host_accessible;
  static constexpr bool device_accessible = Whole::device_accessible;

  class Region {
   public:
    Region() noexcept = default;
    Region(typename Whole::Region& whole, std::uint64_t offset) noexcept
        : whole_{&whole}, offset_{offset} {}

    /// Returns the alignment that both the whole region and the distance from its base guarantee.
    [[nodiscard]] std::uint64_t alignment() const noexcept {
      const std::uint64_t natural = offset_ & (0 - offset_);
      return natural == 0 ? whole_->alignment() : smaller(whole_->alignment(), natural);
    }
    [[nodiscard]] void* address() const noexcept requires Addressable<Whole> {
      return static_cast<std::byte*>(whole_->address()) + offset_;
    }

    void mark_used(std::uint64_t offset, std::uint64_t size) noexcept requires TracksUse<Whole> {
      whole_->mark_used(offset_ + offset, size);
    }
    void mark_free(std::uint64_t offset, std::uint64_t size) noexcept requires TracksUse<Whole> {
      whole_->mark_free(offset_ + offset, size);
    }

   private:
    typename Whole::Region* whole_ = nullptr;
    std::uint64_t offset_ = 0;
  };

  PartOf(typename Whole::Region& whole, std::uint64_t offset) noexcept : region_{whole, offset} {}

  [[nodiscard]] Region acquire(std::uint64_t, std::uint64_t) noexcept { return region_; }

 private:
  Region region_;
};

static_assert(Memory<PartOf<OffsetsOnly>>);

}  // namespace allot::detail
