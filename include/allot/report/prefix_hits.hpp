// SPDX-License-Identifier: MIT
/// \file
/// How many blocks of prompts a cache of prefixes would have had.
///
/// | function                              | what a full cache evicts                                 |
/// |---------------------------------------|----------------------------------------------------------|
/// | `prefix_hits<Policy>(trace, blocks)`  | what an eviction policy of `KvCache` says                |
/// | `clairvoyant_hits(trace, blocks)`     | what is used last again, also the new one: none has more hits (Belady, 1966) |
#pragma once

#include <allot/core/checked.hpp>
#include <allot/pool/kv/eviction/eviction.hpp>
#include <allot/report/detail/key_numbers.hpp>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <set>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

namespace allot::report {

/// The prompts of requests, one after another, as the keys of their blocks. Blocks with equal keys
/// have equal tokens before and in them. 4 bytes a block, and up to 19 more for each different one;
/// while vectors grow, up to as much again.
class PromptTrace {
 public:
  /// Adds a request with the keys of its prompt's blocks. Throws: `std::bad_alloc`;
  /// `std::length_error` for the 2^32nd key.
  void add(std::span<const std::uint64_t> keys) {
    for (const std::uint64_t key : keys) {
      if (numbers_.size() == largest_of<std::uint32_t>)
        throw std::length_error{"a trace has at most 2^32 - 1 different blocks; divide it"};
      blocks_.push_back(numbers_.number_of(key));
    }
    ends_.push_back(blocks_.size());
  }

  /// Returns the number of requests.
  [[nodiscard]] std::size_t requests() const noexcept { return ends_.size(); }
  /// Returns the number of different blocks.
  [[nodiscard]] std::size_t different() const noexcept { return numbers_.size(); }
  /// All blocks of prompts, one after another; equal ones have equal numbers, below `different()`.
  [[nodiscard]] std::span<const std::uint32_t> blocks() const noexcept { return blocks_; }
  /// Returns the blocks of some requests that follow each other, as far as there are that many.
  [[nodiscard]] std::span<const std::uint32_t> blocks_of(std::size_t first,
                                                         std::size_t count = 1) const noexcept {
    const std::size_t from = smaller(first, ends_.size());
    const std::size_t to = from + smaller(count, ends_.size() - from);
    const std::size_t begin = from == 0 ? 0 : ends_[from - 1];
    return blocks().subspan(begin, (to == 0 ? 0 : ends_[to - 1]) - begin);
  }

 private:
  detail::KeyNumbers<> numbers_;
  std::vector<std::uint32_t> blocks_;
  std::vector<std::size_t> ends_;  // of requests
};

/// Returns how many of the blocks are in the cache when their request comes. Requests come one after
/// another, their blocks in order, and none is held while others come.
/// \tparam Policy   models `Eviction`: the very type that `KvCache` takes
/// \param capacity  blocks; 0 has no hits
/// \param waiting   how many requests wait while one is served, those that come next: policies that
///                  can be notified of waiting prompts are, before each request
/// Complexity: linear in the blocks, times what the policy takes; with `waiting`, in those of all
/// requests that wait. Throws: `std::bad_alloc`.
template <Eviction Policy>
[[nodiscard]] std::uint64_t prefix_hits(const PromptTrace& trace, std::uint64_t capacity,
                                        std::size_t waiting = 0) {
  constexpr std::uint32_t none = largest_of<std::uint32_t>;
  if (!Policy::keeps_blocks || capacity == 0) return 0;  // no request meets another
  // None is ever evicted.
  if (capacity >= trace.different()) return trace.blocks().size() - trace.different();
  const auto places = static_cast<std::uint32_t>(smaller<std::uint64_t>(capacity, none - 1));
  std::vector<std::uint32_t> place_of(trace.different(), none);
  std::vector<std::uint32_t> block_at;
  std::vector<std::uint32_t> awaited;
  Policy policy{places};
  std::uint64_t hits = 0;
  for (std::size_t request = 0; request < trace.requests(); ++request) {
    if constexpr (QueueAwareEviction<Policy>) {
      awaited.clear();
      for (const std::uint32_t block : trace.blocks_of(request + 1, waiting)) {
        if (place_of[block] != none) awaited.push_back(place_of[block]);
      }
      policy.expect(awaited);
    }
    for (const std::uint32_t block : trace.blocks_of(request)) {
      std::uint32_t& place = place_of[block];
      if (place != none) {
        ++hits;
        policy.remove(place);
        policy.note_hit(place);
        policy.add(place);
        continue;
      }
      if (block_at.size() < places) {
        place = static_cast<std::uint32_t>(block_at.size());
        block_at.push_back(block);
      } else {
        place = policy.next();
        policy.remove(place);
        policy.note_gone(place);
        place_of[std::exchange(block_at[place], block)] = none;
      }
      policy.note_kept(place);
      policy.add(place);
    }
  }
  return hits;
}

/// Returns the most hits that any eviction can have, also one that does not keep a new block.
/// Complexity: O(n log capacity). Throws: `std::bad_alloc`.
template <class = void>
[[nodiscard]] std::uint64_t clairvoyant_hits(const PromptTrace& trace, std::uint64_t capacity) {
  const std::span<const std::uint32_t> blocks = trace.blocks();
  if (capacity >= trace.different()) return blocks.size() - trace.different();  // all are kept
  std::vector<std::size_t> next(blocks.size());  // where each comes again; behind the end: never
  std::vector<std::size_t> last(trace.different(), blocks.size());
  for (std::size_t i = blocks.size(); i-- != 0;) next[i] = std::exchange(last[blocks[i]], i);
  std::set<std::size_t> kept;  // by where they come again
  std::uint64_t hits = 0;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    hits += kept.erase(i);
    if (next[i] == blocks.size()) continue;
    kept.insert(next[i]);
    if (kept.size() > capacity) kept.erase(std::prev(kept.end()));
  }
  return hits;
}

}  // namespace allot::report
