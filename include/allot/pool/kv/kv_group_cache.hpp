// SPDX-License-Identifier: MIT
/// \file
/// `KvGroupCache`: a paged cache of several groups of layers, each with its own rows and, if it
/// has a window, its own length, in one allocation. Windows give their blocks back as they slide.
#pragma once

#include <allot/alignment/alignment.hpp>
#include <allot/arena.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/device/device.hpp>
#include <allot/observer/observer.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/pool/kv/eviction/eviction.hpp>
#include <allot/pool/kv/eviction/least_recently_used.hpp>
#include <allot/pool/kv/kv_cache.hpp>
#include <allot/pool/kv/kv_keys.hpp>
#include <allot/pool/kv/kv_layout.hpp>
#include <allot/pool/kv/kv_shape_of.hpp>
#include <allot/slice.hpp>
#include <allot/strategy/linear.hpp>
#include <allot/synchronization/locked.hpp>
#include <allot/synchronization/synchronization.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

namespace allot {

/// What a cache of several groups is made for.
struct KvGroupCacheConfig {
  std::vector<KvGroup> groups;  ///< such as those of `load::kv_groups_of`
  std::uint64_t context;        ///< tokens of a sequence: the groups' shares of the budget follow
  std::uint64_t budget_bytes;   ///< of the one allocation
  std::uint64_t batch = 1;      ///< tokens appended at once: a window has room for as many more
  std::uint64_t block_tokens = 16;  ///< of each block
  std::size_t lanes = 1;            ///< streams of each group
  bool prefix_sharing = true;       ///< as `KvCacheConfig` has it
};

/// A `KvCache` for each group, in one allocation. A sequence has blocks in each; a group with a
/// window keeps those of the window, and of the batch that is appended. An engine's step is that of
/// a `KvCache`, with the group's number where a block or a place is named.
///
/// The cache and its sequences may be destroyed in any order. Use it from one thread at a time.
///
/// \tparam EvictionType  of each group: which blocks that only prefixes need make room first
/// \tparam ObserverType  of each group, made without arguments: `cache(group).with_observer`
template <Device DeviceType, Eviction EvictionType = LeastRecentlyUsed,
          Observer ObserverType = Unobserved>
requires std::copyable<DeviceType>
class KvGroupCache {
  using Groups = std::shared_ptr<const std::vector<KvGroup>>;

 public:
  using Cache = KvCache<DeviceType, Unsynchronized, EvictionType, ObserverType>;  ///< of one group
  using Token = typename Cache::Token;  ///< as the model's vocabulary numbers them

  /// Divides the budget so that each group holds as many sequences of `context` tokens.
  /// Throws: `std::invalid_argument` without groups, for an invalid shape, and for a budget below one
  /// block a group; `OutOfMemory`; what making streams throws.
  KvGroupCache(DeviceType device, const KvGroupCacheConfig& config)
      : groups_{std::make_shared<const std::vector<KvGroup>>(config.groups)} {
    const std::vector<std::uint64_t> shares = shares_of(config);
    std::uint64_t all = 0;
    for (const std::uint64_t share : shares) all += share;
    Memory memory{all, device.memory()};
    for (std::size_t i = 0; i < shares.size(); ++i) {
      const KvCacheConfig one{.shape = config.groups[i].shape,
                              .budget_bytes = shares[i],
                              .block_tokens = config.block_tokens,
                              .lanes = config.lanes,
                              .prefix_sharing = config.prefix_sharing};
      caches_.emplace_back(device, one, memory.allocate(shares[i]));
    }
  }

  /// The tokens of one sequence, with blocks in each group.
  class Sequence {
   public:
    /// Makes room for more tokens in each group; before that, windows give back the blocks that none
    /// of these tokens looks at. Complexity: linear in the tokens and the blocks of windows.
    /// Throws: `OutOfBlocks`: the sequence has the tokens that it had.
    void append(std::span<const Token> tokens) {
      const std::uint64_t had = this->tokens();
      slide(had);
      std::size_t done = 0;
      try {
        for (; done < parts_.size(); ++done) parts_[done].append(tokens);
      } catch (...) {
        while (done-- != 0) parts_[done].truncate(had, true);
        throw;
      }
    }
    void append(Token token) { append(std::span{&token, 1}); }

    /// Removes the last tokens, so that `tokens` are left. Throws: `std::out_of_range` if it has
    /// fewer, or a window has given back what the next token would look at.
    /// Complexity: linear in the groups and the blocks released.
    void truncate(std::uint64_t tokens) {
      for (Part& part : parts_) require_window(part, tokens);
      for (Part& part : parts_) part.truncate(tokens);
    }

    /// Returns another sequence with the same tokens, in the same blocks.
    /// Complexity: linear in the blocks of all groups.
    [[nodiscard]] Sequence fork() {
      Sequence other{groups_};
      other.parts_.reserve(parts_.size());
      for (Part& part : parts_) other.parts_.push_back(part.fork());
      return other;
    }

    /// Lets sequences that begin with the same tokens share the full blocks.
    /// Complexity: linear in the tokens since the last call, for each group.
    void publish() {
      for (Part& part : parts_) part.publish();
    }

    [[nodiscard]] std::uint64_t tokens() const { return parts_.front().tokens(); }

    /// Returns the numbers of a group's blocks, in the order of the tokens from `first(group)` on.
    /// Throws: `std::out_of_range` for an unknown group.
    [[nodiscard]] std::vector<std::uint32_t> block_table(std::size_t group) const {
      return parts_.at(group).block_table();
    }
    /// The same into memory of the caller's: returns how many there are. Throws: also `std::length_error`.
    std::size_t block_table(std::size_t group, std::span<std::uint32_t> into) const {
      return parts_.at(group).block_table(into);
    }
    /// Returns the position of the first token whose block a group still has: 0 without a window.
    /// Throws: `std::out_of_range` for an unknown group.
    [[nodiscard]] std::uint64_t first(std::size_t group) const { return parts_.at(group).first(); }

    /// Returns the place of a token in a group. Throws: `std::out_of_range`, also for a token that a
    /// window has given back.
    [[nodiscard]] KvSlot slot(std::size_t group, std::uint64_t position) const {
      return parts_.at(group).slot(position);
    }

   private:
    friend KvGroupCache;
    using Part = typename Cache::Sequence;

    explicit Sequence(Groups groups) noexcept : groups_{std::move(groups)} {}

    /// A token at `position` looks at `window` tokens, itself included.
    void slide(std::uint64_t position) {
      for (std::size_t i = 0; i < parts_.size(); ++i) {
        const std::uint64_t window = (*groups_)[i].window;
        if (window != 0 && position + 1 > window) parts_[i].slide(position + 1 - window);
      }
    }

    void require_window(const Part& part, std::uint64_t tokens) const {
      const auto group = static_cast<std::size_t>(&part - parts_.data());
      const std::uint64_t window = (*groups_)[group].window;
      const std::uint64_t from = window != 0 && tokens + 1 > window ? tokens + 1 - window : 0;
      if (window == 0 || from >= part.first()) return;
      throw std::out_of_range{(FixedText<160>{} << "a window of " << window
                                                << " tokens has given back those before "
                                                << part.first() << ", so that " << tokens
                                                << " tokens cannot be gone back to")
                                  .c_str()};
    }

    Groups groups_;
    std::vector<Part> parts_;
  };

  /// A new sequence, and how many of the prompt's first tokens were computed for others already.
  struct Started {
    Sequence sequence;     ///< ready for the tokens after those cached
    std::uint64_t cached;  ///< tokens
  };

  /// Starts a sequence with the first tokens of a prompt that every group has; append the rest in
  /// batches. Throws: as `KvCache::start`.
  [[nodiscard]] Started start(std::span<const Token> prompt = {}, const KvPromptKeys& keys = {}) {
    Sequence sequence{groups_};
    sequence.parts_.reserve(caches_.size());
    std::uint64_t cached = ~std::uint64_t{0};
    for (Cache& cache : caches_) {
      auto part = cache.start_of_group(prompt, keys, cached);
      cached = part.cached;
      sequence.parts_.push_back(std::move(part.sequence));
    }
    // Not `truncate`, which ends the keys of the rest of the prompt.
    for (std::size_t i = 0; i < caches_.size(); ++i) {
      auto& part = sequence.parts_[i];
      if (part.tokens() != cached) part = caches_[i].start_of_group(prompt, keys, cached).sequence;
    }
    for (auto& part : sequence.parts_) part.count_prompt(prompt.size());
    return {std::move(sequence), cached};
  }

  /// Notes which prompts wait, for each group as `KvCache::expect` does.
  template <class Policy = EvictionType>
  requires QueueAwareEviction<Policy>
  void expect(std::span<const KvWaiting> queue) {
    for (Cache& cache : caches_) cache.expect(queue);
  }

  /// Returns the number of groups.
  [[nodiscard]] std::size_t groups() const noexcept { return caches_.size(); }
  /// Returns a group. Throws: `std::out_of_range`.
  [[nodiscard]] const KvGroup& group(std::size_t number) const { return groups_->at(number); }
  /// The cache of a group: for its layout, addresses, streams and figures.
  [[nodiscard]] Cache& cache(std::size_t group) { return caches_.at(group); }
  [[nodiscard]] const Cache& cache(std::size_t group) const { return caches_.at(group); }

 private:
  using Memory = Shared<
      Arena<Linear, AlignTo<KvLayout::alignment>, Locked<>, typename DeviceType::memory_type>>;

  /// Returns the blocks of one sequence in a group: those of a window may begin and end within one.
  [[nodiscard]] static std::uint64_t blocks_of(const KvGroup& group, const KvLayout& layout,
                                               const KvGroupCacheConfig& config) {
    const std::uint64_t all = layout.blocks_for(config.context);
    const auto kept = checked_add(group.window, config.batch);
    if (group.window == 0 || !kept) return all;
    return smaller(all, layout.blocks_for(*kept) + 1);
  }

  /// Returns the bytes of each group: whole blocks, as many sequences in each.
  [[nodiscard]] static std::vector<std::uint64_t> shares_of(const KvGroupCacheConfig& config) {
    if (config.groups.empty() || config.context == 0)
      throw std::invalid_argument{"a cache of no groups, or of no tokens, holds nothing"};
    std::vector<std::uint64_t> bytes;  // of a sequence
    double all = 0;
    for (const KvGroup& group : config.groups) {
      const KvLayout layout{group.shape, config.block_tokens};
      const auto own = checked_multiply(blocks_of(group, layout, config), layout.block_bytes());
      if (!own) throw std::invalid_argument{"a sequence exceeds 2^64 bytes; check the shapes"};
      bytes.push_back(*own);
      all += static_cast<double>(*own);
    }
    std::vector<std::uint64_t> shares;
    std::uint64_t left = config.budget_bytes;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const KvLayout layout{config.groups[i].shape, config.block_tokens};
      const double share =
          static_cast<double>(config.budget_bytes) / all * static_cast<double>(bytes[i]);
      const std::uint64_t most = smaller(left, static_cast<std::uint64_t>(share));
      const std::uint64_t blocks = layout.blocks_in(i + 1 == bytes.size() ? left : most);
      shares.push_back(blocks * layout.block_bytes());
      left -= shares.back();
    }
    return shares;
  }

  Groups groups_;
  std::vector<Cache> caches_;
};

}  // namespace allot
