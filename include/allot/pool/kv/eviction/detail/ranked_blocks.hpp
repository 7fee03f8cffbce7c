// SPDX-License-Identifier: MIT
/// \file
/// `RankedBlocks`: a set of blocks, the one of least rank first. A policy that evicts by a figure
/// is made of it.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>

#include <cstddef>
#include <cstdint>

namespace allot::detail {

/// A binary heap with the place of each block in it: 24 bytes a block and 4 for the heap. Of equal
/// ranks, the block that was added first is first.
///
/// \tparam Number  of a block: a parameter, so that only a cache that is used compiles this
template <class Number = std::uint32_t>
class RankedBlocks {
 public:
  /// Takes all memory. Throws: `std::bad_alloc`.
  explicit RankedBlocks(std::uint64_t blocks) : entries_(blocks) { heap_.reserve(blocks); }

  [[nodiscard]] bool contains(Number block) const noexcept { return entries_[block].place != none; }
  [[nodiscard]] std::uint64_t size() const noexcept { return heap_.size(); }
  /// Requires: it is not empty.
  [[nodiscard]] Number next() const noexcept { return heap_.front(); }

  [[nodiscard]] double rank(Number block) const noexcept { return entries_[block].rank; }
  /// Requires: the block is not in the set, or `restore` comes before all else.
  void set_rank(Number block, double rank) noexcept { entries_[block].rank = rank; }

  /// Adds a block with its rank. Complexity: logarithmic, as for `remove`.
  void add(Number block) noexcept {
    append(block);
    sift_up(heap_.size() - 1);
  }

  void remove(Number block) noexcept {
    const std::size_t place = entries_[block].place;
    entries_[block].place = none;
    const Number last = heap_.back();
    heap_.pop_back();
    if (last == block) return;
    put(place, last);
    sift_up(place);
    sift_down(entries_[last].place);
  }

  /// Gives a block another number, with its rank and its place.
  void move(Number from, Number to) noexcept {
    entries_[to] = entries_[from];
    entries_[from] = Entry{};
    if (contains(to)) heap_[entries_[to].place] = to;
  }

  /// Adds a block anywhere. Requires: `restore` comes before all else but more of these.
  void append(Number block) noexcept {
    entries_[block].order = ++last_order_;
    heap_.push_back(block);
    entries_[block].place = static_cast<Number>(heap_.size() - 1);
  }
  /// Brings the set in order again. Complexity: linear in its size.
  void restore() noexcept {
    for (std::size_t place = heap_.size() / 2; place-- != 0;) sift_down(place);
  }

 private:
  static constexpr Number none = largest_of<Number>;  // blocks are fewer

  struct Entry {
    double rank = 0;
    std::uint64_t order = 0;  // of equal ranks
    Number place = none;      // in the heap
  };

  [[nodiscard]] bool is_before(Number a, Number b) const noexcept {
    const Entry& one = entries_[a];
    const Entry& other = entries_[b];
    return one.rank != other.rank ? one.rank < other.rank : one.order < other.order;
  }

  void put(std::size_t place, Number block) noexcept {
    heap_[place] = block;
    entries_[block].place = static_cast<Number>(place);
  }

  void sift_up(std::size_t place) noexcept {
    const Number block = heap_[place];
    for (; place != 0 && is_before(block, heap_[(place - 1) / 2]); place = (place - 1) / 2)
      put(place, heap_[(place - 1) / 2]);
    put(place, block);
  }

  void sift_down(std::size_t place) noexcept {
    const Number block = heap_[place];
    for (std::size_t child = 2 * place + 1; child < heap_.size(); child = 2 * place + 1) {
      if (child + 1 < heap_.size() && is_before(heap_[child + 1], heap_[child])) ++child;
      if (!is_before(heap_[child], block)) break;
      put(place, heap_[child]);
      place = child;
    }
    put(place, block);
  }

  DeferredVector<Entry, Number> entries_;
  DeferredVector<Number, Number> heap_;
  std::uint64_t last_order_ = 0;
};

/// What policies that evict the unused block of the lowest rank have in common. 28 bytes a block.
template <class Number = std::uint32_t>
class RankedEviction {
 public:
  static constexpr bool keeps_blocks = true;  ///< blocks outlive their sequences

  void note_gone(Number) noexcept {}  ///< the next block of that number begins again
  /// Notes that no sequence uses a block any more.
  void add(Number block) noexcept { unused_.add(block); }
  /// Notes that a block is used again, or gone.
  void remove(Number block) noexcept { unused_.remove(block); }
  /// Gives a block another number, which no block has.
  void move(Number from, Number to) noexcept { unused_.move(from, to); }
  /// Returns whether a block is unused.
  [[nodiscard]] bool contains(Number block) const noexcept { return unused_.contains(block); }
  /// Returns the number of unused blocks.
  [[nodiscard]] std::uint64_t size() const noexcept { return unused_.size(); }
  /// Returns the unused block of the lowest rank. Requires: there is one.
  [[nodiscard]] Number next() const noexcept { return unused_.next(); }

 protected:
  explicit RankedEviction(std::uint64_t blocks) : unused_{blocks} {}

  RankedBlocks<Number> unused_;
};

}  // namespace allot::detail
