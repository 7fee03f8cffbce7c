// SPDX-License-Identifier: MIT
#include <cstddef>
#include <string>
#include <string_view>

#include "command_table.hpp"
#include "help.hpp"
#include "option_info.hpp"

namespace {

/// Returns text that `man` shows as it is.
std::string roff(std::string_view text) {
  std::string made;
  for (const char c : text) {
    if (c == '\\') {
      made += "\\e";
    } else if (c == '-') {
      made += "\\-";
    } else if (c == '\'') {
      made += "\\(aq";
    } else {
      if (c == '.' && (made.empty() || made.back() == '\n')) made += "\\&";
      made += c;
    }
  }
  return made;
}

std::string roff_options(const CLI::App& command) {
  std::string text;
  for (const CLI::Option* option : positionals_of(command)) {
    text += ".TP\n.I " + roff(option->get_name()) + "\n" + roff(description_of(*option)) + "\n";
  }
  for (const CLI::Option* option : options_of(command)) {
    const std::string value = value_of(*option);
    std::string names;
    for (const std::string& name : names_of(*option))
      names += (names.empty() ? "\\fB" : "\\fR, \\fB") + roff(name);
    text += ".TP\n" + names + "\\fR" + (value.empty() ? "" : " \\fI" + roff(value) + "\\fR") +
            "\n" + roff(description_of(*option)) + "\n";
  }
  return text;
}

}  // namespace

std::string man_page() {
  const auto line = make_command_line();
  std::string text =
      ".TH ALLOT 1 \"\" \"" + version_text() +
      "\" \"User Commands\"\n.SH NAME\nallot \\- plan and load GGUF models\n"
      ".SH SYNOPSIS\n.B allot\n.I COMMAND\n[\\fIOPTIONS\\fR] ...\n.SH DESCRIPTION\n" +
      roff(line->parser->get_description()) +
      ".\nAny shard of a split model will do.\nSizes: K, M, G, T and KiB to TiB count "
      "in 1024s, kB, MB, GB, TB in 1000s.\n.SH OPTIONS\n" +
      roff_options(*line->parser) + ".SH COMMANDS\n";
  for (const Command& command : commands()) {
    const CLI::App& parser = *line->parser->get_subcommand(command.name);
    text += ".SS \"" + roff(usage(parser)) + "\"\n" + roff(command.summary) + ".\n" +
            roff_options(parser) + ".PP\nExamples:\n.nf\n" + roff(command.examples) + ".fi\n";
  }
  return text + ".SH EXIT STATUS\n" + roff(exit_status_text) + "\n";
}
