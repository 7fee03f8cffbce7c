// SPDX-License-Identifier: MIT
#include "trace_files.hpp"

#include <allot/report/trace_records.hpp>
#include <allot/report/trace_text.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <unordered_map>
#include <utility>
#include <vector>

#include "byte_stream.hpp"
#include "numbers.hpp"
#include "pickle_reader.hpp"
#include "printable.hpp"
#include "text_files.hpp"

namespace {

using allot::report::AllocationTrace;
using allot::report::TraceBuilder;
using allot::report::TraceKind;
using allot::report::TraceRecord;

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
    const FieldNumber read = read_field_number(text, base);
    if (!read.problem.empty()) fail("{} '{}' {}", what, printable(text), read.problem);
    return read.value;
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

/// Puts the records of `allot-trace` 2 together.
class RecordedTrace {
 public:
  /// Throws: `std::length_error`; `std::bad_alloc`.
  void add(const TraceRecord& record) {
    switch (record.kind) {
      case TraceKind::start:
        builder_.free_all();
        builder_.trace().sample = std::max(builder_.trace().sample, record.sample);
        device_ = 0;
        is_of_host_ = false;
        stream_ = 0;
        unit_now_ = 1;
        names_.clear();
        return;
      case TraceKind::name:
        names_[record.value] = static_cast<std::uint32_t>(builder_.trace().names.size());
        builder_.trace().names.emplace_back(record.text);
        return;
      case TraceKind::unit:
        unit_now_ = record.value;
        return;
      case TraceKind::stream:
        stream_ = record.value;
        builder_.trace().knows_streams = true;
        return;
      case TraceKind::device:
        device_ = record.value;
        is_of_host_ = record.text == "host";
        return;
      case TraceKind::allocate:
      case TraceKind::live:
        if (is_of_host_) return;
        // Copies may have been counted in finer ones.
        if (record.bytes != 0) unit_ = std::min(unit_.value_or(unit_now_), unit_now_);
        return builder_.allocate(
            place(record), {record.bytes, std::max<std::uint64_t>(record.alignment, 1), stream_},
            name_of(record));
      case TraceKind::free:
        if (is_of_host_) return;
        return builder_.free(place(record));
      case TraceKind::resize:
        return builder_.resize(place(record), record.bytes);
      case TraceKind::refuse:
        ++builder_.trace().refused;
        return;
      case TraceKind::lost:
        builder_.trace().lost += record.value;
        return;
      default:
        return;
    }
  }

  AllocationTrace take(bool is_cut_off) {
    constexpr std::uint64_t most_unit = std::uint64_t{1} << 30;
    builder_.trace().is_cut_off = is_cut_off;
    builder_.trace().knows_addresses = true;
    return builder_.take("allot-trace 2", std::min(unit_.value_or(1), most_unit));
  }

 private:
  /// Each device has offsets from 0.
  [[nodiscard]] std::uint64_t place(const TraceRecord& record) const {
    return record.offset ^ std::rotl(device_, 56);
  }

  [[nodiscard]] std::uint32_t name_of(const TraceRecord& record) const {
    const auto found = names_.find(record.name);
    return found == names_.end() ? AllocationTrace::no_name : found->second;
  }

  TraceBuilder<> builder_;
  std::unordered_map<std::uint64_t, std::uint32_t> names_;  // index by number
  std::optional<std::uint64_t> unit_;                       // of all blocks
  std::uint64_t unit_now_ = 1;
  std::uint64_t device_ = 0;
  bool is_of_host_ = false;  // pinned memory beside a device's: another arena
  std::uint64_t stream_ = 0;
};

/// Calls `visit(record)` for each record. Returns whether the last one is cut off.
template <class Visit>
bool read_records(ByteStream& input, const std::string& file, Visit visit) {
  allot::report::TraceDecoder decoder;
  using Status = allot::report::TraceDecoder::Status;
  for (;;) {
    const std::string_view bytes = input.peek(allot::report::TraceEncoder::most_bytes);
    const auto read = decoder.decode(bytes);
    if (read.status == Status::end) return !bytes.empty();
    if (read.status == Status::malformed) {
      throw std::runtime_error{
          fmt::format("{}: byte {}: {}", printable(file), input.position(), read.error)};
    }
    if (read.status == Status::record) visit(read.record);
    static_cast<void>(input.take(read.bytes));
  }
}

template <class Visit>
void read_record_lines(Lines lines, Visit visit) {
  allot::report::TraceTextReader<> reader;
  static_cast<void>(lines.next());
  while (const auto line = lines.next()) {
    if (line->starts_with('#')) continue;
    TraceRecord record;
    if (const char* const error = reader.read(*line, record))
      lines.fail("{}: '{}'", error, printable(line->substr(0, 200)));
    visit(record);
  }
}

bool is_binary_trace(std::string_view text) {
  return text.size() > 2 && text[1] == static_cast<char>(TraceKind::start) &&
         text.substr(2).starts_with(allot::report::detail::trace_mark);
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
  builder.trace().knows_streams = true;
  builder.trace().knows_addresses = true;
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
  builder.trace().knows_addresses = true;
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
  builder.trace().knows_streams = true;
  builder.trace().knows_addresses = true;
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

bool read_trace_records(ByteStream input, const std::string& file,
                        const std::function<void(const TraceRecord&)>& visit) {
  if (is_binary_trace(input.peek(32))) return read_records(input, file, visit);
  const std::string_view text = input.peek(32);
  if (text.substr(0, text.find('\n')) != allot::report::trace_text_mark)
    throw std::runtime_error{printable(file) + ": not an allot-trace 2; only these have two forms"};
  read_record_lines({input, file}, visit);
  return false;
}

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
  if (first_line == allot::report::trace_text_mark || is_binary_trace(text)) {
    RecordedTrace trace;
    const bool is_cut_off = read_trace_records(
        std::move(input), file, [&](const TraceRecord& record) { trace.add(record); });
    return trace.take(is_cut_off);
  }
  if (first_line.starts_with("action,")) return parse_csv({input, file}, false);
  if (first_line.find("Action") != std::string_view::npos &&
      first_line.find("Pointer") != std::string_view::npos)
    return parse_csv({input, file}, true);
  if (first_line.starts_with('{') || first_line.starts_with('#'))
    return parse_umpire({input, file});
  const auto opcode = static_cast<unsigned char>(text.front());
  if (opcode == 0x80 || opcode == '(' || opcode == '}') return parse_snapshot(input, file);
  fail(
      "the format is unknown; give an allot-trace 1 or 2, a PyTorch snapshot, PyTorch's events or "
      "RMM's log as CSV, or Umpire's replay log");
  return {};
}
