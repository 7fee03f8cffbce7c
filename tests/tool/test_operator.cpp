// SPDX-License-Identifier: MIT
// What an operator relies on: exit status, streams, and what is said about mistakes.
#include <doctest/doctest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "support/models.hpp"
#include "support/test_data.hpp"
#include "tool/run_program.hpp"

namespace {

using namespace allot;
using test::Outcome;
using test::run_tool;
using test::says;

}  // namespace

TEST_CASE("plan: what fits ends with 0, what does not with 1, and JSON has by how much") {
  const test::TemporaryFolder folder;
  const std::string file = test::write_llama(folder.path() / "llama.gguf").string();
  const std::string plan = "plan --json --margin none " + file;
  using Json = nlohmann::json;

  const Outcome fits = run_tool(plan + " --memory 1GiB");
  CHECK(fits.status == 0);
  CHECK(fits.error.empty());
  CHECK(Json::parse(fits.out)["fits"] == true);
  CHECK(Json::parse(fits.out)["short_of"] == 0);

  const std::uint64_t total = Json::parse(fits.out)["total_bytes"];
  const Outcome exact = run_tool(plan + " --memory " + std::to_string(total));
  CHECK(exact.status == 0);
  const Outcome over = run_tool(plan + " --memory " + std::to_string(total - 1));
  CHECK(over.status == 1);
  CHECK(test::is_one_line(over.error));
  CHECK(says(over.error, "does not fit: short of 1 B on host"));
  CHECK(Json::parse(over.out)["fits"] == false);
  CHECK(Json::parse(over.out)["short_of"] == 1);
  CHECK(Json::parse(over.out)["devices"][0]["short_of"] == 1);
  CHECK(says(run_tool("plan --margin none " + file + " --memory 1MiB").out, "short of"));

  // 1,024 bytes of cache a token: room for 500 of them.
  const std::string tight = " --memory " + std::to_string(total + 500 * 1024);
  const Outcome cut = run_tool(plan + " --context 1000" + tight);
  CHECK(cut.status == 1);
  const Json json = Json::parse(cut.out);
  CHECK(json["context"] == 1000);
  const std::uint64_t fitting = json["fitting_context"];
  CHECK(says(cut.error, "--context " + std::to_string(fitting) + " fits"));
  CHECK(!says(cut.error, "largest_context"));
  CHECK(run_tool(plan + tight + " --context " + std::to_string(fitting)).status == 0);
  CHECK(run_tool(plan + tight + " --context " + std::to_string(fitting + 1)).status == 1);

  const Outcome none = run_tool(plan + " --fit --memory 1000");
  CHECK(none.status == 1);
  CHECK(Json::parse(none.out)["fits"] == false);
  CHECK(Json::parse(none.out)["context"] == 0);
  CHECK(says(none.error, "not even a context of 1 fits"));
}

TEST_CASE("plan: several devices of which none has room still print the whole plan") {
  const test::TemporaryFolder folder;
  const std::string file = test::write_llama(folder.path() / "llama.gguf").string();
  const Outcome outcome =
      run_tool("plan --json --margin none --device hip:0,hip:1 --memory 1000,1000 " + file);
  CHECK(outcome.status == 1);
  const auto json = nlohmann::json::parse(outcome.out);
  CHECK(json["fits"] == false);
  CHECK(json["short_of"].get<std::uint64_t>() == json["total_bytes"].get<std::uint64_t>() - 2000);
}

TEST_CASE("plan: whether it fits is unknown where free memory is, with status 0") {
  const test::TemporaryFolder folder;
  const std::string file = test::write_llama(folder.path() / "llama.gguf").string();
  const Outcome outcome = run_tool("plan --json --device hip:9 " + file);  // there is no such one
  CHECK(outcome.status == 0);
  const auto json = nlohmann::json::parse(outcome.out);
  CHECK(json["fits"].is_null());
  CHECK(json["short_of"].is_null());
}
