// SPDX-License-Identifier: MIT
/// \file
/// An option as help, manual page and completions show it.
#pragma once

#include <CLI/App.hpp>

#include <string>
#include <vector>

/// The values that an option takes, as `SIZE` or `one|chunks|selective`; empty for a flag.
[[nodiscard]] std::string value_of(const CLI::Option& option);

/// The words that an option takes, if it takes one of a few.
[[nodiscard]] std::vector<std::string> words_of(const CLI::Option& option);

/// What an option is for, and its value if it is not given.
[[nodiscard]] std::string description_of(const CLI::Option& option);

/// `-h`, `--help`
[[nodiscard]] std::vector<std::string> names_of(const CLI::Option& option);

/// The arguments that have no name: `FILE`.
[[nodiscard]] std::vector<const CLI::Option*> positionals_of(const CLI::App& command);
/// The others, in the order in which they were added, group by group.
[[nodiscard]] std::vector<const CLI::Option*> options_of(const CLI::App& command);

/// `allot plan [OPTIONS] FILE`
[[nodiscard]] std::string usage(const CLI::App& command);

inline constexpr const char* exit_status_text =
    "Exit status: 0 success, 1 failure (also a plan that does not fit), 2 wrong usage.";
