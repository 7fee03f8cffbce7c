// SPDX-License-Identifier: MIT
// Runs the tests on several ranks (on_ranks.cpp) by mpirun, and shows what they printed if they fail.
#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

#include "support/models.hpp"
#include "support/test_data.hpp"

namespace {

/// Runs a program on that many ranks. Returns whether it succeeded; `said` is all that was printed.
bool run(int ranks, const std::string& program, const std::string& arguments, std::string& said) {
  const char* const mpirun = std::getenv("ALLOT_MPIRUN");
  REQUIRE(mpirun != nullptr);
  const allot::test::TemporaryFolder folder;
  const std::string log = (folder.path() / "log").string();
  const std::string command = std::string{"'"} + mpirun + "' -n " + std::to_string(ranks) + " '" +
                              program + "' " + arguments + " >'" + log + "' 2>&1 </dev/null";
  const int status = std::system(command.c_str());
  std::ostringstream text;
  text << std::ifstream{log}.rdbuf();
  said = text.str();
  return status == 0;
}

/// Runs all cases on that many ranks.
bool succeeds_on(int ranks) {
  const char* const program = std::getenv("ALLOT_ON_RANKS");
  REQUIRE(program != nullptr);
  std::string said;
  const bool is_good = run(ranks, program, "--no-colors=true", said);
  if (!is_good) std::cout << said << std::endl;
  return is_good;
}

}  // namespace

TEST_CASE("two ranks") { CHECK(succeeds_on(2)); }

TEST_CASE("four ranks") { CHECK(succeeds_on(4)); }

TEST_CASE(
    "distributed_load: each rank its share, verified, and one error where that is impossible") {
  const char* const examples = std::getenv("ALLOT_EXAMPLES");
  if (examples == nullptr) return;  // they are not built
  const std::string program = std::string{examples} + "/distributed_load";
  const allot::test::TemporaryFolder folder;
  const std::string file =
      allot::test::write_llama(folder.path() / "m.gguf", {.layers = 4, .heads = 8}).string();
  std::string said;
  for (const char* const stages : {"", " 2 --read-once", " 4"}) {
    CHECK(run(4, program, "'" + file + "'" + stages, said));
    CHECK_MESSAGE(said.find("every byte verified") != std::string::npos, said);
  }
  const auto is_said_once = [&](const std::string& part) {
    const std::size_t first = said.find(part);
    return first != std::string::npos && said.find(part, first + 1) == std::string::npos;
  };
  CHECK(!run(3, program, "'" + file + "'", said));
  CHECK_MESSAGE(is_said_once("cannot be divided into 3 parts"), said);
  CHECK(!run(2, program, "/dev/null", said));
  CHECK_MESSAGE(is_said_once("rank 0 failed, so nothing was loaded: /dev/null"), said);
  CHECK(!run(2, program, "'" + file + "' 3", said));
  CHECK_MESSAGE(is_said_once("divides the 2 ranks"), said);
}
