// SPDX-License-Identifier: MIT
/// \file
/// `KvSequence`: one sequence of a `KvCache`, which releases its blocks when it is destroyed.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/pool/kv/detail/tables.hpp>
#include <allot/pool/kv/errors.hpp>
#include <allot/pool/kv/kv_keys.hpp>
#include <allot/pool/kv/stats.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace allot {

/// The tokens of one sequence and the blocks that hold their keys and values.
///
/// \tparam State  the cache's
template <class State>
class KvSequence {
 public:
  using Token = std::uint32_t;  ///< as the model's vocabulary numbers them

  /// For `KvCache`: a sequence that was opened.
  KvSequence(std::shared_ptr<State> state, std::uint32_t slot, std::size_t lane) noexcept
      : state_{std::move(state)}, slot_{slot}, lane_{lane} {}
  KvSequence(KvSequence&& other) noexcept
      : state_{std::move(other.state_)}, slot_{other.slot_}, lane_{other.lane_} {}
  KvSequence& operator=(KvSequence&& other) noexcept {
    std::swap(state_, other.state_);
    std::swap(slot_, other.slot_);
    std::swap(lane_, other.lane_);
    return *this;
  }
  /// Releases the blocks that no other sequence uses; published ones stay for their prefix until
  /// room is needed.
  ~KvSequence() {
    if (state_ == nullptr) return;
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    state_->close(slot_, lane_);
  }

  /// Makes room for more tokens. Copies the last block first if other sequences use it.
  /// Complexity: linear in the tokens.
  /// \param positions  keys for some of these tokens, such as an image's placeholders
  /// Throws: `OutOfBlocks` with the number of missing blocks; `std::invalid_argument` for positions
  /// outside of these tokens; what the device throws. The sequence is then as it was; prefixes may
  /// have been evicted.
  void append(std::span<const Token> tokens, const std::vector<KvPositions>& positions = {}) {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    state_->pool().notices().noting_throws(
        [&] { state_->append(slot_, tokens, positions, lane_); });
  }
  /// A single token.
  void append(Token token) { append(DeferredSpan<const Token, State>{&token, 1}); }

  /// As `append`, but returns false if there is no room.
  [[nodiscard]] bool try_append(std::span<const Token> tokens,
                                const std::vector<KvPositions>& positions = {}) {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    try {
      state_->append(slot_, tokens, positions, lane_);
      return true;
    } catch (const OutOfBlocks&) {
      return false;
    }
  }

  /// Removes the last tokens, so that `tokens` are left: for drafts that were not accepted.
  /// \param keeps_keys  true if tokens that follow are to have the keys that `start_shared` took
  /// Throws: `std::out_of_range` if it has fewer.
  void truncate(std::uint64_t tokens, bool keeps_keys = false) {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    detail::require_tokens(tokens, state_->table(slot_).tokens);
    detail::require_kept(tokens, state_->table(slot_), state_->layout().block_tokens());
    state_->truncate(slot_, tokens, lane_, keeps_keys);
  }

  /// Gives back the blocks of which every token comes before a position: for layers with a window,
  /// that look no further back. Publish first: later blocks are shared only after those before.
  /// Complexity: linear in the blocks. Throws: `std::out_of_range` if it has fewer tokens.
  void slide(std::uint64_t position) {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    detail::require_tokens(position, state_->table(slot_).tokens);
    state_->slide(slot_, position, lane_);
  }

  /// Returns the position of the first token whose block it still has.
  [[nodiscard]] std::uint64_t first() const {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    return state_->table(slot_).dropped * state_->layout().block_tokens();
  }
  /// Returns another sequence with the same tokens and keys, in the same blocks; the one appended
  /// to first copies the last block, unless that is full. Complexity: linear in the blocks.
  /// Throws: `std::out_of_range` for an unknown lane.
  [[nodiscard]] KvSequence fork(std::size_t lane) {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    state_->pool().require_lane(lane);
    const std::uint32_t slot = state_->open();
    try {
      state_->fork(slot_, slot, lane);
    } catch (...) {
      state_->close(slot, lane);
      throw;
    }
    return KvSequence{state_, slot, lane};
  }
  [[nodiscard]] KvSequence fork() { return fork(lane_); }

  /// Lets sequences that begin with the same tokens and keys share the full blocks. Call it after
  /// submitting the work that writes them. Complexity: linear in the tokens since the last call.
  void publish() {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    state_->publish(slot_);
  }

  /// Moves its later work to another lane. Complexity: linear in the blocks.
  void use_lane(std::size_t lane) {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    state_->pool().require_lane(lane);
    state_->change_lane(slot_, lane_, lane);
    lane_ = lane;
  }
  [[nodiscard]] std::size_t lane() const noexcept { return lane_; }

  [[nodiscard]] std::uint64_t tokens() const {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    return state_->table(slot_).tokens;
  }

  /// Returns the numbers of its blocks, in the order of the tokens from `first()` on, for kernels.
  /// They change with `append`, `truncate`, `slide` and `compact`.
  [[nodiscard]] std::vector<std::uint32_t> block_table() const {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    return state_->table(slot_).blocks;
  }
  /// The same into memory of the caller's, without an allocation. Returns how many there are.
  /// Throws: `std::length_error` if they are more than `into` has room for.
  std::size_t block_table(std::span<std::uint32_t> into) const {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    return state_->table(slot_).copy_blocks(into);
  }

  /// Makes room in the table for that many tokens: appending up to there asks the system for no
  /// memory. Throws: `std::bad_alloc`; nothing has changed then.
  void reserve(std::uint64_t tokens) {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    state_->table(slot_).reserve(state_->layout().blocks_for(tokens), state_->pool().capacity());
  }

  /// For `KvGroupCache`: counts how much of a prompt of that many tokens was computed for others.
  /// Throws: `std::bad_alloc`; nothing is counted then.
  void count_prompt(std::uint64_t tokens) {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    state_->count_prompt(slot_, tokens, state_->table(slot_).tokens);
  }

  /// Returns the place of the token at a position. Throws: `std::out_of_range`.
  [[nodiscard]] KvSlot slot(std::uint64_t position) const {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    return detail::slot_in(state_->table(slot_), position, state_->layout().block_tokens());
  }

 private:
  std::shared_ptr<State> state_;
  std::uint32_t slot_;
  std::size_t lane_;
};

}  // namespace allot
