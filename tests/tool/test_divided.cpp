// SPDX-License-Identifier: MIT
// The tool with a GPU and the host: --device hip,host.
#include <doctest/doctest.h>

#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "support/models.hpp"
#include "support/test_data.hpp"
#include "tool/run_program.hpp"

namespace {

using namespace allot;
using test::Outcome;
using test::run_program;
using test::run_tool;
using Json = nlohmann::json;

/// 8.45 MiB of weights in four layers.
std::string llama(const test::TemporaryFolder& folder) {
  return test::write_llama(folder.path() / "m.gguf").string();
}

std::uint64_t planned_on(const Json& json, const std::string& device) {
  std::uint64_t bytes = 0;
  for (const Json& arena : json["arenas"]) {
    if (arena["device"] == device) bytes += arena["capacity"].get<std::uint64_t>();
  }
  return bytes;
}

}  // namespace

TEST_CASE("plan divides a model: as many layers on the GPU as fit, the rest on the host") {
  const test::TemporaryFolder folder;
  const std::string file = llama(folder);
  const auto plan = [&](const std::string& options) {
    const Outcome outcome = run_tool("plan --json " + options + " " + file);
    CHECK(outcome.status == 0);
    return Json::parse(outcome.out);
  };
  for (const char* devices : {"hip,host", "hip:0,host", "staged-host,host"}) {
    const std::string gpu = devices[0] == 'h' ? "hip:0" : "staged-host";
    const Json small = plan(std::string{"--margin none --memory 4MiB,1GiB --device "} + devices);
    CHECK(planned_on(small, gpu) != 0);
    CHECK(planned_on(small, gpu) <= 4 * MiB);
    CHECK(planned_on(small, gpu) > 2 * MiB);  // another layer, of 1.7 MiB, would not fit
    CHECK(planned_on(small, "host") ==
          small["total_bytes"].get<std::uint64_t>() - planned_on(small, gpu));
    CHECK(small["devices"][1]["path"] == "straight");
    const Json large = plan(std::string{"--margin none --memory 1GiB,1GiB --device "} + devices);
    CHECK(planned_on(large, "host") == 0);
  }
  // The margin of the GPU counts.
  const Json half = plan("--margin 100% --memory 8MiB,1GiB --device hip,host");
  CHECK(planned_on(half, "hip:0") <= 4 * MiB);
  CHECK(planned_on(half, "hip:0") > 2 * MiB);
}

TEST_CASE("load divides a model between a GPU and the host, and every byte is right") {
  const test::TemporaryFolder folder;
  const std::string file = llama(folder);
  const Outcome staged =
      run_tool("load --device staged-host,host --margin none --verify --json " + file);
  CHECK(staged.status == 0);
  CHECK(Json::parse(staged.out)["verified"] == true);
  const char* const simulated = std::getenv("ALLOT_HIPSIM_TOOL");
  if (simulated == nullptr) return;
  const std::string report = (folder.path() / "report").string();
  const Outcome outcome =
      run_program("HIPSIM_MEMORY=4 HIPSIM_REPORT=" + report + " " + simulated,
                  "load --device hip,host --margin none --verify --json " + file);
  REQUIRE(outcome.status == 0);
  const Json json = Json::parse(outcome.out);
  CHECK(json["verified"] == true);
  CHECK(json["device"] == "hip,host");
  CHECK(json["device_allocations"] == 2);
  CHECK(planned_on(json, "hip:0") > 2 * MiB);
  CHECK(planned_on(json, "host") > 4 * MiB);
  CHECK(json["staging_bytes"] != 0);
  const std::string crimes = test::read_file(report);
  CHECK(crimes.starts_with("live 0 0 0 0 "));
  CHECK(crimes.find('\n') == crimes.size() - 1);
}

TEST_CASE("devices that cannot share a model are wrong usage, and say which can") {
  const test::TemporaryFolder folder;
  const std::string file = llama(folder);
  for (const char* devices :
       {"hip,staged-host", "host,host", "hip,hip:0", "hip:00", "gpu", "hip,", "host,cpu"}) {
    CHECK(run_tool(std::string{"plan --device "} + devices + " " + file).status == 2);
  }
  CHECK(run_tool("plan --device staged-host,hip " + file)
            .error.find("use it alone, or with host as in staged-host,host") != std::string::npos);
}

TEST_CASE("plan and load take some of the tensors, by patterns") {
  const test::TemporaryFolder folder;
  const std::string file = llama(folder);
  const Outcome planned = run_tool("plan --json --only 'blk.[01].*' --only output.weight " + file);
  CHECK(planned.status == 0);
  CHECK(Json::parse(planned.out)["tensors"] == 13);
  CHECK(Json::parse(planned.out)["left_out"] == 14);
  const Outcome loaded = run_tool("load --verify --json --only 'blk.[01].*' " + file);
  CHECK(loaded.status == 0);
  CHECK(Json::parse(loaded.out)["tensors"] == 12);
  CHECK(Json::parse(loaded.out)["verified"] == true);
  const Outcome none = run_tool("plan --only absent " + file);
  CHECK(none.status == 1);
  CHECK(none.error.find("no tensor has a name like absent") != std::string::npos);
}
