// SPDX-License-Identifier: MIT
#include "text_files.hpp"

#include <allot/os/output_file.hpp>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <stdexcept>

#include "printable.hpp"

std::ifstream open_to_read(const std::string& path) {
  const auto fail = [&](const std::string& why) {
    throw std::runtime_error{"cannot read " + printable(path) + ": " + why};
  };
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) fail("it is a folder");
  errno = 0;
  std::ifstream file{path, std::ios::binary};
  if (!file) fail(std::strerror(errno));
  return file;
}

std::string read_text(const std::string& path) {
  std::ifstream file = open_to_read(path);
  std::string text;
  char piece[std::size_t{1} << 16];
  do {
    file.read(piece, sizeof piece);
    text.append(piece, static_cast<std::size_t>(file.gcount()));
  } while (file);
  if (file.bad()) throw std::runtime_error{"cannot read " + printable(path) + ": reading failed"};
  return text;
}

void write_text(const std::string& path, const std::string& text) {
  allot::os::OutputFile file{path};
  file.write(std::as_bytes(std::span{text}));
  file.close(false);
  file.commit();
}

std::string_view trimmed_text(std::string_view text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> fields_of(std::string_view line, char separator) {
  std::vector<std::string_view> fields;
  for (;;) {
    const std::size_t end = line.find(separator);
    fields.push_back(trimmed_text(line.substr(0, end)));
    if (end == std::string_view::npos) return fields;
    line.remove_prefix(end + 1);
  }
}
