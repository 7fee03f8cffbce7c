// SPDX-License-Identifier: MIT
/// \file
/// `KeyTable`: the keys of a cache's sequences and blocks, and their figures.
///
/// The keys of a block, those of its sequence and of its positions, make a *context*: a sorted list
/// of pieces, interned, so that equal numbers mean equal contexts.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/core/units.hpp>
#include <allot/pool/kv/detail/intern_table.hpp>
#include <allot/pool/kv/kv_keys.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace allot::detail {

template <class Owner = void>
class KeyTable {
 public:
  using Number = std::uint32_t;

  static constexpr Number none = 0;  ///< the context without keys

  /// The keys of a sequence. `KeyTable` counts its uses: give it back with `close`.
  struct Keys {
    struct Span {
      std::uint64_t first;
      std::uint64_t end;
      std::uint64_t furthest_end;  // of this and all before it
      std::uint64_t offset;
      Number key;
    };
    Number context = none;                // of blocks that no span touches
    DeferredVector<Span, Owner> spans{};  // by `first`
  };

  /// Throws: `std::invalid_argument` for positions outside of that many tokens.
  static void check(DeferredSpan<const KvPositions, Owner> positions, std::uint64_t tokens) {
    for (const KvPositions& one : positions) {
      const auto end = checked_add(one.first, one.count);
      if (one.count != 0 && end && *end <= tokens && checked_add(one.offset, one.count)) continue;
      throw std::invalid_argument{
          FixedText<256>{}
              .fill_in("a key for # positions from # on does not lie within the # tokens that it "
                       "comes with; count positions from the first of these, and give at least one",
                       {one.count, one.first, tokens})
              .c_str()};
    }
  }

  /// Throws: `std::bad_alloc`; nothing has changed then.
  [[nodiscard]] Keys open(DeferredSpan<const AnyKvKey, Owner> keys) {
    if (keys.empty()) return {};
    pieces_.clear();
    DeferredVector<Number, Owner> added;
    added.reserve(keys.size());
    Keys made;
    try {
      for (const AnyKvKey& key : keys) {
        added.push_back(add(key));
        insert({added.back(), 0, 0, 0});
      }
      normalize();
      made.context = context_of_pieces();
    } catch (...) {
      for (const Number key : added) release_key(key);
      throw;
    }
    for (const Number key : added) release_key(key);  // the context uses them
    count(made.context, &KvKeyStats::sequences, 1);
    return made;
  }

  /// Adds keys for some of the tokens from `at` on, which the sequence is about to get. Requires:
  /// `check` has passed. Throws: `std::bad_alloc`; nothing has changed then.
  void add(Keys& keys, std::uint64_t at, DeferredSpan<const KvPositions, Owner> positions) {
    keys.spans.reserve(keys.spans.size() + positions.size());
    DeferredVector<Number, Owner> added;
    added.reserve(positions.size());
    try {
      for (const KvPositions& one : positions) added.push_back(add(one.key));
    } catch (...) {
      for (const Number key : added) release_key(key);
      throw;
    }
    mark_all(keys, keys.spans.size());
    for (std::size_t i = 0; i < added.size(); ++i) {
      const KvPositions& one = positions[i];
      if (mark(added[i])) ++figures_[added[i]].sequences;
      const std::uint64_t first = at + one.first;
      auto place = keys.spans.end();
      while (place != keys.spans.begin() && (place - 1)->first > first) --place;
      keys.spans.insert(place, {first, first + one.count, 0, one.offset, added[i]});
    }
    update_furthest_ends(keys);
  }

  /// Removes the keys of tokens from `tokens` on.
  void cut(Keys& keys, std::uint64_t tokens) noexcept {
    if (keys.spans.empty()) return;
    std::size_t kept = keys.spans.size();
    while (kept != 0 && keys.spans[kept - 1].first >= tokens) --kept;
    if (kept != keys.spans.size()) mark_all(keys, kept);
    for (; keys.spans.size() > kept; keys.spans.pop_back()) {
      const Number key = keys.spans.back().key;
      if (mark(key)) --figures_[key].sequences;
      release_key(key);
    }
    for (auto& span : keys.spans) span.end = smaller(span.end, tokens);
    update_furthest_ends(keys);
  }

  void close(Keys& keys) noexcept {
    cut(keys, 0);
    count(keys.context, &KvKeyStats::sequences, std::uint64_t{0} - 1);
    release(keys.context);
    keys = Keys{};
  }

  /// Throws: `std::bad_alloc`; nothing has changed then.
  [[nodiscard]] Keys copy(const Keys& keys) {
    Keys made{none, keys.spans};
    retain(made.context = keys.context);
    count(made.context, &KvKeyStats::sequences, 1);
    mark_all(keys, 0);
    for (const auto& span : keys.spans) {
      keys_.retain(span.key);
      if (mark(span.key)) ++figures_[span.key].sequences;
    }
    return made;
  }

  /// Returns the context of a sequence's tokens from `begin` on, or nothing if no block has it.
  /// Throws: `std::bad_alloc`.
  [[nodiscard]] std::optional<Number> find(const Keys& keys, std::uint64_t begin,
                                           std::uint64_t tokens) {
    if (!collect(keys, begin, tokens)) return keys.context;
    const Number found = contexts_.find(bytes_of_pieces());
    if (found == none) return std::nullopt;
    return found;
  }

  /// Returns the same, with one user more. Throws: `std::bad_alloc`; nothing has changed then.
  [[nodiscard]] Number context(const Keys& keys, std::uint64_t begin, std::uint64_t tokens) {
    if (collect(keys, begin, tokens)) return context_of_pieces();
    retain(keys.context);
    return keys.context;
  }

  void release(Number context) noexcept {
    if (context == none) return;
    if (contexts_.users(context) == 1) for_each_key(context, [&](Number key) { release_key(key); });
    contexts_.release(context);
  }

  /// Adds to a figure of each key of a context.
  void count(Number context, std::uint64_t KvKeyStats::*figure, std::uint64_t by) noexcept {
    if (context == none) return;
    for_each_key(context, [&](Number key) { figures_[key].*figure += by; });
  }

  /// Counts a prompt's full blocks: `found` of them were there. Throws: `std::bad_alloc`.
  void count_prompt(const Keys& keys, std::uint64_t found, std::uint64_t blocks,
                    std::uint64_t block_tokens) {
    if (keys.context == none && keys.spans.empty()) return;
    for (std::uint64_t i = 0; i < blocks; ++i) {
      const auto figure = i < found ? &KvKeyStats::hits : &KvKeyStats::misses;
      if (!collect(keys, i * block_tokens, block_tokens)) {
        count(keys.context, figure, 1);
        continue;
      }
      for (std::size_t j = 0; j < pieces_.size(); ++j) {
        if (j == 0 || pieces_[j].key != pieces_[j - 1].key)
          ++(figures_[static_cast<Number>(pieces_[j].key)].*figure);
      }
    }
  }

  [[nodiscard]] KvKeyStats stats(const AnyKvKey& key) const {
    const Number number = find(key);
    return number == none ? KvKeyStats{} : figures_[number];
  }

  /// Makes sure that a key is not found again. Returns its number as it was, or `none`.
  [[nodiscard]] Number hide(const AnyKvKey& key) {
    const Number number = find(key);
    if (number != none) keys_.hide(number);
    return number;
  }

  [[nodiscard]] bool has(Number context, Number key) const noexcept {
    bool found = false;
    if (context != none) for_each_key(context, [&](Number one) { found = found || one == key; });
    return found;
  }

  /// The uses of a context: for tests.
  [[nodiscard]] std::uint64_t users(Number context) const noexcept {
    return contexts_.users(context);
  }
  [[nodiscard]] std::size_t end() const noexcept { return contexts_.end(); }

 private:
  /// A key of a sequence (`count` is 0) or of some positions in a block.
  struct Piece {
    std::uint64_t key;
    std::uint64_t begin;  // in the block
    std::uint64_t offset;
    std::uint64_t count;

    [[nodiscard]] bool operator==(const Piece&) const noexcept = default;
    [[nodiscard]] auto operator<=>(const Piece&) const noexcept = default;
  };

  [[nodiscard]] static std::string name_of(const AnyKvKey& key) {
    const void* const kind = key.kind();
    std::string name(sizeof kind, '\0');
    std::memcpy(name.data(), &kind, sizeof kind);
    return name.append(key.value());
  }

  [[nodiscard]] Number find(const AnyKvKey& key) const { return keys_.find(name_of(key)); }

  [[nodiscard]] Number add(const AnyKvKey& key) {
    const std::string name = name_of(key);
    if (figures_.capacity() <= keys_.end()) figures_.reserve(2 * keys_.end() + 1);
    if (marks_.capacity() <= keys_.end()) marks_.reserve(2 * keys_.end() + 1);
    const Number number = keys_.add(name);
    if (number >= figures_.size()) figures_.resize(number + std::size_t{1});
    if (number >= marks_.size()) marks_.resize(number + std::size_t{1});
    return number;
  }

  void release_key(Number key) noexcept {
    if (keys_.release(key)) figures_[key] = KvKeyStats{};
  }

  void retain(Number context) noexcept {
    if (context != none) contexts_.retain(context);
  }

  /// Calls `visitor(key)` for each key of a context once. The visitor may release the key.
  template <class Visitor>
  void for_each_key(Number context, Visitor&& visitor) const {
    const std::string_view bytes = contexts_.bytes(context);
    std::uint64_t last = none;
    for (std::size_t at = 0; at < bytes.size(); at += sizeof(Piece)) {
      Piece piece;
      std::memcpy(&piece, bytes.data() + at, sizeof piece);
      if (piece.key != last) visitor(static_cast<Number>(piece.key));
      last = piece.key;
    }
  }

  /// Marks the keys of a sequence and of its first `spans` spans, and no others.
  void mark_all(const Keys& keys, std::size_t spans) noexcept {
    ++marked_;
    if (keys.context != none)
      for_each_key(keys.context, [&](Number key) { static_cast<void>(mark(key)); });
    for (std::size_t i = 0; i < spans; ++i) static_cast<void>(mark(keys.spans[i].key));
  }
  /// Returns false if the key was marked already.
  bool mark(Number key) noexcept {
    if (marks_[key] == marked_) return false;
    marks_[key] = marked_;
    return true;
  }

  static void update_furthest_ends(Keys& keys) noexcept {
    std::uint64_t furthest = 0;
    for (auto& span : keys.spans) span.furthest_end = furthest = larger(furthest, span.end);
  }

  /// Makes `pieces_` the context of some tokens, if they have keys besides their sequence's.
  /// Complexity: logarithmic in the spans, and linear in those from the first to the last that
  /// touch the tokens.
  [[nodiscard]] bool collect(const Keys& keys, std::uint64_t begin, std::uint64_t tokens) {
    std::size_t first = 0;
    for (std::size_t last = keys.spans.size(); first != last;) {
      const std::size_t middle = first + (last - first) / 2;
      if (keys.spans[middle].furthest_end > begin) {
        last = middle;
      } else {
        first = middle + 1;
      }
    }
    pieces_.clear();
    const std::uint64_t end = begin + tokens;
    for (std::size_t i = first; i < keys.spans.size() && keys.spans[i].first < end; ++i) {
      const auto& span = keys.spans[i];
      if (span.end <= begin) continue;
      const std::uint64_t from = larger(begin, span.first);
      insert({span.key, from - begin, span.offset + (from - span.first),
              smaller(end, span.end) - from});
    }
    if (pieces_.empty()) return false;
    if (keys.context != none)
      for_each_key(keys.context, [&](Number key) { insert({key, 0, 0, 0}); });
    normalize();
    return true;
  }

  void insert(const Piece& piece) {
    auto place = pieces_.end();
    while (place != pieces_.begin() && *(place - 1) > piece) --place;
    pieces_.insert(place, piece);
  }

  /// Removes repeated pieces, and joins those that continue each other.
  void normalize() noexcept {
    std::size_t kept = 0;
    for (std::size_t i = 1; i < pieces_.size(); ++i) {
      Piece& last = pieces_[kept];
      const Piece& next = pieces_[i];
      if (next == last) continue;
      if (next.key == last.key && last.count != 0 && next.begin == last.begin + last.count &&
          next.offset == last.offset + last.count) {
        last.count += next.count;
      } else {
        pieces_[++kept] = next;
      }
    }
    pieces_.resize(kept + 1);
  }

  [[nodiscard]] std::string_view bytes_of_pieces() const noexcept {
    return {reinterpret_cast<const char*>(pieces_.data()), pieces_.size() * sizeof(Piece)};
  }

  /// Returns their context, with one user more; a new one uses each of its keys.
  [[nodiscard]] Number context_of_pieces() {
    const Number context = contexts_.add(bytes_of_pieces());
    if (contexts_.users(context) == 1)
      for_each_key(context, [&](Number key) { keys_.retain(key); });
    return context;
  }

  InternTable<Owner> keys_;
  InternTable<Owner> contexts_;
  DeferredVector<KvKeyStats, Owner> figures_;   // by the number of a key
  DeferredVector<std::uint64_t, Owner> marks_;  // likewise: `marked_` if a key is marked
  std::uint64_t marked_ = 0;
  DeferredVector<Piece, Owner> pieces_;  // scratch
};

}  // namespace allot::detail
