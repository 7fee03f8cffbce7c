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

TEST_CASE("distributed_load: each rank its share, verified, or one error") {
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

TEST_CASE("a rank that dies ends the job, and mpirun names it") {
  const char* const program = std::getenv("ALLOT_ON_RANKS");
  REQUIRE(program != nullptr);
  std::string said;
  ::setenv("ALLOT_RANK_DIES", "1", 1);
  const bool is_good = run(2, program, "-tc='a rank that dies'", said);
  ::unsetenv("ALLOT_RANK_DIES");
  CHECK(!is_good);
  CHECK_MESSAGE(said.find("rank 1") != std::string::npos, said);
  CHECK_MESSAGE(said.find("signal 9") != std::string::npos, said);
}

TEST_CASE("allot load --shares: one report of all ranks, or one error") {
  const char* const tool = std::getenv("ALLOT_TOOL");
  if (tool == nullptr) return;  // it is not built
  const allot::test::TemporaryFolder folder;
  const std::string file =
      allot::test::write_llama(folder.path() / "m.gguf", {.layers = 4, .heads = 8}).string();
  const std::string other =
      allot::test::write_llama(folder.path() / "o.gguf", {.layers = 4, .vocabulary = 999}).string();
  std::string said;
  const auto count = [&](const std::string& part) {
    std::size_t found = 0;
    for (std::size_t at = 0; (at = said.find(part, at)) != std::string::npos; ++at) ++found;
    return found;
  };
  const auto load = [&](const std::string& path, const std::string& options) {
    return "load '" + path + "' " + options;
  };
  CHECK(run(4, tool, load(file, "--shares tensor:4 --verify --json"), said));
  CHECK_MESSAGE(count("\"verified\": true") == 1, said);
  CHECK(count("\"bytes_sent\": 0") == 5);
  CHECK(run(2, tool, load(file, "--shares pipeline:2 --read-once --json --verify"), said));
  CHECK_MESSAGE(count("\"read_once\": true") == 1, said);
  CHECK(run(2, tool, load(file, "--shares tensor:2 --read-once"), said));
  CHECK_MESSAGE(count("read from storage") == 1, said);

  CHECK(!run(2, tool, load(file, "--shares tensor:4"), said));
  CHECK_MESSAGE(count("but 2 run; start it with mpirun -n 4") == 1, said);
  CHECK(!run(2, tool, load(folder.path() / "none.gguf", "--shares tensor:2"), said));
  CHECK_MESSAGE(count("rank 0 failed, so nothing was loaded: ") == 1, said);
  const std::string second = " : -n 1 '" + std::string{tool} + "' ";
  CHECK(!run(1, tool, load(file, "--shares tensor:2") + second + load(other, "--shares tensor:2"),
             said));
  CHECK_MESSAGE(count("rank 1 has another file than rank 0") == 1, said);
  CHECK(!run(1, tool,
             load(file, "--shares tensor:2") + second + load(file, "--shares tensor:2 --verify"),
             said));
  CHECK_MESSAGE(count("rank 1 has other options than rank 0") == 1, said);
}
