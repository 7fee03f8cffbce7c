// SPDX-License-Identifier: MIT
// The allot tool: looks at GGUF files, splits and merges them, plans their memory, loads them.
#include <CLI/App.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "command_table.hpp"
#include "help.hpp"
#include "mistakes.hpp"
#include "output.hpp"
#include "signals.hpp"

namespace {

constexpr int cannot_be_done = 1;
constexpr int wrong_usage = 2;

/// Returns an error's text with its causes: `out of memory ...: hipMalloc failed with ...`.
std::string describe(const std::exception& error) {
  std::string text = error.what();
  try {
    std::rethrow_if_nested(error);
  } catch (const std::exception& nested) {
    text += ": " + describe(nested);
  } catch (...) {
  }
  return text;
}

/// Prints one line, whatever the message holds.
void print_error(std::string message) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  std::fprintf(stderr, "allot: %s\n", printable(message).c_str());
}

/// Runs a command and returns the exit status. What it printed has been written when it is 0.
int status_of(const std::function<void()>& run) {
  std::string problem;
  try {
    run();
  } catch (const Interrupted& interrupted) {
    print_error(interrupted.what());
    interrupted.end();
  } catch (const std::exception& error) {
    problem = describe(error);
  }
  try {
    finish_output();
  } catch (const std::exception& error) {
    problem = error.what();
  }
  if (problem.empty()) return 0;
  print_error(problem);
  return cannot_be_done;
}

/// `help COMMAND` is `COMMAND --help`.
std::vector<std::string> without_help_command(std::vector<std::string> arguments) {
  if (arguments.empty() || arguments.front() != "help") return arguments;
  arguments.erase(arguments.begin());
  arguments.resize(std::min<std::size_t>(arguments.size(), 1));
  arguments.emplace_back("--help");
  return arguments;
}

}  // namespace

int main(int argc, char** argv) {
  prepare_streams();
  const std::vector<std::string> arguments =
      without_help_command({argv + std::min(argc, 1), argv + argc});
  const auto line = make_command_line();
  CLI::App& parser = *line->parser;
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
    parser.parse(reversed);  // takes them from the back
    if (parser.get_subcommands().empty() && !line->version) throw CLI::RequiredError{"a command"};
  } catch (const CLI::CallForHelp&) {
    const auto chosen = parser.get_subcommands();
    if (chosen.empty() && !arguments.front().starts_with('-')) {
      print_error(explain_command(parser, arguments.front()));
      return wrong_usage;
    }
    return status_of([&] { write_out(help_text(chosen.empty() ? parser : *chosen.front())); });
  } catch (const CLI::ParseError& error) {
    print_error(explain(error, parser, arguments));
    return wrong_usage;
  }
  if (line->version) return status_of([] { write_out(version_text() + "\n"); });
  for (std::size_t i = 0; i < commands().size(); ++i) {
    if (parser.got_subcommand(commands()[i].name)) return status_of(line->runs[i]);
  }
  return wrong_usage;
}
