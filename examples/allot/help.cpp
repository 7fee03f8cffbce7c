// SPDX-License-Identifier: MIT
#include "help.hpp"

#include <allot/os/terminal.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

#include "command_table.hpp"
#include "option_info.hpp"

namespace {

const Command* find(const std::string& name) {
  for (const Command& command : commands()) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

/// Returns the width of help: the terminal's, between 40 and 100 columns; 80 elsewhere.
std::size_t help_width() {
  const unsigned columns = allot::os::output_columns();
  return columns == 0 ? 80 : std::clamp<std::size_t>(columns, 40, 100);
}

/// Returns the words in lines that end before `width`; those after the first begin with `indent`
/// spaces.
std::string wrapped(std::string_view text, std::size_t at, std::size_t indent, std::size_t width) {
  std::string made;
  bool is_first = true;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    if (!is_first && at + 1 + end > width) {
      made += "\n" + std::string(indent, ' ');
      at = indent;
    } else if (!is_first) {
      made += ' ';
      ++at;
    }
    made += text.substr(0, end);
    at += end;
    is_first = false;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return made;
}

/// A row of help: a name, and beside it, or below a long one, what it is.
std::string row(const std::string& name, const std::string& text, std::size_t width) {
  const std::size_t indent = width < 60 ? 6 : 26;
  std::string line = wrapped("  " + name, 0, 6, width);
  if (line.size() + 2 > indent) {
    line += "\n" + std::string(indent, ' ');
  } else {
    line.append(indent - line.size(), ' ');
  }
  return line + wrapped(text, indent, indent, width) + "\n";
}

/// Returns `-h, --help`, `--chunk SIZE`.
std::string heading(const CLI::Option& option) {
  std::string text;
  for (const std::string& name : names_of(option)) text += (text.empty() ? "" : ", ") + name;
  const std::string value = value_of(option);
  return value.empty() ? text : text + " " + value;
}

std::string tool_help(const CLI::App& tool) {
  const std::size_t width = help_width();
  std::string text = "Usage: allot COMMAND [OPTIONS] ...\n\n" +
                     wrapped(tool.get_description(), 0, 0, width) + "\n\nCommands:\n";
  for (const Command& command : commands()) text += row(command.name, command.summary, width);
  text += "\nOptions:\n";
  for (const CLI::Option* option : options_of(tool))
    text += row(heading(*option), description_of(*option), width);
  text +=
      "\nExamples:\n"
      "  allot inspect model.gguf --tensors    what is in a file\n"
      "  allot plan model.gguf --context 8192  how much memory it takes, exactly\n"
      "  allot load model.gguf --verify        load it and compare every byte\n"
      "  allot help plan                       the options of a command\n\n" +
      wrapped(
          "Any shard of a split model will do. Sizes: K, M, G, T and KiB to TiB count in 1024s, "
          "kB, MB, GB, TB in 1000s.",
          0, 0, width) +
      "\n" + wrapped(exit_status_text, 0, 0, width) + "\n";
  return text;
}

}  // namespace

std::string help_text(const CLI::App& command) {
  const Command* const known = find(command.get_name());
  if (known == nullptr) return tool_help(command);
  const std::size_t width = help_width();
  std::string text = "Usage: " + usage(command) + "\n\n" + known->summary + "\n";
  if (!positionals_of(command).empty()) text += "\n";
  for (const CLI::Option* option : positionals_of(command))
    text += row(option->get_name(), description_of(*option), width);
  std::string group;
  for (const CLI::Option* option : options_of(command)) {
    if (option->get_group() != group) {
      group = option->get_group();
      text += "\n" + group + ":\n";
    }
    text += row(heading(*option), description_of(*option), width);
  }
  return text + "\nExamples:\n" + known->examples;
}

std::string version_text() { return "allot " ALLOT_TOOL_VERSION; }
