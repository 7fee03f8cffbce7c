// SPDX-License-Identifier: MIT
/// \file
/// `BlockPool`: reference-counted blocks of one size in one allocation of a device, copied on
/// write. A paged KV cache is made of it; `KvCache` (`kv_cache.hpp`) adds sequences and prefixes.
#pragma once

#include <allot/alignment/alignment.hpp>
#include <allot/arena.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/errors.hpp>
#include <allot/core/units.hpp>
#include <allot/device/device.hpp>
#include <allot/observer/observer.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/pool/kv/detail/lanes.hpp>
#include <allot/pool/kv/detail/notices.hpp>
#include <allot/pool/kv/errors.hpp>
#include <allot/slice.hpp>
#include <allot/strategy/fixed_blocks.hpp>
#include <allot/strategy/linear.hpp>
#include <allot/synchronization/locked.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

namespace allot {

/// How many blocks, and of which size.
struct BlockPoolOptions {
  std::uint64_t blocks;       ///< at least one, below 2^32 - 1
  std::uint64_t block_bytes;  ///< of each block; the first begins at a multiple of 256
  std::size_t lanes = 1;      ///< streams that the blocks are used on, up to 32
};

/// Blocks named by number, each with a count of the references to it.
///
/// Work on blocks goes to the pool's streams, its lanes. A block remembers which lanes were given
/// work on it: if one lane uses what another has touched, it waits for that on the device. Submit
/// a lane's work on a block after the call that names both, and before the block is named with
/// another lane or released.
///
/// The constructor takes all memory; nothing is taken from the system later. Bookkeeping: 72 bytes
/// a block, in host memory. Use it from one thread at a time.
///
/// \tparam ObserverType  notified of blocks taken and given back, at their offsets in `storage()`, and
///                       of `OutOfBlocks`. A lane is a stream, numbered from 1: see `NotedOfStreams`
template <Device DeviceType, Observer ObserverType = Unobserved>
requires std::copyable<DeviceType>
class BlockPool {
 public:
  using slice_type = Slice<AccessOf<typename DeviceType::memory_type>>;
  using stream_type = typename DeviceType::stream_type;
  using stream_pointer = std::shared_ptr<stream_type>;
  using Number = std::uint32_t;  ///< of a block, from 0

  /// Makes one allocation from the device, for a private arena.
  /// Throws: `std::invalid_argument` for counts and sizes out of range; `OutOfMemory`; what making
  /// streams throws.
  BlockPool(DeviceType device, const BlockPoolOptions& options)
      : BlockPool{device, options, detail::Lanes<DeviceType>::make_streams(device, options.lanes)} {
  }

  /// \param streams  the lanes
  BlockPool(DeviceType device, const BlockPoolOptions& options, std::vector<stream_pointer> streams,
            ObserverType observer = {})
      : BlockPool{device, options, std::move(streams),
                  OwnMemory{bytes_of(options), device.memory()}.allocate(bytes_of(options)),
                  std::move(observer)} {}

  /// \param storage  the memory of the blocks: a slice of any arena, with room for all, that begins
  ///                 at a multiple of 256 bytes
  BlockPool(DeviceType device, const BlockPoolOptions& options, std::vector<stream_pointer> streams,
            slice_type storage, ObserverType observer = {})
      : storage_{fitting(options, std::move(storage))},
        block_bytes_{options.block_bytes},
        lanes_{std::move(device), std::move(streams)},
        numbers_{options.blocks},
        blocks_(options.blocks),
        notices_{std::move(observer), options.block_bytes} {
    numbers_.reserve(options.blocks);
  }

  /// Allocates the lowest free block, with one reference; work on the lane may write it.
  /// Complexity: constant. Throws: `OutOfBlocks`; what recording and waiting throw. Nothing has
  /// changed then.
  [[nodiscard]] Number allocate(std::size_t lane = 0) {
    const Number number = lowest_free(lane);
    if (number != none) return number;
    notices_.refused(1, lane);
    return notices_.noting_throws([&]() -> Number {
      throw OutOfBlocks{1, 0, capacity(), block_bytes_};
    });
  }

  /// The same, but returns nothing if no block is free.
  [[nodiscard]] std::optional<Number> try_allocate(std::size_t lane = 0) {
    const Number number = lowest_free(lane);
    if (number != none) return number;
    notices_.refused(1, lane);
    return std::nullopt;
  }

  /// Adds a reference to a block. Throws: `std::invalid_argument` for a block that is free;
  /// `std::overflow_error`.
  void retain(Number number) {
    State& block = used(number);
    if (block.ref_count == largest_of<std::uint32_t>)
      throw std::overflow_error{"a block has at most 2^32 - 1 references; copy it"};
    ++block.ref_count;
  }

  /// Releases one reference after its work was submitted on the lane. Returns true if it was the
  /// last one: the block is then free.
  /// Complexity: constant. Throws: `std::invalid_argument` for a block that is free.
  bool release(Number number, std::size_t lane = 0) {
    lanes_.require(lane);
    detail::Touched& touched = used(number).touched;
    lanes_.note_given(touched);
    lanes_.note_read(touched, lane);
    notices_.on_lane(lane);
    return drop(number);
  }

  /// Releases a reference whose holder submitted no work on the block, but only kept it for others.
  bool release_unused(Number number) {
    notices_.on_no_lane();
    return drop(number);
  }

  /// Returns the number of references to a block; 0: it is free.
  [[nodiscard]] std::uint32_t ref_count(Number number) const {
    require(number);
    return blocks_[number].ref_count;
  }

  /// Makes later work on the lane wait for the last write to the block.
  /// Throws: `std::invalid_argument` for a block that is free; what recording and waiting throw.
  void read(Number number, std::size_t lane) {
    State& block = used(number);
    lanes_.before_read(block.touched, lane);
    lanes_.note_read(block.touched, lane);
  }

  /// Remembers that the lane was given work that reads the block, without waiting for anything.
  void note_read(Number number, std::size_t lane) {
    lanes_.require(lane);
    lanes_.note_read(used(number).touched, lane);
  }

  /// Remembers that all work that writes the block was submitted: later reads wait only for that
  /// work.
  void end_writes(Number number) { lanes_.note_given(used(number).touched); }

  /// Makes later work on the lane wait for all work that was submitted for the block.
  void write(Number number, std::size_t lane) {
    State& block = used(number);
    lanes_.before_write(block.touched, lane);
    lanes_.note_written(block.touched, lane);
  }

  /// Allocates a block with the contents of another, copied on the lane.
  /// Throws: `OutOfBlocks`; `std::invalid_argument`; what copying throws. Nothing has changed then.
  [[nodiscard]] Number copy_of(Number from, std::size_t lane = 0) {
    read(from, lane);
    const Number to = allocate(lane);
    try {
      lanes_.device().copy_on_device(address(to), address(from), block_bytes_, lanes_.stream(lane));
    } catch (...) {
      release(to, lane);
      throw;
    }
    return to;
  }

  /// Returns the block to write instead of this one: itself if this is the only reference; else a
  /// copy, and this reference is released (copy on write). Throws: as `copy_of`.
  [[nodiscard]] Number writable(Number number, std::size_t lane = 0) {
    if (used(number).ref_count == 1) {
      write(number, lane);
      return number;
    }
    const Number copy = copy_of(number, lane);
    release(number, lane);
    return copy;
  }

  /// A block that compaction moved.
  struct Moved {
    Number from;  ///< its number before
    Number to;    ///< its number now
  };
  /// Does one step of compaction: copies the highest used block to the lowest free one, with all
  /// its references. Returns nothing if all blocks below it are used. Requires: all work on the
  /// block was submitted. After `finish_compaction` on the lane, use the block's new number.
  /// Throws: as `copy_of`.
  [[nodiscard]] std::optional<Moved> compact(std::size_t lane = 0) {
    lanes_.require(lane);
    if (end() == used()) return std::nullopt;
    const auto from = static_cast<Number>(end() - 1);
    const bool more_writes = blocks_[from].touched.more_writes;
    const Number to = copy_of(from, lane);
    blocks_[to].ref_count = std::exchange(blocks_[from].ref_count, 0);
    // All lanes come after the copy: only later work on the block is left to wait for.
    blocks_[to].touched = blocks_[from].touched;
    blocks_[to].touched.more_writes = more_writes;
    lanes_.note_end(blocks_[from].touched);
    give_back(from);
    return Moved{from, to};
  }

  /// Makes later work on all lanes wait for the copies of `compact` on a lane.
  void finish_compaction(std::size_t lane) noexcept { lanes_.before_all(lane); }

  /// Returns one above the highest used block. Complexity: amortized constant.
  [[nodiscard]] std::uint64_t end() noexcept {
    while (end_ != 0 && blocks_[end_ - 1].ref_count == 0) --end_;
    return end_;
  }

  /// Returns the address of a block. Throws: `std::out_of_range` for an unknown number.
  [[nodiscard]] void* address(Number number) const {
    require(number);
    return static_cast<std::byte*>(storage_.address()) + number * block_bytes_;
  }

  /// All blocks: a slice keeps the memory alive.
  [[nodiscard]] const slice_type& storage() const noexcept { return storage_; }
  [[nodiscard]] stream_type& stream(std::size_t lane = 0) { return lanes_.stream(lane); }
  /// The same, to share it.
  [[nodiscard]] const std::shared_ptr<stream_type>& shared_stream(std::size_t lane = 0) const {
    return lanes_.owner_of(lane);
  }
  /// Throws: `std::out_of_range` if there is no such lane.
  void require_lane(std::size_t lane) const { lanes_.require(lane); }
  [[nodiscard]] std::size_t lanes() const noexcept { return lanes_.size(); }
  [[nodiscard]] DeviceType& device() noexcept { return lanes_.device(); }

  /// Returns the bytes of each block.
  [[nodiscard]] std::uint64_t block_bytes() const noexcept { return block_bytes_; }
  /// Returns the number of all blocks.
  [[nodiscard]] std::uint64_t capacity() const noexcept { return blocks_.size(); }
  /// Returns the number of blocks with references.
  [[nodiscard]] std::uint64_t used() const { return numbers_.usage().used; }
  /// Returns the number of the others.
  [[nodiscard]] std::uint64_t free() const { return capacity() - used(); }
  /// Returns the most blocks that ever had references at once.
  [[nodiscard]] std::uint64_t peak_used() const { return numbers_.usage().peak_used; }

  /// Calls `function(observer)` and returns what it returns. Observers must not call the pool.
  decltype(auto) with_observer(auto&& function) requires(!std::same_as<ObserverType, Unobserved>) {
    return std::forward<decltype(function)>(function)(notices_.observer());
  }
  /// For `KvCache`: what the observer is notified of.
  [[nodiscard]] auto& notices() noexcept { return notices_; }

  /// Returns true if every invariant of the bookkeeping holds: for tests. Complexity: linear.
  [[nodiscard]] bool validate() const {
    std::uint64_t used = 0;
    for (std::uint64_t i = 0; i < blocks_.size(); ++i) {
      const bool is_used = blocks_[i].ref_count != 0;
      used += is_used ? 1 : 0;
      if (is_used && (i >= end_ || !numbers_.owns({i, 1, blocks_[i].handle}))) return false;
    }
    return used == this->used() && numbers_.validate();
  }

 private:
  static constexpr std::uint64_t block_alignment = 256;
  using OwnMemory =
      Shared<Arena<Linear, AlignTo<block_alignment>, Locked<>, typename DeviceType::memory_type>>;

  static constexpr Number none = largest_of<Number>;

  struct State {
    Handle handle{};
    std::uint32_t ref_count = 0;
    detail::Touched touched;
  };

  /// Allocates it, or returns `none`. Its number and its handle are passed on as 32-bit values: an
  /// optional or a handle on the stack is written in parts and read as a whole, and a processor does
  /// that only after every earlier store, however many of them miss the cache.
  [[nodiscard]] Number lowest_free(std::size_t lane) {
    lanes_.require(lane);
    const std::optional<Block> placed = numbers_.try_allocate(1);
    if (!placed) return none;
    const auto number = static_cast<Number>(placed->offset);
    const std::uint32_t index = placed->handle.index;
    const std::uint32_t generation = placed->handle.generation;
    State& block = blocks_[number];
    try {
      lanes_.before_write(block.touched, lane);
    } catch (...) {
      numbers_.deallocate({number, 1, {index, generation}});
      throw;
    }
    lanes_.note_written(block.touched, lane);
    block.handle.index = index;
    block.handle.generation = generation;
    block.ref_count = 1;
    notices_.taken(number, block.handle, lane);
    end_ = larger<std::uint64_t>(end_, number + std::uint64_t{1});
    return number;
  }

  /// Removes one reference. Returns true if it was the last one.
  bool drop(Number number) {
    State& block = used(number);
    if (--block.ref_count != 0) return false;
    block.touched.more_reads = false;  // each reference noted its reads when it was released
    give_back(number);
    return true;
  }

  void give_back(Number number) noexcept {
    const Handle handle = blocks_[number].handle;
    numbers_.deallocate({number, 1, handle});
    notices_.given_back(number, handle);
  }

  [[nodiscard]] static std::uint64_t bytes_of(const BlockPoolOptions& options) {
    const auto bytes = checked_multiply(options.blocks, options.block_bytes);
    const auto rounded = bytes ? checked_align_up(*bytes, block_alignment) : std::nullopt;
    if (!rounded || *rounded == 0 || options.blocks >= largest_of<Number>) {
      throw std::invalid_argument{(FixedText<192>{}
                                   << "invalid pool of " << options.blocks << " blocks of "
                                   << options.block_bytes
                                   << " bytes: use 1 to 2^32 - 2 blocks of at least one "
                                      "byte, less than 2^64 bytes in all")
                                      .c_str()};
    }
    return *rounded;
  }

  /// Throws: `std::invalid_argument` if the blocks do not fit in the slice.
  [[nodiscard]] static slice_type fitting(const BlockPoolOptions& options, slice_type storage) {
    const std::uint64_t bytes = bytes_of(options);
    FixedText<192> text;
    if (storage.bytes() < bytes) {
      text << options.blocks << " blocks of " << options.block_bytes
           << " bytes do not fit in a slice of " << storage.bytes() << " bytes; give it " << bytes;
      throw std::invalid_argument{text.c_str()};
    }
    if (reinterpret_cast<std::uintptr_t>(storage.address()) % block_alignment != 0) {
      text << "the slice does not begin at a multiple of " << block_alignment
           << " bytes; allocate it with that alignment";
      throw std::invalid_argument{text.c_str()};
    }
    return storage;
  }

  void require(Number number) const {
    if (number < blocks_.size()) return;
    throw std::invalid_argument{(FixedText<128>{} << "there is no block " << number
                                                  << "; there are " << blocks_.size()
                                                  << ", numbered from 0")
                                    .c_str()};
  }

  [[nodiscard]] State& used(Number number) {
    require(number);
    if (blocks_[number].ref_count == 0) {
      throw std::invalid_argument{(FixedText<128>{}
                                   << "block " << number
                                   << " is free; release it once for each reference, and do "
                                      "not use it afterwards")
                                      .c_str()};
    }
    return blocks_[number];
  }

  slice_type storage_;  // outlives the lanes, which wait for the work on it
  std::uint64_t block_bytes_;
  detail::Lanes<DeviceType> lanes_;
  Arena<FixedBlocks<1>, AlignTo<1>> numbers_;
  std::vector<State> blocks_;
  [[no_unique_address]] detail::BlockNotices<ObserverType> notices_;
  std::uint64_t end_ = 0;
};

}  // namespace allot
