// SPDX-License-Identifier: MIT
/// \file
/// `MinimalStrategy`: what a contributor writes first. A first fit with no more than the concept
/// `Strategy` asks for.
#pragma once

#include <allot/core/block.hpp>
#include <allot/strategy/strategy.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

namespace allot::test {

class MinimalStrategy {
 public:
  explicit MinimalStrategy(std::uint64_t capacity)
      : MinimalStrategy{capacity, next_first_generation()} {}

  [[nodiscard]] std::optional<Placement> allocate(std::uint64_t size, std::uint64_t alignment) {
    extents_.reserve(extents_.size() + 2);  // freeing never allocates
    for (std::size_t i = 0; i < extents_.size(); ++i) {
      const Extent free = extents_[i];
      const std::uint64_t gap = (0 - free.offset) & (alignment - 1);
      if (free.is_used || gap > free.size || free.size - gap < size) continue;
      const Extent block{free.offset + gap, size, 0, ++generation_, true};
      const auto place = extents_.erase(extents_.begin() + static_cast<std::ptrdiff_t>(i));
      const std::uint64_t rest = free.size - gap - size;
      const auto behind =
          rest == 0 ? place : extents_.insert(place, {block.offset + size, rest, 0, 0, false});
      const auto here = extents_.insert(behind, block);
      if (gap != 0) extents_.insert(here, {free.offset, gap, 0, 0, false});
      return Placement{block.offset, size, {0, block.generation}};
    }
    return std::nullopt;
  }

  bool deallocate(Handle handle, std::uint64_t offset) noexcept {
    if (!is_live(handle, offset)) return false;
    auto block = find(handle);
    block->is_used = false;
    if (const auto next = block + 1; next != extents_.end() && !next->is_used) {
      block->size += next->size;
      extents_.erase(next);
    }
    if (block != extents_.begin() && !(block - 1)->is_used) {
      (block - 1)->size += block->size;
      extents_.erase(block);
    }
    return true;
  }

  [[nodiscard]] std::uint64_t& word(Handle handle) noexcept { return find(handle)->word; }
  [[nodiscard]] std::uint64_t block_size(Handle handle) const noexcept {
    return find(handle)->size;
  }
  [[nodiscard]] bool is_live(Handle handle, std::uint64_t offset) const noexcept {
    const auto block = find(handle);
    return block != extents_.end() && block->offset == offset;
  }

  [[nodiscard]] std::uint64_t capacity() const noexcept {
    return extents_.back().offset + extents_.back().size;
  }
  [[nodiscard]] std::uint64_t used() const noexcept { return sum(true); }
  [[nodiscard]] std::uint64_t live_blocks() const noexcept { return count(true); }
  [[nodiscard]] std::uint64_t free_blocks() const noexcept { return count(false); }
  [[nodiscard]] std::uint64_t largest_free() const noexcept {
    std::uint64_t largest = 0;
    for (const Extent& extent : extents_) {
      if (!extent.is_used) largest = std::max(largest, extent.size);
    }
    return largest;
  }

  template <class Visitor>
  void for_each(Visitor&& visitor) const {
    for (const Extent& extent : extents_) visitor(extent.offset, extent.size, extent.is_used);
  }

  [[nodiscard]] bool validate() const {
    std::uint64_t end = 0;
    for (const Extent& extent : extents_) {
      if (extent.offset != end || extent.size == 0) return false;
      end += extent.size;
    }
    return true;
  }

 protected:
  MinimalStrategy(std::uint64_t capacity, std::uint32_t first_generation)
      : extents_{{0, capacity, 0, 0, false}}, generation_{first_generation} {}

  void free_all(std::uint32_t generation) {
    extents_ = {{0, capacity(), 0, 0, false}};
    generation_ = generation;
  }

 private:
  struct Extent {
    std::uint64_t offset;
    std::uint64_t size;
    std::uint64_t word;
    std::uint32_t generation;
    bool is_used;
  };

  [[nodiscard]] auto is_of(Handle handle) const noexcept {
    return [handle](const Extent& extent) {
      return extent.is_used && handle == Handle{0, extent.generation};
    };
  }
  [[nodiscard]] std::vector<Extent>::iterator find(Handle handle) noexcept {
    return std::find_if(extents_.begin(), extents_.end(), is_of(handle));
  }
  [[nodiscard]] std::vector<Extent>::const_iterator find(Handle handle) const noexcept {
    return std::find_if(extents_.begin(), extents_.end(), is_of(handle));
  }
  [[nodiscard]] std::uint64_t sum(bool used) const noexcept {
    std::uint64_t units = 0;
    for (const Extent& extent : extents_) units += extent.is_used == used ? extent.size : 0;
    return units;
  }
  [[nodiscard]] std::uint64_t count(bool used) const noexcept {
    std::uint64_t blocks = 0;
    for (const Extent& extent : extents_) blocks += extent.is_used == used ? 1 : 0;
    return blocks;
  }

  std::vector<Extent> extents_;  // in address order
  std::uint32_t generation_;
};

static_assert(Strategy<MinimalStrategy>);
static_assert(!Resizable<MinimalStrategy> && !Resettable<MinimalStrategy> &&
              !Reservable<MinimalStrategy> && !Growable<MinimalStrategy> &&
              !DoubleEnded<MinimalStrategy> && !Markable<MinimalStrategy>);

}  // namespace allot::test
