// SPDX-License-Identifier: MIT
/// \file
/// `RecordingWriter`: makes an `allot-trace` 2 of a recorder's events, piece by piece.
#pragma once

#include <allot/os/process.hpp>
#include <allot/report/detail/name_list.hpp>
#include <allot/report/trace_records.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace allot::report::detail {

/// What a recorder keeps of a call until it is written.
struct RecordedEvent {
  std::uint64_t time;
  std::uint64_t offset;              // of a refusal: why
  std::uint64_t bytes;               // as requested
  std::uint64_t bytes_before;        // of a free or a resize: of the block before it
  std::uint64_t number_before : 48;  // of the block's last event before it
  std::uint64_t stream : 16;
  std::uint32_t name;
  std::uint16_t thread;
  TraceKind kind;
  std::uint8_t alignment;  // the power of two
};
static_assert(sizeof(RecordedEvent) == 48);

/// Every member takes a `sink(std::span<const std::byte>)` for full pieces. Never allocates.
class RecordingWriter {
 public:
  void start(std::uint64_t sample, auto&& sink) {
    names_ = 0;
    unit_ = 0;
    thread_ = 0;
    stream_ = 0;
    put({.kind = TraceKind::start, .process = os::process_id(), .sample = sample}, sink);
  }

  /// Before the events that use them: the names that are new.
  void names(const NameList& names, auto&& sink) {
    while (names_ < names.size()) {
      ++names_;
      put({.kind = TraceKind::name, .value = names_, .text = names.text_of(names_)}, sink);
    }
  }

  /// Before the events whose offsets are multiples of it. \param bits  all offsets and sizes, ored
  void unit(std::uint64_t bits, auto&& sink) {
    const std::uint64_t unit = bits & (~bits + 1);
    if (unit == 0 || unit == unit_) return;
    unit_ = unit;
    put({.kind = TraceKind::unit, .value = unit}, sink);
  }

  void event(const RecordedEvent& event, auto&& sink) {
    if (event.thread != thread_) {
      thread_ = event.thread;
      put({.kind = TraceKind::thread, .value = thread_}, sink);
    }
    if (event.stream != stream_) {
      stream_ = static_cast<std::uint16_t>(event.stream);
      put({.kind = TraceKind::stream, .value = stream_}, sink);
    }
    const bool is_refusal = event.kind == TraceKind::refuse;
    put({.kind = event.kind,
         .time = event.time,
         .offset = is_refusal ? 0 : event.offset,
         .bytes = event.bytes,
         .alignment = std::uint64_t{1} << event.alignment,
         .name = event.name,
         .value = is_refusal ? event.offset : 0},
        sink);
  }

  void put(const TraceRecord& record, auto&& sink) {
    if (piece_.size() - filled_ < TraceEncoder::most_bytes) finish(sink);
    filled_ += encoder_.encode(record, piece_.data() + filled_);
  }

  /// Passes on what is left.
  void finish(auto&& sink) {
    sink(std::span<const std::byte>{piece_.data(), filled_});
    filled_ = 0;
  }

 private:
  TraceEncoder encoder_;
  std::uint32_t names_ = 0;  // written
  std::uint64_t unit_ = 0;
  std::uint16_t thread_ = 0;
  std::uint16_t stream_ = 0;
  std::size_t filled_ = 0;
  std::array<std::byte, 16'384> piece_;
};

}  // namespace allot::report::detail
