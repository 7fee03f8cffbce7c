// SPDX-License-Identifier: MIT
/// \file
/// Runs a program, and keeps what it says.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

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

/// Writes a file and returns its path.
inline std::string write_text(const TemporaryFolder& folder, const char* name,
                              const std::string& text) {
  const std::filesystem::path path = folder.path() / name;
  std::ofstream{path, std::ios::binary} << text;
  return path.string();
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

/// Runs a line of the shell's.
inline Outcome run_shell(const std::string& line) {
  const TemporaryFolder folder;
  std::ofstream{folder.path() / "line"} << line << "\n";
  return run_program("sh", (folder.path() / "line").string());
}

/// Runs the allot tool with standard error on a terminal; returns what that got to show.
inline std::string run_on_terminal(const std::string& arguments, unsigned short columns) {
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY);
  REQUIRE(terminal >= 0);
  REQUIRE(::grantpt(terminal) == 0);
  REQUIRE(::unlockpt(terminal) == 0);
  const std::string name = ::ptsname(terminal);
  const winsize size{24, columns, 0, 0};
  REQUIRE(::ioctl(terminal, TIOCSWINSZ, &size) == 0);
  const int held = ::open(name.c_str(), O_RDWR | O_NOCTTY);  // what is written waits for us
  std::string line =
      std::string{"\""} + std::getenv("ALLOT_TOOL") + "\" " + arguments + " 2>" + name;
  std::string shown;
  std::thread reader{[&] {
    char bytes[4096];
    for (::ssize_t got = 0; (got = ::read(terminal, bytes, sizeof bytes)) > 0;)
      shown.append(bytes, static_cast<std::size_t>(got));
  }};
  const int status = std::system(line.c_str());
  ::close(held);  // ends the reader, once it has read all
  reader.join();
  ::close(terminal);
  CHECK(status == 0);
  return shown;
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
