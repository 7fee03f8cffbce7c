// SPDX-License-Identifier: MIT
/// \file
/// Runs programs that know HIP alone: as they are, and as the tool runs them.
#pragma once

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "support/test_data.hpp"
#include "tool/run_program.hpp"

namespace allot::test {

inline std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  REQUIRE_MESSAGE(value != nullptr, name);
  return value;
}

inline std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

/// How many processes of a mode call HIP.
struct Processes {
  const char* mode;
  std::size_t count;
};

/// A program's run, and what the simulated runtime says of it: what is live, and its crimes.
struct HipRun : Outcome {
  std::string report;
};

/// \param before  what stands before the program: variables, `allot record ... --`
inline HipRun run_hip(const TemporaryFolder& folder, const std::string& before,
                      const std::string& arguments) {
  const std::string report = (folder.path() / "report").string();
  std::filesystem::remove(report);
  const Outcome outcome =
      run_shell("cd " + folder.path().string() + " && HIPSIM_REPORT=" + report + " " + before +
                " " + variable("ALLOT_HIP_PROGRAM") + " " + arguments);
  return {outcome, read_file(report)};
}

/// A program that finds HIP's functions by their names.
inline std::string symbols_program() {
  return variable("ALLOT_HIP_SYMBOLS") + " " + variable("ALLOT_HIP_RUNTIME") + " " +
         variable("ALLOT_HIP_PLUGIN");
}

/// The installed runtime, if it has the name of the simulated one; empty otherwise. Preloaded, it takes the
/// place of the simulated one.
inline std::string installed_runtime() {
  const Outcome found = run_shell("ldconfig -p | sed -n 's/.*libamdhip64.so.5 .*=> //p' | head -1");
  return found.out.substr(0, found.out.find('\n'));
}

}  // namespace allot::test
