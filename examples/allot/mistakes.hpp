// SPDX-License-Identifier: MIT
/// \file
/// Answers a wrong command line in one line: what is wrong, and what was probably meant.
#pragma once

#include <CLI/App.hpp>

#include <string>
#include <vector>

/// \param arguments  those of the program, without its name
[[nodiscard]] std::string explain(const CLI::ParseError& error, const CLI::App& parser,
                                  const std::vector<std::string>& arguments);

/// Returns what is wrong with a command's name, and the nearest one.
[[nodiscard]] std::string explain_command(const CLI::App& parser, const std::string& name);
