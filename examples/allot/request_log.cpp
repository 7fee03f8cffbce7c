// SPDX-License-Identifier: MIT
#include "request_log.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

#include "byte_stream.hpp"
#include "numbers.hpp"
#include "printable.hpp"

namespace {

using allot::report::KvRequest;

constexpr std::string_view azure_header = "TIMESTAMP,ContextTokens,GeneratedTokens";

/// No request has as many; a wrong column would take hours to replay.
constexpr std::uint64_t most_tokens = std::uint64_t{1} << 24;

/// Where a line is, for errors.
struct LogLine {
  const std::string& file;
  std::size_t line = 0;

  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error{fmt::format("{}:{}: {}", printable(file), line, what)};
  }
};

/// Days since 1970 of a date of the Gregorian calendar, by counting leap days before March.
std::int64_t days_of(std::int64_t year, std::int64_t month, std::int64_t day) {
  if (month < 3) --year;
  const std::int64_t since_march = (month + 9) % 12;
  const std::int64_t leap_days = year / 4 - year / 100 + year / 400;
  return 365 * year + leap_days + (153 * since_march + 2) / 5 + day - 1 - 719'468;
}

/// Reads `2023-11-16 18:15:46.6805900`, also without a fraction, and with `Z` or `+00:00` behind it.
/// Returns microseconds since 1970, nothing if it is something else.
std::optional<std::uint64_t> read_time(std::string_view text) {
  for (const std::string_view zone : {"Z", "+00:00"}) {
    if (text.ends_with(zone)) text.remove_suffix(zone.size());
  }
  constexpr std::string_view form = "dddd-dd-dd dd:dd:dd";
  if (text.size() < form.size() || text.size() > form.size() + 10) return std::nullopt;
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  for (std::size_t i = 0; i < form.size(); ++i) {
    if (form[i] == 'd' ? !is_digit(text[i]) : text[i] != form[i]) return std::nullopt;
  }
  const auto number = [&](std::size_t at, std::size_t digits) {
    std::int64_t value = 0;
    for (const char c : text.substr(at, digits)) value = 10 * value + (c - '0');
    return value;
  };
  const std::int64_t year = number(0, 4), month = number(5, 2), day = number(8, 2);
  const std::int64_t hour = number(11, 2), minute = number(14, 2), second = number(17, 2);
  if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 ||
      second > 60)
    return std::nullopt;
  std::string_view fraction = text.substr(form.size());
  std::int64_t micros = 0;
  if (!fraction.empty()) {
    fraction.remove_prefix(1);
    if (text[form.size()] != '.' || fraction.empty() ||
        !std::all_of(fraction.begin(), fraction.end(), is_digit))
      return std::nullopt;
    for (std::size_t i = 0; i < 6; ++i)
      micros = 10 * micros + (i < fraction.size() ? fraction[i] - '0' : 0);
  }
  const std::int64_t seconds =
      ((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
  return static_cast<std::uint64_t>(seconds * 1'000'000 + micros);
}

std::uint64_t read_tokens(const LogLine& at, const char* name, std::string_view text) {
  const FieldNumber number = read_field_number(text);
  if (!number.problem.empty() || number.value > most_tokens) {
    at.fail(fmt::format("{} '{}' is not a number of tokens from 0 to {}", name, printable(text),
                        most_tokens));
  }
  return number.value;
}

void read_azure_line(const LogLine& at, std::string_view line, RequestLog& log) {
  std::vector<std::string_view> fields;
  for (std::size_t begin = 0; begin <= line.size();) {
    const std::size_t end = std::min(line.find(',', begin), line.size());
    fields.push_back(line.substr(begin, end - begin));
    begin = end + 1;
  }
  if (fields.size() != 3) at.fail(fmt::format("{} fields, not 3", fields.size()));
  const auto time = read_time(fields[0]);
  if (!time) {
    at.fail(
        fmt::format("timestamp '{}' is not a UTC time from 1970 on, such as "
                    "2023-11-16 18:15:46.680",
                    printable(fields[0])));
  }
  log.requests.push_back({*time, read_tokens(at, "ContextTokens", fields[1]),
                          read_tokens(at, "GeneratedTokens", fields[2])});
}

void read_json_line(const LogLine& at, std::string_view line, bool with_tokens,
                    std::vector<std::uint64_t>& keys, RequestLog& log) {
  const auto json = nlohmann::json::parse(line, nullptr, false);
  if (!json.is_object()) at.fail("not a JSON object in one line");
  const auto blocks = json.find("hash_ids");
  if (blocks == json.end() || !blocks->is_array()) at.fail("no list 'hash_ids'");
  keys.clear();
  for (const nlohmann::json& block : *blocks) {
    if (!block.is_number_unsigned()) at.fail("a hash id is not a whole number of at least 0");
    keys.push_back(block.get<std::uint64_t>());
  }
  log.prompts.add(keys);
  if (!with_tokens) return;
  const auto number = [&](const char* name, std::uint64_t most) {
    const auto found = json.find(name);
    if (found == json.end() || !found->is_number_unsigned() || found->get<std::uint64_t>() > most)
      at.fail(fmt::format("no whole number '{}' from 0 to {}", name, most));
    return found->get<std::uint64_t>();
  };
  log.requests.push_back({1000 * number("timestamp", std::uint64_t{1} << 50),
                          number("input_length", most_tokens),
                          number("output_length", most_tokens)});
}

}  // namespace

bool is_request_log(std::string_view begin) {
  const std::string_view line = begin.substr(0, begin.find('\n'));
  return line.starts_with(azure_header) ||
         (line.starts_with('{') && line.find("\"hash_ids\"") != std::string_view::npos);
}

RequestLog read_request_log(ByteStream input, const std::string& file, bool with_tokens) {
  const bool is_azure = input.peek(azure_header.size()) == azure_header;
  RequestLog log;
  log.format = is_azure ? "requests with token counts" : "requests with prefixes";
  std::vector<std::uint64_t> keys;
  LogLine at{file};
  while (const auto read = input.line()) {
    ++at.line;
    std::string_view line = *read;
    if (line.size() > ByteStream::most_at_once) at.fail("the line has more than 16 MiB");
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (at.line == 1 && is_azure) {
      if (line != azure_header) at.fail(fmt::format("the columns are not {}", azure_header));
    } else if (!line.empty()) {
      if (is_azure) {
        read_azure_line(at, line, log);
      } else {
        read_json_line(at, line, with_tokens, keys, log);
      }
    }
  }
  if (is_azure ? log.requests.empty() : log.prompts.blocks().empty())
    throw std::runtime_error{printable(file) +
                             (is_azure ? ": no requests in it" : ": no blocks in it")};
  std::stable_sort(log.requests.begin(), log.requests.end(),
                   [](const KvRequest& a, const KvRequest& b) { return a.arrival < b.arrival; });
  return log;
}
