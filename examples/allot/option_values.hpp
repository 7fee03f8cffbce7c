// SPDX-License-Identifier: MIT
/// \file
/// Options with a value: a size, a number, one of some words. What cannot be read is wrong usage.
#pragma once

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "numbers.hpp"

/// Refuses an empty name, as of a variable of the shell that is not set.
inline CLI::Validator not_empty() {
  return {[](const std::string& name) { return name.empty() ? "the name is empty" : ""; }, ""};
}

/// Adds an option whose value `read` takes from its text.
/// \param read  throws `std::exception` with what is wrong with the text
inline CLI::Option* add_value(CLI::App& command, const std::string& name, const std::string& type,
                              const std::string& help,
                              std::function<void(const std::string&)> read) {
  return command
      .add_option_function<std::string>(
          name,
          [name, read = std::move(read)](const std::string& text) {
            try {
              read(text);
            } catch (const std::exception& error) {
              throw CLI::ValidationError{name, error.what()};
            }
          },
          help)
      ->type_name(type);
}

inline CLI::Option* add_size(CLI::App& command, const std::string& name, std::uint64_t& bytes,
                             const std::string& help) {
  return add_value(command, name, "SIZE", help,
                   [&bytes](const std::string& text) { bytes = read_size(text); });
}

/// Several sizes, separated by commas.
inline CLI::Option* add_sizes(CLI::App& command, const std::string& name,
                              std::vector<std::uint64_t>& sizes, const std::string& help) {
  return command
      .add_option_function<std::vector<std::string>>(
          name,
          [name, &sizes](const std::vector<std::string>& texts) {
            sizes.clear();
            for (const std::string& text : texts) {
              try {
                sizes.push_back(read_size(text));
              } catch (const std::exception& error) {
                throw CLI::ValidationError{name, error.what()};
              }
            }
          },
          help)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("SIZE,...");
}

/// \param least, most  what the number may be
template <class Number>
CLI::Option* add_number(CLI::App& command, const std::string& name, Number& number,
                        const std::string& help, std::uint64_t least = 0,
                        std::uint64_t most = std::numeric_limits<Number>::max()) {
  return add_value(command, name, "N", help, [&number, least, most](const std::string& text) {
    number = static_cast<Number>(read_number(text, least, most));
  });
}

/// An option that takes one of these words.
inline CLI::Option* add_choice(CLI::App& command, const std::string& name, std::string& chosen,
                               const std::vector<std::string>& words, const std::string& help) {
  std::string type;
  for (const std::string& word : words) type += (type.empty() ? "" : "|") + word;
  return add_value(command, name, type, help, [&chosen, words, type](const std::string& text) {
    if (std::find(words.begin(), words.end(), text) == words.end())
      throw std::invalid_argument{"use " + type + ", not " + text};
    chosen = text;
  });
}
