// SPDX-License-Identifier: MIT
/// \file
/// `LeastRecentlyUsed`: evicts the block that is unused for longest. The default: constant time, and
/// no worse than the others unless prompts come again after long.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/pool/kv/eviction/eviction.hpp>

#include <cstdint>

namespace allot {

/// A list in an array with 8 bytes for each block. Complexity: constant for each call.
/// \tparam Number  of a block: a parameter, so that only a cache that is used compiles this
template <class Number = std::uint32_t>
class BasicLeastRecentlyUsed {
 public:
  static constexpr bool keeps_blocks = true;  ///< blocks outlive their sequences

  /// Throws: `std::bad_alloc`.
  explicit BasicLeastRecentlyUsed(std::uint64_t blocks) : links_(blocks) {
    static_assert(Eviction<BasicLeastRecentlyUsed>);
  }

  void note_kept(Number) noexcept {}  ///< counts nothing
  void note_hit(Number) noexcept {}   ///< counts nothing
  void note_gone(Number) noexcept {}  ///< has nothing to forget

  /// Notes that no sequence uses a block any more: it is evicted after all that are unused already.
  void add(Number block) noexcept {
    Links& links = links_[block];
    links.older = newest_;
    links.newer = none;
    (newest_ == none ? oldest_ : links_[newest_].newer) = block;
    newest_ = block;
    ++size_;
  }

  /// Notes that a block is used again, or gone.
  void remove(Number block) noexcept {
    Links& links = links_[block];
    (links.older == none ? oldest_ : links_[links.older].newer) = links.newer;
    (links.newer == none ? newest_ : links_[links.newer].older) = links.older;
    links.older = used;
    --size_;
  }

  /// Gives a block another number, which no block has.
  void move(Number from, Number to) noexcept {
    if (!contains(from)) return;
    const Links links = links_[from];
    links_[to] = links;
    links_[from].older = used;
    (links.older == none ? oldest_ : links_[links.older].newer) = to;
    (links.newer == none ? newest_ : links_[links.newer].older) = to;
  }

  /// Returns whether a block is unused.
  [[nodiscard]] bool contains(Number block) const noexcept { return links_[block].older != used; }
  /// Returns the number of unused blocks.
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// Returns the block that is unused for longest. Requires: there is one.
  [[nodiscard]] Number next() const noexcept { return oldest_; }

 private:
  // Blocks are fewer than either.
  static constexpr Number none = largest_of<Number>;
  static constexpr Number used = none - 1;

  struct Links {
    Number older = used;  // `used`: in no list, since a sequence uses the block
    Number newer = none;
  };

  DeferredVector<Links, Number> links_;
  std::uint64_t size_ = 0;
  Number oldest_ = none;
  Number newest_ = none;
};

using LeastRecentlyUsed = BasicLeastRecentlyUsed<>;  ///< of any cache

}  // namespace allot
