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

[[nodiscard]] inline std::uint64_t largest_of(const std::vector<Extent>& blocks) {
  std::uint64_t largest = 0;
  for (const Extent& block : blocks) largest = std::max(largest, block.size);
  return largest;
}

/// Free blocks by offset; neighbours are always merged.
class NaiveRange {
 public:
  explicit NaiveRange(std::uint64_t capacity) : free_{{0, capacity}}, capacity_{capacity} {}

  [[nodiscard]] std::uint64_t largest() const { return largest_of(free_); }

  bool expand(Extent& block, std::uint64_t size) {
    const std::uint64_t extra = size - block.size;
    const auto next = std::find_if(free_.begin(), free_.end(), [&](const Extent& e) {
      return e.offset == block.offset + block.size;
    });
    if (next == free_.end() || next->size < extra) return false;
    *next = {next->offset + extra, next->size - extra};
    if (next->size == 0) free_.erase(next);
    block.size = size;
    return true;
  }

  void shrink(Extent& block, std::uint64_t size) {
    deallocate({block.offset + size, block.size - size});
    block.size = size;
  }

  void reset() { free_ = {{0, capacity_}}; }

  void grow(std::uint64_t capacity) {
    if (capacity != capacity_) deallocate({capacity_, capacity - capacity_});
    capacity_ = capacity;
  }

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
  std::uint64_t capacity_;
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

/// Bins of sizes, in each the block that became free last in front; what ends the range is in none.
class NaiveGoodFit {
 public:
  explicit NaiveGoodFit(std::uint64_t capacity) : capacity_{capacity}, free_{{0, capacity}} {}

  std::optional<Extent> allocate(std::uint64_t size, std::uint64_t alignment) {
    auto found = find(size, alignment);
    const auto tail = std::find_if(free_.begin(), free_.end(),
                                   [&](const Extent& block) { return is_tail(block); });
    if (tail != free_.end() && can_hold(*tail, size, alignment) &&
        (found == free_.end() || bin_of(tail->size) < bin_of(found->size)))
      found = tail;
    if (found == free_.end()) return std::nullopt;
    const Extent whole = *found;
    const Extent taken{aligned(whole.offset, alignment), size};
    free_.erase(found);
    add({whole.offset, taken.offset - whole.offset});
    const std::uint64_t end = taken.offset + size;
    add({end, whole.offset + whole.size - end});
    return taken;
  }

  void deallocate(Extent block) {
    for (auto other = free_.begin(); other != free_.end();) {
      const bool before = other->offset + other->size == block.offset;
      if (!before && block.offset + block.size != other->offset) {
        ++other;
        continue;
      }
      block = {std::min(block.offset, other->offset), block.size + other->size};
      other = free_.erase(other);
    }
    add(block);
  }

  [[nodiscard]] std::uint64_t largest() const { return largest_of(free_); }

  bool expand(Extent& block, std::uint64_t size) {
    const std::uint64_t extra = size - block.size;
    const auto next = std::find_if(free_.begin(), free_.end(), [&](const Extent& e) {
      return e.offset == block.offset + block.size;
    });
    if (next == free_.end() || next->size < extra) return false;
    const Extent rest{next->offset + extra, next->size - extra};
    free_.erase(next);
    add(rest);
    block.size = size;
    return true;
  }

  void shrink(Extent& block, std::uint64_t size) {
    deallocate({block.offset + size, block.size - size});
    block.size = size;
  }

  void reset() { free_ = {{0, capacity_}}; }

  /// Free blocks are then in the order of their addresses, the highest in front.
  void grow(std::uint64_t capacity) {
    if (capacity == capacity_) return;
    deallocate({capacity_, capacity - capacity_});
    capacity_ = capacity;
    std::sort(free_.begin(), free_.end(),
              [](const Extent& a, const Extent& b) { return a.offset > b.offset; });
  }

  [[nodiscard]] static std::uint64_t bin_of(std::uint64_t size) {
    std::uint64_t steps = 0;
    for (; size >= 128; size /= 2) ++steps;
    return 64 * steps + size;
  }

 private:
  using Iterator = std::vector<Extent>::iterator;

  [[nodiscard]] bool is_tail(const Extent& block) const {
    return block.offset + block.size == capacity_;
  }

  void add(const Extent& block) {
    if (block.size != 0) free_.insert(free_.begin(), block);
  }

  /// The lowest bin that is at least `bin` and not empty.
  [[nodiscard]] std::optional<std::uint64_t> next_bin(std::uint64_t bin) const {
    std::optional<std::uint64_t> lowest;
    for (const Extent& block : free_) {
      const std::uint64_t other = bin_of(block.size);
      if (!is_tail(block) && other >= bin && (!lowest || other < *lowest)) lowest = other;
    }
    return lowest;
  }

  /// The first block of the bin, if it holds the request.
  [[nodiscard]] Iterator look(std::uint64_t bin, std::uint64_t size, std::uint64_t alignment) {
    const auto first = std::find_if(free_.begin(), free_.end(), [&](const Extent& block) {
      return !is_tail(block) && bin_of(block.size) == bin;
    });
    const bool holds = first != free_.end() && can_hold(*first, size, alignment);
    return holds ? first : free_.end();
  }

  [[nodiscard]] Iterator find(std::uint64_t size, std::uint64_t alignment) {
    if (const auto own = look(bin_of(size), size, alignment); own != free_.end()) return own;
    const auto above = next_bin(bin_of(size) + 1);
    if (!above) return free_.end();
    if (const auto next = look(*above, size, alignment); next != free_.end()) return next;
    const std::uint64_t enough = size + alignment - 1;
    const bool is_lowest = bin_of(enough - 1) != bin_of(enough);
    const auto sure = next_bin(bin_of(enough) + (is_lowest ? 0 : 1));
    return sure ? look(*sure, size, alignment) : free_.end();
  }

  std::uint64_t capacity_;
  std::vector<Extent> free_;  // most recently freed first
};

class NaiveBuddy {
 public:
  explicit NaiveBuddy(std::uint64_t capacity) : capacity_{capacity} { reset(); }

  void reset() {
    free_.clear();
    std::uint64_t offset = 0;
    for (std::uint64_t rest = capacity_; rest != 0;) {
      const std::uint64_t size = std::bit_floor(rest);
      free_.push_back({offset, size});
      offset += size;
      rest -= size;
    }
  }

  [[nodiscard]] std::uint64_t largest() const { return largest_of(free_); }

  /// Its buddies on the way must all be free, and behind it.
  bool expand(Extent& block, std::uint64_t size) {
    const std::uint64_t granted = std::bit_ceil(size);
    if (block.offset % granted != 0) return false;
    std::vector<Extent> rest = free_;
    for (std::uint64_t half = block.size; half < granted; half *= 2) {
      const auto other = std::find_if(rest.begin(), rest.end(), [&](const Extent& e) {
        return e.offset == block.offset + half && e.size == half;
      });
      if (other == rest.end()) return false;
      rest.erase(other);
    }
    free_ = rest;
    block.size = std::max(block.size, granted);
    return true;
  }

  void shrink(Extent& block, std::uint64_t size) {
    while (block.size > std::bit_ceil(size)) {
      block.size /= 2;
      free_.push_back({block.offset + block.size, block.size});
    }
  }

  /// Unit by unit.
  void grow(std::uint64_t capacity) {
    for (; capacity_ < capacity; ++capacity_) deallocate({capacity_, 1});
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
  std::uint64_t capacity_;
};

/// Two stacks: only the blocks that are live, each with the highest or lowest at the end.
class NaiveLinear {
 public:
  explicit NaiveLinear(std::uint64_t capacity) : capacity_{capacity} {}

  std::optional<Extent> allocate(std::uint64_t size, std::uint64_t alignment) {
    const Extent gap = middle();
    if (!can_hold(gap, size, alignment)) return std::nullopt;
    lower_.push_back({aligned(gap.offset, alignment), size});
    return lower_.back();
  }

  std::optional<Extent> allocate_upper(std::uint64_t size, std::uint64_t alignment) {
    const Extent gap = middle();
    if (size > gap.size) return std::nullopt;
    const std::uint64_t offset = (gap.offset + gap.size - size) / alignment * alignment;
    if (offset < gap.offset) return std::nullopt;
    upper_.push_back({offset, size});
    return upper_.back();
  }

  void deallocate(const Extent& block) {
    for (std::vector<Extent>* stack : {&lower_, &upper_}) {
      std::erase_if(*stack, [&](const Extent& other) { return other.offset == block.offset; });
    }
  }

  bool expand(Extent& block, std::uint64_t size) {
    const Extent gap = middle();
    if (lower_.empty() || lower_.back().offset != block.offset) return false;
    if (size - block.size > gap.size) return false;
    lower_.back().size = size;
    block.size = size;
    return true;
  }

  void shrink(Extent& block, std::uint64_t size) {
    for (std::vector<Extent>* stack : {&lower_, &upper_}) {
      for (Extent& other : *stack) {
        if (other.offset == block.offset) other.size = size;
      }
    }
    block.size = size;
  }

  void reset() {
    lower_.clear();
    upper_.clear();
  }
  void grow(std::uint64_t capacity) { capacity_ = capacity; }

  [[nodiscard]] std::uint64_t largest() const { return middle().size; }

 private:
  [[nodiscard]] Extent middle() const {
    const std::uint64_t begin = lower_.empty() ? 0 : lower_.back().offset + lower_.back().size;
    const std::uint64_t end = upper_.empty() ? capacity_ : upper_.back().offset;
    return {begin, end - begin};
  }

  std::uint64_t capacity_;
  std::vector<Extent> lower_;
  std::vector<Extent> upper_;
};

/// One flag for each block.
template <std::uint64_t Units>
class NaiveFixedBlocks {
 public:
  explicit NaiveFixedBlocks(std::uint64_t capacity) : is_used_(capacity / Units) {}

  std::optional<Extent> allocate(std::uint64_t size, std::uint64_t alignment) {
    if (size > Units || Units % alignment != 0) return std::nullopt;
    const auto lowest = std::find(is_used_.begin(), is_used_.end(), false);
    if (lowest == is_used_.end()) return std::nullopt;
    *lowest = true;
    return Extent{static_cast<std::uint64_t>(lowest - is_used_.begin()) * Units, Units};
  }

  void deallocate(const Extent& block) { is_used_[block.offset / Units] = false; }
  void reset() { is_used_.assign(is_used_.size(), false); }
  void grow(std::uint64_t capacity) { is_used_.resize(capacity / Units); }
  [[nodiscard]] std::uint64_t largest() const {
    const bool is_full = std::find(is_used_.begin(), is_used_.end(), false) == is_used_.end();
    return is_full ? 0 : Units;
  }

 private:
  std::vector<bool> is_used_;
};

}  // namespace allot::test
