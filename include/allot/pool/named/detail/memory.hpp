// SPDX-License-Identifier: MIT
/// \file
/// Blocks of an arena that copies on streams touch: a block goes back to the arena once it has no
/// holder and the last copy that touches it is done. The host waits for that only if the arena has
/// no other memory left.
///
/// A `Piece` is a block, with the stamp of the last copies that touch it; held by shared pointers.
///
/// Callers hold `mutex()` for all members, but drop pieces without it: dropping locks it.
#pragma once

#include <allot/arena.hpp>
#include <allot/core/block.hpp>
#include <allot/device/device.hpp>
#include <allot/observer/noted_of_streams.hpp>
#include <allot/observer/observer.hpp>
#include <allot/os/mutex.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/stream/stream_timeline.hpp>
#include <allot/stream/wait_noexcept.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace allot::detail {

template <Device DeviceType, class ArenaType>
class BufferMemory : public std::enable_shared_from_this<BufferMemory<DeviceType, ArenaType>> {
 public:
  using Stream = typename DeviceType::stream_type;

  struct Piece {
    std::optional<Block> block;
    Stamp touched{};  // the last copies that touch it
    Stamp lost{};     // earlier ones that those could not be ordered after; see `touch`
    std::shared_ptr<BufferMemory> memory;
    Piece* next = nullptr;  // in the list of waiting pieces
  };

  BufferMemory(DeviceType device, std::shared_ptr<ArenaType> arena)
      : device_{std::move(device)}, arena_{std::move(arena)}, stream_{device_.make_stream()} {}
  BufferMemory(const BufferMemory&) = delete;
  BufferMemory& operator=(const BufferMemory&) = delete;

  /// Waits for copies in flight. Requires: no piece has a holder any more.
  ~BufferMemory() {
    timeline_.wait_for_all();
    free_waiting([](const Piece&) { return true; });
  }

  [[nodiscard]] std::mutex& mutex() const noexcept { return mutex_; }
  [[nodiscard]] ArenaType& arena() noexcept { return *arena_; }
  [[nodiscard]] const ArenaType& arena() const noexcept { return *arena_; }
  /// Returns its own stream, for callers without one.
  [[nodiscard]] Stream& stream() noexcept { return stream_; }

  /// Returns the bytes of blocks without a holder that copies may still touch.
  [[nodiscard]] std::uint64_t waiting_bytes() const noexcept { return waiting_bytes_; }
  /// Returns the bytes of all blocks.
  [[nodiscard]] std::uint64_t held_bytes() const noexcept { return held_bytes_; }

  [[nodiscard]] void* address(const Piece& piece) const noexcept {
    return static_cast<std::byte*>(arena_->base_address()) + piece.block->offset;
  }

  /// Returns the number of a stream for notices of blocks for work on it; 0 if the arena's observer
  /// does not distinguish streams. Throws: as `transfer`.
  [[nodiscard]] std::uint32_t noted_lane_of(const Stream& stream) {
    return notes_lanes ? lane_of(stream) : 0;
  }

  /// Allocates memory for a request. If the arena has none, waits for copies whose blocks have no
  /// holder.
  /// Throws: `OutOfMemory`; what waiting throws; `std::bad_alloc` for the bookkeeping.
  /// \param lane  the number of the stream that it is for, for notices
  [[nodiscard]] std::shared_ptr<Piece> allocate(const Request& request, std::uint32_t lane = 0) {
    const std::shared_ptr<Piece> piece{new Piece, Drop{}};
    piece->block = place(request, lane);
    piece->memory = this->shared_from_this();
    held_bytes_ += piece->block->size;
    return piece;
  }

  /// Grows a piece in place, if that is possible.
  [[nodiscard]] bool try_expand(Piece& piece, std::uint64_t bytes, std::uint32_t lane) {
    if constexpr (requires { arena_->try_expand(*piece.block, bytes); }) {
      note_lane(lane);
      const std::optional<Block> block = arena_->try_expand(*piece.block, bytes);
      if (!block) return false;
      replace_block(piece, *block);
      return true;
    } else {
      return false;
    }
  }

  /// Undoes `try_expand`. If there is no memory for the bookkeeping, the block stays larger than it
  /// must be, which only costs room.
  void undo_expand(Piece& piece, std::uint64_t bytes) noexcept {
    if constexpr (requires { arena_->shrink(*piece.block, bytes); }) {
      note_lane(piece.touched.lane);
      try {
        replace_block(piece, arena_->shrink(*piece.block, bytes));
      } catch (...) {
        // Nothing has changed.
      }
    }
  }

  /// Frees a piece that no transfer touches and that has no other holder, before it is dropped.
  void discard(std::shared_ptr<Piece>& piece) noexcept {
    free(*piece);
    piece->memory.reset();
    piece.reset();
  }

  /// Submits copies to a stream, after the last copies that touch the pieces.
  /// \param pieces  `for_each_piece(visit)` calls `visit(piece)` for each that is touched
  /// \param copies  called with the device
  /// Throws: what they and the device throw, `std::bad_alloc`.
  template <class ForEachPiece, class Copies>
  void transfer(Stream& stream, bool waits, ForEachPiece&& for_each_piece, Copies&& copies) {
    const std::uint32_t lane = lane_of(stream);
    for_each_piece([&](Piece& piece) {
      order(piece.lost, lane, stream);
      order(piece.touched, lane, stream);
    });
    const auto stamp = [&] {
      const Stamp now = timeline_.stamp(lane);
      for_each_piece([&](Piece& piece) { touch(piece, now); });
    };
    try {
      copies(device_);
      stamp();
      timeline_.record(lane, stream);
    } catch (...) {
      // If the stream does not respond, it is unknown when the pieces may be freed: never, unless
      // later copies are submitted to that same stream and known to be done.
      stamp();
      if (wait_noexcept(device_, stream)) set_done(lane);
      throw;
    }
    if (!waits) return;
    device_.synchronize(stream);
    set_done(lane);
  }

  /// Finds out which copies are done, and frees the pieces that waited for them.
  void poll() noexcept {
    if (timeline_.poll()) free_done();
  }

 private:
  struct NoteLane {
    std::uint32_t lane;
    void operator()(auto& observer) const noexcept { notify_stream(observer, lane); }
  };
  static constexpr bool notes_lanes = NotedOfStreams<typename ArenaType::observer_type> &&
                                      requires(ArenaType & arena, NoteLane note) {
    arena.with_observer(note);
  };

  /// Called when the last holder drops a piece.
  struct Drop {
    void operator()(Piece* piece) const noexcept {
      std::unique_ptr<Piece> owned{piece};
      const std::shared_ptr<BufferMemory> memory = std::move(owned->memory);
      if (memory == nullptr) return;  // it never had a block
      const std::lock_guard lock{memory->mutex_};
      memory->drop(std::move(owned));
    }
  };

  void order(Stamp before, std::uint32_t lane, Stream& stream) {
    if (timeline_.can_order(before)) timeline_.order(before, lane, stream);
  }

  /// Notes the last copies that touch a piece. They come after all others, but for copies on a
  /// stream that did not respond: those are kept in mind, or the piece could be freed under them.
  void touch(Piece& piece, Stamp now) noexcept {
    const Stamp before = std::exchange(piece.touched, now);
    if (before.lane == now.lane || timeline_.can_order(before)) return;
    const bool is_only = piece.lost.lane == before.lane || timeline_.is_known_done(piece.lost);
    piece.lost = {before.lane, is_only ? before.time : never};
  }

  [[nodiscard]] bool is_done(const Piece& piece) const noexcept {
    return timeline_.is_known_done(piece.touched) && timeline_.is_known_done(piece.lost);
  }

  void drop(std::unique_ptr<Piece> piece) noexcept {
    poll();
    if (is_done(*piece)) {
      free(*piece);
      return;
    }
    waiting_bytes_ += piece->block->size;
    piece->next = std::exchange(waiting_, piece.get());
    static_cast<void>(piece.release());
  }

  void set_done(std::uint32_t lane) noexcept {
    timeline_.set_done(lane);
    free_done();
  }

  void free_done() noexcept {
    free_waiting([this](const Piece& piece) { return is_done(piece); });
  }

  template <class Predicate>
  void free_waiting(Predicate&& can_free) noexcept {
    for (Piece** link = &waiting_; *link != nullptr;) {
      if (!can_free(**link)) {
        link = &(*link)->next;
        continue;
      }
      const std::unique_ptr<Piece> piece{*link};
      *link = piece->next;
      waiting_bytes_ -= piece->block->size;
      free(*piece);
    }
  }

  void free(const Piece& piece) noexcept {
    note_lane(piece.touched.lane);
    held_bytes_ -= piece.block->size;
    arena_->deallocate(*piece.block);
  }

  /// Notifies the arena's observer of the stream of the next notice.
  void note_lane(std::uint32_t lane) noexcept {
    if constexpr (notes_lanes) arena_->with_observer(NoteLane{lane});
  }

  void replace_block(Piece& piece, const Block& block) noexcept {
    held_bytes_ += block.size - piece.block->size;
    piece.block = block;
  }

  /// Returns the lane of a stream, with an event for its next copies.
  [[nodiscard]] std::uint32_t lane_of(const Stream& stream) {
    std::optional<std::uint32_t> lane = timeline_.find(stream, nullptr);
    if (!lane) {
      poll();
      for (std::uint32_t i = 1; i < timeline_.lanes(); ++i) {
        if (timeline_.is_used(i) && timeline_.is_known_done(timeline_.last_stamp(i)))
          timeline_.remove(i);
      }
      lane = timeline_.add(stream, nullptr);
    }
    if (timeline_.needs_event(*lane)) {
      poll();  // to reuse the events of copies that are done
      timeline_.reserve_event(*lane);
    }
    return *lane;
  }

  [[nodiscard]] Block place(const Request& request, std::uint32_t lane) {
    poll();
    note_lane(lane);
    std::optional<Block> block = arena_->try_allocate(request);
    while (!block) {
      const Piece* const oldest = oldest_waiting();
      if (oldest == nullptr) break;
      timeline_.wait(oldest->lost);
      timeline_.wait(oldest->touched);
      free_done();
      note_lane(lane);
      block = arena_->try_allocate(request);
    }
    return block ? *block : arena_->allocate(request);
  }

  /// Returns the piece whose copies were submitted first; null if it is unknown when they are done.
  [[nodiscard]] const Piece* oldest_waiting() const noexcept {
    const Piece* oldest = nullptr;
    for (const Piece* piece = waiting_; piece != nullptr; piece = piece->next) {
      if (!timeline_.can_order(piece->touched) || !timeline_.can_order(piece->lost)) continue;
      if (oldest == nullptr || piece->touched.time < oldest->touched.time) oldest = piece;
    }
    return oldest;
  }

  static constexpr std::size_t most_events = 16;             // of a stream
  static constexpr std::uint64_t never = ~std::uint64_t{0};  // lost on several streams

  DeviceType device_;
  std::shared_ptr<ArenaType> arena_;
  mutable std::mutex mutex_;
  StreamTimeline<DeviceType> timeline_{device_, most_events};
  Piece* waiting_ = nullptr;  // pieces without a holder that copies may touch
  std::uint64_t waiting_bytes_ = 0;
  std::uint64_t held_bytes_ = 0;
  Stream stream_;  // the last: it waits for its copies before anything else goes
};

}  // namespace allot::detail
