// SPDX-License-Identifier: MIT
/// \file
/// Runs a program, and keeps what it says.
#pragma once

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "support/test_data.hpp"

namespace allot::test {

struct Outcome {
  int status;
  std::string out;
  std::string error;
};

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in{path};
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

/// \param program  what the environment names: a program, with variables set before it
inline Outcome run_program(const std::string& program, const std::string& arguments) {
  const TemporaryFolder folder;
  const std::filesystem::path out = folder.path() / "out";
  const std::filesystem::path error = folder.path() / "error";
  const std::string command =
      program + " " + arguments + " >" + out.string() + " 2>" + error.string();
  const int status = std::system(command.c_str());
  REQUIRE(WIFEXITED(status));
  return {WEXITSTATUS(status), read_file(out), read_file(error)};
}

/// Runs the allot tool.
inline Outcome run_tool(const std::string& arguments) {
  const char* const tool = std::getenv("ALLOT_TOOL");
  REQUIRE_MESSAGE(tool != nullptr, "ALLOT_TOOL names the allot program");
  return run_program(tool, arguments);
}

/// Returns whether the text is one line of the tool's.
inline bool is_one_line(const std::string& text) {
  return text.starts_with("allot: ") && text.find('\n') == text.size() - 1;
}

inline bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace allot::test
