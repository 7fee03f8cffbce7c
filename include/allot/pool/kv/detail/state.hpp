// SPDX-License-Identifier: MIT
/// \file
/// `KvState`: the block tables of a paged KV cache and their operations. Nothing here locks;
/// `KvCache` and its sequences do.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/pool/kv/detail/blocks.hpp>
#include <allot/pool/kv/detail/tables.hpp>
#include <allot/pool/kv/kv_keys.hpp>
#include <allot/pool/kv/kv_layout.hpp>
#include <allot/pool/kv/stats.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace allot::detail {

/// \tparam PoolType      the `BlockPool`
/// \tparam EvictionType  models `Eviction`
template <class PoolType, class EvictionType>
class KvState : public KvBlocks<PoolType, EvictionType> {
  using Base = KvBlocks<PoolType, EvictionType>;
  using Base::filled_;
  using Base::index_;
  using Base::layout_;
  using Base::make_room;
  using Base::pool_;
  using Base::release;
  using Base::use;

 public:
  using typename Base::Index;
  using typename Base::Number;
  using typename Base::Owner;
  using Token = typename Index::Token;
  using Table = detail::Table<Owner>;

  template <class... PoolArguments>
  KvState(const KvLayout& layout, bool prefix_sharing, PoolArguments&&... pool_arguments)
      : Base{layout, prefix_sharing, std::forward<PoolArguments>(pool_arguments)...} {}

  [[nodiscard]] Table& table(std::uint32_t slot) noexcept { return tables_[slot]; }
  [[nodiscard]] std::uint64_t version() const noexcept { return version_; }

  /// Opens an empty sequence. Closing it needs no memory.
  [[nodiscard]] std::uint32_t open() { return tables_.open(); }

  void close(std::uint32_t slot, std::size_t lane) {
    drop_blocks(table(slot), 0, lane);
    index_.close(table(slot).keys);
    tables_.close(slot);
  }

  /// Gives an empty sequence its keys, and those of its first tokens.
  void set_keys(std::uint32_t slot, std::uint64_t tokens, const KvPromptKeys& keys) {
    KeyTable<Owner>::check(keys.positions, tokens);
    index_.open(table(slot).keys, keys);
  }

  /// Starts an empty sequence with the blocks of these tokens that others have computed: full
  /// blocks only, and without the last token, whose result is wanted.
  /// \param most_tokens  no more than these are shared
  void share_prefix(std::uint32_t slot, std::span<const Token> tokens, std::size_t lane,
                    std::uint64_t most_tokens = ~std::uint64_t{0}) {
    const std::size_t each = static_cast<std::size_t>(layout_.block_tokens());
    const std::size_t most = static_cast<std::size_t>(smaller<std::uint64_t>(
        tokens.empty() ? 0 : (tokens.size() - 1) / each, most_tokens / each));
    Table& into = table(slot);
    into.blocks.reserve(
        static_cast<std::size_t>(smaller(layout_.blocks_for(tokens.size()), pool_.capacity())));
    for (std::size_t i = 0; i < most; ++i) {
      const auto found = index_.find(into.prefix, into.keys, i, tokens.subspan(i * each, each));
      if (!found) break;
      pool_.read(*found, lane);
      use(*found);
      into.blocks.push_back(*found);
      into.tokens += each;
      into.prefix = index_.identity(*found);
      ++into.published;
    }
  }

  void expect(DeferredSpan<const KvWaiting, Owner> queue) { index_.expect(queue); }

  /// Counts how much of a prompt a new sequence found.
  void count_prompt(std::uint32_t slot, std::uint64_t tokens, std::uint64_t cached) {
    if (!index_.exists()) return;
    const std::uint64_t each = layout_.block_tokens();
    index_.count_prompt(
        table(slot).keys,
        std::span{table(slot).blocks}.first(static_cast<std::size_t>(cached / each)),
        tokens / each);
    hits_ += cached / each;
    misses_ += tokens / each - cached / each;
  }

  /// Opens another sequence of the same tokens and keys, in the same blocks.
  void fork(std::uint32_t from, std::uint32_t to, std::size_t lane) {
    DeferredVector<Number, Owner> blocks = table(from).blocks;
    table(to).keys = index_.copy(table(from).keys);
    for (const Number block : blocks) pool_.end_writes(block);
    for (const Number block : blocks) pool_.read(block, lane);
    for (const Number block : blocks) pool_.retain(block);
    Table& into = table(to);
    shared_ += blocks.size();
    into.blocks = std::move(blocks);
    into.dropped = table(from).dropped;
    into.is_private = table(from).is_private;
    into.tokens = table(from).tokens;
    into.published = table(from).published;
    into.prefix = table(from).prefix;
  }

  /// Moves the later work of a sequence to another lane.
  void change_lane(std::uint32_t slot, std::size_t from, std::size_t to) {
    for (const Number block : table(slot).blocks) {
      pool_.end_writes(block);
      pool_.note_read(block, from);
    }
    for (const Number block : table(slot).blocks) pool_.read(block, to);
  }

  /// Makes room for more tokens, in new blocks if the present ones are full; copies the last one if
  /// others use it. Throws: `OutOfBlocks`, what the device throws: the sequence is then as it was.
  void append(std::uint32_t slot, std::span<const Token> tokens, std::size_t lane) {
    Table& into = table(slot);
    const auto end = checked_add(into.tokens, tokens.size());
    if (!end || tokens.empty()) return;
    const std::uint64_t blocks = layout_.blocks_for(*end) - into.dropped;
    const std::uint64_t begin = into.tokens % layout_.block_tokens();
    const bool copies = begin != 0 && pool_.ref_count(into.blocks.back()) > 1;
    const std::uint64_t more = blocks - into.blocks.size() + (copies ? 1 : 0);
    if (more != 0) make_room(more, lane);
    if (blocks > into.blocks.capacity()) {  // doubled: otherwise appending is quadratic
      const std::uint64_t twice = smaller<std::uint64_t>(2 * into.blocks.size(), pool_.capacity());
      into.blocks.reserve(static_cast<std::size_t>(larger(blocks, twice)));
    }
    const std::size_t had = into.blocks.size();
    std::optional<Number> copy;
    try {
      if (copies) copy = pool_.copy_of(into.blocks.back(), lane);
      if (begin != 0 && !copies) pool_.write(into.blocks.back(), lane);
      while (into.blocks.size() < blocks) into.blocks.push_back(pool_.allocate(lane));
    } catch (...) {
      for (; into.blocks.size() > had; into.blocks.pop_back())
        pool_.release(into.blocks.back(), lane);
      if (copy) pool_.release(*copy, lane);
      throw;
    }
    if (copy) {
      const Number old = std::exchange(into.blocks[had - 1], *copy);
      Base::copy_tokens(old, *copy, begin);
      release(old, lane);
      ++copied_;
    }
    write_tokens(into, tokens);
  }

  /// The same, with keys for some of the tokens. Throws also: `std::invalid_argument`.
  void append(std::uint32_t slot, std::span<const Token> tokens,
              DeferredSpan<const KvPositions, Owner> positions, std::size_t lane) {
    KeyTable<Owner>::check(positions, tokens.size());
    const std::uint64_t had = table(slot).tokens;
    append(slot, tokens, lane);
    try {
      index_.add(table(slot).keys, had, positions);
    } catch (...) {
      truncate(slot, had, lane, true);
      throw;
    }
  }

  /// Removes the tokens from `tokens` on. Requires: there are at least that many.
  /// \param keeps_keys  true if keys that were given for later tokens stay
  void truncate(std::uint32_t slot, std::uint64_t tokens, std::size_t lane, bool keeps_keys) {
    Table& from = table(slot);
    if (!keeps_keys) index_.cut(from.keys, tokens);
    drop_blocks(from, layout_.blocks_for(tokens) - from.dropped, lane);
    from.tokens = tokens;
    const auto full = static_cast<std::size_t>(tokens / layout_.block_tokens());
    if (from.published > full) {
      if (from.dropped != 0) from.is_private = true;  // the blocks to look up again from are gone
      from.prefix =
          full <= from.dropped
              ? Index::no_prefix
              : index_.identity(from.blocks[static_cast<std::size_t>(full - 1 - from.dropped)]);
      // Its own block, not in the index: look up again from the first block on.
      from.published = from.prefix == Index::no_prefix ? 0 : full;
    }
    const std::uint64_t kept = tokens % layout_.block_tokens();
    if (kept != 0 && pool_.ref_count(from.blocks.back()) == 1)
      filled_.set(from.blocks.back(), kept);
  }

  /// Gives back the blocks of which every token comes before a position. Requires: there are at
  /// least that many tokens. What was not published by then never is.
  void slide(std::uint32_t slot, std::uint64_t position, std::size_t lane) {
    Table& from = table(slot);
    const std::uint64_t before = position / layout_.block_tokens();
    if (before <= from.dropped) return;
    const auto count = static_cast<std::ptrdiff_t>(before - from.dropped);
    for (auto block = from.blocks.begin() + count; block != from.blocks.begin();)
      release(*--block, lane);
    from.blocks.erase(from.blocks.begin(), from.blocks.begin() + count);
    from.dropped = before;
    if (from.published < before) from.is_private = true;
  }

  /// Lets others share the full blocks of a sequence. Those whose tokens are in the index already,
  /// in other blocks, stay its own.
  void publish(std::uint32_t slot) {
    Table& of = table(slot);
    if (!index_.exists() || of.is_private) return;
    for (; of.published < of.tokens / layout_.block_tokens(); ++of.published) {
      const Number block = of.blocks[static_cast<std::size_t>(of.published - of.dropped)];
      pool_.end_writes(block);
      auto found = index_.find(of.prefix, of.keys, of.published, index_.tokens(block));
      if (!found && !index_.contains(block)) {
        pool_.retain(block);
        try {
          index_.insert(block, of.prefix, of.keys, of.published);
        } catch (...) {
          pool_.release_unused(block);
          throw;
        }
        found = block;
      }
      // In the index under a prefix that was evicted since: later blocks cannot be found.
      of.prefix = index_.identity(found.value_or(block));
    }
  }

  [[nodiscard]] Compaction compact(std::uint64_t most_blocks, std::size_t lane) {
    const std::uint64_t before = pool_.end();
    std::vector<typename PoolType::Moved> moves;
    moves.reserve(static_cast<std::size_t>(smaller(most_blocks, pool_.used())));
    try {
      while (moves.size() < most_blocks) {
        const auto moved = pool_.compact(lane);
        if (!moved) break;
        index_.move(moved->from, moved->to);
        filled_.move(moved->from, moved->to);
        moves.push_back(*moved);
      }
    } catch (...) {
      update(moves, lane);
      throw;
    }
    const std::uint64_t updated = update(moves, lane);
    return {moves.size(), moves.size() * layout_.block_bytes(), before, pool_.end(),
            updated,      pool_.end() == pool_.used()};
  }

  [[nodiscard]] KvCacheStats stats() const {
    const std::uint64_t used = pool_.used();
    return {.capacity = pool_.capacity(),
            .free = pool_.capacity() - used,
            .in_use = used - index_.unused(),
            .cached = index_.unused(),
            .peak_used = pool_.peak_used(),
            .sequences = tables_.open_count(),
            .slots = used * layout_.block_tokens(),
            .filled = filled_.sum(),
            .hits = hits_,
            .misses = misses_,
            .shared = shared_,
            .copied = copied_,
            .evicted = Base::evicted(),
            .moved = moved_};
  }

  [[nodiscard]] KvKeyStats stats(const AnyKvKey& key) const { return index_.stats(key); }

  /// Returns true if every invariant of the bookkeeping holds: for tests. Complexity: linear.
  [[nodiscard]] bool validate() {
    DeferredVector<std::uint32_t, Owner> users(pool_.capacity());
    if (!tables_.count_users(users, layout_)) return false;
    std::uint64_t unused = 0;
    for (std::uint32_t i = 0; i < users.size(); ++i) {
      if (index_.contains(i)) {
        if (index_.is_unused(i) != (users[i] == 0)) return false;
        unused += users[i] == 0 ? 1 : 0;
        ++users[i];
      }
      if (users[i] != pool_.ref_count(i)) return false;
    }
    return filled_.validate(pool_) && unused == index_.unused() && pool_.validate() &&
           index_.validate(tables_, static_cast<Number>(pool_.capacity()));
  }

 private:
  /// Releases the last blocks first, so that the end of a prefix is evicted before its beginning.
  void drop_blocks(Table& from, std::uint64_t kept, std::size_t lane) {
    for (; from.blocks.size() > kept; from.blocks.pop_back()) release(from.blocks.back(), lane);
  }

  void write_tokens(Table& into, std::span<const Token> tokens) noexcept {
    const auto each = static_cast<std::size_t>(layout_.block_tokens());
    while (!tokens.empty()) {
      const auto at = static_cast<std::size_t>(into.tokens % each);
      const Number block = into.blocks[static_cast<std::size_t>(into.tokens / each - into.dropped)];
      const auto piece = tokens.first(smaller(tokens.size(), each - at));
      if (index_.exists())
        std::memcpy(index_.tokens(block).subspan(at).data(), piece.data(), piece.size_bytes());
      filled_.set(block, at + piece.size());
      into.tokens += piece.size();
      tokens = tokens.subspan(piece.size());
    }
  }

  /// Makes the tables name the new blocks.
  std::uint64_t update(const std::vector<typename PoolType::Moved>& moves,
                       std::size_t lane) noexcept {
    if (moves.empty()) return 0;
    pool_.finish_compaction(lane);
    moved_ += moves.size();
    ++version_;
    return tables_.renumber(moves);
  }

  Tables<Owner> tables_;
  std::uint64_t hits_ = 0;
  std::uint64_t misses_ = 0;
  std::uint64_t shared_ = 0;
  std::uint64_t copied_ = 0;
  std::uint64_t moved_ = 0;
  std::uint64_t version_ = 0;
};

}  // namespace allot::detail
