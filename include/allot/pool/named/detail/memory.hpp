// SPDX-License-Identifier: MIT
/// \file
/// Blocks of an arena that copies on streams touch: a block goes back to the arena when nobody
/// holds it any more and the last copy that touches it is done. Nobody waits for that, unless the
/// arena has no other memory left.
///
/// | type       | what it is                                                               |
/// |------------|--------------------------------------------------------------------------|
/// | `Transfer` | copies given to a stream in one go; done when its event is                |
/// | `Piece`    | a block, with the last transfer that touches it; held by shared pointers |
///
/// All members are called with `mutex()` held. Pieces are dropped without it: dropping takes it.
#pragma once

#include <allot/arena.hpp>
#include <allot/core/block.hpp>
#include <allot/device/device.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace allot::detail {

template <Device DeviceType, class ArenaType>
class BufferMemory : public std::enable_shared_from_this<BufferMemory<DeviceType, ArenaType>> {
 public:
  using Event = typename DeviceType::event_type;
  using Stream = typename DeviceType::stream_type;

  struct Piece;
  struct Transfer {
    explicit Transfer(Event made) : event{std::move(made)} {}

    std::optional<Event> event;  // none once it is done
    Piece* waiting = nullptr;    // pieces to free when it is done
  };
  struct Piece {
    std::optional<Block> block;
    std::shared_ptr<Transfer> transfer;
    std::shared_ptr<BufferMemory> memory;
    Piece* next = nullptr;
  };

  BufferMemory(DeviceType device, std::shared_ptr<ArenaType> arena)
      : device_{std::move(device)}, arena_{std::move(arena)}, stream_{device_.make_stream()} {}
  BufferMemory(const BufferMemory&) = delete;
  BufferMemory& operator=(const BufferMemory&) = delete;

  /// Waits for what is in flight. Nobody holds a piece any more.
  ~BufferMemory() {
    for (const auto& transfer : in_flight_) {
      if (!is_settled(*transfer)) static_cast<void>(is_settled(*transfer));  // one more attempt
      finish(*transfer);
    }
    for (const auto& transfer : lost_) finish(*transfer);
  }

  [[nodiscard]] std::mutex& mutex() const noexcept { return mutex_; }
  [[nodiscard]] DeviceType& device() noexcept { return device_; }
  [[nodiscard]] ArenaType& arena() noexcept { return *arena_; }
  [[nodiscard]] const ArenaType& arena() const noexcept { return *arena_; }
  /// One of its own, for callers that have none.
  [[nodiscard]] Stream& stream() noexcept { return stream_; }

  /// Bytes of blocks that nobody holds, but that copies may still touch.
  [[nodiscard]] std::uint64_t waiting_bytes() const noexcept { return waiting_bytes_; }
  /// Bytes of all blocks that there are.
  [[nodiscard]] std::uint64_t held_bytes() const noexcept { return held_bytes_; }

  [[nodiscard]] void* address(const Piece& piece) const noexcept {
    return static_cast<std::byte*>(arena_->base_address()) + piece.block->offset;
  }

  /// Memory for a request. Where the arena has none, it waits for copies whose blocks nobody holds.
  /// Throws: `OutOfMemory`; what waiting throws; `std::bad_alloc` for the bookkeeping.
  [[nodiscard]] std::shared_ptr<Piece> allocate(const Request& request) {
    const std::shared_ptr<Piece> piece{new Piece, Drop{}};
    piece->block = place(request);
    piece->memory = this->shared_from_this();
    held_bytes_ += piece->block->size;
    return piece;
  }

  /// Grows a piece in place, if that is possible.
  [[nodiscard]] bool try_expand(Piece& piece, std::uint64_t bytes) {
    if constexpr (requires { arena_->try_expand(*piece.block, bytes); }) {
      const std::optional<Block> block = arena_->try_expand(*piece.block, bytes);
      if (!block) return false;
      replace_block(piece, *block);
      return true;
    } else {
      return false;
    }
  }

  /// Takes back `try_expand`. Where bookkeeping has no memory for that the block stays longer than
  /// it must be, which only costs room.
  void undo_expand(Piece& piece, std::uint64_t bytes) noexcept {
    if constexpr (requires { arena_->shrink(*piece.block, bytes); }) {
      try {
        replace_block(piece, arena_->shrink(*piece.block, bytes));
      } catch (...) {
        // Nothing has changed.
      }
    }
  }

  /// Frees a piece that no transfer touches and nobody else holds, without waiting for its drop.
  void discard(std::shared_ptr<Piece>& piece) noexcept {
    free(*piece->block);
    piece->memory.reset();
    piece.reset();
  }

  /// Gives copies to a stream, behind the last ones that touch the pieces.
  /// \param pieces  `for_each_piece(visit)` calls `visit(piece)` for each that is touched
  /// \param copies  called with the device
  /// Throws: what they and the device throw, `std::bad_alloc`.
  template <class ForEachPiece, class Copies>
  void transfer(Stream& stream, bool waits, ForEachPiece&& for_each_piece, Copies&& copies) {
    const std::shared_ptr<Transfer> transfer = prepare();
    bool has_begun = false;
    try {
      for_each_piece([&](Piece& piece) { order(stream, piece); });
      has_begun = true;
      copies(device_);
      device_.record(*transfer->event, stream);
    } catch (...) {
      const bool is_done = !has_begun || settle(stream);
      if (!is_done) for_each_piece([&](Piece& piece) { piece.transfer = transfer; });
      cancel(transfer, is_done);
      throw;
    }
    for_each_piece([&](Piece& piece) { piece.transfer = transfer; });
    if (waits) device_.synchronize(stream);
  }

  /// Looks which transfers are done, and frees what waited for them. A query that fails is asked
  /// again next time.
  void poll() noexcept {
    while (!in_flight_.empty()) {
      try {
        if (!device_.is_done(*in_flight_.front()->event)) return;
      } catch (...) {
        return;
      }
      finish(*in_flight_.front());
      in_flight_.pop_front();
    }
  }

 private:
  /// What the last holder of a piece does.
  struct Drop {
    void operator()(Piece* piece) const noexcept {
      std::unique_ptr<Piece> owned{piece};
      const std::shared_ptr<BufferMemory> memory = std::move(owned->memory);
      if (memory == nullptr) return;  // it never had a block
      const std::scoped_lock lock{memory->mutex_};
      memory->drop(std::move(owned));
    }
  };

  /// A transfer whose event is not recorded yet. All that can fail before the copies is done here.
  [[nodiscard]] std::shared_ptr<Transfer> prepare() {
    if (events_.empty()) poll();  // those of transfers that are done serve again
    if (events_.empty()) {
      events_.reserve(made_events_ + 1);  // so that giving back cannot fail
      events_.push_back(device_.make_event());
      ++made_events_;
    }
    lost_.reserve(lost_.size() + 1);  // likewise
    in_flight_.push_back(nullptr);
    try {
      in_flight_.back() = std::make_shared<Transfer>(std::move(events_.back()));
    } catch (...) {
      in_flight_.pop_back();
      throw;
    }
    events_.pop_back();
    return in_flight_.back();
  }

  /// Forgets a transfer that was prepared last. Whether its copies are known to be done decides
  /// when the pieces that they touch can be freed: never, if nobody can tell.
  void cancel(const std::shared_ptr<Transfer>& transfer, bool is_done) noexcept {
    in_flight_.pop_back();
    if (is_done) {
      finish(*transfer);
      return;
    }
    lost_.push_back(transfer);
  }

  /// Has a stream wait for the last transfer of a piece, unless that is done.
  void order(Stream& stream, const Piece& piece) {
    if (piece.transfer != nullptr && piece.transfer->event) {
      device_.wait(stream, *piece.transfer->event);
    }
  }

  /// Waits for all that was given to a stream. Returns whether it is known to be done.
  [[nodiscard]] bool settle(Stream& stream) noexcept {
    try {
      device_.synchronize(stream);
      return true;
    } catch (...) {
      return false;
    }
  }

  void drop(std::unique_ptr<Piece> piece) noexcept {
    poll();
    const std::shared_ptr<Transfer> transfer = std::move(piece->transfer);
    if (transfer == nullptr || !transfer->event) {
      free(*piece->block);
      return;
    }
    waiting_bytes_ += piece->block->size;
    piece->next = std::exchange(transfer->waiting, piece.get());
    static_cast<void>(piece.release());
  }

  void finish(Transfer& transfer) noexcept {
    events_.push_back(std::move(*transfer.event));
    transfer.event.reset();
    while (transfer.waiting != nullptr) {
      const std::unique_ptr<Piece> piece{transfer.waiting};
      transfer.waiting = piece->next;
      waiting_bytes_ -= piece->block->size;
      free(*piece->block);
    }
  }

  void free(const Block& block) noexcept {
    held_bytes_ -= block.size;
    arena_->deallocate(block);
  }

  void replace_block(Piece& piece, const Block& block) noexcept {
    held_bytes_ += block.size - piece.block->size;
    piece.block = block;
  }

  [[nodiscard]] Block place(const Request& request) {
    poll();
    std::optional<Block> block = arena_->try_allocate(request);
    while (!block && !in_flight_.empty()) {
      const std::shared_ptr<Transfer> oldest = in_flight_.front();
      const bool frees = oldest->waiting != nullptr;
      if (waiting_bytes_ == 0) break;
      device_.synchronize(*oldest->event);
      in_flight_.pop_front();
      finish(*oldest);
      if (frees) block = arena_->try_allocate(request);
    }
    return block ? *block : arena_->allocate(request);
  }

  [[nodiscard]] bool is_settled(Transfer& transfer) noexcept {
    try {
      device_.synchronize(*transfer.event);
      return true;
    } catch (...) {
      return false;
    }
  }

  DeviceType device_;
  std::shared_ptr<ArenaType> arena_;
  mutable std::mutex mutex_;
  std::vector<Event> events_;  // done: for the next transfers
  std::size_t made_events_ = 0;
  std::deque<std::shared_ptr<Transfer>> in_flight_;  // oldest first
  std::vector<std::shared_ptr<Transfer>> lost_;      // nobody can tell whether they are done
  std::uint64_t waiting_bytes_ = 0;
  std::uint64_t held_bytes_ = 0;
  Stream stream_;  // the last: it waits for its copies before anything else goes
};

}  // namespace allot::detail
