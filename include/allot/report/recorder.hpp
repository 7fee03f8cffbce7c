// SPDX-License-Identifier: MIT
/// \file
/// `Recorder`: records what an arena allocates and frees, as an `allot-trace` 2 for `allot replay`.
///
/// | what is kept              | when to use it                                                   |
/// |---------------------------|------------------------------------------------------------------|
/// | `Recording::latest`       | in production: the last events, with what was live before them   |
/// | `Recording::first`        | short programs and tests: events until the buffer is full        |
/// | `Recording::everything`   | to replay a whole run: the buffer goes to a file when it is full |
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/errors.hpp>
#include <allot/observer/noted_of_streams.hpp>
#include <allot/observer/observer.hpp>
#include <allot/os/append_file.hpp>
#include <allot/os/atomic.hpp>
#include <allot/os/chrono.hpp>
#include <allot/os/fork.hpp>
#include <allot/os/input_file.hpp>
#include <allot/os/output_file.hpp>
#include <allot/report/detail/name_list.hpp>
#include <allot/report/detail/recording_writer.hpp>
#include <allot/report/detail/whole_records.hpp>
#include <allot/report/trace_records.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace allot::report {

/// What a recorder keeps.
enum class Recording {
  latest,      ///< the last events, and what was live before them
  first,       ///< events until the buffer is full
  everything,  ///< all events, in a file
};

/// How a recorder is made.
struct RecorderOptions {
  Recording keeps = Recording::latest;  ///< which events
  /// `everything`: where events are appended, after the last whole record of an `allot-trace` 2 that is
  /// there already; what a killed program left of another record is removed. `latest`: where they are
  /// written when a refusal is first thrown; empty: only `write` writes them.
  std::string file = {};
  std::uint32_t events = 65'536;  ///< in the buffer, 48 bytes each
  /// `latest`: of how many of the arena's blocks, free ones too, the size is remembered, 40 bytes
  /// each. Allocations beyond count as lost.
  std::uint32_t blocks = 65'536;
  std::uint32_t names = 4'096;  ///< different ones, 52 bytes each; further blocks have no name
  /// One block in this many is recorded, with all of its events; refusals always.
  std::uint32_t sample = 1;
};

namespace detail {

/// Numbers threads from 1 in the order of their first event. Never allocates.
[[nodiscard]] inline std::uint16_t thread_number() noexcept {
  static os::Atomic<std::uint16_t> last{0};
  thread_local const auto number = static_cast<std::uint16_t>(last.fetch_add(1) + 1);
  return number;
}

}  // namespace detail

/// An observer: `Arena<BestFit, AlignTo<256>, Unsynchronized, OffsetsOnly, report::Recorder>`. It is
/// notified under the arena's guard, so its buffer needs no lock and no part for each thread. All
/// its memory is taken when it is made; a notice never calls the system allocator. Complexity of
/// each notice: constant, but of `everything` that which fills the buffer writes it.
///
/// \tparam Clock  of the events' times
template <class Clock>
class RecorderOf {
 public:
  /// Keeps the latest 65,536 events.
  RecorderOf() : RecorderOf{RecorderOptions{}} {}
  /// Throws: `std::invalid_argument` for a buffer of no events, a sample of 0, and `everything`
  /// without a file; `os::FileError` if the file cannot be opened, or has something else in it;
  /// `std::bad_alloc`. Complexity: of `everything` linear in the file that is there, which it reads.
  explicit RecorderOf(RecorderOptions options) : state_{new State{checked(std::move(options))}} {
    State& state = *state_;
    if (state.options.keeps == Recording::latest) state.blocks.resize(state.options.blocks);
    if (state.options.keeps != Recording::everything) return;
    state.file.emplace(state.options.file);
    if (const std::uint64_t size = state.file->size(); size != 0) {
      const std::uint64_t whole = detail::whole_records_in(os::InputFile{state.options.file});
      if (whole < size) state.file->cut(whole);
    }
    state.writer.start(state.options.sample, [](auto) {});
  }
  RecorderOf(RecorderOf&&) noexcept = default;
  RecorderOf& operator=(RecorderOf&&) = delete;
  ~RecorderOf() {
    if (state_) flush();
  }

  /// Notes an allocation.
  void allocated(const Block& block, const Request& request) noexcept {
    State& state = *state_;
    if (!is_sampled(block.handle)) return;
    state.unit_bits |= block.offset | block.size;
    const std::uint64_t number = state.noted;
    Event* const event = add(TraceKind::allocate);
    if (event == nullptr) return;
    event->offset = block.offset;
    event->bytes = request.bytes;
    event->alignment = power_of(request.alignment);
    event->name = request.name.empty() ? 0 : state.names.number_of(request.name);
    if (Tracked* const tracked = slot(block.handle)) {
      *tracked = {block.offset, request.bytes,    number, block.handle.generation,
                  event->name,  event->alignment, true};
    }
  }

  /// Notes a free.
  void deallocated(const Block& block) noexcept {
    if (!is_sampled(block.handle)) return;
    Tracked* const tracked = known(block.handle);
    Event* const event = add(TraceKind::free);
    if (tracked != nullptr) tracked->is_live = false;
    if (event == nullptr) return;
    event->offset = block.offset;
    remember_before(*event, tracked);
  }

  /// Notes a block that has another size in place.
  void resized(const Block& before, const Block& now, const Request& request) noexcept {
    if (!is_sampled(before.handle)) return;
    state_->unit_bits |= now.size;
    Tracked* const tracked = known(before.handle);
    const std::uint64_t number = state_->noted;
    Event* const event = add(TraceKind::resize);
    if (event == nullptr) return;
    event->offset = now.offset;
    remember_before(*event, tracked);
    event->bytes = request.bytes;
    if (tracked != nullptr) {
      tracked->bytes = request.bytes;
      tracked->event = number;
    }
  }

  /// Notes a refusal.
  void refused(const Request& request, RefusalReason reason) noexcept {
    Event* const event = add(TraceKind::refuse);
    if (event == nullptr) return;
    event->bytes = request.bytes;
    event->offset = static_cast<std::uint64_t>(reason);
    event->alignment = power_of(request.alignment);
    event->name = request.name.empty() ? 0 : state_->names.number_of(request.name);
  }

  /// Sets the stream of the events that follow; of those beyond 65,535 streams, 65,535.
  void on_stream(std::uint32_t number) noexcept {
    state_->stream = static_cast<std::uint16_t>(smaller(number, 0xffffU));
  }

  /// Writes the latest events, once, if there is a file for them; of `everything` what is not yet
  /// in the file.
  void refusal_thrown() noexcept {
    State& state = *state_;
    flush();
    if (state.options.keeps != Recording::latest || state.options.file.empty() || state.is_written)
      return;
    state.is_written = true;
    try {
      write(state.options.file);
    } catch (...) {
      ++state.failed_writes;
    }
  }

  /// Appends what is in the buffer to the file of `everything`; does nothing for others.
  void flush() noexcept {
    State& state = *state_;
    if (state.options.keeps != Recording::everything || state.made_in.is_of_parent()) return;
    const auto sink = [&](std::span<const std::byte> bytes) noexcept {
      // What follows a piece that is not whole could not be read.
      if (state.failed_writes == 0 && !state.file->append(bytes)) state.failed_writes = 1;
    };
    state.writer.names(state.names, sink);
    state.writer.unit(state.unit_bits, sink);
    for (std::uint64_t i = state.first; i < state.noted; ++i) state.writer.event(event_at(i), sink);
    state.writer.finish(sink);
    if (state.failed_writes != 0) state.lost += state.noted - state.first;
    state.first = state.noted;
  }

  /// Writes what is kept into a separate file, which takes its place when it is whole.
  /// Throws: `std::logic_error` for `everything`, which has a file; `std::runtime_error`.
  void write(os::Path path) const {
    os::OutputFile file{std::move(path)};
    encode_all([&](std::span<const std::byte> bytes) { file.write(bytes); });
    file.close(false);
    file.commit();
  }

  /// Returns what is kept, as an `allot-trace` 2. Throws: as `write`; `std::bad_alloc`.
  [[nodiscard]] std::vector<std::byte> recording() const {
    std::vector<std::byte> all;
    encode_all([&](std::span<const std::byte> bytes) {
      all.insert(all.end(), bytes.begin(), bytes.end());
    });
    return all;
  }

  /// Returns the events noted so far. Complexity: constant.
  [[nodiscard]] std::uint64_t events() const noexcept { return state_->noted; }
  /// Returns the events that a full buffer (`first`), a full table of blocks (`latest`) or a file
  /// that cannot be written left out.
  [[nodiscard]] std::uint64_t lost() const noexcept { return state_->lost; }
  /// Returns how often a file could not be written.
  [[nodiscard]] std::uint64_t failed_writes() const noexcept { return state_->failed_writes; }

 private:
  using Event = detail::RecordedEvent;

  /// A live block, at the index of its handle.
  struct Tracked {
    std::uint64_t offset;
    std::uint64_t bytes;
    std::uint64_t event;  // the number of its last one
    std::uint32_t generation;
    std::uint32_t name;
    std::uint8_t alignment;
    bool is_live;
  };
  static_assert(sizeof(Tracked) == 40);

  static constexpr std::uint64_t none = (std::uint64_t{1} << 48) - 1;  // no event's number

  struct State {
    explicit State(RecorderOptions with)
        : options{std::move(with)},
          buffer(options.events),
          names{options.names},
          begun{Clock::now()} {}

    RecorderOptions options;
    std::vector<Event> buffer;
    std::vector<Tracked> blocks;
    detail::NameList names;
    typename Clock::time_point begun;
    std::optional<os::AppendFile> file;
    detail::RecordingWriter writer;  // of the file
    os::ForkMark made_in;            // a child would write into its parent's file
    std::uint64_t noted = 0;         // events, those that are no longer in the buffer too
    std::uint64_t first = 0;         // the number of the first one that is not in the file
    std::uint64_t lost = 0;
    std::uint64_t failed_writes = 0;
    std::uint64_t unit_bits = 0;  // all offsets and sizes, ored
    std::uint16_t stream = 0;
    bool is_written = false;
  };

  [[nodiscard]] static RecorderOptions checked(RecorderOptions options) {
    if (options.events == 0) throw std::invalid_argument{"a recorder of no events; give it some"};
    if (options.sample == 0)
      throw std::invalid_argument{"one block in 0 is recorded; a sample of 1 records each"};
    if (options.keeps == Recording::everything && options.file.empty())
      throw std::invalid_argument{"a recorder of everything needs a file"};
    return options;
  }

  [[nodiscard]] static std::uint8_t power_of(std::uint64_t alignment) noexcept {
    return static_cast<std::uint8_t>(alignment == 0 ? 0 : std::countr_zero(alignment));
  }

  /// The same for all events of a block.
  [[nodiscard]] bool is_sampled(const Handle& handle) const noexcept {
    const std::uint32_t sample = state_->options.sample;
    if (sample == 1) return true;
    const std::uint64_t both = std::uint64_t{handle.index} << 32 | handle.generation;
    return (both * 0x9e37'79b9'7f4a'7c15U >> 32) % sample == 0;
  }

  /// Returns a new event, or null if there is no room.
  Event* add(TraceKind kind) noexcept {
    State& state = *state_;
    const std::size_t size = state.buffer.size();
    if (state.options.keeps != Recording::latest && state.noted - state.first == size) {
      if (state.options.keeps == Recording::first) {
        ++state.lost;
        return nullptr;
      }
      flush();
    }
    Event& event = state.buffer[static_cast<std::size_t>(state.noted++ % size)];
    event = {};
    event.kind = kind;
    event.thread = detail::thread_number();
    const auto time =
        std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - state.begun);
    event.time = time.count() < 0 ? 0 : static_cast<std::uint64_t>(time.count());
    event.number_before = none;
    event.stream = state.stream;
    return &event;
  }

  /// Returns where to keep what is known of a block; null if nothing is kept.
  Tracked* slot(const Handle& handle) noexcept {
    State& state = *state_;
    if (state.options.keeps != Recording::latest) return nullptr;
    if (handle.index < state.blocks.size()) return &state.blocks[handle.index];
    ++state.lost;
    return nullptr;
  }

  Tracked* known(const Handle& handle) noexcept {
    State& state = *state_;
    if (handle.index >= state.blocks.size()) return nullptr;
    Tracked& tracked = state.blocks[handle.index];
    return tracked.is_live && tracked.generation == handle.generation ? &tracked : nullptr;
  }

  static void remember_before(Event& event, const Tracked* tracked) noexcept {
    if (tracked == nullptr) return;
    event.bytes_before = tracked->bytes;
    event.number_before = tracked->event & none;
    event.name = tracked->name;
    event.alignment = tracked->alignment;
  }

  [[nodiscard]] const Event& event_at(std::uint64_t number) const noexcept {
    return state_->buffer[static_cast<std::size_t>(number % state_->buffer.size())];
  }

  /// All that is kept, from a start.
  template <class Sink>
  void encode_all(Sink&& sink) const {
    const State& state = *state_;
    if (state.options.keeps == Recording::everything)
      throw std::logic_error{"a recorder of everything writes to its own file; call flush"};
    const std::uint64_t size = state.buffer.size();
    const std::uint64_t first = state.noted > size ? state.noted - size : 0;
    detail::RecordingWriter writer;
    writer.start(state.options.sample, sink);
    writer.names(state.names, sink);
    writer.unit(state.unit_bits, sink);
    const auto was_live = [&](std::uint64_t offset, std::uint64_t bytes, std::uint32_t name,
                              std::uint64_t alignment) {
      writer.put({.kind = TraceKind::live,
                  .offset = offset,
                  .bytes = bytes,
                  .alignment = std::uint64_t{1} << alignment,
                  .name = name},
                 sink);
    };
    // What was live before the first event: its own last event was before that.
    for (const Tracked& tracked : state.blocks) {
      if (tracked.is_live && tracked.event < first)
        was_live(tracked.offset, tracked.bytes, tracked.name, tracked.alignment);
    }
    for (std::uint64_t i = first; i < state.noted; ++i) {
      const Event& event = event_at(i);
      if (event.number_before < first)
        was_live(event.offset, event.bytes_before, event.name, event.alignment);
    }
    for (std::uint64_t i = first; i < state.noted; ++i) writer.event(event_at(i), sink);
    if (state.lost != 0) writer.put({.kind = TraceKind::lost, .value = state.lost}, sink);
    writer.finish(sink);
  }

  std::unique_ptr<State> state_;
};

/// The recorder, by the system's clock.
using Recorder = RecorderOf<std::chrono::steady_clock>;

static_assert(NotedOfResizes<Recorder> && NotedOfThrows<Recorder> && NotedOfStreams<Recorder>);

}  // namespace allot::report
