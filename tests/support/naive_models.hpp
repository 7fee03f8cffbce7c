// SPDX-License-Identifier: MIT
/// \file
/// What each strategy promises, written as plainly as possible: sorted vectors and linear scans.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>
#include <vector>

namespace allot::test {

struct Extent {
  std::uint64_t offset;
  std::uint64_t size;
};

[[nodiscard]] inline std::uint64_t aligned(std::uint64_t offset, std::uint64_t alignment) {
  return (offset + alignment - 1) / alignment * alignment;
}

[[nodiscard]] inline bool can_hold(const Extent& block, std::uint64_t size,
                                   std::uint64_t alignment) {
  return aligned(block.offset, alignment) + size <= block.offset + block.size;
}

/// Free blocks by offset; neighbours are always merged.
class NaiveRange {
 public:
  explicit NaiveRange(std::uint64_t capacity) : free_{{0, capacity}} {}

  void deallocate(const Extent& block) {
    free_.push_back(block);
    std::sort(free_.begin(), free_.end(),
              [](const Extent& a, const Extent& b) { return a.offset < b.offset; });
    for (std::size_t i = 1; i < free_.size();) {
      if (free_[i - 1].offset + free_[i - 1].size == free_[i].offset) {
        free_[i - 1].size += free_[i].size;
        free_.erase(free_.begin() + static_cast<std::ptrdiff_t>(i));
      } else {
        ++i;
      }
    }
  }

 protected:
  [[nodiscard]] Extent take(std::vector<Extent>::iterator chosen, std::uint64_t size,
                            std::uint64_t alignment) {
    const Extent whole = *chosen;
    free_.erase(chosen);
    const Extent taken{aligned(whole.offset, alignment), size};
    const std::uint64_t front = taken.offset - whole.offset;
    const std::uint64_t back = whole.size - front - size;
    if (front != 0) deallocate({whole.offset, front});
    if (back != 0) deallocate({taken.offset + size, back});
    return taken;
  }

  std::vector<Extent> free_;
};

class NaiveFirstFit : public NaiveRange {
 public:
  using NaiveRange::NaiveRange;

  std::optional<Extent> allocate(std::uint64_t size, std::uint64_t alignment) {
    for (auto block = free_.begin(); block != free_.end(); ++block) {
      if (can_hold(*block, size, alignment)) return take(block, size, alignment);
    }
    return std::nullopt;
  }
};

class NaiveBestFit : public NaiveRange {
 public:
  using NaiveRange::NaiveRange;

  std::optional<Extent> allocate(std::uint64_t size, std::uint64_t alignment) {
    auto best = free_.end();
    for (auto block = free_.begin(); block != free_.end(); ++block) {
      if (!can_hold(*block, size, alignment)) continue;
      if (best == free_.end() || block->size < best->size) best = block;
    }
    if (best == free_.end()) return std::nullopt;
    return take(best, size, alignment);
  }
};

class NaiveBuddy {
 public:
  explicit NaiveBuddy(std::uint64_t capacity) {
    std::uint64_t offset = 0;
    while (capacity != 0) {
      const std::uint64_t size = std::bit_floor(capacity);
      free_.push_back({offset, size});
      offset += size;
      capacity -= size;
    }
  }

  std::optional<Extent> allocate(std::uint64_t size, std::uint64_t alignment) {
    const std::uint64_t granted = std::bit_ceil(size);
    const std::uint64_t needed = std::max(granted, alignment);
    auto best = free_.end();
    for (auto block = free_.begin(); block != free_.end(); ++block) {
      if (block->size < needed) continue;
      const bool better = best == free_.end() || block->size < best->size ||
                          (block->size == best->size && block->offset < best->offset);
      if (better) best = block;
    }
    if (best == free_.end()) return std::nullopt;
    Extent taken = *best;
    free_.erase(best);
    while (taken.size > granted) {
      taken.size /= 2;
      free_.push_back({taken.offset + taken.size, taken.size});
    }
    return taken;
  }

  void deallocate(Extent block) {
    for (;;) {
      const auto other = std::find_if(free_.begin(), free_.end(), [&](const Extent& e) {
        return e.size == block.size && e.offset == (block.offset ^ block.size);
      });
      if (other == free_.end()) break;
      block = {std::min(block.offset, other->offset), block.size * 2};
      free_.erase(other);
    }
    free_.push_back(block);
  }

 private:
  std::vector<Extent> free_;
};

}  // namespace allot::test
