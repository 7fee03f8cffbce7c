// SPDX-License-Identifier: MIT
#include "output.hpp"

#include <allot/core/readable_bytes.hpp>
#include <allot/core/units.hpp>
#include <allot/os/terminal.hpp>

#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>
#include <vector>

namespace {

[[noreturn]] void fail_to_write(int reason) {
  throw std::runtime_error{std::string{"cannot write to standard output: "} +
                           std::strerror(reason)};
}

}  // namespace

void write_to(std::FILE* stream, std::string_view text) {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stream) != text.size()) fail_to_write(errno);
}

void write_out(std::string_view text) { write_to(stdout, text); }

bool is_standard_output(std::string_view path) {
  return path == "-" || path == "/dev/stdout" || path == "/dev/fd/1" || path == "/proc/self/fd/1";
}

void finish_output() {
  errno = 0;
  if (std::fflush(stdout) != 0) fail_to_write(errno);
}

std::string size_text(std::uint64_t bytes) {
  if (bytes < allot::KiB) return fmt::format("{} bytes", bytes);
  return fmt::format("{} ({} bytes)", allot::ReadableBytes{bytes}.c_str(), bytes);
}

std::string counted(std::uint64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string count_text(std::uint64_t count) {
  const std::string digits = std::to_string(count);
  std::string text;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i != 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

namespace {

/// Returns the bytes of the UTF-8 sequence at the start of `text`, 0 if it is invalid.
std::size_t utf8_length(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const std::size_t length = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4 || length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return 0;
  }
  if (length == 1) return 1;
  const auto second = static_cast<unsigned char>(text[1]);
  const bool is_overlong = (lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90);
  const bool is_no_scalar = (lead == 0xed && second >= 0xa0) || (lead == 0xf4 && second >= 0x90);
  const bool is_c1_control = lead == 0xc2 && second < 0xa0;
  return is_overlong || is_no_scalar || is_c1_control ? 0 : length;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string safe;
  while (!text.empty()) {
    const auto first = static_cast<unsigned char>(text[0]);
    const std::size_t length = utf8_length(text);
    if (length == 0 || first < 0x20 || first == 0x7f) {
      safe += fmt::format("\\x{:02x}", first);
      text.remove_prefix(1);
    } else {
      safe += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  return safe;
}

std::string xml_text(std::string_view text) {
  std::string safe;
  for (const char c : printable(text)) {
    switch (c) {
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '&':
        safe += "&amp;";
        break;
      case '"':
        safe += "&quot;";
        break;
      default:
        safe += c;
    }
  }
  return safe;
}

nlohmann::ordered_json arenas_json(const allot::load::Plan& plan) {
  auto arenas = nlohmann::ordered_json::array();
  for (const allot::load::PlannedArena& arena : plan.arenas) {
    arenas.push_back({{"device", arena.device},
                      {"capacity", arena.capacity},
                      {"used", arena.used},
                      {"padding", arena.padding},
                      {"path", allot::load::to_text(arena.transfer)},
                      {"rule", arena.rule}});
  }
  return arenas;
}

nlohmann::ordered_json rules_json(const allot::load::Plan& plan) {
  auto rules = nlohmann::ordered_json::array();
  for (const allot::load::RuleCount& count : plan.rules()) {
    rules.push_back({{"rule", count.rule},
                     {"items", count.items},
                     {"bytes", count.bytes},
                     {"allocations", count.arenas}});
  }
  return rules;
}

void print_rules(const allot::load::Plan& plan) {
  const auto rules = plan.rules();
  if (rules.size() < 2 && plan.arenas.size() < 2) return;
  const auto items = std::count_if(plan.items.begin(), plan.items.end(),
                                   [](const auto& item) { return item.has_own_memory(); });
  for (const allot::load::RuleCount& count : rules) {
    print("    {:<16} {} of {} in {}, {}\n", count.rule, count.items,
          counted(static_cast<std::uint64_t>(items), "item"), counted(count.arenas, "allocation"),
          size_text(count.bytes));
  }
}

nlohmann::ordered_json fusions_json(const allot::load::Plan& plan) {
  const auto printables = [](const std::vector<std::string>& names) {
    auto list = nlohmann::ordered_json::array();
    for (const std::string& name : names) list.push_back(printable(name));
    return list;
  };
  auto fusions = nlohmann::ordered_json::array();
  for (const allot::load::Fusion& fusion : plan.fusions) {
    fusions.push_back(
        {{"layer", printable(fusion.layer)},
         {"name", fusion.name.empty() ? nlohmann::ordered_json(nullptr)
                                      : nlohmann::ordered_json(printable(fusion.name))},
         {"parts", printables(fusion.parts)},
         {"left_out", printables(fusion.left_out)},
         {"reason", printable(fusion.reason)}});
  }
  return fusions;
}

namespace {

/// Returns `blk.0-4,7` for numbered layers, and the names of the others.
std::string layers_text(const std::vector<std::string>& layers) {
  std::map<std::string, std::vector<std::uint64_t>> numbers;  // by what stands before them
  std::string text;
  for (const std::string& layer : layers) {
    const std::size_t dot = layer.rfind('.');
    const char* const end = layer.data() + layer.size();
    std::uint64_t number = 0;
    const char* const first = dot == std::string::npos ? end : layer.data() + dot + 1;
    const auto [stop, error] = std::from_chars(first, end, number);
    if (error == std::errc{} && stop == end) {
      numbers[layer.substr(0, dot + 1)].push_back(number);
    } else {
      text += (text.empty() ? "" : ", ") + layer;
    }
  }
  for (auto& [prefix, list] : numbers) {
    std::sort(list.begin(), list.end());
    text += (text.empty() ? "" : ", ") + prefix;
    for (std::size_t i = 0; i < list.size();) {
      std::size_t last = i;
      while (last + 1 < list.size() && list[last + 1] == list[last] + 1) ++last;
      text += (i == 0 ? "" : ",") + std::to_string(list[i]);
      if (last != i) text += "-" + std::to_string(list[last]);
      i = last + 1;
    }
  }
  return text;
}

}  // namespace

void print_fusions(const allot::load::Plan& plan) {
  // Layers with the same outcome share a line.
  std::vector<std::pair<std::string, std::vector<std::string>>> outcomes;
  for (const allot::load::Fusion& fusion : plan.fusions) {
    const std::size_t prefix = fusion.layer.empty() ? 0 : fusion.layer.size() + 1;
    std::string text = fusion.name.empty() ? "apart" : fusion.name.substr(prefix);
    if (!fusion.left_out.empty()) {
      text += fusion.name.empty() ? ":" : ", apart:";
      for (const std::string& name : fusion.left_out) text += " " + name.substr(prefix);
    }
    if (!fusion.reason.empty()) text += " (" + fusion.reason + ")";
    const auto found = std::find_if(outcomes.begin(), outcomes.end(),
                                    [&](const auto& outcome) { return outcome.first == text; });
    if (found == outcomes.end()) {
      outcomes.push_back({text, {fusion.layer}});
    } else {
      found->second.push_back(fusion.layer);
    }
  }
  for (const auto& [text, layers] : outcomes) {
    print("    {:<16} {} layer{}, {}: {}\n", "fusing", layers.size(), layers.size() == 1 ? "" : "s",
          printable(layers_text(layers)), printable(text));
  }
}

void refuse_to_overwrite(const std::vector<std::string>& paths) {
  std::vector<std::string> there;
  std::error_code none;
  std::copy_if(paths.begin(), paths.end(), std::back_inserter(there),
               [&](const auto& path) { return std::filesystem::is_regular_file(path, none); });
  if (there.empty()) return;
  const bool is_one = there.size() == 1;
  throw std::runtime_error{fmt::format("{} {} already; use --force to replace {}",
                                       fmt::join(there, ", "), is_one ? "exists" : "exist",
                                       is_one ? "it" : "them")};
}

ProgressBar::ProgressBar() : is_terminal_{allot::os::has_terminal()} {}

ProgressBar::~ProgressBar() {
  if (drawn_) fmt::print(stderr, "\r\x1b[K");
}

bool ProgressBar::is_due(std::uint64_t done, std::uint64_t total) {
  if (!is_terminal_ || total == 0) return false;
  const auto now = Clock::now();
  if (drawn_ && now - last_ < std::chrono::milliseconds{50} && done != total) return false;
  drawn_ = true;
  last_ = now;
  return true;
}

void ProgressBar::draw(const allot::load::Progress& progress) {
  if (!is_due(progress.done, progress.total)) return;
  const double share = static_cast<double>(progress.done) / static_cast<double>(progress.total);
  const double seconds = std::chrono::duration<double>(last_ - start_).count();
  const double rate = seconds > 0 ? static_cast<double>(progress.done) / seconds : 0;
  const double to_go = rate > 0 ? static_cast<double>(progress.total - progress.done) / rate : 0;
  const std::string figures[] = {
      fmt::format(" {:3.0f} %", share * 100),
      fmt::format("  {:.1f} s left", to_go),
      fmt::format("  {:.2f} GiB/s", rate / static_cast<double>(allot::GiB)),
      fmt::format("  {} of {}", allot::ReadableBytes{progress.done}.c_str(),
                  allot::ReadableBytes{progress.total}.c_str()),
  };
  show(share, figures);
}

void ProgressBar::draw(const allot::OffsetProgress& progress) {
  if (!is_due(progress.work, progress.total_work)) return;
  const double share =
      static_cast<double>(progress.work) / static_cast<double>(progress.total_work);
  const std::string figures[] = {
      fmt::format(" {:3.0f} %", share * 100),
      fmt::format("  {} bytes", progress.bytes),
      fmt::format("  bound {}", progress.lower_bound),
  };
  show(share, figures);
}

// What matters least is left out first; what is left of the line is the bar.
void ProgressBar::show(double share, std::span<const std::string> figures) {
  constexpr std::size_t least_bar = 12;
  const unsigned columns = allot::os::error_columns();
  const std::size_t room = (columns == 0 ? 80 : columns) - 1;  // the last column may wrap the line
  std::string text;
  for (const std::string& figure : figures) {
    if (text.empty() || text.size() + figure.size() + least_bar <= room) text += figure;
  }
  if (text.size() + least_bar <= room) {
    const std::size_t bar = std::min<std::size_t>(room - text.size() - 2, 40);
    const auto filled = static_cast<std::size_t>(share * static_cast<double>(bar));
    text = "[" + std::string(filled, '#') + std::string(bar - filled, '.') + "]" + text;
  }
  fmt::print(stderr, "\r{}\x1b[K", text.substr(0, room));
  std::fflush(stderr);
}
