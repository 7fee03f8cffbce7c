// SPDX-License-Identifier: MIT
/// \file
/// The text form of `allot-trace` 2: a line for each record, as in
/// `allocate time=120 offset=512 bytes=100 alignment=256 name=1`.
#pragma once

#include <allot/core/version.hpp>
#include <allot/report/trace_records.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace allot::report {

/// The first line of a text.
inline constexpr std::string_view trace_text_mark = "# allot-trace 2";

namespace detail {

inline constexpr std::array<std::string_view, 17> trace_kind_names{
    "padding", "start",  "name",   "allocate", "free",      "resize", "refuse",      "live", "lost",
    "unit",    "thread", "stream", "device",   "call_site", "copy",   "failed_call", "call"};

struct TraceKey {
  std::string_view name;
  std::uint64_t TraceRecord::*number;
};

inline constexpr std::array<TraceKey, 8> trace_keys{{{"time", &TraceRecord::time},
                                                     {"offset", &TraceRecord::offset},
                                                     {"bytes", &TraceRecord::bytes},
                                                     {"alignment", &TraceRecord::alignment},
                                                     {"name", &TraceRecord::name},
                                                     {"value", &TraceRecord::value},
                                                     {"process", &TraceRecord::process},
                                                     {"sample", &TraceRecord::sample}}};

/// The value of a hexadecimal digit, 16 if it is none.
[[nodiscard]] constexpr unsigned digit_of(char c) noexcept {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
  return 16;
}

/// Control characters and the backslash as `\xNN`.
inline void append_escaped(std::string& to, std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f && c != '\\') {
      to += c;
      continue;
    }
    to += "\\x";
    to += digits[byte >> 4];
    to += digits[byte & 15];
  }
}

/// Returns false if there is a backslash that begins no `\xNN`.
[[nodiscard]] inline bool unescape(std::string_view text, std::string& to) {
  to.clear();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      to += text[i];
      continue;
    }
    if (text.size() - i < 4 || text[i + 1] != 'x') return false;
    const unsigned high = digit_of(text[i + 2]);
    const unsigned low = digit_of(text[i + 3]);
    if (high > 15 || low > 15) return false;
    to += static_cast<char>(high << 4 | low);
    i += 3;
  }
  return true;
}

/// Returns whether the text is a number, which it then stores.
[[nodiscard]] constexpr bool read_decimal(std::string_view text, std::uint64_t& number) noexcept {
  number = 0;
  for (const char c : text) {
    const auto digit = static_cast<std::uint64_t>(c - '0');
    if (c < '0' || c > '9' || number > (~std::uint64_t{0} - digit) / 10) return false;
    number = number * 10 + digit;
  }
  return !text.empty();
}

}  // namespace detail

/// Returns a record's line, without its end. Requires: its kind is known.
/// Throws: `std::bad_alloc`.
template <class = void>
[[nodiscard]] std::string to_text(const TraceRecord& record) {
  std::string line{detail::trace_kind_names[static_cast<std::size_t>(record.kind)]};
  for (const auto& [name, number] : detail::trace_keys) {
    if (record.*number == 0) continue;
    line += ' ';
    line += name;
    line += '=';
    line += std::to_string(record.*number);
  }
  if (record.text.empty()) return line;
  line += " text=";
  detail::append_escaped(line, record.text);
  return line;
}

/// Reads lines, and refuses what an encoder would not take.
template <class = void>
class TraceTextReader {
 public:
  /// Reads a record's line. Returns null, or what is wrong with it. The record's text is valid until
  /// the next call. Throws: `std::bad_alloc`.
  [[nodiscard]] const char* read(std::string_view line, TraceRecord& record) {
    record = {};
    const std::size_t end = line.find(' ');
    const auto kind = find_kind(line.substr(0, end));
    if (kind == 0) return "the line does not begin with a kind of record";
    record.kind = TraceKind{kind};
    std::string_view rest = end == std::string_view::npos ? "" : line.substr(end + 1);
    while (!rest.empty()) {
      if (rest.starts_with("text=")) {
        if (!detail::unescape(rest.substr(5), text_)) return "a backslash that begins no \\xNN";
        if (text_.size() > detail::most_text) return "a text of more than 200 bytes";
        record.text = text_;
        break;
      }
      const std::size_t space = rest.find(' ');
      if (const char* const error = read_pair(rest.substr(0, space), record)) return error;
      rest = space == std::string_view::npos ? "" : rest.substr(space + 1);
    }
    return check(record);
  }

 private:
  [[nodiscard]] static std::uint8_t find_kind(std::string_view name) noexcept {
    for (std::uint8_t i = 1; i < detail::trace_kind_names.size(); ++i)
      if (name == detail::trace_kind_names[i]) return i;
    return 0;
  }

  [[nodiscard]] static const char* read_pair(std::string_view pair, TraceRecord& record) noexcept {
    const std::size_t equals = pair.find('=');
    for (const auto& [name, number] : detail::trace_keys) {
      if (equals == std::string_view::npos || pair.substr(0, equals) != name) continue;
      if (detail::read_decimal(pair.substr(equals + 1), record.*number)) return nullptr;
      return "a value is not a whole number of at least 0 below 2^64";
    }
    return "what follows the kind is not key=value of a known key";
  }

  /// What a record cannot hold in the binary form, and what does not follow from those before.
  [[nodiscard]] const char* check(TraceRecord& record) noexcept {
    const detail::TraceFields fields = detail::fields_of(record.kind);
    const bool is_start = record.kind == TraceKind::start;
    if (!has_started_ && !is_start) return "the first record is not a start";
    if ((record.time != 0 && !fields.time) || (record.offset != 0 && !fields.offset) ||
        (record.bytes != 0 && !fields.bytes) || (record.value != 0 && !fields.value) ||
        ((record.name != 0 || record.alignment != 0) && !fields.may_have_name) ||
        (!record.text.empty() && !fields.text) ||
        ((record.process != 0 || record.sample != 0) && !is_start))
      return "a key that this kind of record does not have";
    if (is_start) {
      if (record.sample == 0) return "a start needs sample=N, 1 if each block is recorded";
      state_ = {};
      has_started_ = true;
    }
    if (record.alignment != 0 && !std::has_single_bit(record.alignment))
      return "an alignment is not a power of two";
    if (record.alignment == 1) record.alignment = 0;
    if (record.kind == TraceKind::unit) {
      if (!std::has_single_bit(record.value)) return "a unit is not a power of two";
      state_.unit = record.value;
    }
    if (fields.time && record.time < state_.time)
      return "a time lies before that of the last event";
    if (fields.time) state_.time = record.time;
    if (fields.offset && record.offset % state_.unit != 0)
      return "an offset is not a multiple of the unit";
    return nullptr;
  }

  detail::TraceState state_;
  bool has_started_ = false;
  std::string text_;
};

}  // namespace allot::report
