// SPDX-License-Identifier: MIT
#include "option_info.hpp"

#include <algorithm>
#include <cctype>
#include <cstddef>

std::string value_of(const CLI::Option& option) {
  if (option.get_items_expected_max() == 0) return "";
  std::string type = option.get_type_name();
  // CLI11's own validators add to the type: `TEXT:{f32,f16}`.
  if (const std::size_t words = type.find(":{"); words != std::string::npos) {
    type = type.substr(words + 2, type.find('}') - words - 2);
    std::replace(type.begin(), type.end(), ',', '|');
  }
  const std::string plain = type.substr(0, type.find(':'));
  if (plain == "UINT" || plain == "INT") return "N";
  if (plain == "FLOAT") return "X";
  return plain == "TEXT" ? "TEXT" : type;
}

std::vector<std::string> words_of(const CLI::Option& option) {
  const std::string type = value_of(option);
  std::vector<std::string> words;
  // A value that is not words alone, such as `last-row|every-row[:ELEMENTS]`, is none of them.
  const bool are_words = !type.empty() && std::all_of(type.begin(), type.end(), [](char c) {
    return std::islower(static_cast<unsigned char>(c)) != 0 || c == '|' || c == '-' || c == '_' ||
           c == '.' || (c >= '0' && c <= '9');
  });
  if (!are_words) return words;
  for (std::size_t at = 0; at <= type.size();) {
    const std::size_t end = std::min(type.find('|', at), type.size());
    words.push_back(type.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

std::string description_of(const CLI::Option& option) {
  const std::string fallback = option.get_default_str();
  const bool is_shown = !fallback.empty() && option.get_items_expected_max() != 0;
  return option.get_description() + (is_shown ? " (" + fallback + " if not given)" : "");
}

std::vector<std::string> names_of(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  return names;
}

std::vector<const CLI::Option*> positionals_of(const CLI::App& command) {
  return command.get_options([](const CLI::Option* option) { return option->get_positional(); });
}

std::vector<const CLI::Option*> options_of(const CLI::App& command) {
  std::vector<const CLI::Option*> sorted;
  for (const std::string& group : command.get_groups()) {
    for (const CLI::Option* option : command.get_options()) {
      if (!option->get_positional() && option->get_group() == group) sorted.push_back(option);
    }
  }
  return sorted;
}

std::string usage(const CLI::App& command) {
  std::string text = "allot " + command.get_name() + " [OPTIONS]";
  for (const CLI::Option* option : positionals_of(command)) text += " " + option->get_name();
  return text;
}
