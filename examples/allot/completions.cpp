// SPDX-License-Identifier: MIT
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "command_table.hpp"
#include "help.hpp"
#include "option_info.hpp"

namespace {

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

/// Returns the text as one word of a shell, in single quotes.
std::string shell_word(const std::string& text) {
  return "'" + replace_all(text, "'", "'\\''") + "'";
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string command_names() {
  std::string names;
  for (const Command& command : commands()) names += command.name + " ";
  return names + "help";
}

/// The words of an argument without a name: those of `completions`, or file names.
std::vector<std::string> positional_words(const CLI::App& parser) {
  for (const CLI::Option* option : positionals_of(parser)) {
    if (auto words = words_of(*option); !words.empty()) return words;
  }
  return {};
}

std::string bash_command(const Command& command, const CLI::App& parser) {
  std::vector<std::string> all;
  std::vector<std::string> free_values;
  std::string text = "    " + command.name + ")\n      case $last in\n";
  for (const CLI::Option* option : options_of(parser)) {
    const std::vector<std::string> names = names_of(*option);
    all.insert(all.end(), names.begin(), names.end());
    if (value_of(*option).empty()) continue;
    if (const auto words = words_of(*option); !words.empty()) {
      text += "        " + names.back() + ") words=" + shell_word(joined(words)) + " ;;\n";
    } else {
      free_values.push_back(names.back());
    }
  }
  for (const std::string& name : free_values) text += "        " + name + ") return ;;\n";
  text += "        *)\n          case $word in\n            -*) words=" + shell_word(joined(all)) +
          " ;;\n";
  if (const auto words = positional_words(parser); !words.empty())
    text += "            *) words=" + shell_word(joined(words)) + " ;;\n";
  return text + "          esac\n          ;;\n      esac\n      ;;\n";
}

std::string bash_completions(const CLI::App& tool) {
  std::string text =
      "# Completions of allot for bash, made by: allot completions bash\n"
      "_allot() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD-1]} words=\n"
      "  COMPREPLY=()\n"
      "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
      "    words='" +
      command_names() +
      " --help --version'\n"
      "  else\n"
      "  case ${COMP_WORDS[1]} in\n"
      "    help) words='" +
      command_names() + "' ;;\n";
  for (const Command& command : commands())
    text += bash_command(command, *tool.get_subcommand(command.name));
  return text +
         "  esac\n"
         "  fi\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
         "}\n"
         "complete -o default -F _allot allot\n";
}

/// Returns a description within `[...]` of zsh's `_arguments`.
std::string zsh_text(std::string text) {
  for (const char* const c : {"\\", "[", "]", ":"})
    text = replace_all(text, c, std::string{"\\"} + c);
  return text;
}

std::string zsh_command(const Command& command, const CLI::App& parser) {
  std::string text = "    " + command.name + ")\n      _arguments \\\n";
  for (const CLI::Option* option : options_of(parser)) {
    const std::string value = value_of(*option);
    const auto words = words_of(*option);
    for (const std::string& name : names_of(*option)) {
      std::string spec = name + (value.empty() || !name.starts_with("--") ? "" : "=") + "[" +
                         zsh_text(description_of(*option)) + "]";
      if (!value.empty())
        spec += ":" + zsh_text(value) + ":" + (words.empty() ? "" : "(" + joined(words) + ")");
      text += "        " + shell_word(spec) + " \\\n";
    }
  }
  const auto words = positional_words(parser);
  const std::string files = words.empty() ? "_files" : "(" + joined(words) + ")";
  return text + "        " + shell_word("*:argument:" + files) + "\n      ;;\n";
}

std::string zsh_completions(const CLI::App& tool) {
  std::string text =
      "#compdef allot\n"
      "# Completions of allot for zsh, made by: allot completions zsh\n"
      "_allot() {\n"
      "  if (( CURRENT == 2 )); then\n"
      "    local -a commands=(\n";
  for (const Command& command : commands())
    text += "      " + shell_word(command.name + ":" + zsh_text(command.summary)) + "\n";
  text +=
      "      'help:Show the help of a command'\n"
      "    )\n"
      "    _describe command commands\n"
      "    return\n"
      "  fi\n"
      "  local command=$words[2]\n"
      "  shift words\n"
      "  (( CURRENT-- ))\n"
      "  case $command in\n"
      "    help) _values command " +
      command_names() + " ;;\n";
  for (const Command& command : commands())
    text += zsh_command(command, *tool.get_subcommand(command.name));
  return text + "  esac\n}\n_allot \"$@\"\n";
}

std::string fish_completions(const CLI::App& tool) {
  std::string text = "# Completions of allot for fish, made by: allot completions fish\n";
  const std::string first = "complete -c allot -n __fish_use_subcommand ";
  for (const Command& command : commands())
    text += first + "-f -a " + command.name + " -d " + shell_word(command.summary) + "\n";
  text += first + "-f -a help -d 'Show the help of a command'\n" + first +
          "-l version -d 'Show the version'\n";
  for (const Command& command : commands()) {
    const CLI::App& parser = *tool.get_subcommand(command.name);
    const std::string within =
        "complete -c allot -n '__fish_seen_subcommand_from " + command.name + "' ";
    for (const CLI::Option* option : options_of(parser)) {
      std::string names;
      for (const std::string& name : option->get_snames()) names += "-s " + name + " ";
      for (const std::string& name : option->get_lnames()) names += "-l " + name + " ";
      const auto words = words_of(*option);
      text += within + names + (value_of(*option).empty() ? "" : "-x ") +
              (words.empty() ? "" : "-a " + shell_word(joined(words)) + " ") + "-d " +
              shell_word(description_of(*option)) + "\n";
    }
    if (const auto words = positional_words(parser); !words.empty())
      text += within + "-f -a " + shell_word(joined(words)) + "\n";
  }
  return text;
}

}  // namespace

std::string completions(const std::string& shell) {
  const auto line = make_command_line();
  if (shell == "zsh") return zsh_completions(*line->parser);
  if (shell == "fish") return fish_completions(*line->parser);
  return bash_completions(*line->parser);
}
