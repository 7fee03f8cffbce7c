// SPDX-License-Identifier: MIT
/// \file
/// `Workspace`: scratch memory that grows to what is needed and then stays. For memory that lives
/// as long as a function: temporaries of a layer, the workspace of a BLAS call.
///
/// | type                    | what it is                                                           |
/// |-------------------------|----------------------------------------------------------------------|
/// | `Workspace<DeviceType>` | the memory: one block of the device, once it has met the largest need |
/// | `Workspace::Scope`      | allocations that end together: when it is destroyed                  |
#pragma once

#include <allot/alignment/alignment.hpp>
#include <allot/arena.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/errors.hpp>
#include <allot/core/units.hpp>
#include <allot/device/device.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/pool/workspace/detail/scratch_stack.hpp>
#include <allot/pool/workspace/workspace_options.hpp>
#include <allot/slice.hpp>
#include <allot/stream/shared_stream.hpp>
#include <allot/stream/stream_timeline.hpp>
#include <allot/stream/wait_noexcept.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

namespace allot {

/// Grow-only scratch memory of a device, for the work of one stream.
///
/// Allocations are made in scopes, which nest; each end of the memory is a stack, so that what one
/// step reads and what it writes can take turns. An allocation that does not fit adds memory: the
/// present memory stays in place, and alive, until the scopes that use it have ended. The first
/// allocation after that merges the pieces into one block that holds as much. From then on the same
/// allocations have the same addresses, which captured graphs rely on, and the device is not
/// called. `grown()` changes whenever that was not so.
///
/// Memory that the stream used is given back only after the stream's work is done, without waiting
/// for it. Slices keep their memory alive, but it is scratch: after their scope it is reused.
///
/// Use it from one thread at a time.
///
/// \tparam AlignmentType  the granularity, and the default alignment
template <Device DeviceType, Alignment AlignmentType = AlignTo<256>>
requires std::copyable<DeviceType>
class Workspace {
  using Stack = detail::ScratchStack<typename DeviceType::memory_type, AlignmentType>;
  struct State;

 public:
  using slice_type = typename Stack::slice_type;
  using stream_type = typename DeviceType::stream_type;
  using stream_pointer = std::shared_ptr<stream_type>;

  /// \param stream  the stream that uses the memory, such as a `SharedStream`; null: makes one
  /// Throws: as `reserve`; what making a stream throws.
  explicit Workspace(DeviceType device, const WorkspaceOptions& options = {},
                     stream_pointer stream = {})
      : state_{std::make_shared<State>(std::move(device), options, std::move(stream))} {
    if (options.initial_bytes != 0) reserve(options.initial_bytes);
  }

  /// Begins with the memory of a slice of any arena, such as memory that was planned with the weights
  /// (`PlanOptions::reserved`), and takes more from the device only where that does not suffice;
  /// ignores `options.initial_bytes`.
  /// Throws: `std::invalid_argument` for a slice that does not begin at a multiple of the
  /// granularity, or is shorter.
  Workspace(DeviceType device, slice_type storage, const WorkspaceOptions& options = {},
            stream_pointer stream = {})
      : state_{std::make_shared<State>(std::move(device), options, std::move(stream))} {
    if (storage.bytes() < AlignmentType::value ||
        reinterpret_cast<std::uintptr_t>(storage.address()) % AlignmentType::value != 0) {
      throw std::invalid_argument{
          (FixedText<160>{} << "a workspace cannot begin with a slice of " << storage.bytes()
                            << " bytes at " << reinterpret_cast<std::uintptr_t>(storage.address())
                            << "; give it at least " << AlignmentType::value
                            << ", from a multiple of that on")
              .c_str()};
    }
    const std::uint64_t bytes = storage.bytes() / AlignmentType::value * AlignmentType::value;
    state_->stack.push(
        state_->stack.make_piece(state_->device.memory(), bytes, std::move(storage)));
  }

  Workspace(Workspace&&) noexcept = default;
  Workspace& operator=(Workspace&&) noexcept = default;

  /// Allocations that end together. They end when the scope is destroyed or, if scopes of the same
  /// end that were opened later are still open, when those are destroyed. A scope keeps the
  /// workspace's memory alive.
  class Scope {
   public:
    Scope(Scope&& other) noexcept
        : state_{std::move(other.state_)}, end_{other.end_}, depth_{other.depth_} {}
    Scope& operator=(Scope&& other) noexcept {
      std::swap(state_, other.state_);
      std::swap(end_, other.end_);
      std::swap(depth_, other.depth_);
      return *this;
    }
    ~Scope() {
      if (state_ != nullptr) state_->close(end_, depth_);
    }

    /// Complexity: constant, unless memory must be added.
    /// Throws: `std::logic_error` if a scope of the same end that was opened later is open; as
    /// `Arena::allocate`; `OutOfMemory` with reason `source` if the device refuses more, and with
    /// `too_large` if the limit does. Nothing has changed then, but memory that was idle may have been
    /// given back.
    [[nodiscard]] slice_type allocate(std::uint64_t bytes) {
      return allocate(bytes, AlignmentType::value);
    }
    [[nodiscard]] slice_type allocate(std::uint64_t bytes, std::uint64_t alignment) {
      return state_->allocate(end_, depth_, detail::request_of(bytes, alignment));
    }

   private:
    friend Workspace;
    Scope(std::shared_ptr<State> state, End end)
        : state_{std::move(state)}, end_{end}, depth_{state_->open(end)} {}

    std::shared_ptr<State> state_;
    End end_;
    std::size_t depth_;
  };

  /// Opens a scope. Throws: `std::bad_alloc`.
  [[nodiscard]] Scope scope(End end = End::lower) { return Scope{state_, end}; }

  /// Makes the memory at least `bytes` in one piece, so that this much is never added later.
  /// Throws: `std::logic_error` while a scope is open; `OutOfMemory`. Nothing has changed then.
  void reserve(std::uint64_t bytes) {
    state_->require_idle("reserve");
    if (state_->stack.capacity() < bytes || state_->stack.pieces() > 1)
      state_->resize_to(larger(bytes, state_->stack.capacity()));
  }

  /// Gives back what exceeds the high-water mark.
  /// Throws: `std::logic_error` while a scope is open; `OutOfMemory`. Nothing has changed then.
  void shrink_to_fit() {
    state_->require_idle("shrink_to_fit");
    const std::uint64_t wanted = state_->stack.fitting_bytes();
    if (wanted < state_->stack.capacity()) state_->shrink_to(wanted);
  }

  /// Resets the high-water mark, so that `shrink_to_fit` considers only later allocations.
  void reset_high_water() noexcept { state_->stack.reset_high_water(); }

  /// Gives back retired memory that the stream's work no longer uses. The other members do so, too.
  /// Throws: what querying an event throws.
  void collect() { state_->collect(); }

  /// Returns the stream that uses the memory.
  [[nodiscard]] stream_type& stream() noexcept { return *state_->stream; }
  /// The same, to share it with a `BufferPool`, a `KvCache` or another workspace.
  [[nodiscard]] SharedStream<DeviceType> shared_stream() const noexcept {
    return SharedStream<DeviceType>{state_->stream};
  }

  /// Returns the bytes in use now, including padding for alignment.
  [[nodiscard]] std::uint64_t used() const noexcept { return state_->stack.used(); }
  /// Returns the most bytes that were ever in use.
  [[nodiscard]] std::uint64_t high_water() const noexcept { return state_->stack.high_water(); }
  /// Returns the bytes taken from the device, without those that wait for the stream.
  [[nodiscard]] std::uint64_t capacity() const noexcept { return state_->stack.capacity(); }
  /// Returns the bytes that will be given back once the stream's work is done.
  [[nodiscard]] std::uint64_t retired_bytes() const noexcept { return state_->retired_bytes(); }
  /// Counts how often addresses may have changed: while it stays the same, the same allocations in
  /// the same order have the same addresses, and work captured with them may be run again.
  [[nodiscard]] std::uint64_t grown() const noexcept { return state_->grown; }

  /// Returns all of these figures. Complexity: linear in the pieces and the scopes.
  [[nodiscard]] WorkspaceStats stats() const noexcept {
    const Stack& stack = state_->stack;
    return {.capacity = capacity(),
            .used = used(),
            .high_water = high_water(),
            .retired = retired_bytes(),
            .pieces = stack.pieces(),
            .scopes = stack.open_scopes(),
            .grown = grown()};
  }
  /// Calls `visitor(piece, offset, size, used)` for each block of each piece of its memory, free ones
  /// too, by pieces and offsets in bytes. Complexity: linear. Throws: what the visitor throws.
  template <class Visitor>
  void for_each(Visitor&& visitor) const {
    state_->stack.for_each(std::forward<Visitor>(visitor));
  }

 private:
  using Piece = typename Stack::Piece;

  /// Memory that no scope uses any more, but the stream's work may.
  struct Retired {
    std::vector<Piece> pieces;
    detail::Stamp used;
  };

  struct State {
    State(DeviceType chosen, const WorkspaceOptions& with, stream_pointer on)
        : device{std::move(chosen)},
          options{with},
          stream{on ? std::move(on) : std::make_shared<stream_type>(device.make_stream())},
          lane{timeline.add(*stream, nullptr)} {}
    State(const State&) = delete;
    State& operator=(const State&) = delete;

    /// Releases its own stream before the memory: if waiting fails, that release waits for the
    /// device.
    ~State() {
      detail::wait_noexcept(device, *stream);
      stream.reset();
    }

    [[nodiscard]] std::size_t open(End end) { return stack.open(end == End::upper); }

    void close(End end, std::size_t depth) noexcept { stack.close(end == End::upper, depth); }

    [[nodiscard]] slice_type allocate(End end, std::size_t depth, const Request& request) {
      const bool upper = end == End::upper;
      if (depth + 1 != stack.depth(upper)) throw_not_innermost(depth, stack.depth(upper));
      if (stack.pieces() > 1 && stack.used() == 0) merge();
      if (auto slice = stack.try_allocate(upper, request)) return std::move(*slice);
      add(request);
      return stack.try_allocate(upper, request).value();
    }

    /// Adds a piece that holds the request, at least half as large as the present memory. If
    /// nothing is in use, the piece may replace the present memory; idle pieces at the end make room
    /// for it within the limit, and on a device that refuses it.
    void add(const Request& request) {
      collect();
      // Every piece begins and ends at a multiple of the arena's own alignment.
      const std::uint64_t padding =
          request.alignment > AlignmentType::value ? request.alignment : 0;
      const auto room = checked_add(request.bytes, padding);
      const auto all = room ? checked_align_up(*room, AlignmentType::value) : std::nullopt;
      const std::uint64_t need = all.value_or(0);  // 0: beyond 64 bits
      const std::uint64_t capacity = stack.capacity();
      const std::uint64_t left = options.limit_bytes - smaller(options.limit_bytes, capacity);
      const bool is_idle = stack.used() == 0;
      const std::uint64_t room_left = is_idle ? options.limit_bytes : left + stack.idle_bytes();
      if (need == 0 || need > room_left) throw beyond_limit(request.bytes, need);
      const bool drops = !is_idle && need > left;
      const bool replaces = is_idle && (stack.pieces() == 1 || need > left);
      const std::uint64_t wanted =
          larger(larger(need, options.minimum_bytes), capacity / 2 + (replaces ? capacity : 0));
      Piece piece = take_or_drop(smaller(wanted, replaces || drops ? room_left : left), need);
      piece->deallocate(piece->allocate(request));  // refuses an alignment above that of its base
      if (replaces) {
        std::vector<Piece> pieces;
        pieces.push_back(std::move(piece));
        return replace(std::move(pieces));
      }
      if (drops) retire([&] { return stack.take_idle(); });
      stack.push(std::move(piece));
      ++grown;
    }

    /// Takes memory; if the device refuses it, gives back what is idle, and tries once more.
    [[nodiscard]] Piece take_or_drop(std::uint64_t wanted, std::uint64_t least) {
      try {
        return take(wanted, least);
      } catch (const OutOfMemory&) {
        if (stack.idle_bytes() == 0) throw;
      }
      retire([&] { return stack.take_idle(); });
      return take(least, least);
    }

    /// Replaces several pieces by one. If the device refuses that, keeps the pieces.
    void merge() {
      try {
        resize_to(stack.merged_bytes());
      } catch (const OutOfMemory&) {
      }
    }

    void resize_to(std::uint64_t bytes) {
      const auto rounded =
          checked_align_up(larger(bytes, AlignmentType::value), AlignmentType::value);
      if (!rounded || *rounded > options.limit_bytes)
        throw beyond_limit(bytes, rounded.value_or(0));
      std::vector<Piece> pieces;
      pieces.push_back(take(*rounded, *rounded));
      replace(std::move(pieces));
    }

    void shrink_to(std::uint64_t bytes) {
      if (bytes != 0) return resize_to(bytes);
      replace({});
    }

    /// Replaces all pieces.
    void replace(std::vector<Piece> pieces) {
      retire([&] { return stack.exchange(std::move(pieces)); });
    }

    /// Keeps the pieces that `take_out()` returns until the stream's work, which may use them, is
    /// done: an event covers it. Throws: what recording throws; `std::bad_alloc`; nothing has
    /// changed then.
    template <class Function>
    void retire(Function&& take_out) {
      collect();
      Retired old{{}, timeline.stamp(lane)};
      timeline.record(lane, *stream);
      retired.reserve(retired.size() + 1);
      old.pieces = take_out();
      ++grown;
      if (!old.pieces.empty()) retired.push_back(std::move(old));
    }

    /// Takes memory from the device; if it refuses, takes less; if it refuses that too, waits for
    /// the stream's work, if that frees some.
    [[nodiscard]] Piece take(std::uint64_t wanted, std::uint64_t least) {
      for (const std::uint64_t bytes : {wanted, least}) {
        try {
          return stack.make_piece(device.memory(), bytes);
        } catch (const OutOfMemory&) {
          if (bytes == least && retired.empty()) throw;
        }
      }
      device.synchronize(*stream);
      timeline.set_done(lane);
      retired.clear();
      return stack.make_piece(device.memory(), least);
    }

    void collect() {
      std::erase_if(retired, [&](const Retired& old) { return timeline.is_done(old.used); });
    }

    void require_idle(const char* what) const {
      const std::size_t scopes = stack.open_scopes();
      if (scopes == 0) return;
      throw std::logic_error{(FixedText<192>{}
                              << what << " of a workspace with " << scopes
                              << " open scopes would move their memory; end them first")
                                 .c_str()};
    }

    [[noreturn]] static void throw_not_innermost(std::size_t depth, std::size_t depths) {
      throw std::logic_error{(FixedText<192>{} << "scope " << depth + 1 << " of " << depths
                                               << " is not the innermost one; allocate in that, "
                                                  "or end it first")
                                 .c_str()};
    }

    [[nodiscard]] std::uint64_t retired_bytes() const noexcept {
      std::uint64_t bytes = 0;
      for (const Retired& old : retired) {
        for (const Piece& piece : old.pieces) bytes += piece->capacity();
      }
      return bytes;
    }

    [[nodiscard]] OutOfMemory beyond_limit(std::uint64_t bytes,
                                           std::uint64_t rounded) const noexcept {
      const std::uint64_t held = stack.capacity() - stack.idle_bytes();
      const std::uint64_t left = options.limit_bytes - smaller(options.limit_bytes, held);
      return {RefusalReason::too_large,
              bytes,
              AlignmentType::value,
              left,
              left,
              options.limit_bytes,
              OutOfMemory::unlimited,
              0,
              bytes <= left ? rounded : 0};
    }

    DeviceType device;
    WorkspaceOptions options;
    Stack stack;
    std::vector<Retired> retired;
    detail::StreamTimeline<DeviceType> timeline{device, 4};
    stream_pointer stream;
    std::uint32_t lane;
    std::uint64_t grown = 0;
  };

  std::shared_ptr<State> state_;
};

}  // namespace allot
