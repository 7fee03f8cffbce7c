// SPDX-License-Identifier: MIT
/// \file
/// `PrefixIndex`: full blocks of tokens by their contents and what comes before, so that sequences
/// with a common beginning share them.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/os/random.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

namespace allot::detail {

/// A hash table in arrays with an entry for each block: nothing is taken from the system later. A prefix is named by an identity that is never reused, a block's keys by the number of
/// their context (`key_table.hpp`), and tokens are compared, not only their hash: different prefixes
/// are never confused.
///
/// Complexity: constant in the blocks on average, whatever the tokens, since the hash has secret
/// random factors; linear in the tokens of one.
template <class TokenType>
class BasicPrefixIndex {
 public:
  using Token = TokenType;
  using Number = std::uint32_t;

  static constexpr std::uint64_t no_prefix = 0;

  /// \param blocks  0: there is no index
  /// Throws: `std::bad_alloc`, `std::length_error`; if the system has no random numbers,
  /// `std::runtime_error`.
  BasicPrefixIndex(std::uint64_t blocks, std::uint64_t block_tokens)
      : block_tokens_{static_cast<std::size_t>(block_tokens)},
        entries_(blocks),
        buckets_(blocks == 0 ? 0 : std::bit_ceil(larger<std::uint64_t>(blocks, 2)), none),
        tokens_(blocks * block_tokens_) {
    if (blocks == 0) return;
    factors_.resize(4 + block_tokens_);
    os::fill_with_random_bits(factors_.data(), factors_.size());
  }

  [[nodiscard]] bool exists() const noexcept { return !entries_.empty(); }

  /// The tokens of a block, to be set before it is inserted.
  [[nodiscard]] std::span<Token> tokens(Number block) noexcept {
    return {tokens_.data() + block * block_tokens_, block_tokens_};
  }

  /// Finds the block that holds these tokens, with the keys of that context, after that prefix.
  [[nodiscard]] std::optional<Number> find(std::uint64_t prefix, std::span<const Token> wanted,
                                           std::uint32_t context = 0) noexcept {
    if (!exists()) return std::nullopt;
    const std::uint64_t hash = hash_of(prefix, context, wanted);
    for (Number i = buckets_[bucket(hash)]; i != none; i = entries_[i].next) {
      const Entry& entry = entries_[i];
      if (entry.hash == hash && entry.prefix == prefix && entry.context == context &&
          std::memcmp(wanted.data(), tokens(i).data(), wanted.size_bytes()) == 0)
        return i;
    }
    return std::nullopt;
  }

  /// Returns the identity of a block of the index together with all before it.
  [[nodiscard]] std::uint64_t identity(Number block) const noexcept {
    return entries_[block].identity;
  }
  /// Returns the context of a block of the index.
  [[nodiscard]] std::uint32_t context(Number block) const noexcept {
    return entries_[block].context;
  }
  [[nodiscard]] bool contains(Number block) const noexcept {
    return exists() && entries_[block].identity != no_prefix;
  }

  /// Requires: nothing is found for the prefix, the context and the block's tokens.
  void insert(Number block, std::uint64_t prefix, std::uint32_t context = 0) noexcept {
    Entry& entry = entries_[block];
    entry.hash = hash_of(prefix, context, tokens(block));
    entry.prefix = prefix;
    entry.context = context;
    entry.identity = ++last_identity_;
    entry.next = buckets_[bucket(entry.hash)];
    buckets_[bucket(entry.hash)] = block;
  }

  void erase(Number block) noexcept {
    *link_to(block) = entries_[block].next;
    entries_[block] = Entry{};
  }

  /// Replaces a block by another one, which has no entry. Its tokens move along.
  void move(Number from, Number to) noexcept {
    if (!exists()) return;
    std::memcpy(tokens(to).data(), tokens(from).data(), tokens(from).size_bytes());
    if (!contains(from)) return;
    *link_to(from) = to;
    entries_[to] = entries_[from];
    entries_[from] = Entry{};
  }

  /// Returns the most blocks in one bucket: for tests. Complexity: linear.
  [[nodiscard]] std::uint64_t longest_bucket() const noexcept {
    std::uint64_t longest = 0;
    for (Number first : buckets_) {
      std::uint64_t length = 0;
      for (; first != none; first = entries_[first].next) ++length;
      longest = larger(longest, length);
    }
    return longest;
  }

 private:
  static constexpr Number none = largest_of<Number>;  // blocks are fewer

  struct Entry {
    std::uint64_t hash = 0;
    std::uint64_t prefix = no_prefix;
    std::uint64_t identity = no_prefix;
    Number next = none;
    std::uint32_t context = 0;
  };

  /// Multilinear, with a random factor for each token: any two blocks share a bucket with the least
  /// probability (Lemire and Kaser, "Strongly universal string hashing is fast", 2014). Only the
  /// upper half is that good.
  [[nodiscard]] std::uint64_t hash_of(std::uint64_t prefix, std::uint32_t context,
                                      std::span<const Token> tokens) const noexcept {
    std::uint64_t hash = factors_[0] + factors_[1] * (prefix >> 32) +
                         factors_[2] * (prefix & 0xFFFF'FFFF) + factors_[3] * context;
    for (std::size_t i = 0; i < tokens.size(); ++i) hash += factors_[4 + i] * tokens[i];
    return hash;
  }

  [[nodiscard]] std::size_t bucket(std::uint64_t hash) const noexcept {
    return static_cast<std::size_t>(hash >> (64 - std::countr_zero(buckets_.size())));
  }

  /// Returns the link to a block in its bucket.
  [[nodiscard]] Number* link_to(Number block) noexcept {
    Number* link = &buckets_[bucket(entries_[block].hash)];
    while (*link != block) link = &entries_[*link].next;
    return link;
  }

  std::size_t block_tokens_;
  DeferredVector<Entry, TokenType> entries_;
  DeferredVector<Number, TokenType> buckets_;
  DeferredVector<Token, TokenType> tokens_;
  DeferredVector<std::uint64_t, TokenType> factors_;
  std::uint64_t last_identity_ = no_prefix;
};

using PrefixIndex = BasicPrefixIndex<std::uint32_t>;

}  // namespace allot::detail
