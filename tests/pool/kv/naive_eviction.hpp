// SPDX-License-Identifier: MIT
/// \file
/// What each eviction policy is to do, by its definition: a list of all that happened to a block, and
/// a linear scan for the one to evict. A new policy adds its rank.
#pragma once

#include <allot/pool/kv/eviction/decayed_hits.hpp>
#include <allot/pool/kv/eviction/eviction.hpp>
#include <allot/pool/kv/eviction/least_frequently_used.hpp>
#include <allot/pool/kv/eviction/least_recently_used.hpp>
#include <allot/pool/kv/eviction/waiting_kept.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace allot::test {

/// A block's history since it is kept.
struct NaiveBlock {
  bool is_kept = false;
  bool is_unused = false;
  std::vector<std::uint64_t> uses{};  // times of becoming kept and of hits
  std::uint64_t since = 0;            // when it became unused
  std::uint64_t needed_at = none;     // by a waiting prompt

  static constexpr std::uint64_t none = std::numeric_limits<std::uint64_t>::max();
};

/// What a policy evicts the least of.
template <class Policy>
struct NaiveRank;

template <>
struct NaiveRank<LeastRecentlyUsed> {
  static double of(const NaiveBlock&, std::uint64_t, std::uint64_t) { return 0; }
};

template <>
struct NaiveRank<LeastFrequentlyUsed> {
  static double of(const NaiveBlock& block, std::uint64_t, std::uint64_t) {
    return static_cast<double>(block.uses.size());
  }
};

template <std::uint64_t HalfLife>
struct NaiveRank<DecayedHits<HalfLife>> {
  static double of(const NaiveBlock& block, std::uint64_t now, std::uint64_t blocks) {
    double sum = 0;
    for (const std::uint64_t use : block.uses)
      sum += std::exp2(-static_cast<double>(now - use) / static_cast<double>(HalfLife * blocks));
    return sum;
  }
};

template <class Base>
struct NaiveRank<WaitingKept<Base>> : NaiveRank<Base> {};

/// The least uses, then the longest unused; what is waited for after all else.
template <class Policy>
class NaiveEviction {
 public:
  explicit NaiveEviction(std::uint64_t blocks) : blocks_(blocks) {}

  void note_kept(std::uint32_t block) {
    blocks_[block] = NaiveBlock{.is_kept = true, .uses = {++uses_}};
  }
  void note_hit(std::uint32_t block) { blocks_[block].uses.push_back(++uses_); }
  void note_gone(std::uint32_t block) { blocks_[block] = NaiveBlock{}; }
  void add(std::uint32_t block) {
    blocks_[block].is_unused = true;
    blocks_[block].since = ++changes_;
  }
  void remove(std::uint32_t block) { blocks_[block].is_unused = false; }
  void move(std::uint32_t from, std::uint32_t to) {
    blocks_[to] = std::exchange(blocks_[from], NaiveBlock{});
  }

  void expect(std::span<const std::uint32_t> blocks) {
    std::vector<std::pair<std::uint64_t, std::uint32_t>> before;
    for (std::uint32_t i = 0; i < blocks_.size(); ++i) {
      const std::uint64_t needed_at = std::exchange(blocks_[i].needed_at, NaiveBlock::none);
      if (needed_at != NaiveBlock::none) before.emplace_back(needed_at, i);
    }
    for (std::uint64_t i = blocks.size(); i-- != 0;) blocks_[blocks[i]].needed_at = i;
    std::sort(before.rbegin(), before.rend());
    for (const auto& [needed_at, block] : before) {
      if (blocks_[block].needed_at == NaiveBlock::none) blocks_[block].since = ++changes_;
    }
  }

  [[nodiscard]] const NaiveBlock& operator[](std::uint32_t block) const { return blocks_[block]; }
  [[nodiscard]] std::uint64_t size() const {
    return static_cast<std::uint64_t>(
        std::count_if(blocks_.begin(), blocks_.end(), [](auto& one) { return one.is_unused; }));
  }

  /// Returns whether a block is one that may be evicted next: ranks are sums of fractions, and two
  /// within a rounding of each other are equal here.
  [[nodiscard]] bool may_be_next(std::uint32_t block) const {
    if (!blocks_[block].is_unused) return false;
    return std::none_of(blocks_.begin(), blocks_.end(), [&](const NaiveBlock& other) {
      return other.is_unused && &other != &blocks_[block] && goes_before(other, blocks_[block]);
    });
  }

 private:
  [[nodiscard]] bool goes_before(const NaiveBlock& a, const NaiveBlock& b) const {
    if (a.needed_at != b.needed_at) return a.needed_at > b.needed_at;  // `none` is the most
    const double one = NaiveRank<Policy>::of(a, uses_, blocks_.size());
    const double other = NaiveRank<Policy>::of(b, uses_, blocks_.size());
    if (one != other) return one < other * (1 - 1e-9);
    return a.since < b.since;
  }

  std::vector<NaiveBlock> blocks_;
  std::uint64_t uses_ = 0;
  std::uint64_t changes_ = 0;
};

}  // namespace allot::test
