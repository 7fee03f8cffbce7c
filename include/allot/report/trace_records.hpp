// SPDX-License-Identifier: MIT
/// \file
/// `allot-trace` 2: what a program allocated, as a file of small records; docs/traces.md describes
/// the bytes.
///
/// | type           | what it is                                                          |
/// |----------------|---------------------------------------------------------------------|
/// | `TraceRecord`  | one event, or what following events have in common                  |
/// | `TraceEncoder` | makes bytes of records, in memory that the caller has               |
/// | `TraceDecoder` | makes records of bytes, whichever program wrote them                |
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/version.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace allot::report {

/// The numbers are those in files. A reader skips those that it does not know.
enum class TraceKind : std::uint8_t {
  padding = 0,
  start = 1,     ///< of a recording: what was live before it is gone, and all counts start again
  name = 2,      ///< `name` stands for `text` from here on
  allocate = 3,  ///< also a block that was live when the recording began
  free = 4,      ///< of the block at `offset`
  resize = 5,    ///< of the block at `offset`, in place, to `bytes`
  refuse = 6,    ///< `value`: a `RefusalReason`
  live = 7,      ///< as `allocate`: the block was made before the recording
  lost = 8,      ///< `value` events are missing here
  unit = 9,      ///< offsets are multiples of `value` bytes, a power of two
  thread = 10,   ///< `value`: of the events that follow
  stream = 11,   ///< the same
  device = 12,   ///< the same, `text` is its name
  /// Of the next event: `text` is the file, `value` the line; or a binary, and the offset in it.
  call_site = 13,
  /// Of `bytes` at `offset`; `value` is 0 to the device, 1 to the host, 2 on the device, 3 as the
  /// addresses say, 4 on the host.
  copy = 14,
  failed_call = 15,  ///< `value`: the error's code, `text` the call
  call = 16,  ///< another call about `bytes` at `offset`, such as a mapping: `text` is its name
};

/// What a record's kind does not need is 0 or empty.
struct TraceRecord {
  TraceKind kind = TraceKind::padding;  ///< which record
  std::uint64_t time = 0;               ///< nanoseconds from the start; of events
  std::uint64_t offset = 0;             ///< bytes from the start of the arena
  std::uint64_t bytes = 0;              ///< as requested
  std::uint64_t alignment = 0;          ///< as requested: a power of two, or 0, the unit
  std::uint64_t name = 0;               ///< 0: none
  std::uint64_t value = 0;              ///< as `TraceKind` says
  std::uint64_t process = 0;            ///< of a start
  std::uint64_t sample = 0;             ///< of a start: one block in this many is recorded; 1: each
  std::string_view text = {};           ///< as `TraceKind` says; at most 200 bytes are kept

  friend bool operator==(const TraceRecord&, const TraceRecord&) = default;
};

namespace detail {

inline constexpr std::string_view trace_mark = "allot-trace 2";
inline constexpr std::uint8_t kind_bits = 0x3f, has_name = 0x40, has_alignment = 0x80;
/// Bytes of a record's text; longer ones are cut.
inline constexpr std::size_t most_text = 200;

/// Which numbers a kind has, in the order in the file; a name and an alignment may follow, then text.
struct TraceFields {
  bool time, offset, bytes, value, may_have_name, text;
};

[[nodiscard]] constexpr TraceFields fields_of(TraceKind kind) noexcept {
  switch (kind) {
    case TraceKind::allocate:
      return {true, true, true, false, true, false};
    case TraceKind::free:
      return {true, true, false, false, false, false};
    case TraceKind::resize:
      return {true, true, true, false, false, false};
    case TraceKind::refuse:
      return {true, false, true, true, true, false};
    case TraceKind::live:
      return {false, true, true, false, true, false};
    case TraceKind::lost:
    case TraceKind::unit:
    case TraceKind::thread:
    case TraceKind::stream:
      return {false, false, false, true, false, false};
    case TraceKind::name:
    case TraceKind::device:
    case TraceKind::call_site:
      return {false, false, false, true, false, true};
    case TraceKind::copy:
      return {true, true, true, true, false, false};
    case TraceKind::failed_call:
      return {true, false, false, true, false, true};
    case TraceKind::call:
      return {true, true, true, false, false, true};
    case TraceKind::padding:
    case TraceKind::start:
      break;
  }
  return {};
}

/// What is known of records before: the same in both directions.
struct TraceState {
  std::uint64_t time = 0;
  std::uint64_t unit = 1;
};

}  // namespace detail

/// Makes bytes of records. Requires: the first is a `start`; offsets are multiples of the last
/// `unit`; times do not decrease.
class TraceEncoder {
 public:
  /// Bytes that one record can have.
  static constexpr std::size_t most_bytes = 256;

  /// Writes a record to `to`, which has room for `most_bytes`, and returns its bytes.
  std::size_t encode(const TraceRecord& record, std::byte* to) noexcept {
    out_ = to + 1;  // its length comes first
    std::uint8_t kind = static_cast<std::uint8_t>(record.kind);
    const detail::TraceFields fields = detail::fields_of(record.kind);
    if (fields.may_have_name && record.name != 0) kind |= detail::has_name;
    if (fields.may_have_name && record.alignment > 1) kind |= detail::has_alignment;
    put_byte(kind);
    if (record.kind == TraceKind::start) {
      state_ = {};
      put_text(detail::trace_mark);
      put(record.process);
      put(record.sample);
    }
    if (record.kind == TraceKind::unit) state_.unit = record.value;
    if (fields.time) {
      put(record.time - state_.time);
      state_.time = record.time;
    }
    if (fields.offset) put(record.offset / state_.unit);
    if (fields.bytes) put(record.bytes);
    if (fields.value) put(record.value);
    if ((kind & detail::has_name) != 0) put(record.name);
    if ((kind & detail::has_alignment) != 0)
      put_byte(static_cast<std::uint8_t>(std::countr_zero(record.alignment)));
    if (fields.text) put_text(record.text.substr(0, detail::most_text));
    const auto length = static_cast<std::size_t>(out_ - to);
    to[0] = static_cast<std::byte>(length - 1);
    return length;
  }

 private:
  void put_byte(std::uint8_t byte) noexcept { *out_++ = static_cast<std::byte>(byte); }
  void put_text(std::string_view text) noexcept {
    for (const char c : text) put_byte(static_cast<std::uint8_t>(c));
  }
  /// Seven bits a byte, the lowest first.
  void put(std::uint64_t number) noexcept {
    for (; number >= 0x80; number >>= 7) put_byte(static_cast<std::uint8_t>(number | 0x80));
    put_byte(static_cast<std::uint8_t>(number));
  }

  detail::TraceState state_;
  std::byte* out_ = nullptr;
};

/// Makes records of bytes.
class TraceDecoder {
 public:
  /// What came of a call.
  enum class Status {
    record,     ///< one was read
    unknown,    ///< one of a kind that is not known was skipped
    end,        ///< no bytes are left, or the last record is cut off
    malformed,  ///< what is wrong is in `error`
  };
  /// What a call found.
  struct Read {
    Status status;           ///< what came of it
    std::size_t bytes;       ///< consumed
    TraceRecord record;      ///< its text lies in the bytes
    const char* error = "";  ///< what is wrong, if it is malformed
  };

  /// Reads the first record of some bytes: at least `TraceEncoder::most_bytes`, or all that is left.
  [[nodiscard]] Read decode(std::string_view bytes) noexcept {
    if (bytes.empty()) return {Status::end, 0, {}};
    const std::size_t length = static_cast<unsigned char>(bytes[0]);
    if (length == 0) return {Status::unknown, 1, {}};
    if (bytes.size() < 1 + length) return {Status::end, 0, {}};
    rest_ = bytes.substr(1, length);
    error_ = nullptr;
    TraceRecord record;
    const auto kind = static_cast<std::uint8_t>(take_byte());
    record.kind = TraceKind{static_cast<std::uint8_t>(kind & detail::kind_bits)};
    if (!has_started_ && record.kind != TraceKind::start)
      return {Status::malformed, 0, {}, "the first record is not a start"};
    const detail::TraceFields fields = detail::fields_of(record.kind);
    if (record.kind == TraceKind::start) {
      read_start(record);
    } else if (!fields.value && !fields.bytes && !fields.offset) {
      return {Status::unknown, 1 + length, {}};
    }
    if (fields.time) record.time = take_time();
    if (fields.offset) record.offset = take_offset();
    if (fields.bytes) record.bytes = take();
    if (fields.value) record.value = take();
    if (fields.may_have_name && (kind & detail::has_name) != 0) record.name = take();
    if (fields.may_have_name && (kind & detail::has_alignment) != 0)
      record.alignment = take_alignment();
    if (fields.text) record.text = rest_.substr(0, detail::most_text);
    // What is left is of a later version.
    if (record.kind == TraceKind::unit && error_ == nullptr) {
      if (!std::has_single_bit(record.value)) fail("a unit is not a power of two");
      state_.unit = record.value;
    }
    if (error_ != nullptr) return {Status::malformed, 0, {}, error_};
    return {Status::record, 1 + length, record};
  }

 private:
  void fail(const char* what) noexcept {
    if (error_ == nullptr) error_ = what;
  }

  void read_start(TraceRecord& record) noexcept {
    if (!rest_.starts_with(detail::trace_mark))
      return fail("the recording is not of version 2 of allot-trace");
    rest_.remove_prefix(detail::trace_mark.size());
    state_ = {};
    has_started_ = true;
    record.process = take();
    record.sample = take();
    if (record.sample == 0) fail("one block in 0 is recorded");
  }

  std::uint8_t take_byte() noexcept {
    if (rest_.empty()) {
      fail("a record is shorter than its kind");
      return 0;
    }
    const auto byte = static_cast<std::uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return byte;
  }

  std::uint64_t take() noexcept {
    std::uint64_t number = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const std::uint8_t byte = take_byte();
      const std::uint64_t part = byte & 0x7fU;
      if (shift == 63 && part > 1) break;
      number |= part << shift;
      if (byte < 0x80) return number;
    }
    fail("a number has more than 64 bits");
    return 0;
  }

  std::uint64_t take_time() noexcept {
    const auto time = checked_add(state_.time, take());
    if (!time) fail("a time has more than 64 bits");
    state_.time = time.value_or(0);
    return state_.time;
  }

  std::uint64_t take_offset() noexcept {
    const auto offset = checked_multiply(take(), state_.unit);
    if (!offset) fail("an offset has more than 64 bits");
    return offset.value_or(0);
  }

  std::uint64_t take_alignment() noexcept {
    const std::uint8_t power = take_byte();
    if (power == 0) return 0;
    if (power < 64) return std::uint64_t{1} << power;
    fail("an alignment has more than 64 bits");
    return 1;
  }

  detail::TraceState state_;
  bool has_started_ = false;
  std::string_view rest_;
  const char* error_ = nullptr;
};

}  // namespace allot::report
