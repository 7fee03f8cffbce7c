// SPDX-License-Identifier: MIT
/// \file
/// Whole files in and out, and what their lines consist of.
#pragma once

#include <fstream>
#include <string>
#include <string_view>
#include <vector>

/// Throws: `std::runtime_error` naming the file and why it cannot be read.
[[nodiscard]] std::ifstream open_to_read(const std::string& path);
[[nodiscard]] std::string read_text(const std::string& path);

/// Writes the whole file or leaves it as it was.
/// Throws: `std::runtime_error` naming the file and why it cannot be written.
void write_text(const std::string& path, const std::string& text);

/// Returns the text without the spaces, tabs and carriage returns around it.
[[nodiscard]] std::string_view trimmed_text(std::string_view text);

/// Returns what is between the separators, trimmed; one more than there are of them.
[[nodiscard]] std::vector<std::string_view> fields_of(std::string_view line, char separator);
