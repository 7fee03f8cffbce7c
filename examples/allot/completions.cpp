// SPDX-License-Identifier: MIT
#include <algorithm>
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

/// What a list of options has room for: what comes before the values and the conditions.
std::string short_description_of(const CLI::Option& option) {
  const std::string& text = option.get_description();
  std::size_t end = text.size();
  for (const char* const after : {": ", "; ", ", as in "}) end = std::min(end, text.find(after));
  return text.substr(0, end);
}

bool takes_file(const CLI::Option& option) { return value_of(option) == "FILE"; }

/// The words of an argument without a name: those of `completions`, or file names.
std::vector<std::string> positional_words(const CLI::App& parser) {
  for (const CLI::Option* option : positionals_of(parser)) {
    if (auto words = words_of(*option); !words.empty()) return words;
  }
  return {};
}

bool has_files(const CLI::App& parser) {
  return !positionals_of(parser).empty() && positional_words(parser).empty();
}

/// `_allot_no_files`: names of files are not offered.
std::string bash_command(const Command& command, const CLI::App& parser) {
  std::vector<std::string> all;
  std::string text = "    " + command.name + ")\n      case $last in\n";
  for (const CLI::Option* option : options_of(parser)) {
    const std::vector<std::string> names = names_of(*option);
    all.insert(all.end(), names.begin(), names.end());
    if (value_of(*option).empty()) continue;
    text += "        " + names.back() + ") ";
    const auto words = words_of(*option);
    if (!words.empty()) {
      text += "_allot_no_files; words=" + shell_word(joined(words));
    } else {
      text += takes_file(*option) ? "return" : "_allot_no_files; return";
    }
    text += " ;;\n";
  }
  text += "        *)\n          case $word in\n            -*) words=" + shell_word(joined(all)) +
          " ;;\n";
  if (!has_files(parser))
    text +=
        "            *) _allot_no_files; words=" + shell_word(joined(positional_words(parser))) +
        " ;;\n";
  return text + "          esac\n          ;;\n      esac\n      ;;\n";
}

std::string bash_completions(const CLI::App& tool) {
  std::string text =
      "# Completions of allot for bash, made by: allot completions bash\n"
      "_allot_no_files() { compopt +o default 2>/dev/null; }\n"
      "_allot() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD-1]} words=\n"
      "  COMPREPLY=()\n"
      "  # bash takes --option=value for three words.\n"
      "  if [ \"$word\" = = ]; then\n"
      "    word=\n"
      "  elif [ \"$last\" = = ] && [ \"$COMP_CWORD\" -gt 2 ]; then\n"
      "    last=${COMP_WORDS[COMP_CWORD-2]}\n"
      "  fi\n"
      "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
      "    _allot_no_files\n"
      "    words='" +
      command_names() +
      " --help --version'\n"
      "  else\n"
      "  case ${COMP_WORDS[1]} in\n"
      "    help) _allot_no_files; words='" +
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
  std::string text = "    " + command.name + ")\n      _arguments";
  for (const CLI::Option* option : options_of(parser)) {
    const std::string value = value_of(*option);
    const auto words = words_of(*option);
    const bool is_repeated = option->get_expected_max() > 1;
    for (const std::string& name : names_of(*option)) {
      std::string spec = (is_repeated ? "*" : "") + name +
                         (value.empty() || !name.starts_with("--") ? "" : "=") + "[" +
                         zsh_text(short_description_of(*option)) + "]";
      if (!value.empty()) {
        spec += ":" + zsh_text(value) + ":";
        if (!words.empty()) spec += "(" + joined(words) + ")";
        if (takes_file(*option)) spec += "_files";
      }
      text += " \\\n        " + shell_word(spec);
    }
  }
  if (has_files(parser)) text += " \\\n        '*:file:_files'";
  if (const auto words = positional_words(parser); !words.empty())
    text += " \\\n        " + shell_word(":argument:(" + joined(words) + ")");
  return text + "\n      ;;\n";
}

/// Both as a function that zsh finds in its `fpath`, and as a script that is sourced.
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
      "    local -a options=('--help:Show the commands' '--version:Show the version')\n"
      "    _describe command commands\n"
      "    _describe -o option options\n"
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
  return text +
         "  esac\n"
         "}\n"
         "if [[ $funcstack[1] == _allot ]]; then\n"
         "  _allot \"$@\"\n"
         "else\n"
         "  compdef _allot allot\n"
         "fi\n";
}

std::string fish_completions(const CLI::App& tool) {
  std::string text =
      "# Completions of allot for fish, made by: allot completions fish\n"
      "function __allot_command_is\n"
      "  set -l words (commandline -opc)\n"
      "  contains -- \"$words[2]\" $argv\n"
      "end\n";
  const std::string first = "complete -c allot -n '__allot_command_is \"\"' -f ";
  for (const Command& command : commands())
    text += first + "-a " + command.name + " -d " + shell_word(command.summary) + "\n";
  text += first + "-a help -d 'Show the help of a command'\n" + first +
          "-l help -d 'Show the commands'\n" + first + "-l version -d 'Show the version'\n" +
          "complete -c allot -n '__allot_command_is help' -f -a '" + command_names() + "'\n";
  for (const Command& command : commands()) {
    const CLI::App& parser = *tool.get_subcommand(command.name);
    const std::string within = "complete -c allot -n '__allot_command_is " + command.name + "' ";
    if (!has_files(parser))
      text += within + "-f -a " + shell_word(joined(positional_words(parser))) + "\n";
    for (const CLI::Option* option : options_of(parser)) {
      std::string names;
      for (const std::string& name : option->get_snames()) names += "-s " + name + " ";
      for (const std::string& name : option->get_lnames()) names += "-l " + name + " ";
      const auto words = words_of(*option);
      if (!value_of(*option).empty()) names += takes_file(*option) ? "-r -F " : "-x ";
      text += within + names + (words.empty() ? "" : "-a " + shell_word(joined(words)) + " ") +
              "-d " + shell_word(short_description_of(*option)) + "\n";
    }
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
