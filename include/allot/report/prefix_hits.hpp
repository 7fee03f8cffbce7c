// SPDX-License-Identifier: MIT
/// \file
/// `prefix_hits`: how many blocks of prompts a cache of prefixes would have had, by what it evicts.
///
/// | eviction | removes the block |
/// |---|---|
/// | `least_recent` | that was not used for longest: as `KvCache` does |
/// | `least_frequent` | with the fewest uses since it came, of equal ones the least recent |
/// | `decayed_hits` | with the fewest uses, where a use counts half after as many uses of others as the cache has blocks |
/// | `clairvoyant` | that is used last again, also the new one: no eviction has more hits (Belady) |
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/version.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

namespace allot::report {

/// What a cache of prefixes removes when it is full.
enum class Eviction { least_recent, least_frequent, decayed_hits, clairvoyant };

[[nodiscard]] constexpr const char* to_text(Eviction eviction) noexcept {
  constexpr const char* names[] = {"least recent", "least frequent", "decayed hits", "clairvoyant"};
  return names[static_cast<std::size_t>(eviction)];
}

/// The prompts of requests, one after another, as the keys of their blocks. Blocks with equal keys
/// have equal tokens before and in them.
struct PromptTrace {
  std::vector<std::uint64_t> blocks;  ///< of all prompts
  std::uint64_t requests = 0;         ///< how many
};

namespace detail {

/// Evicts the block with the least rank.
class RankedCache {
 public:
  /// First what decides, then what decides of equal ones.
  using Rank = std::pair<double, double>;

  RankedCache(Eviction eviction, std::uint64_t capacity)
      : eviction_{eviction}, capacity_{capacity} {}

  /// Returns whether the block is there. \param now  counts uses \param next  the block's next use
  bool use(std::uint64_t block, double now, double next) {
    const auto found = rank_of_.find(block);
    const bool is_hit = found != rank_of_.end();
    Rank before{0, 0};
    if (is_hit) {
      before = found->second;
      order_.erase({before, block});
      rank_of_.erase(found);
    }
    const Rank rank = rank_after(is_hit, before, now, next);
    if (rank_of_.size() == capacity_) {
      const auto least = order_.begin();
      if (eviction_ == Eviction::clairvoyant && !(least->first < rank)) return is_hit;
      rank_of_.erase(least->second);
      order_.erase(least);
    }
    order_.insert({rank, block});
    rank_of_.emplace(block, rank);
    return is_hit;
  }

 private:
  [[nodiscard]] Rank rank_after(bool is_hit, const Rank& before, double now, double next) const {
    switch (eviction_) {
      case Eviction::least_recent:
        break;
      case Eviction::least_frequent:
        return {is_hit ? before.first + 1 : 1, now};
      case Eviction::decayed_hits: {
        // The logarithm of the sum of 2^(time of use / half-life): its order does not change with time.
        const double use = now / static_cast<double>(capacity_);
        if (!is_hit) return {use, now};
        const double larger_one = larger(before.first, use);
        const double smaller_one = smaller(before.first, use);
        return {larger_one + std::log2(1 + std::exp2(smaller_one - larger_one)), now};
      }
      case Eviction::clairvoyant:
        return {-next, 0};
    }
    return {now, 0};
  }

  Eviction eviction_;
  std::uint64_t capacity_;
  std::set<std::pair<Rank, std::uint64_t>> order_;
  std::unordered_map<std::uint64_t, Rank> rank_of_;
};

}  // namespace detail

/// Returns how many of the blocks are in the cache when their request comes. Requests come one after
/// another, their blocks in order, and none is held while others come.
/// \param capacity  blocks; 0 has no hits
/// Complexity: O(n log capacity). Throws: `std::bad_alloc`.
template <class = void>
[[nodiscard]] std::uint64_t prefix_hits(const PromptTrace& trace, Eviction eviction,
                                        std::uint64_t capacity) {
  if (capacity == 0) return 0;
  std::vector<double> next(trace.blocks.size());
  std::unordered_map<std::uint64_t, std::size_t> last;
  for (std::size_t i = trace.blocks.size(); i-- != 0;) {
    const auto [found, is_new] = last.try_emplace(trace.blocks[i], i);
    // Those that never come again are after all others.
    next[i] = static_cast<double>(is_new ? 2 * trace.blocks.size() - i : found->second);
    found->second = i;
  }
  detail::RankedCache cache{eviction, capacity};
  std::uint64_t hits = 0;
  for (std::size_t i = 0; i < trace.blocks.size(); ++i)
    hits += cache.use(trace.blocks[i], static_cast<double>(i), next[i]) ? 1 : 0;
  return hits;
}

}  // namespace allot::report
