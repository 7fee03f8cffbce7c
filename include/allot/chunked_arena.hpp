// SPDX-License-Identifier: MIT
/// \file
/// `ChunkedArena<Arena>`: an arena of arenas that grows by chunks and frees empty ones, within a
/// budget. For memory whose amount is not known beforehand: an engine's textures and buffers.
#pragma once

#include <allot/arena.hpp>
#include <allot/core/block.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/chunked_options.hpp>
#include <allot/core/errors.hpp>
#include <allot/memory/memory.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/strategy/rounding.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace allot {

/// A block's offset is its chunk's number times `span()`, plus its offset in the chunk. Numbers of
/// chunks that were freed are used again, the lowest first. A block never spans two chunks; a
/// request that is larger than a chunk gets one of its own size. Chunk 0 is made by the constructor
/// and stays; any other chunk is released as soon as it is empty.
///
/// Members do what those of `Arena` do, with the same guarantees. Each chunk has an observer, which
/// ends with it. One lock, the arena type's synchronization, is for all chunks.
/// \tparam ArenaType  an `Arena`
/// \tparam WordType   what the caller keeps for each live block: `word(block)`
template <class ArenaType, class WordType = NoWord>
requires std::default_initializable<WordType> && std::movable<WordType> &&
    std::copy_constructible<typename ArenaType::memory_type>
class ChunkedArena {
 public:
  using strategy_type = typename ArenaType::strategy_type;
  using alignment_type = typename ArenaType::alignment_type;
  using synchronization_type = typename ArenaType::synchronization_type;
  using memory_type = typename ArenaType::memory_type;
  using observer_type = typename ArenaType::observer_type;
  static constexpr bool has_words = !std::same_as<WordType, NoWord>;  ///< true if there is `word`

  /// Makes the first chunk.
  /// Throws: as `Arena`'s constructor for a chunk; `std::invalid_argument` for a budget below one
  /// chunk.
  explicit ChunkedArena(std::uint64_t chunk_bytes,
                        std::uint64_t budget_bytes =
                            OutOfMemory::unlimited) requires std::default_initializable<memory_type>
      : ChunkedArena{ChunkedOptions{chunk_bytes, budget_bytes}} {}
  explicit ChunkedArena(const ChunkedOptions& options, memory_type memory = memory_type{})
      : options_{options},
        memory_{std::move(memory)},
        span_{detail::chunk_span(options, alignment_type::value)} {
    if (options.budget_bytes < options.chunk_bytes)
      detail::reject_budget(options.budget_bytes, options.chunk_bytes);
    static_cast<void>(add(options.chunk_bytes));
  }

  ChunkedArena(const ChunkedArena&) = delete;
  ChunkedArena& operator=(const ChunkedArena&) = delete;

  /// Like `Arena::allocate`: in the first chunk that has room, otherwise in a new one.
  /// Complexity: the strategy's, for each chunk, and what the memory takes for a new one.
  /// Throws: also `OutOfMemory` of reason `source` if the memory refuses a new chunk.
  [[nodiscard]] Block allocate(std::uint64_t bytes,
                               std::uint64_t alignment = alignment_type::value) {
    return allocate(detail::request_of(bytes, alignment));
  }
  [[nodiscard]] Block allocate(const Request& request) {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    if (const std::optional<Block> block = place(request)) [[likely]]
      return *block;
    throw refusal(request);
  }

  /// Like `Arena::try_allocate`; also returns nothing if the memory refuses a new chunk. The
  /// observer of each chunk that was tried hears of a refusal.
  [[nodiscard]] std::optional<Block> try_allocate(std::uint64_t bytes,
                                                  std::uint64_t alignment = alignment_type::value) {
    return try_allocate(detail::request_of(bytes, alignment));
  }
  [[nodiscard]] std::optional<Block> try_allocate(const Request& request) {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    try {
      return place(request);
    } catch (const OutOfMemory&) {
      return std::nullopt;
    }
  }

  /// Like `Arena::deallocate`. If that empties a chunk that is not the first, releases its memory.
  void deallocate(const Block& block) {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    in_chunk(*this, block, [&](Chunk& chunk, const Block& part) {
      chunk.arena.deallocate(part);
      used_ -= block.size;
      if (--chunk.live == 0) remove_if_empty(chunk_of(block));
    });
  }

  /// Like `Arena::try_expand`, within the block's chunk.
  [[nodiscard]] std::optional<Block> try_expand(
      const Block& block, std::uint64_t bytes) requires Resizable<strategy_type> {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    return in_chunk(*this, block, [&](Chunk& chunk, const Block& part) {
      std::optional<Block> expanded = chunk.arena.try_expand(part, bytes);
      if (expanded) expanded = resized(block, *expanded);
      return expanded;
    });
  }

  /// Like `Arena::shrink`.
  Block shrink(const Block& block, std::uint64_t bytes) requires Resizable<strategy_type> {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    return in_chunk(*this, block, [&](Chunk& chunk, const Block& part) {
      return resized(block, chunk.arena.shrink(part, bytes));
    });
  }

  /// Returns the caller's word for a live block: value-initialized when the block was made. The
  /// reference is valid until the next allocation. Complexity: constant.
  /// Throws: `InvalidBlock`.
  [[nodiscard]] WordType& word(const Block& block) requires has_words {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    return in_chunk(*this, block, [&](Chunk& chunk, const Block& part) -> WordType& {
      if (!chunk.arena.owns(part)) throw InvalidBlock{BlockDefect::stale, block.offset, block.size};
      return chunk.words.at(part.handle.index);
    });
  }

  /// Returns whether the block is live in one of the chunks. Complexity: constant.
  [[nodiscard]] bool owns(const Block& block) const {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    const Chunk* const chunk = find(block);
    return chunk != nullptr && chunk->arena.owns(part_of(block));
  }

  /// Returns the address of a live block. Complexity: constant. Throws: `InvalidBlock`.
  [[nodiscard]] void* address(const Block& block) const requires Addressable<memory_type> {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    return in_chunk(*this, block, [](const Chunk& chunk, const Block& part) {
      return chunk.arena.address(part);
    });
  }

  /// Returns the number of a block's chunk.
  [[nodiscard]] std::uint64_t chunk_of(const Block& block) const noexcept {
    return block.offset / span_;
  }
  /// Returns the bytes between the offsets of two chunks: a power of two.
  [[nodiscard]] std::uint64_t span() const noexcept { return span_; }

  /// Returns the number of chunks held now.
  [[nodiscard]] std::uint64_t chunk_count() const noexcept {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    std::uint64_t count = 0;
    each_chunk([&](std::size_t, const Chunk&) { ++count; });
    return count;
  }
  /// Returns the bytes in the chunks held now: whole units.
  [[nodiscard]] std::uint64_t capacity() const noexcept {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    return held_;
  }
  /// Returns the most bytes that all chunks may have.
  [[nodiscard]] std::uint64_t budget() const noexcept { return options_.budget_bytes; }
  /// Returns the sum of the chunks' usage. `largest_free` is the largest block without a new chunk;
  /// `peak_used` is of all chunks at one time, those that were released included.
  [[nodiscard]] Usage usage() const {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    return usage_now();
  }
  /// `usage().fragmentation()`: borders of chunks count, as no block spans them.
  [[nodiscard]] double fragmentation() const requires(!OneSized<strategy_type>) {
    return usage().fragmentation();
  }

  /// Like `Arena::for_each`, chunk after chunk. What a chunk lacks of a span is not visited.
  template <class Visitor>
  void for_each(Visitor&& visitor) const {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    each_chunk([&](std::size_t number, const Chunk& chunk) {
      chunk.arena.for_each([&](std::uint64_t offset, std::uint64_t size, bool used) {
        visitor(number * span_ + offset, size, used);
      });
    });
  }

  /// Returns whether every invariant of every chunk holds: for tests. Complexity: linear.
  [[nodiscard]] bool validate() const {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    std::uint64_t held = 0;
    bool is_valid = chunks_.front() != nullptr;
    each_chunk([&](std::size_t number, const Chunk& chunk) {
      held += chunk.arena.capacity();
      is_valid = is_valid && chunk.arena.validate() &&
                 chunk.live == chunk.arena.usage().live_blocks && (chunk.live != 0 || number == 0);
    });
    return is_valid && held == held_ && held_ <= options_.budget_bytes &&
           used_ == usage_now().used && used_ <= peak_used_;
  }

  /// Frees every block, and releases all chunks but the first.
  void reset() requires Resettable<strategy_type> {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    each_chunk([&](std::size_t, Chunk& chunk) {  // observers hear of each block
      chunk.arena.reset();
      chunk.live = 0;
    });
    chunks_.resize(1);
    held_ = chunks_.front()->arena.capacity();
    used_ = 0;
  }

  /// Like `Arena::reserve`, in each chunk that is held now.
  void reserve(std::uint64_t blocks) requires Reservable<strategy_type> {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    each_chunk([&](std::size_t, Chunk& chunk) {
      chunk.arena.reserve(blocks);
      if constexpr (has_words) chunk.words.reserve(blocks * 2 + 1);  // a free block has a record
    });
  }

  /// Calls `function(observer)` for the observer of each chunk, under the guard.
  template <class Function>
  void with_observers(Function&& function) requires(!std::same_as<observer_type, Unobserved>) {
    [[maybe_unused]] const auto guard = synchronization_.guard();
    each_chunk([&](std::size_t, Chunk& chunk) { chunk.arena.with_observer(function); });
  }

 private:  // nothing below enters the critical section
  using ChunkArena =
      Arena<strategy_type, alignment_type, Unsynchronized, memory_type, observer_type>;

  struct Chunk {
    Chunk(std::uint64_t bytes, memory_type memory) : arena{bytes, std::move(memory)} {}

    ChunkArena arena;
    std::uint64_t live = 0;  // blocks
    [[no_unique_address]] std::conditional_t<has_words, std::vector<WordType>, NoWord> words{};
  };

  /// Calls `function(number, chunk)` for every chunk.
  template <class Function>
  void each_chunk(Function&& function) const {
    for (std::size_t i = 0; i < chunks_.size(); ++i) {
      if (chunks_[i] != nullptr) function(i, *chunks_[i]);
    }
  }

  /// Returns the block as its caller sees it.
  [[nodiscard]] Block whole(const Block& part, std::uint64_t chunk) const noexcept {
    return {part.offset + chunk * span_, part.size, part.handle};
  }
  [[nodiscard]] Block part_of(const Block& block) const noexcept {
    return {block.offset % span_, block.size, block.handle};
  }

  /// Returns a block's chunk, or null.
  [[nodiscard]] Chunk* find(const Block& block) const noexcept {
    const std::uint64_t number = chunk_of(block);
    return number < chunks_.size() ? chunks_[static_cast<std::size_t>(number)].get() : nullptr;
  }

  /// Calls `function(chunk, block in it)`; an `InvalidBlock` names the block as the caller knows it.
  template <class Self, class Function>
  static decltype(auto) in_chunk(Self& self, const Block& block, Function&& function) {
    Chunk* const chunk = self.find(block);
    if (chunk == nullptr) throw InvalidBlock{BlockDefect::stale, block.offset, block.size};
    try {
      return function(*chunk, self.part_of(block));
    } catch (const InvalidBlock& error) {
      throw InvalidBlock{error.defect(), block.offset, block.size};
    }
  }

  [[nodiscard]] std::optional<Block> place(const Request& request) {
    static_cast<void>(detail::units_of(request, alignment_type::value));  // or it throws
    const bool wants_own = request.bytes > options_.own_chunk_above;
    std::exception_ptr refused;  // by the memory: a chunk that is there may have room
    if (wants_own) {
      try {
        if (const auto block = in_new_chunk(request, request.bytes)) return block;
      } catch (const OutOfMemory&) {
        refused = std::current_exception();
      }
    }
    for (std::size_t i = 0; i < chunks_.size(); ++i) {
      if (chunks_[i] == nullptr || chunks_[i]->arena.capacity() < request.bytes) continue;
      if (const auto block = in(i, request)) return block;
    }
    if (refused) std::rethrow_exception(refused);
    if (wants_own) return std::nullopt;
    return in_new_chunk(request, larger(request.bytes, options_.chunk_bytes));
  }

  /// Allocates in a new chunk of that many bytes, or of what the budget has left for the request.
  [[nodiscard]] std::optional<Block> in_new_chunk(const Request& request, std::uint64_t bytes) {
    const std::uint64_t least = detail::block_bytes_for<ChunkArena>(request.bytes);
    const std::uint64_t room = room_for_chunk();
    if (least == 0 || least > room) return std::nullopt;
    const std::size_t number = add(smaller(larger(least, bytes), room));
    const Emptied guard{this, number};  // its alignment may be more than the memory has
    return in(number, request);
  }
  struct Emptied {
    ChunkedArena* arena;
    std::size_t number;
    ~Emptied() { arena->remove_if_empty(number); }
  };

  [[nodiscard]] std::optional<Block> in(std::size_t number, const Request& request) {
    Chunk& chunk = *chunks_[number];
    if constexpr (!Addressable<memory_type>) {  // there is an offset alone to be aligned
      if (number * span_ % larger<std::uint64_t>(request.alignment, 1) != 0) return std::nullopt;
    }
    const std::optional<Block> part = chunk.arena.try_allocate(request);
    if (!part) return std::nullopt;
    if constexpr (has_words) {
      try {
        if (chunk.words.size() <= part->handle.index) chunk.words.resize(part->handle.index + 1);
        chunk.words[part->handle.index] = WordType{};
      } catch (...) {
        chunk.arena.deallocate(*part);
        throw;
      }
    }
    ++chunk.live;
    used_ += part->size;
    peak_used_ = larger(peak_used_, used_);
    return whole(*part, number);
  }

  /// Makes a chunk and returns its number: the lowest that is free.
  [[nodiscard]] std::size_t add(std::uint64_t bytes) {
    auto chunk = std::make_unique<Chunk>(bytes, memory_);
    const std::size_t number = lowest_unused();
    if (number == chunks_.size()) chunks_.emplace_back();
    held_ += chunk->arena.capacity();
    chunks_[number] = std::move(chunk);
    return number;
  }

  [[nodiscard]] std::size_t lowest_unused() const noexcept {
    std::size_t number = 0;
    while (number < chunks_.size() && chunks_[number] != nullptr) ++number;
    return number;
  }

  /// The most bytes that a new chunk may have.
  [[nodiscard]] std::uint64_t room_for_chunk() const noexcept {
    if (lowest_unused() > largest_of<std::uint64_t> / span_) return 0;
    return smaller(smaller(options_.budget_bytes - held_, span_),
                   detail::longest_range<ChunkArena>);
  }

  void remove_if_empty(std::uint64_t number) noexcept {
    auto& chunk = chunks_[static_cast<std::size_t>(number)];
    if (number == 0 || chunk->live != 0) return;
    held_ -= chunk->arena.capacity();
    chunk.reset();
    while (chunks_.back() == nullptr) chunks_.pop_back();
  }

  [[nodiscard]] Block resized(const Block& before, const Block& part) noexcept {
    used_ += part.size - before.size;
    peak_used_ = larger(peak_used_, used_);
    return whole(part, chunk_of(before));
  }

  [[nodiscard]] Usage usage_now() const {
    Usage all{};
    each_chunk([&](std::size_t, const Chunk& chunk) { all += chunk.arena.usage(); });
    all.peak_used = peak_used_;
    return all;
  }

  [[nodiscard]] OutOfMemory refusal(const Request& request) const {
    return detail::chunk_refusal(usage_now(), detail::needed_block<ChunkArena>(request),
                                 room_for_chunk(), options_.budget_bytes);
  }

  ChunkedOptions options_;
  [[no_unique_address]] memory_type memory_;
  std::uint64_t span_;
  [[no_unique_address]] mutable synchronization_type synchronization_;
  std::vector<std::unique_ptr<Chunk>> chunks_;  // by number; null: released
  std::uint64_t held_ = 0;
  std::uint64_t used_ = 0;
  std::uint64_t peak_used_ = 0;
};

}  // namespace allot
