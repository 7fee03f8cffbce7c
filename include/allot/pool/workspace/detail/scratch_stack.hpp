// SPDX-License-Identifier: MIT
/// \file
/// `ScratchStack`: two stacks of scopes over pieces of memory, each a linear arena. It knows
/// neither device nor stream; `Workspace` does.
#pragma once

#include <allot/arena.hpp>
#include <allot/core/block.hpp>
#include <allot/core/checked.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/slice.hpp>
#include <allot/strategy/linear.hpp>
#include <allot/stream/stream_ordered_memory.hpp>
#include <allot/synchronization/synchronization.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace allot::detail {

template <Memory MemoryType, Alignment AlignmentType>
class ScratchStack {
 public:
  using arena_type = Arena<Linear, AlignmentType, Unsynchronized, StreamOrderedMemory<MemoryType>>;
  using slice_type = Slice<AccessOf<MemoryType>>;
  /// Slices share their piece: it outlives them.
  using Piece = std::shared_ptr<arena_type>;

  /// \param slice  what the piece is made of, at least that long; empty: memory of the policy
  [[nodiscard]] static Piece make_piece(MemoryType memory, std::uint64_t bytes,
                                        slice_type slice = {}) {
    return std::make_shared<arena_type>(
        bytes, StreamOrderedMemory<MemoryType>{std::move(memory), std::move(slice)});
  }

  void push(Piece piece) { pieces_.push_back(std::move(piece)); }

  /// Requires: no scope has allocated anything.
  [[nodiscard]] std::vector<Piece> exchange(std::vector<Piece> pieces) noexcept {
    for (Side& side : sides_) {
      side.piece = 0;
      for (Opened& opened : side.opened) opened = {{}, 0, opened.is_closed, false};
    }
    return std::exchange(pieces_, std::move(pieces));
  }

  /// Opens a scope. Returns how many were open before.
  [[nodiscard]] std::size_t open(bool upper) {
    Side& side = sides_[upper];
    if (pieces_.empty()) {
      side.opened.push_back({{}, 0, false, false});
    } else {
      side.opened.push_back({pieces_[side.piece]->mark(), side.piece, false, true});
    }
    return side.opened.size() - 1;
  }

  /// Closes a scope, once all those inside it are.
  void close(bool upper, std::size_t depth) noexcept {
    Side& side = sides_[upper];
    side.opened[depth].is_closed = true;
    while (!side.opened.empty() && side.opened.back().is_closed) {
      release_to(side.opened.back(), upper);
      side.opened.pop_back();
    }
  }

  /// Scopes that ended before one that they contain count, too.
  [[nodiscard]] std::size_t depth(bool upper) const noexcept { return sides_[upper].opened.size(); }

  /// Returns the number of scopes that have not ended. Complexity: linear in the depths.
  [[nodiscard]] std::size_t open_scopes() const noexcept {
    std::size_t count = 0;
    for (const Side& side : sides_)
      for (const Opened& opened : side.opened) count += opened.is_closed ? 0 : 1;
    return count;
  }

  /// Allocates from the piece with this end's last allocation, or from one after it.
  [[nodiscard]] std::optional<slice_type> try_allocate(bool upper, const Request& request) {
    Side& side = sides_[upper];
    for (std::size_t i = side.piece; i < pieces_.size(); ++i) {
      arena_type& arena = *pieces_[i];
      const auto block = upper ? arena.try_allocate_upper(request) : arena.try_allocate(request);
      if (!block) continue;
      side.piece = i;
      most_alignment_ = larger(most_alignment_, larger(request.alignment, AlignmentType::value));
      high_water_ = larger(high_water_, used());
      auto* const base = static_cast<std::byte*>(arena.base_address());
      return slice_type{pieces_[i], base + block->offset, request.bytes};
    }
    return std::nullopt;
  }

  /// Calls `visitor(piece, offset, size, used)`.
  template <class Visitor>
  void for_each(Visitor&& visitor) const {
    for (std::size_t i = 0; i < pieces_.size(); ++i) {
      pieces_[i]->for_each([&](std::uint64_t offset, std::uint64_t size, bool is_used) {
        visitor(i, offset, size, is_used);
      });
    }
  }

  [[nodiscard]] std::size_t pieces() const noexcept { return pieces_.size(); }

  /// Returns the bytes of all pieces.
  [[nodiscard]] std::uint64_t capacity() const noexcept {
    std::uint64_t bytes = 0;
    for (const Piece& piece : pieces_) bytes += piece->capacity();
    return bytes;
  }

  /// Returns the bytes from the ends to where the stacks reach. Complexity: linear in the pieces.
  [[nodiscard]] std::uint64_t used() const noexcept {
    std::uint64_t bytes = 0;
    for (const Piece& piece : pieces_) {
      const Linear::Mark mark = piece->mark();
      bytes += piece->capacity() - (mark.upper_begin - mark.lower_end) * AlignmentType::value;
    }
    return bytes;
  }

  [[nodiscard]] std::uint64_t high_water() const noexcept { return high_water_; }
  void reset_high_water() noexcept { high_water_ = used(); }

  /// Returns the bytes of the pieces that nothing uses: all, or those after the last that is used.
  [[nodiscard]] std::uint64_t idle_bytes() const noexcept {
    std::uint64_t bytes = 0;
    for (std::size_t i = first_idle(); i < pieces_.size(); ++i) bytes += pieces_[i]->capacity();
    return bytes;
  }

  /// Takes them out. Throws: `std::bad_alloc`; nothing has changed then.
  [[nodiscard]] std::vector<Piece> take_idle() {
    const std::size_t first = first_idle();
    if (first == 0) return exchange({});
    const auto at = pieces_.begin() + static_cast<std::ptrdiff_t>(first);
    std::vector<Piece> idle{at, pieces_.end()};
    pieces_.erase(at, pieces_.end());
    return idle;
  }

  /// Returns the size of one piece that fits the allocations of all pieces, whatever their
  /// alignments.
  [[nodiscard]] std::uint64_t merged_bytes() const noexcept {
    return capacity() + (pieces_.size() - 1) * 2 * most_alignment_;
  }

  /// Returns the size of one piece that fits the high-water mark.
  [[nodiscard]] std::uint64_t fitting_bytes() const noexcept {
    if (high_water_ == 0) return 0;
    const std::uint64_t joints = pieces_.size() > 1 ? pieces_.size() - 1 : 0;
    const std::uint64_t bytes = high_water_ + joints * 2 * most_alignment_;
    return checked_align_up(bytes, most_alignment_).value_or(bytes);
  }

 private:
  [[nodiscard]] std::size_t first_idle() const noexcept {
    if (used() == 0) return 0;
    return larger(sides_[0].piece, sides_[1].piece) + 1;
  }

  struct Opened {
    Linear::Mark mark;
    std::size_t piece;
    bool is_closed;
    bool has_mark;  // false: opened before there was any memory
  };
  struct Side {
    std::vector<Opened> opened;
    std::size_t piece = 0;
  };

  /// Frees what this end has allocated since; the other end keeps its allocations.
  void release_to(const Opened& opened, bool upper) noexcept {
    Side& side = sides_[upper];
    if (pieces_.empty()) return;
    for (; side.piece > opened.piece; --side.piece) release_all(*pieces_[side.piece], upper);
    if (!opened.has_mark) return release_all(*pieces_[side.piece], upper);
    release(*pieces_[side.piece], opened.mark, upper);
  }

  static void release_all(arena_type& arena, bool upper) noexcept {
    Linear::Mark mark = arena.mark();
    (upper ? mark.upper_begin : mark.lower_end) =
        upper ? arena.capacity() / AlignmentType::value : 0;
    arena.release_to(mark);
  }

  static void release(arena_type& arena, const Linear::Mark& opened, bool upper) noexcept {
    Linear::Mark mark = arena.mark();
    (upper ? mark.upper_begin : mark.lower_end) = upper ? opened.upper_begin : opened.lower_end;
    arena.release_to(mark);
  }

  std::vector<Piece> pieces_;
  Side sides_[2];
  std::uint64_t high_water_ = 0;
  std::uint64_t most_alignment_ = AlignmentType::value;
};

}  // namespace allot::detail
