// SPDX-License-Identifier: MIT
/// \file
/// `kv_traffic`: what the requests of a log ask of a paged KV cache, replayed in a `KvCache`.
///
/// A log has when requests came and how many tokens they had, not how long they took. So a replay
/// assumes: a prompt takes no time, every sequence gets a token each `token_time`, and a request
/// starts when the cache has room for its prompt, in the order of arrival. If the cache is full, the
/// sequence that started last makes room, and starts again later with the tokens that it has.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/device/host_device.hpp>
#include <allot/pool/kv/kv_cache.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

namespace allot::report {

/// A request to a language model.
struct KvRequest {
  std::uint64_t arrival;        ///< in microseconds
  std::uint64_t prompt_tokens;  ///< of its prompt
  std::uint64_t output_tokens;  ///< that it got
};

/// What is assumed of an engine.
struct KvTrafficOptions {
  std::uint64_t blocks = 0;           ///< of the cache; 0: without a limit
  std::uint64_t block_tokens = 16;    ///< of each block
  std::uint64_t token_time = 30'000;  ///< microseconds from one token of a sequence to the next
};

/// The outcome of a replay.
struct KvTraffic {
  std::uint64_t peak_blocks = 0;     ///< that sequences had at once
  std::uint64_t peak_tokens = 0;     ///< in these
  std::uint64_t peak_sequences = 0;  ///< most at once
  std::uint64_t waited = 0;  ///< requests that started later than the first step after they came
  std::uint64_t longest_wait = 0;  ///< microseconds until a request's first start
  std::uint64_t restarted = 0;     ///< sequences that made room for others, each time
  std::uint64_t refused = 0;       ///< requests that the whole cache is too small for
};

namespace detail {

/// Counts blocks without a limit.
class UnlimitedKvRoom {
 public:
  struct Sequence {
    std::uint64_t tokens;
  };
  explicit UnlimitedKvRoom(const KvTrafficOptions& options) : each_{options.block_tokens} {}

  [[nodiscard]] bool holds(std::uint64_t) const noexcept { return true; }
  [[nodiscard]] std::optional<Sequence> start(std::size_t, std::uint64_t tokens) {
    used_ += blocks_for(tokens);
    filled_ += tokens;
    return Sequence{tokens};
  }
  [[nodiscard]] bool append(Sequence& sequence) {
    used_ += sequence.tokens % each_ == 0 ? 1U : 0U;
    ++sequence.tokens;
    ++filled_;
    return true;
  }
  void end(const Sequence& sequence) noexcept {
    used_ -= blocks_for(sequence.tokens);
    filled_ -= sequence.tokens;
  }
  [[nodiscard]] std::uint64_t used() const noexcept { return used_; }
  [[nodiscard]] std::uint64_t filled() const noexcept { return filled_; }

 private:
  [[nodiscard]] std::uint64_t blocks_for(std::uint64_t tokens) const noexcept {
    return tokens / each_ + (tokens % each_ != 0 ? 1U : 0U);
  }

  std::uint64_t each_;
  std::uint64_t used_ = 0;
  std::uint64_t filled_ = 0;
};

/// A cache whose tokens have a byte each: only its bookkeeping matters.
class KvCacheRoom {
 public:
  using Cache = KvCache<HostDevice>;
  using Sequence = Cache::Sequence;

  explicit KvCacheRoom(const KvTrafficOptions& options) : cache_{HostDevice{}, config(options)} {}

  [[nodiscard]] bool holds(std::uint64_t tokens) const {
    return cache_.layout().blocks_for(tokens) <= cache_.stats().capacity;
  }
  [[nodiscard]] std::optional<Sequence> start(std::size_t request, std::uint64_t tokens) {
    // Asked first: while requests wait, that is the answer of nearly every step.
    if (cache_.layout().blocks_for(tokens) > cache_.stats().free) return std::nullopt;
    tokens_.assign(static_cast<std::size_t>(tokens), static_cast<std::uint32_t>(request));
    return cache_.start(tokens_).sequence;
  }
  [[nodiscard]] bool append(Sequence& sequence) {
    const std::uint32_t token = 0;
    return sequence.try_append({&token, 1});
  }
  void end(const Sequence&) noexcept {}
  [[nodiscard]] std::uint64_t used() const { return cache_.stats().in_use; }
  [[nodiscard]] std::uint64_t filled() const { return cache_.stats().filled; }

 private:
  [[nodiscard]] static KvCacheConfig config(const KvTrafficOptions& options) {
    KvCacheConfig config{.shape = {.layers = 1,
                                   .kv_heads = 1,
                                   .key_dimension = 1,
                                   .value_dimension = 1,
                                   .key_element = {1, 1},
                                   .value_element = {1, 1},
                                   .keeps_values = false},
                         .block_tokens = options.block_tokens,
                         .prefix_sharing = false};
    config.budget_bytes = KvLayout{config.shape, config.block_tokens}.bytes_for(options.blocks);
    return config;
  }

  Cache cache_;
  std::vector<std::uint32_t> tokens_;
};

/// Serves requests step by step; a step is the time of a token.
template <class Room>
class KvServing {
 public:
  KvServing(std::span<const KvRequest> requests, const KvTrafficOptions& options)
      : requests_{requests},
        token_time_{options.token_time},
        room_{options},
        made_(requests.size()),
        has_started_(requests.size()) {}

  [[nodiscard]] KvTraffic serve() {
    std::uint64_t now = requests_.empty() ? 0 : requests_.front().arrival;
    while (next_ != requests_.size() || !queue_.empty() || !running_.empty()) {
      if (queue_.empty() && running_.empty() && requests_[next_].arrival > now)
        now += (requests_[next_].arrival - now + token_time_ - 1) / token_time_ * token_time_;
      append();
      admit(now);
      note_peak();
      now += token_time_;
    }
    return traffic_;
  }

 private:
  struct Running {
    std::size_t request;
    typename Room::Sequence sequence;
  };

  /// Ends the sequences that are done, and gives each other one a token.
  void append() {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < running_.size(); ++i) {
      Running& one = running_[i];
      if (made_[one.request] == requests_[one.request].output_tokens) {
        room_.end(one.sequence);
        continue;
      }
      if (kept != i) std::swap(running_[kept], one);
      ++kept;
    }
    while (running_.size() > kept) running_.pop_back();
    for (std::size_t i = 0; i < running_.size(); ++i) {
      while (i < running_.size() && !room_.append(running_[i].sequence)) end_last();
      if (i < running_.size()) ++made_[running_[i].request];
    }
  }

  /// Ends the sequence that started last: it starts again before all that wait.
  void end_last() {
    queue_.push_front(running_.back().request);
    room_.end(running_.back().sequence);
    running_.pop_back();
    ++traffic_.restarted;
    makes_room_ = true;
  }

  void admit(std::uint64_t now) {
    for (; next_ != requests_.size() && requests_[next_].arrival <= now; ++next_) {
      const KvRequest& request = requests_[next_];
      if (room_.holds(request.prompt_tokens + request.output_tokens)) {
        queue_.push_back(next_);
      } else {
        ++traffic_.refused;
      }
    }
    if (std::exchange(makes_room_, false)) return;  // not what has just ended
    for (; !queue_.empty(); queue_.pop_front()) {
      const std::size_t request = queue_.front();
      auto started = room_.start(request, requests_[request].prompt_tokens + made_[request]);
      if (!started) return;
      running_.push_back({request, std::move(*started)});
      if (std::exchange(has_started_[request], char{1}) != 0) continue;
      const std::uint64_t wait = now - requests_[request].arrival;
      traffic_.longest_wait = larger(traffic_.longest_wait, wait);
      traffic_.waited += wait >= token_time_ ? 1U : 0U;
    }
  }

  void note_peak() {
    traffic_.peak_sequences = larger<std::uint64_t>(traffic_.peak_sequences, running_.size());
    if (room_.used() <= traffic_.peak_blocks) return;
    traffic_.peak_blocks = room_.used();
    traffic_.peak_tokens = room_.filled();
  }

  std::span<const KvRequest> requests_;
  std::uint64_t token_time_;
  Room room_;
  std::vector<std::uint64_t> made_;  // tokens that each request got
  std::vector<char> has_started_;    // each request, at least once
  std::vector<Running> running_;     // in the order of their starts
  std::deque<std::size_t> queue_;
  std::size_t next_ = 0;  // request to come
  bool makes_room_ = false;
  KvTraffic traffic_;
};

}  // namespace detail

/// Replays requests in a cache.
/// \param requests  by their arrival
/// Complexity: linear in the tokens of prompts, and in the outputs. Throws: `std::invalid_argument`
/// for requests out of order, a time of 0, and blocks that `KvCache` refuses; `std::bad_alloc`.
template <class = void>
[[nodiscard]] KvTraffic kv_traffic(std::span<const KvRequest> requests,
                                   const KvTrafficOptions& options = {}) {
  if (options.token_time == 0 || options.block_tokens == 0)
    throw std::invalid_argument{"a token takes some time, and a block has a token at least"};
  for (std::size_t i = 1; i < requests.size(); ++i) {
    if (requests[i].arrival < requests[i - 1].arrival)
      throw std::invalid_argument{"requests come in the order of their arrival; sort them"};
  }
  if (options.blocks == 0)
    return detail::KvServing<detail::UnlimitedKvRoom>{requests, options}.serve();
  return detail::KvServing<detail::KvCacheRoom>{requests, options}.serve();
}

}  // namespace allot::report
