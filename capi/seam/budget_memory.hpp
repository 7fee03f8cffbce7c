// SPDX-License-Identifier: MIT
/// \file
/// `BudgetMemory`: a memory policy that takes from one arena for each device, so that what is pooled and what
/// is not share one budget.
#pragma once

#include <allot/arena.hpp>
#include <allot/core/errors.hpp>
#include <allot/memory/hip.hpp>
#include <allot/memory/memory.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/synchronization/locked.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace allot::seam {

/// The most blocks held at once, in bytes as granted.
class PeakOf {
 public:
  void allocated(const Block& block, const Request&) noexcept {
    now_ += block.size;
    if (peak_ < now_) peak_ = now_;
  }
  void deallocated(const Block& block) noexcept { now_ -= block.size; }
  void refused(const Request&, RefusalReason) noexcept {}

  [[nodiscard]] std::uint64_t peak() const noexcept { return peak_; }

 private:
  std::uint64_t now_ = 0;
  std::uint64_t peak_ = 0;
};

/// All of a device's budget, in one allocation from the driver.
using BudgetArena = Arena<BestFit, AlignTo<256>, Locked<>, hip::DeviceMemory, PeakOf>;

/// Copies take from the same arena, which must outlive their regions.
class BudgetMemory {
 public:
  static constexpr bool host_accessible = false;
  static constexpr bool device_accessible = true;

  class Region {
   public:
    Region() noexcept = default;
    Region(BudgetArena& arena, const Block& block) noexcept : arena_{&arena}, block_{block} {}
    Region(Region&& other) noexcept
        : arena_{std::exchange(other.arena_, nullptr)}, block_{other.block_} {}
    Region& operator=(Region&& other) noexcept {
      std::swap(arena_, other.arena_);
      std::swap(block_, other.block_);
      return *this;
    }
    ~Region() {
      if (arena_ != nullptr) arena_->deallocate(block_);
    }

    [[nodiscard]] void* address() const noexcept {
      return arena_ == nullptr ? nullptr
                               : static_cast<std::byte*>(arena_->base_address()) + block_.offset;
    }
    [[nodiscard]] std::uint64_t alignment() const noexcept { return AlignTo<256>::value; }

   private:
    BudgetArena* arena_ = nullptr;
    Block block_{};
  };

  /// Of a device that has no arena: refuses everything.
  explicit BudgetMemory(int) noexcept {}
  explicit BudgetMemory(BudgetArena& arena) noexcept : arena_{&arena} {}

  /// Throws: `OutOfMemory` of reason `source` if the budget has no room.
  [[nodiscard]] Region acquire(std::uint64_t bytes, std::uint64_t alignment) {
    if (arena_ != nullptr) {
      if (const auto block = arena_->try_allocate(bytes, alignment)) return {*arena_, *block};
    }
    const Usage usage = arena_ == nullptr ? Usage{} : arena_->usage();
    throw OutOfMemory{RefusalReason::source, bytes,         alignment, usage.free,
                      usage.largest_free,    usage.capacity};
  }

 private:
  BudgetArena* arena_ = nullptr;
};

static_assert(Addressable<BudgetMemory>);

}  // namespace allot::seam
