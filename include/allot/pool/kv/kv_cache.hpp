// SPDX-License-Identifier: MIT
/// \file
/// `KvCache`: the keys and values of many sequences in one allocation, in blocks of tokens that
/// sequences share: forks, and prompts with a common beginning.
///
/// | type                            | what it is                                               |
/// |---------------------------------|----------------------------------------------------------|
/// | `KvLayout`                      | the offsets in a block (`kv_layout.hpp`)                 |
/// | `KvCache<DeviceType>`           | the blocks of all layers                                 |
/// | `KvCache<DeviceType>::Sequence` | the blocks of one sequence (`kv_sequence.hpp`)           |
/// | `Eviction`                      | which unused block makes room first (`eviction/`)        |
///
/// Paging is that of Kwon et al., "Efficient Memory Management for Large Language Model Serving
/// with PagedAttention" (2023).
#pragma once

#include <allot/device/device.hpp>
#include <allot/observer/observer.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/pool/kv/block_pool.hpp>
#include <allot/pool/kv/detail/state.hpp>
#include <allot/pool/kv/errors.hpp>
#include <allot/pool/kv/eviction/eviction.hpp>
#include <allot/pool/kv/eviction/least_recently_used.hpp>
#include <allot/pool/kv/kv_keys.hpp>
#include <allot/pool/kv/kv_layout.hpp>
#include <allot/pool/kv/kv_sequence.hpp>
#include <allot/pool/kv/stats.hpp>
#include <allot/stream/shared_stream.hpp>
#include <allot/synchronization/synchronization.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace allot {

template <Device DeviceType, Eviction EvictionType, Observer ObserverType>
requires std::copyable<DeviceType>
class KvGroupCache;

/// A paged cache. An engine's step, for each sequence:
///
///     auto [sequence, cached] = cache.start(prompt);   // `cached` of its tokens are there
///     ...work on cache.stream() that writes the keys and values of the others...
///     sequence.publish();                              // from now on others can share full blocks
///     sequence.append(token);                          // room for one more; copies on write
///     ...work that reads sequence.block_table(), and writes at sequence.slot(position)...
///
/// Work goes to the cache's streams, its lanes. If a call names a lane, the lane's work is ordered,
/// on the device, after other lanes' work on the same blocks: a copy on write comes after the
/// writes to what it copies, and a reused block after the work of its former sequence. Submit a
/// lane's work on a sequence after the call that makes room for it, and before the sequence's next
/// call or its end, or `compact`; calls for other sequences, also from other threads, may come in
/// between.
///
/// The cache, its sequences and its streams may be destroyed in any order: the memory is released
/// last, and after the work on it. Bookkeeping is on the host: 120 bytes a block and 4 a token.
///
/// \tparam SynchronizationType  `Locked<>`: calls from several threads, each with its own lane
/// \tparam EvictionType         which blocks that only prefixes need make room first
/// \tparam ObserverType         notified, under the guard, as `BlockPool`'s is
template <Device DeviceType, Synchronization SynchronizationType = Unsynchronized,
          Eviction EvictionType = LeastRecentlyUsed, Observer ObserverType = Unobserved>
requires std::copyable<DeviceType>
class KvCache {
  struct State;
  using Pool = BlockPool<DeviceType, ObserverType>;

 public:
  using Token = std::uint32_t;  ///< as the model's vocabulary numbers them
  using slice_type = typename Pool::slice_type;
  using observer_type = ObserverType;  ///< what is notified
  using stream_type = typename DeviceType::stream_type;
  using stream_pointer = std::shared_ptr<stream_type>;

  /// Makes as many blocks as the budget holds, in one allocation of the device.
  /// Throws: `std::invalid_argument` for an invalid shape, and a budget below one block;
  /// `OutOfMemory`; what making streams throws.
  KvCache(DeviceType device, const KvCacheConfig& config, ObserverType observer = {})
      : KvCache{device, config, detail::Lanes<DeviceType>::make_streams(device, config.lanes),
                std::move(observer)} {}

  /// \param streams  the lanes, such as `SharedStream`s: `{stream}`
  KvCache(DeviceType device, const KvCacheConfig& config, std::vector<stream_pointer> streams,
          ObserverType observer = {}) {
    const KvLayout layout{config.shape, config.block_tokens};
    const BlockPoolOptions options = options_of(layout, config.budget_bytes);
    state_ = std::make_shared<State>(layout, config.prefix_sharing, std::move(device), options,
                                     std::move(streams), std::move(observer));
  }

  /// Makes as many blocks as a slice of any arena holds, such as memory that was planned with the
  /// weights (`PlanOptions::reserved`); ignores `config.budget_bytes`.
  KvCache(DeviceType device, const KvCacheConfig& config, slice_type storage,
          ObserverType observer = {})
      : KvCache{device, config, std::move(storage),
                detail::Lanes<DeviceType>::make_streams(device, config.lanes),
                std::move(observer)} {}
  KvCache(DeviceType device, const KvCacheConfig& config, slice_type storage,
          std::vector<stream_pointer> streams, ObserverType observer = {}) {
    const KvLayout layout{config.shape, config.block_tokens};
    const BlockPoolOptions options = options_of(layout, storage.bytes());
    state_ = std::make_shared<State>(layout, config.prefix_sharing, std::move(device), options,
                                     std::move(streams), std::move(storage), std::move(observer));
  }

  using Sequence = KvSequence<State>;  ///< the tokens of one sequence and the blocks that hold them

  /// A new sequence. The first `cached` tokens were computed for others: do not repeat them.
  struct Started {
    Sequence sequence;     ///< ready for the tokens after those cached
    std::uint64_t cached;  ///< tokens
  };

  /// Starts a sequence with the tokens of a prompt. The last token is never among those cached.
  /// Complexity: linear in the tokens.
  /// Throws: as `Sequence::append`; nothing has changed then, but prefixes may have been evicted.
  [[nodiscard]] Started start(std::span<const Token> prompt = {}, std::size_t lane = 0) {
    return start(prompt, KvPromptKeys{}, lane);
  }

  /// The same, with what decides keys and values besides the tokens: an adapter, a tenant, the
  /// images of placeholders. Blocks are shared if all of it is equal up to their end.
  ///
  ///     cache.start(prompt, {.keys = {KvAdapter{"fr"}, KvTenant{42}},
  ///                          .positions = {{.first = 5, .count = 256, .key = KvContent{digest}}}});
  [[nodiscard]] Started start(std::span<const Token> prompt, const KvPromptKeys& keys,
                              std::size_t lane = 0) {
    return started(
        prompt, keys, prompt.size(), lane, [&](std::uint32_t slot, std::uint64_t cached) {
          const auto rest = prompt.subspan(static_cast<std::size_t>(cached));
          state_->pool().notices().noting_throws([&] { state_->append(slot, rest, lane); });
          state_->count_prompt(slot, prompt.size(), cached);
        });
  }

  /// Starts a sequence with those first tokens of a prompt that were computed for others, at most
  /// `most_tokens`; append the rest in batches. Throws: as `start`.
  [[nodiscard]] Started start_shared(std::span<const Token> prompt, const KvPromptKeys& keys = {},
                                     std::uint64_t most_tokens = ~std::uint64_t{0},
                                     std::size_t lane = 0) {
    return started(prompt, keys, most_tokens, lane, [&](std::uint32_t slot, std::uint64_t cached) {
      state_->count_prompt(slot, prompt.size(), cached);
    });
  }

  /// Moves at most `most_blocks` of the highest used blocks to the lowest free ones, so that the
  /// used ones end lower; copies on a lane. Updates the block tables and increments `version`:
  /// export the tables again before the next kernel. Call it when all work was submitted: with
  /// several threads, while no thread is between a call and its work. Complexity: linear in the
  /// entries of all block tables.
  /// Throws: what copying throws; the tables then name the blocks that were moved before.
  Compaction compact(std::uint64_t most_blocks, std::size_t lane = 0) {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    return state_->compact(most_blocks, lane);
  }

  /// Releases blocks that are kept for prefixes but that no sequence uses, in the order of the
  /// policy. Returns their number.
  std::uint64_t evict(std::uint64_t most_blocks) {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    return state_->evict(most_blocks);
  }

  /// Notes which prompts wait, in the order in which they will start, in place of those noted
  /// before: the blocks that they would find now are evicted after all others. Call it when the
  /// queue has changed, or sequences have published. Complexity: linear in the tokens that are found.
  /// Throws: `std::bad_alloc`, `std::invalid_argument` as `start`; nothing has changed then.
  template <class Policy = EvictionType>
  requires QueueAwareEviction<Policy>
  void expect(std::span<const KvWaiting> queue) {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    state_->expect(queue);
  }

  /// Makes sure that blocks which were published with a key are not found again, for an adapter
  /// whose weights have changed: the key then is a new one. Returns how many were released at once:
  /// those that no sequence uses. The others follow their sequences. Complexity: linear in all
  /// blocks.
  std::uint64_t forget(const AnyKvKey& key) {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    return state_->forget(key);
  }

  /// Calls `function(observer)` under the guard and returns what it returns. Observers must not call
  /// the cache.
  decltype(auto) with_observer(auto&& function) requires(!std::same_as<ObserverType, Unobserved>) {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    return state_->pool().with_observer(std::forward<decltype(function)>(function));
  }

  /// Returns how many calls moved blocks.
  [[nodiscard]] std::uint64_t version() const {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    return state_->version();
  }

  /// A consistent snapshot. Complexity: constant.
  [[nodiscard]] KvCacheStats stats() const {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    return state_->stats();
  }

  /// Calls `visitor(const KvBlock&)` for each block, in the order of their numbers, under the guard;
  /// it must not call the cache. Complexity: linear in all blocks. Throws: what the visitor throws.
  template <class Visitor>
  void for_each(Visitor&& visitor) const {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    state_->for_each(std::forward<Visitor>(visitor));
  }

  /// What has a key, of a sequence or of positions: all zero if nothing has it. Complexity: constant.
  [[nodiscard]] KvKeyStats stats(const AnyKvKey& key) const {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    return state_->stats(key);
  }

  [[nodiscard]] const KvLayout& layout() const noexcept { return state_->layout(); }
  /// Returns where the keys of a block's tokens begin in a layer. Throws:
  /// `std::invalid_argument` for an unknown block, `std::out_of_range` for an unknown layer.
  [[nodiscard]] void* keys(std::uint32_t block, KvLayer layer) const {
    return place(block, layer, layout().key_offset(layer, 0));
  }
  /// Returns where the values of a block's tokens begin in a layer. Throws: as `keys`.
  [[nodiscard]] void* values(std::uint32_t block, KvLayer layer) const {
    return place(block, layer, layout().value_offset(layer, 0));
  }
  /// Returns where the key of one token is. Throws: as `keys`.
  [[nodiscard]] void* key(const KvSlot& slot, KvLayer layer) const {
    return place(slot.block, layer, layout().key_offset(layer, slot.token));
  }
  /// Returns where the value of one token is. Throws: as `keys`.
  [[nodiscard]] void* value(const KvSlot& slot, KvLayer layer) const {
    return place(slot.block, layer, layout().value_offset(layer, slot.token));
  }

  /// All blocks, one after another: block n begins at `n * layout().block_bytes()`.
  [[nodiscard]] const slice_type& storage() const noexcept { return state_->pool().storage(); }

  [[nodiscard]] stream_type& stream(std::size_t lane = 0) { return state_->pool().stream(lane); }
  /// The same, to share it with a `BufferPool` or a `Workspace`.
  [[nodiscard]] SharedStream<DeviceType> shared_stream(std::size_t lane = 0) const {
    return SharedStream<DeviceType>{state_->pool().shared_stream(lane)};
  }
  [[nodiscard]] DeviceType& device() noexcept { return state_->pool().device(); }

  /// Returns true if every invariant of the bookkeeping holds: for tests. Complexity: linear.
  [[nodiscard]] bool validate() const {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    return state_->validate();
  }

 private:
  friend class KvGroupCache<DeviceType, EvictionType, ObserverType>;

  struct State : detail::KvState<Pool, EvictionType> {
    using detail::KvState<Pool, EvictionType>::KvState;
    [[no_unique_address]] SynchronizationType synchronization;
  };

  /// Starts a sequence with what was computed for others, and finishes it by `finish(slot, cached)`.
  /// \param most_shared  tokens that may be taken from others
  template <class Finish>
  [[nodiscard]] Started started(std::span<const Token> prompt, const KvPromptKeys& keys,
                                std::uint64_t most_shared, std::size_t lane, Finish&& finish) {
    [[maybe_unused]] const auto guard = state_->synchronization.guard();
    state_->pool().require_lane(lane);
    const std::uint32_t slot = state_->open();
    try {
      state_->set_keys(slot, prompt.size(), keys);
      state_->share_prefix(slot, prompt, lane, most_shared);
      const std::uint64_t cached = state_->table(slot).tokens;
      finish(slot, cached);
      return {Sequence{state_, slot, lane}, cached};
    } catch (...) {
      state_->close(slot, lane);
      throw;
    }
  }

  /// Starts a sequence of a group, which counts what it found when the other groups have it too.
  [[nodiscard]] Started start_of_group(std::span<const Token> prompt, const KvPromptKeys& keys,
                                       std::uint64_t most_tokens) {
    return started(prompt, keys, most_tokens, 0, [](std::uint32_t, std::uint64_t) {});
  }

  [[nodiscard]] static BlockPoolOptions options_of(const KvLayout& layout, std::uint64_t bytes) {
    return {.blocks = layout.blocks_in(bytes), .block_bytes = layout.block_bytes()};
  }

  [[nodiscard]] void* place(std::uint32_t block, KvLayer layer, std::uint64_t offset) const {
    detail::require_layer(layer, layout().layers());
    return static_cast<std::byte*>(state_->pool().address(block)) + offset;
  }

  std::shared_ptr<State> state_;
};

}  // namespace allot
