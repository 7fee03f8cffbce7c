// SPDX-License-Identifier: MIT
#include "trace_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "byte_stream.hpp"
#include "pickle_reader.hpp"
#include "printable.hpp"
#include "text_files.hpp"

namespace {

using allot::report::AllocationTrace;
using allot::report::TraceBuilder;

constexpr std::uint64_t pytorch_alignment = 512;
constexpr std::uint64_t rmm_alignment = 256;
constexpr std::uint64_t umpire_alignment = 16;

/// The lines of a file with their numbers, and errors that name them.
class Lines {
 public:
  Lines(ByteStream& input, const std::string& file) : input_{input}, file_{file} {}

  /// The next line that is not blank, without what ends it. Valid until the next call.
  std::optional<std::string_view> next() {
    while (auto line = input_.line()) {
      ++number_;
      if (line->size() > ByteStream::most_at_once) fail("the line has more than 16 MiB");
      while (!line->empty() && (line->back() == '\r' || line->back() == ' '))
        line->remove_suffix(1);
      if (!line->empty()) return line;
    }
    return std::nullopt;
  }

  template <class... Parts>
  [[noreturn]] void fail(fmt::format_string<Parts...> text, Parts&&... parts) const {
    throw std::runtime_error{fmt::format("{}:{}: {}", printable(file_), number_,
                                         fmt::format(text, std::forward<Parts>(parts)...))};
  }

  std::uint64_t number(std::string_view text, std::string_view what, int base = 10) const {
    if (base == 16 && (text.starts_with("0x") || text.starts_with("0X"))) text.remove_prefix(2);
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (error != std::errc{} || end != text.data() + text.size() || text.empty())
      fail("{} '{}' is not a whole number of at least 0 below 2^64", what, printable(text));
    return value;
  }

 private:
  ByteStream& input_;
  const std::string& file_;
  std::size_t number_ = 0;
};

AllocationTrace parse_own(Lines lines) {
  TraceBuilder<> builder;
  std::optional<std::uint64_t> alignment;  // that every block has at least
  static_cast<void>(lines.next());
  while (const auto line = lines.next()) {
    if (line->starts_with('#')) continue;
    const auto fields = fields_of(*line, ' ');
    if (fields[0] == "a" && fields.size() == 4) {
      AllocationTrace::Block block{lines.number(fields[2], "size"),
                                   lines.number(fields[3], "alignment"), 0};
      if (!std::has_single_bit(block.alignment))
        lines.fail("alignment {} is not a power of two", block.alignment);
      alignment = std::min(alignment.value_or(block.alignment), block.alignment);
      builder.allocate(lines.number(fields[1], "id"), block);
    } else if (fields[0] == "f" && fields.size() == 2) {
      builder.free(lines.number(fields[1], "id"));
    } else {
      lines.fail("'{}' is neither 'a ID BYTES ALIGNMENT' nor 'f ID'", printable(*line));
    }
  }
  return builder.take("allot-trace 1", alignment.value_or(1));
}

/// Columns by their names.
AllocationTrace parse_csv(Lines lines, bool is_rmm) {
  const auto header = fields_of(*lines.next(), ',');
  const auto column = [&](std::string_view name) {
    const auto found = std::find(header.begin(), header.end(), name);
    if (found == header.end()) lines.fail("no column '{}'", name);
    return static_cast<std::size_t>(found - header.begin());
  };
  const std::size_t action = column(is_rmm ? "Action" : "action");
  const std::size_t address = column(is_rmm ? "Pointer" : "addr");
  const std::size_t size = column(is_rmm ? "Size" : "size");
  const std::size_t stream = column(is_rmm ? "Stream" : "stream");
  TraceBuilder<> builder;
  while (const auto line = lines.next()) {
    const auto fields = fields_of(*line, ',');
    if (fields.size() != header.size())
      lines.fail("{} fields, but the first line names {} columns", fields.size(), header.size());
    const bool allocates = fields[action] == (is_rmm ? "allocate" : "alloc");
    const bool frees = fields[action] == (is_rmm ? "free" : "free_completed");
    if (!allocates && !frees) continue;
    const std::uint64_t where = lines.number(fields[address], "address", 16);
    if (frees) {
      builder.free(where);
      continue;
    }
    builder.allocate(where, {lines.number(fields[size], "size"), 1,
                             lines.number(fields[stream], "stream", is_rmm ? 16 : 10)});
  }
  return is_rmm ? builder.take("RMM log", rmm_alignment)
                : builder.take("PyTorch events, CSV", pytorch_alignment);
}

std::uint64_t address_in(const Lines& lines, const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) lines.fail("no address '{}'", key);
  const std::string text = found->get<std::string>();
  return text == "0" ? 0 : lines.number(text, key, 16);
}

std::uint64_t size_in(const Lines& lines, const nlohmann::json& object) {
  const auto found = object.find("size");
  if (found == object.end() || !found->is_number_unsigned()) lines.fail("no 'size' of at least 0");
  return found->get<std::uint64_t>();
}

nlohmann::json object_in(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_object() ? *found : nlohmann::json::object();
}

/// The log of 2019 has each call twice, the second time with its result; that of 2022 has a
/// reallocation's size and its result in two lines, and between them the calls that it made.
AllocationTrace parse_umpire(Lines lines) {
  TraceBuilder<> builder;
  struct {
    bool has_begun = false;
    std::uint64_t from = 0;
    std::uint64_t bytes = 0;
  } reallocation;
  while (const auto line = lines.next()) {
    if (line->starts_with('#')) continue;
    const nlohmann::json json = nlohmann::json::parse(*line, nullptr, false);
    if (!json.is_object()) lines.fail("not a JSON object in one line");
    const bool is_old = json.contains("kind");
    const auto name = json.find(is_old ? "event" : "name");
    if (name == json.end() || !name->is_string()) continue;
    const nlohmann::json numbers = object_in(json, is_old ? "payload" : "numeric_args");
    const nlohmann::json texts = object_in(json, is_old ? "payload" : "string_args");
    const nlohmann::json result = object_in(json, "result");
    if (*name == "allocate") {
      if (is_old && result.empty()) continue;
      builder.allocate(
          is_old ? address_in(lines, result, "memory_ptr") : address_in(lines, texts, "pointer"),
          {size_in(lines, numbers), 1, 0});
    } else if (*name == "deallocate") {
      builder.free(address_in(lines, texts, is_old ? "memory_ptr" : "pointer"));
    } else if (*name == "reallocate") {
      if (numbers.contains("size") && (!is_old || result.empty())) {
        reallocation = {true, address_in(lines, texts, is_old ? "ptr" : "current_ptr"),
                        size_in(lines, numbers)};
      } else if (reallocation.has_begun) {
        const std::uint64_t result_at =
            is_old ? address_in(lines, result, "memory_ptr") : address_in(lines, texts, "new_ptr");
        // What it did by other calls was recorded between the two lines.
        const bool is_open = builder.is_live(reallocation.from);
        if (is_open) builder.free(reallocation.from);
        if (is_open || !builder.is_live(result_at))
          builder.allocate(result_at, {reallocation.bytes, 1, 0});
        reallocation.has_begun = false;
      }
    }
  }
  return builder.take("Umpire replay log", umpire_alignment);
}

AllocationTrace parse_snapshot(ByteStream& input, const std::string& file) {
  enum Word : std::uint8_t { traces, action, address, bytes, stream, allocates, frees };
  constexpr std::string_view words[] = {"device_traces", "action", "addr",          "size",
                                        "stream",        "alloc",  "free_completed"};
  using Kind = pickle::Scalar::Kind;
  TraceBuilder<> builder;
  try {
    pickle::read_rows(input, words, [&](pickle::Row event, std::uint64_t byte) {
      if (event[action].kind == Kind::absent) throw pickle::Error{byte, "an event has no 'action'"};
      if (event[action].kind != Kind::word) return;
      const std::uint8_t what = event[action].word;
      if (what != allocates && what != frees) return;
      if (event[address].kind != Kind::number || event[bytes].kind != Kind::number)
        throw pickle::Error{byte, "an event has no 'addr' or no 'size' of at least 0"};
      // Several devices' ranges in one process do not overlap.
      if (what == frees) return builder.free(event[address].number);
      builder.allocate(event[address].number, {event[bytes].number, 1, event[stream].number});
    });
  } catch (const pickle::Error& error) {
    throw std::runtime_error{printable(file) + ": " + error.what()};
  }
  return builder.take("PyTorch memory snapshot", pytorch_alignment);
}

}  // namespace

AllocationTrace parse_trace(ByteStream input, const std::string& file) {
  constexpr std::size_t longest_header = 4096;
  const auto fail = [&](const std::string& what) {
    throw std::runtime_error{printable(file) + ": " + what};
  };
  const std::string_view text = input.peek(longest_header);
  const std::string_view first_line = text.substr(0, text.find('\n'));
  if (text.empty()) fail("the file is empty");
  if (text.starts_with("\x1f\x8b")) fail("compressed by gzip; unpack it first: gunzip -k FILE");
  if (text.starts_with("# allot-trace 1")) return parse_own({input, file});
  if (first_line.starts_with("action,")) return parse_csv({input, file}, false);
  if (first_line.find("Action") != std::string_view::npos &&
      first_line.find("Pointer") != std::string_view::npos)
    return parse_csv({input, file}, true);
  if (first_line.starts_with('{') || first_line.starts_with('#'))
    return parse_umpire({input, file});
  const auto opcode = static_cast<unsigned char>(text.front());
  if (opcode == 0x80 || opcode == '(' || opcode == '}') return parse_snapshot(input, file);
  fail(
      "no format that is known: allot-trace 1, a PyTorch snapshot, PyTorch's events or RMM's log "
      "as CSV, Umpire's replay log");
  return {};
}
