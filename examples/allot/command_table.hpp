// SPDX-License-Identifier: MIT
/// \file
/// The table of the tool's commands: parser, help, completions and manual page are made from it.
#pragma once

#include <CLI/App.hpp>

#include <functional>
#include <memory>
#include <string>
#include <vector>

/// Adds a command's options to its parser; returns what runs it once they are parsed.
using Setup = std::function<std::function<void()>(CLI::App& parser)>;

struct Command {
  std::string name;
  std::string summary;
  std::string examples;  // lines
  Setup setup;
};

[[nodiscard]] const std::vector<Command>& commands();

/// The parser of the whole command line, and what runs each command.
struct CommandLine {
  std::unique_ptr<CLI::App> parser;
  std::vector<std::function<void()>> runs;  // one for each command
  bool version = false;
};

[[nodiscard]] std::unique_ptr<CommandLine> make_command_line();
