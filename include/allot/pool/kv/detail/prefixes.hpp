// SPDX-License-Identifier: MIT
/// \file
/// `Prefixes`: the blocks that sequences share, by their tokens, their keys and what comes before:
/// the index of blocks, the table of keys, and the figures of keys, which follow the index.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/pool/kv/detail/key_table.hpp>
#include <allot/pool/kv/detail/prefix_index.hpp>
#include <allot/pool/kv/kv_keys.hpp>

#include <cstdint>
#include <optional>

namespace allot::detail {

template <class Owner>
class Prefixes : public BasicPrefixIndex<Deferred<std::uint32_t, Owner>> {
  using Index = BasicPrefixIndex<Deferred<std::uint32_t, Owner>>;

 public:
  using typename Index::Number;
  using typename Index::Token;
  using Keys = typename KeyTable<Owner>::Keys;
  using Index::contains;
  using Index::context;
  using Index::exists;
  using Index::is_unused;

  /// \param blocks  0: nothing is shared, and keys are ignored
  Prefixes(std::uint64_t blocks, std::uint64_t block_tokens)
      : Index{blocks, block_tokens}, block_tokens_{block_tokens} {}

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
  }

  /// Removes a block that no sequence uses.
  void erase_unused(Number block) noexcept {
    set_used(block);
    const Number had = context(block);
    Index::erase(block);
    keys_.count(had, &KvKeyStats::published, std::uint64_t{0} - 1);
    keys_.release(had);
  }
  void note_evicted(Number block) noexcept { keys_.count(context(block), &KvKeyStats::evicted, 1); }

  void set_unused(Number block) noexcept {
    Index::set_unused(block);
    keys_.count(context(block), &KvKeyStats::cached, 1);
  }
  void set_used(Number block) noexcept {
    Index::set_used(block);
    keys_.count(context(block), &KvKeyStats::cached, std::uint64_t{0} - 1);
  }

  /// Counts a prompt's full blocks; `found` of them were there.
  void count_prompt(const Keys& keys, std::uint64_t found, std::uint64_t blocks) {
    keys_.count_prompt(keys, found, blocks, block_tokens_);
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
};

}  // namespace allot::detail
