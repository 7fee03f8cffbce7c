// SPDX-License-Identifier: MIT
#include "lifetimes_csv.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <unordered_map>
#include <utility>

#include "numbers.hpp"
#include "printable.hpp"
#include "text_files.hpp"

namespace {

enum class Column {
  id,
  lower,
  upper,
  end,
  size,
  alignment,
  offset,
  may_replace,
  memories,
  stream,
  gaps,
  ignored
};

Column column_named(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, Column>, 15> names{{
      {"id", Column::id},
      {"buffer", Column::id},
      {"buffer_id", Column::id},
      {"lower", Column::lower},
      {"start", Column::lower},
      {"begin", Column::lower},
      {"upper", Column::upper},
      {"end", Column::end},
      {"size", Column::size},
      {"alignment", Column::alignment},
      {"offset", Column::offset},
      {"may_replace", Column::may_replace},
      {"memories", Column::memories},
      {"stream", Column::stream},
      {"gaps", Column::gaps},
  }};
  for (const auto& [known, column] : names) {
    if (known == name) return column;
  }
  return Column::ignored;
}

class LifetimesParser {
 public:
  LifetimesParser(std::string_view text, const std::string& file) : rest_{text}, file_{file} {
    if (rest_.starts_with("\xef\xbb\xbf")) rest_.remove_prefix(3);  // a byte order mark
  }

  NamedLifetimes parse() {
    read_header();
    while (const auto line = next_line()) read_buffer(*line);
    resolve();
    return std::move(result_);
  }

 private:
  template <class... Parts>
  [[noreturn]] void fail(fmt::format_string<Parts...> text, Parts&&... parts) const {
    throw std::runtime_error{fmt::format("{}:{}: {}", printable(file_), line_,
                                         fmt::format(text, std::forward<Parts>(parts)...))};
  }

  /// The next line that is not blank.
  std::optional<std::string_view> next_line() {
    while (!rest_.empty()) {
      const std::size_t end = rest_.find('\n');
      const std::string_view line = trimmed_text(rest_.substr(0, end));
      rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
      ++line_;
      if (!line.empty()) return line;
    }
    return std::nullopt;
  }

  void read_header() {
    const auto line = next_line();
    if (!line) fail("the file is empty; its first line names the columns: id,lower,upper,size");
    std::vector<std::string_view> seen;
    for (const std::string_view name : fields_of(*line, ',')) {
      if (std::find(seen.begin(), seen.end(), name) != seen.end())
        fail("column '{}' is there twice", printable(name));
      if (seen.size() == most_columns) fail("more than {} columns", most_columns);
      seen.push_back(name);
      const Column column = column_named(name);
      if (column == Column::ignored) {
        result_.ignored_columns.emplace_back(name);
      } else if (has(column)) {
        fail("column '{}' says again what another one says", printable(name));
      }
      columns_.push_back(column);
    }
    if (has(Column::upper) && has(Column::end))
      fail("columns 'upper' and 'end' are both there; give one");
    const auto need = [&](bool is_there, std::string_view name) {
      if (!is_there) fail("no column '{}'; the first line names them: id,lower,upper,size", name);
    };
    need(has(Column::id), "id");
    need(has(Column::lower), "lower");
    need(has(Column::upper) || has(Column::end), "upper");
    need(has(Column::size), "size");
  }

  [[nodiscard]] bool has(Column column) const {
    return std::find(columns_.begin(), columns_.end(), column) != columns_.end();
  }

  template <class Number>
  Number number(std::string_view text, std::string_view what) const {
    const FieldNumber read = read_field_number(text, 10, 8 * sizeof(Number));
    if (!read.problem.empty()) fail("{} '{}' {}", what, printable(text), read.problem);
    return static_cast<Number>(read.value);
  }

  void read_buffer(std::string_view line) {
    const std::vector<std::string_view> fields = fields_of(line, ',');
    if (fields.size() != columns_.size())
      fail("{} fields, but the first line names {} columns", fields.size(), columns_.size());
    allot::Lifetime buffer{0, 0, 0, 1};
    std::uint64_t upper = 0;
    std::string_view replaced;
    std::string_view id;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      const std::string_view field = fields[i];
      switch (columns_[i]) {
        case Column::id:
          if (field.empty()) fail("the id is empty");
          id = field;
          break;
        case Column::lower:
          buffer.first = number<std::uint64_t>(field, "lower");
          break;
        case Column::upper:
          upper = number<std::uint64_t>(field, "upper");
          if (upper == 0) fail("upper is 0: the buffer is never alive");
          buffer.last = upper - 1;
          break;
        case Column::end:
          buffer.last = number<std::uint64_t>(field, "end");
          if (buffer.last + 1 == 0) fail("end {} has no step after it", buffer.last);
          break;
        case Column::size:
          buffer.bytes = number<std::uint64_t>(field, "size");
          break;
        case Column::alignment:
          buffer.alignment = number<std::uint64_t>(field, "alignment");
          if (!std::has_single_bit(buffer.alignment))
            fail("alignment {} is not a power of two", buffer.alignment);
          break;
        case Column::offset:
          if (!field.empty()) buffer.fixed_offset = number<std::uint64_t>(field, "offset");
          break;
        case Column::may_replace:
          replaced = field;
          break;
        case Column::memories:
          for (const std::string_view memory : fields_of(field, ' ')) {
            if (!memory.empty()) buffer.memories.push_back(number<std::size_t>(memory, "memory"));
          }
          break;
        case Column::stream:
          if (!field.empty()) buffer.stream = number<std::uint32_t>(field, "stream");
          break;
        case Column::gaps:
          if (!field.empty())
            fail("gaps '{}': buffers with gaps are not planned; give each part a line of its own",
                 printable(field));
          break;
        case Column::ignored:
          break;
      }
    }
    if (buffer.last < buffer.first)
      fail("buffer '{}' ends before it begins: it is alive in [{}, {})", printable(id),
           buffer.first, buffer.last + 1);
    const auto [known, is_new] = numbers_.emplace(id, result_.ids.size());
    if (!is_new)
      fail("buffer '{}' is there twice, first in line {}", printable(id), lines_[known->second]);
    result_.ids.emplace_back(id);
    result_.lifetimes.push_back(std::move(buffer));
    replaced_.push_back(replaced);
    lines_.push_back(line_);
  }

  /// Ids of buffers become their numbers.
  void resolve() {
    for (std::size_t i = 0; i < replaced_.size(); ++i) {
      if (replaced_[i].empty()) continue;
      line_ = lines_[i];
      const auto found = numbers_.find(replaced_[i]);
      if (found == numbers_.end() || found->second == i)
        fail("may_replace '{}' is not another buffer's id", printable(replaced_[i]));
      result_.lifetimes[i].may_replace = found->second;
    }
  }

  static constexpr std::size_t most_columns = 1000;

  std::string_view rest_;
  const std::string& file_;
  std::size_t line_ = 0;
  std::vector<Column> columns_;
  NamedLifetimes result_;
  std::unordered_map<std::string_view, std::size_t> numbers_;  // of ids, in the text
  std::vector<std::size_t> lines_;                             // of each buffer
  std::vector<std::string_view> replaced_;                     // of each buffer
};

}  // namespace

NamedLifetimes parse_lifetimes(std::string_view text, const std::string& file) {
  return LifetimesParser{text, file}.parse();
}

std::string offsets_csv(const NamedLifetimes& buffers, const allot::OffsetPlan& plan) {
  const auto& all = buffers.lifetimes;
  const bool has_alignments = std::any_of(
      all.begin(), all.end(), [](const allot::Lifetime& each) { return each.alignment != 1; });
  const bool has_memories = plan.memory_bytes.size() > 1;
  const bool has_replacements = std::any_of(
      all.begin(), all.end(), [](const allot::Lifetime& each) { return each.may_replace; });
  std::string text = "id,lower,upper,size";
  if (has_alignments) text += ",alignment";
  if (has_memories) text += ",memories";
  if (has_replacements) text += ",may_replace";
  text += ",offset\n";
  for (std::size_t i = 0; i < all.size(); ++i) {
    text += fmt::format("{},{},{},{}", buffers.ids[i], all[i].first, all[i].last + 1, all[i].bytes);
    if (has_alignments) text += fmt::format(",{}", all[i].alignment);
    if (has_memories) text += fmt::format(",{}", plan.memories[i]);
    if (has_replacements)
      text += "," + (all[i].may_replace ? buffers.ids[*all[i].may_replace] : std::string{});
    text += fmt::format(",{}\n", plan.offsets[i]);
  }
  return text;
}
