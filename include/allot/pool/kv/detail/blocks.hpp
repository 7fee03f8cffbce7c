// SPDX-License-Identifier: MIT
/// \file
/// `KvBlocks`: the blocks of a paged KV cache, whatever the sequences: which are used, which prefixes
/// need, and how many tokens each has. The common part of `KvState`; nothing here locks.
#pragma once

#include <allot/core/deferred.hpp>
#include <allot/pool/kv/detail/filled_slots.hpp>
#include <allot/pool/kv/detail/prefixes.hpp>
#include <allot/pool/kv/errors.hpp>
#include <allot/pool/kv/kv_keys.hpp>
#include <allot/pool/kv/kv_layout.hpp>
#include <allot/pool/kv/stats.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

namespace allot::detail {

/// \tparam PoolType      the `BlockPool`
/// \tparam EvictionType  models `Eviction`
template <class PoolType, class EvictionType>
class KvBlocks {
 public:
  using Owner = Deferred<void, PoolType>;  // the same tables for all pools, known when one is used
  using Index = Prefixes<Owner, EvictionType>;
  using Number = std::uint32_t;

  [[nodiscard]] PoolType& pool() noexcept { return pool_; }
  [[nodiscard]] const PoolType& pool() const noexcept { return pool_; }
  [[nodiscard]] const KvLayout& layout() const noexcept { return layout_; }
  /// The number of blocks that were evicted.
  [[nodiscard]] std::uint64_t evicted() const noexcept { return evicted_; }

  /// Releases up to `most` blocks that only the index uses, in the order of the policy.
  std::uint64_t evict(std::uint64_t most) {
    std::uint64_t evicted = 0;
    for (; evicted < most && index_.unused() != 0; ++evicted) {
      const Number block = index_.next_to_evict();
      index_.note_evicted(block);
      erase(block);
    }
    evicted_ += evicted;
    return evicted;
  }

  /// Makes sure that what was computed with a key is not found again. Returns the number of blocks
  /// that were released: those that no sequence uses. Complexity: linear in all blocks.
  std::uint64_t forget(const AnyKvKey& key) {
    return index_.forget(key, static_cast<Number>(pool_.capacity()),
                         [&](Number block) { erase(block); });
  }

  template <class Visitor>
  void for_each(Visitor&& visitor) const {
    for (Number i = 0; i < pool_.capacity(); ++i) {
      const std::uint32_t references = pool_.ref_count(i);
      const auto state = references == 0       ? KvBlock::State::free
                         : index_.is_unused(i) ? KvBlock::State::cached
                                               : KvBlock::State::in_use;
      visitor(KvBlock{i, references, filled_[i], state});
    }
  }

 protected:
  template <class... PoolArguments>
  KvBlocks(const KvLayout& layout, bool prefix_sharing, PoolArguments&&... pool_arguments)
      : layout_{layout},
        pool_{std::forward<PoolArguments>(pool_arguments)...},
        index_{prefix_sharing ? pool_.capacity() : 0, layout.block_tokens()},
        filled_{pool_.capacity()} {}

  void make_room(std::uint64_t blocks, std::size_t lane) {
    const std::uint64_t free = pool_.free();
    if (blocks <= free) return;
    if (blocks - free > index_.unused()) {
      pool_.notices().refused(blocks, lane);
      throw OutOfBlocks{blocks, free + index_.unused(), pool_.capacity(), layout_.block_bytes()};
    }
    evict(blocks - free);
  }

  /// Removes a block that no sequence uses from the index.
  void erase(Number block) {
    index_.erase_unused(block);
    filled_.set(block, 0);
    pool_.release_unused(block);
  }

  /// Adds a sequence's use of a block.
  void use(Number block) {
    pool_.retain(block);
    if (index_.is_unused(block)) index_.set_used(block);
  }

  /// Removes a sequence's use of a block.
  void release(Number block, std::size_t lane) {
    if (pool_.release(block, lane)) {
      filled_.set(block, 0);
    } else if (index_.contains(block) && pool_.ref_count(block) == 1) {
      index_.set_unused(block);
      if constexpr (!EvictionType::keeps_blocks) erase(block);
    }
  }

  void copy_tokens(Number from, Number to, std::uint64_t count) noexcept {
    if (index_.exists()) {
      const auto tokens = index_.tokens(from).first(static_cast<std::size_t>(count));
      std::memcpy(index_.tokens(to).data(), tokens.data(), tokens.size_bytes());
    }
    filled_.set(to, count);
  }

  KvLayout layout_;
  PoolType pool_;
  Index index_;
  FilledSlots<Owner> filled_;

 private:
  std::uint64_t evicted_ = 0;
};

}  // namespace allot::detail
