// SPDX-License-Identifier: MIT
/// \file
/// What is made from the table of commands and their options: help, the manual page, and the
/// completions of shells.
#pragma once

#include <CLI/App.hpp>

#include <string>

/// Returns the help of a command, or of the whole tool.
[[nodiscard]] std::string help_text(const CLI::App& command);

/// Returns the manual page, in the language of `man`.
[[nodiscard]] std::string man_page();

/// \param shell  bash, zsh or fish
[[nodiscard]] std::string completions(const std::string& shell);

/// Returns `allot 0.1.0`.
[[nodiscard]] std::string version_text();
