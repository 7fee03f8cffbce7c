// SPDX-License-Identifier: MIT
/// \file
/// `Prefixes`: the blocks that sequences share, by their tokens, their keys and what comes before:
/// the index of blocks, the table of keys, the figures of keys, which follow the index, and the policy
/// that says which unused block to evict.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/pool/kv/detail/key_table.hpp>
#include <allot/pool/kv/detail/prefix_index.hpp>
#include <allot/pool/kv/kv_keys.hpp>

#include <cstdint>
#include <optional>

namespace allot::detail {

/// \tparam EvictionType  models `Eviction`
template <class Owner, class EvictionType>
class Prefixes : public BasicPrefixIndex<Deferred<std::uint32_t, Owner>> {
  using Index = BasicPrefixIndex<Deferred<std::uint32_t, Owner>>;

 public:
  using typename Index::Number;
  using typename Index::Token;
  using Keys = typename KeyTable<Owner>::Keys;
  using Index::contains;
  using Index::context;
  using Index::exists;
  using Index::identity;
  using Index::no_prefix;

  /// \param blocks  0: nothing is shared, and keys are ignored
  Prefixes(std::uint64_t blocks, std::uint64_t block_tokens)
      : Index{blocks, block_tokens}, block_tokens_{block_tokens}, eviction_{blocks} {}

  /// Sets the keys of a new sequence, and those of its first tokens. Throws: `std::bad_alloc`.
  void open(Keys& keys, const KvPromptKeys& given) {
    if (!exists()) return;
    keys = keys_.open(given.keys);
    keys_.add(keys, 0, given.positions);
  }
  void close(Keys& keys) noexcept { keys_.close(keys); }
  [[nodiscard]] Keys copy(const Keys& keys) { return keys_.copy(keys); }

  /// Adds the keys of tokens that follow the first `tokens`.
  void add(Keys& keys, std::uint64_t tokens, DeferredSpan<const KvPositions, Owner> positions) {
    if (exists() && !positions.empty()) keys_.add(keys, tokens, positions);
  }
  void cut(Keys& keys, std::uint64_t tokens) noexcept { keys_.cut(keys, tokens); }

  /// Finds the block that holds these tokens as a sequence's block `i`, after that prefix.
  [[nodiscard]] std::optional<Number> find(std::uint64_t prefix, const Keys& keys, std::uint64_t i,
                                           DeferredSpan<const Token, Owner> tokens) {
    const auto found = keys_.find(keys, i * block_tokens_, block_tokens_);
    return found ? Index::find(prefix, tokens, *found) : std::nullopt;
  }

  /// Requires: `find` finds nothing for it. Throws: `std::bad_alloc`; nothing has changed then.
  void insert(Number block, std::uint64_t prefix, const Keys& keys, std::uint64_t i) {
    const Number keys_context = keys_.context(keys, i * block_tokens_, block_tokens_);
    Index::insert(block, prefix, keys_context);
    keys_.count(keys_context, &KvKeyStats::published, 1);
    eviction_.note_kept(block);
  }

  /// Removes a block that no sequence uses.
  void erase_unused(Number block) noexcept {
    set_used(block);
    const Number had = context(block);
    Index::erase(block);
    eviction_.note_gone(block);
    keys_.count(had, &KvKeyStats::published, std::uint64_t{0} - 1);
    keys_.release(had);
  }
  void note_evicted(Number block) noexcept { keys_.count(context(block), &KvKeyStats::evicted, 1); }

  /// Replaces a block by another one, which has no entry.
  void move(Number from, Number to) noexcept {
    Index::move(from, to);
    if (contains(to)) eviction_.move(from, to);
  }

  [[nodiscard]] bool is_unused(Number block) const noexcept {
    return exists() && eviction_.contains(block);
  }
  [[nodiscard]] std::uint64_t unused() const noexcept { return eviction_.size(); }
  /// Returns the block to evict next. Requires: `unused() != 0`.
  [[nodiscard]] Number next_to_evict() const noexcept { return eviction_.next(); }

  /// Notes which blocks prompts that wait would find now, each with its keys, in their order.
  /// Throws: `std::bad_alloc`, `std::invalid_argument`; nothing has changed then.
  void expect(DeferredSpan<const KvWaiting, Owner> queue) {
    const auto each = static_cast<std::size_t>(block_tokens_);
    DeferredVector<Number, Owner> blocks;
    for (const KvWaiting& waiting : queue) {
      KeyTable<Owner>::check(waiting.keys.positions, waiting.prompt.size());
      Keys keys{};
      try {
        open(keys, waiting.keys);
        std::uint64_t prefix = no_prefix;
        for (std::size_t i = 0; (i + 1) * each < waiting.prompt.size(); ++i) {
          const auto found = find(prefix, keys, i, waiting.prompt.subspan(i * each, each));
          if (!found) break;
          blocks.push_back(*found);
          prefix = identity(*found);
        }
      } catch (...) {
        close(keys);
        throw;
      }
      close(keys);
    }
    eviction_.expect(blocks);
  }

  void set_unused(Number block) noexcept {
    eviction_.add(block);
    keys_.count(context(block), &KvKeyStats::cached, 1);
  }
  void set_used(Number block) noexcept {
    eviction_.remove(block);
    keys_.count(context(block), &KvKeyStats::cached, std::uint64_t{0} - 1);
  }

  /// Counts a prompt's full blocks; those of `found` were there. Throws: `std::bad_alloc`; nothing
  /// has changed then.
  void count_prompt(const Keys& keys, DeferredSpan<const Number, Owner> found,
                    std::uint64_t blocks) {
    keys_.count_prompt(keys, found.size(), blocks, block_tokens_);
    for (const Number block : found) eviction_.note_hit(block);
  }

  /// Makes sure that a key is not found again. Calls `erase(block)` for the unused blocks that have
  /// it; returns their number. Complexity: linear in all blocks.
  template <class Erase>
  std::uint64_t forget(const AnyKvKey& key, Number blocks, Erase&& erase) {
    const Number number = keys_.hide(key);
    std::uint64_t erased = 0;
    for (Number block = 0; number != KeyTable<Owner>::none && block < blocks; ++block) {
      if (!is_unused(block) || !keys_.has(context(block), number)) continue;
      erase(block);
      ++erased;
    }
    return erased;
  }

  [[nodiscard]] KvKeyStats stats(const AnyKvKey& key) const { return keys_.stats(key); }

  /// Returns true if contexts have the uses that these tables and the blocks of the index make.
  template <class Tables>
  [[nodiscard]] bool validate(const Tables& tables, Number blocks) const {
    DeferredVector<std::uint64_t, Owner> users(keys_.end());
    for (const auto& table : tables) ++users[table.keys.context];
    for (Number block = 0; block < blocks; ++block) {
      if (contains(block)) ++users[context(block)];
    }
    for (Number i = KeyTable<Owner>::none + 1; i < users.size(); ++i) {
      if (users[i] != keys_.users(i)) return false;
    }
    return true;
  }

 private:
  std::uint64_t block_tokens_;
  KeyTable<Owner> keys_;
  [[no_unique_address]] EvictionType eviction_;
};

}  // namespace allot::detail
