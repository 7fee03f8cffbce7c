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

#include "pickle_reader.hpp"
#include "printable.hpp"
#include "text_files.hpp"

namespace {

using allot::report::AllocationTrace;
using allot::report::TraceBuilder;

constexpr std::uint64_t pytorch_alignment = 512;
constexpr std::uint64_t rmm_alignment = 256;
constexpr std::uint64_t umpire_alignment = 16;

/// The lines of a text with their numbers, and errors that name them.
class Lines {
 public:
  Lines(std::string_view text, const std::string& file) : rest_{text}, file_{file} {}

  /// The next line that is not blank, without what ends it.
  std::optional<std::string_view> next() {
    while (!rest_.empty()) {
      const std::size_t end = rest_.find('\n');
      std::string_view line = rest_.substr(0, end);
      rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
      ++number_;
      while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
      if (!line.empty()) return line;
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
  std::string_view rest_;
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

/// Columns by their names. \param base  of addresses
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

AllocationTrace parse_snapshot(std::string_view text, const std::string& file) {
  const auto fail = [&](const std::string& what) {
    throw std::runtime_error{printable(file) + ": " + what};
  };
  pickle::Document document;
  try {
    document = pickle::read(text);
  } catch (const pickle::Error& error) {
    fail(error.what());
  }
  const pickle::Value* const traces = document.root->find("device_traces");
  if (traces == nullptr || traces->list() == nullptr)
    fail("no list 'device_traces': not a snapshot of torch.cuda.memory._dump_snapshot");
  TraceBuilder<> builder;
  std::size_t read = 0;  // keys of events: fewer than bytes, but where one list is named again
  for (const pickle::Value* const trace : *traces->list()) {
    if (trace->list() == nullptr) fail("a device's trace is not a list");
    for (const pickle::Value* const event : *trace->list()) {
      read += 1 + event->keys();
      if (read > text.size()) fail("it names the same events again and again");
      const pickle::Value* const action = event->find("action");
      const std::string* const name = action == nullptr ? nullptr : action->text();
      if (name == nullptr) fail("an event has no 'action'");
      const bool allocates = *name == "alloc";
      if (!allocates && *name != "free_completed") continue;
      const pickle::Value* const address = event->find("addr");
      const pickle::Value* const size = event->find("size");
      const pickle::Value* const stream = event->find("stream");
      if (address == nullptr || address->number() == nullptr || size == nullptr ||
          size->number() == nullptr)
        fail("an event has no 'addr' or no 'size' of at least 0");
      // Devices have address spaces of their own in one process, but ranges do not overlap.
      if (allocates) {
        builder.allocate(
            *address->number(),
            {*size->number(), 1,
             stream != nullptr && stream->number() != nullptr ? *stream->number() : 0});
      } else {
        builder.free(*address->number());
      }
    }
  }
  return builder.take("PyTorch memory snapshot", pytorch_alignment);
}

}  // namespace

AllocationTrace parse_trace(std::string_view text, const std::string& file) {
  const auto fail = [&](const std::string& what) {
    throw std::runtime_error{printable(file) + ": " + what};
  };
  const std::string_view first_line = text.substr(0, text.find('\n'));
  if (text.empty()) fail("the file is empty");
  if (text.starts_with("\x1f\x8b")) fail("compressed by gzip; unpack it first: gunzip -k FILE");
  if (text.starts_with("# allot-trace 1")) return parse_own({text, file});
  if (first_line.starts_with("action,")) return parse_csv({text, file}, false);
  if (first_line.find("Action") != std::string_view::npos &&
      first_line.find("Pointer") != std::string_view::npos)
    return parse_csv({text, file}, true);
  if (first_line.starts_with('{') || first_line.starts_with('#')) return parse_umpire({text, file});
  const auto opcode = static_cast<unsigned char>(text.front());
  if (opcode == 0x80 || opcode == '(' || opcode == '}') return parse_snapshot(text, file);
  fail(
      "no format that is known: allot-trace 1, a PyTorch snapshot, PyTorch's events or RMM's log "
      "as CSV, Umpire's replay log");
  return {};
}
