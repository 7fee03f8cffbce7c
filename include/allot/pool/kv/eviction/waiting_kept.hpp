// SPDX-License-Identifier: MIT
/// \file
/// `WaitingKept<Base>`: evicts no block that a waiting prompt will hit while there are others. For
/// engines with a queue: `KvCache::expect` notifies it of the prompts that wait.
#pragma once

#include <allot/pool/kv/eviction/detail/ranked_blocks.hpp>
#include <allot/pool/kv/eviction/eviction.hpp>
#include <allot/pool/kv/eviction/least_recently_used.hpp>

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace allot {

/// Blocks that are not waited for go first, as `Base` orders them; then those waited for, the one
/// that is needed last first: of what is known of the future, that is the best order (Belady, 1966).
/// A block that is waited for no longer comes to `Base` as one that was just used. 40 bytes a block
/// besides `Base`'s. Complexity: logarithmic in the unused blocks that are waited for, and as
/// `Base`'s; `expect` is linear in the blocks it is given now and was before, each that is waited for
/// no longer logarithmic.
///
/// \tparam Base  of the blocks that are not waited for
template <Eviction Base = LeastRecentlyUsed>
requires Base::keeps_blocks class WaitingKept {
 public:
  using Number = std::uint32_t;  ///< of a block

  static constexpr bool keeps_blocks = true;  ///< blocks outlive their sequences

  /// Throws: `std::bad_alloc`.
  explicit WaitingKept(std::uint64_t blocks) : base_{blocks}, awaited_{blocks}, stamps_(blocks) {
    static_assert(QueueAwareEviction<WaitingKept>);
    order_.reserve(blocks);
  }

  /// Says which kept blocks prompts that wait will hit, in the order of their use; a block may come
  /// several times. Replaces what was said before.
  void expect(std::span<const Number> blocks) noexcept {
    const std::uint64_t named = stamp_ + 1;
    for (const Number block : blocks) stamps_[block] = named;
    for (std::size_t i = order_.size(); i-- != 0;) {  // what is needed last is evicted first
      const Number block = order_[i];
      if (stamps_[block] == named || !awaited_.contains(block)) continue;
      awaited_.remove(block);
      base_.add(block);
    }
    order_.clear();
    stamp_ = named + 1;
    for (const Number block : blocks) {
      if (stamps_[block] == stamp_) continue;  // needed earlier, too
      stamps_[block] = stamp_;
      awaited_.set_rank(block, -static_cast<double>(order_.size()));
      order_.push_back(block);
      if (!base_.contains(block)) continue;
      base_.remove(block);
      awaited_.append(block);
    }
    awaited_.restore();
  }

  /// Notes a block that prompts can find from now on.
  void note_kept(Number block) noexcept { base_.note_kept(block); }
  /// Notes a hit.
  void note_hit(Number block) noexcept { base_.note_hit(block); }
  /// Notes that its number stands for another block from now on.
  void note_gone(Number block) noexcept {
    stamps_[block] = 0;
    base_.note_gone(block);
  }

  /// Notes that no sequence uses a block any more.
  void add(Number block) noexcept {
    if (stamps_[block] == stamp_) return awaited_.add(block);
    base_.add(block);
  }
  /// Notes that a block is used again, or gone.
  void remove(Number block) noexcept {
    if (awaited_.contains(block)) return awaited_.remove(block);
    base_.remove(block);
  }

  /// Gives a block another number, which no block has.
  void move(Number from, Number to) noexcept {
    if (stamps_[from] == stamp_) order_[place_of(from)] = to;
    stamps_[to] = std::exchange(stamps_[from], 0);
    awaited_.move(from, to);
    base_.move(from, to);
  }

  /// Returns whether a block is unused.
  [[nodiscard]] bool contains(Number block) const noexcept {
    return base_.contains(block) || awaited_.contains(block);
  }
  /// Returns the number of unused blocks.
  [[nodiscard]] std::uint64_t size() const noexcept { return base_.size() + awaited_.size(); }
  /// Returns `Base`'s next one, or if there is none, that which is needed last. Requires: one is
  /// unused.
  [[nodiscard]] Number next() const noexcept {
    return base_.size() != 0 ? base_.next() : awaited_.next();
  }
  /// Returns the number of unused blocks that are waited for.
  [[nodiscard]] std::uint64_t awaited() const noexcept { return awaited_.size(); }

 private:
  [[nodiscard]] std::size_t place_of(Number block) const noexcept {
    return static_cast<std::size_t>(-awaited_.rank(block));
  }

  Base base_;
  detail::RankedBlocks<> awaited_;     // unused and waited for; all that are have a rank
  std::vector<std::uint64_t> stamps_;  // of each block; waited for: `stamp_`
  std::vector<Number> order_;          // of use; may have numbers that stand for other blocks now
  std::uint64_t stamp_ = 2;
};

}  // namespace allot
