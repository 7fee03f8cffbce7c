// SPDX-License-Identifier: MIT
#include "mistakes.hpp"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <string_view>

namespace {

/// Returns how many letters must be changed, added, removed or exchanged with the next one.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> steps(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t k = 0; k <= b.size(); ++k) {
      if (i == 0 || k == 0) {
        steps[i][k] = i + k;
        continue;
      }
      const std::size_t other = a[i - 1] == b[k - 1] ? 0 : 1;
      steps[i][k] =
          std::min({steps[i - 1][k] + 1, steps[i][k - 1] + 1, steps[i - 1][k - 1] + other});
      if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
        steps[i][k] = std::min(steps[i][k], steps[i - 2][k - 2] + 1);
    }
  }
  return steps[a.size()][b.size()];
}

std::string lower(std::string_view text) {
  std::string made{text};
  for (char& c : made) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return made;
}

std::string_view without_dashes(std::string_view name) {
  return name.substr(std::min(name.find_first_not_of('-'), name.size()));
}

/// Returns the word that is near enough to be meant; empty if none is.
std::string nearest(const std::string& typed, const std::vector<std::string>& words) {
  const std::string sought = lower(without_dashes(typed));
  std::string found;
  std::size_t least = std::max<std::size_t>(1, sought.size() / 3) + 1;
  for (const std::string& word : words) {
    const std::string_view name = without_dashes(word);
    const bool begins = sought.size() >= 3 && name.starts_with(sought);
    const std::size_t steps = begins ? 1 : distance(sought, name);
    if (steps >= least) continue;
    least = steps;
    found = word;
  }
  return found;
}

std::vector<const CLI::App*> commands_of(const CLI::App& parser) {
  return parser.get_subcommands([](const CLI::App*) { return true; });
}

const CLI::App* find_command(const CLI::App& parser, const std::string& name) {
  for (const CLI::App* command : commands_of(parser)) {
    if (command->get_name() == name) return command;
  }
  return nullptr;
}

std::vector<std::string> option_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

bool has_option(const CLI::App& command, const std::string& name) {
  return command.get_option_no_throw(name) != nullptr;
}

/// Returns the name of `--name=value`; empty for what is not an option.
std::string option_name(const std::string& argument) {
  const bool is_option = argument.size() > 1 && argument[0] == '-' && argument != "--" &&
                         (argument[1] < '0' || argument[1] > '9');
  return is_option ? argument.substr(0, argument.find('=')) : "";
}

std::string full_name(const CLI::App& command) {
  return command.get_name() == "allot" ? "allot" : "allot " + command.get_name();
}

std::string explain_option(const CLI::App& parser, const CLI::App& command,
                           const std::string& name) {
  const std::string text = command.get_name() + " has no option " + name;
  const std::string near = nearest(name, option_names(command));
  if (!near.empty()) return text + "; did you mean " + near + "?";
  if (has_option(command, "PROGRAM")) {
    return text + "; if the program has it, write -- before the program: " + full_name(command) +
           " -- PROGRAM " + name;
  }
  for (const CLI::App* other : commands_of(parser)) {
    if (has_option(*other, name)) return text + "; " + other->get_name() + " has it";
  }
  return text + "; see " + full_name(command) + " --help";
}

/// Returns `a and b`.
std::string missing_arguments(const CLI::App& command) {
  std::string text;
  for (const CLI::Option* option : command.get_options()) {
    if (!option->get_required() || option->count() != 0) continue;
    text += (text.empty() ? "" : " and ") + option->get_name();
  }
  return text;
}

/// Returns what the parser found, in plain words.
std::string explain_values(const CLI::ParseError& error, const CLI::App& command) {
  const std::string text = error.what();
  const std::string name = text.substr(0, text.find_first_of(": "));
  const auto is = [&error](CLI::ExitCodes code) {
    return error.get_exit_code() == static_cast<int>(code);
  };
  if (is(CLI::ExitCodes::RequiredError)) {
    const std::string missing = missing_arguments(command);
    return command.get_name() + " needs " + (missing.empty() ? "a command" : missing);
  }
  if (is(CLI::ExitCodes::ExtrasError)) {
    const std::string extras = text.substr(text.find(": ") + 2);
    return text.find("arguments were") == std::string::npos ? extras + " is one too many"
                                                            : "too many arguments: " + extras;
  }
  if (is(CLI::ExitCodes::ArgumentMismatch)) {
    if (text.ends_with("missing")) return name + " needs a value";
    if (text.find("flag override") != std::string::npos) return name + " takes no value";
    return name + " is given more than once";
  }
  if (is(CLI::ExitCodes::ExcludesError)) {
    const std::string other = text.substr(text.rfind(' ') + 1);
    return name + " and " + other + " cannot be used together";
  }
  return text;
}

}  // namespace

std::string explain_command(const CLI::App& parser, const std::string& name) {
  std::vector<std::string> names;
  std::string list;
  for (const CLI::App* command : commands_of(parser)) {
    names.push_back(command->get_name());
    list += (list.empty() ? "" : ", ") + command->get_name();
  }
  const std::string near = nearest(name, names);
  return "there is no command " + name +
         (near.empty() ? "; the commands are " + list : "; did you mean " + near + "?");
}

std::string explain(const CLI::ParseError& error, const CLI::App& parser,
                    const std::vector<std::string>& arguments) {
  if (arguments.empty()) return "name a command; see allot --help";
  const CLI::App* command = &parser;
  std::size_t at = 0;
  if (option_name(arguments.front()).empty()) {
    command = find_command(parser, arguments.front());
    if (command == nullptr) return explain_command(parser, arguments.front());
    at = 1;
  }
  for (; at < arguments.size() && arguments[at] != "--"; ++at) {
    const std::string name = option_name(arguments[at]);
    if (!name.empty() && !has_option(*command, name)) return explain_option(parser, *command, name);
  }
  return explain_values(error, *command) + "; see " + full_name(*command) + " --help";
}
