// SPDX-License-Identifier: MIT
#include <allot/gguf/writer.hpp>

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "support/test_data.hpp"

namespace {

using namespace allot;
namespace fs = std::filesystem;
using Json = nlohmann::json;

struct Outcome {
  int status;
  std::string out;
  std::string error;
};

std::string read_file(const fs::path& path) {
  std::ifstream in{path};
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

Outcome run(const std::string& arguments) {
  const char* const tool = std::getenv("ALLOT_TOOL");
  REQUIRE_MESSAGE(tool != nullptr, "ALLOT_TOOL names the allot program");
  const test::TemporaryFolder folder;
  const fs::path out = folder.path() / "out";
  const fs::path error = folder.path() / "error";
  const std::string command =
      std::string{tool} + " " + arguments + " >" + out.string() + " 2>" + error.string();
  const int status = std::system(command.c_str());
  REQUIRE(WIFEXITED(status));
  return {WEXITSTATUS(status), read_file(out), read_file(error)};
}

/// Three tensors: 100, 0 and 70,000 bytes.
fs::path model(const fs::path& folder) {
  gguf::Writer writer;
  writer.add("general.architecture", "llama");
  writer.add("llama.block_count", std::uint32_t{2});
  const auto fill = [](std::uint64_t, std::span<std::byte> piece) {
    for (std::byte& byte : piece) byte = std::byte{42};
  };
  writer.add_tensor("a.weight", gguf::TensorType::I8, {100}, fill);
  writer.add_tensor("empty", gguf::TensorType::F32, {0}, fill);
  writer.add_tensor("b.weight", gguf::TensorType::I8, {700, 100}, fill);
  writer.write(folder / "model.gguf");
  return folder / "model.gguf";
}

bool is_one_line(const std::string& text) {
  return text.starts_with("allot: ") && text.find('\n') == text.size() - 1;
}

}  // namespace

TEST_CASE("plan --json prints one object with the figures of the plan") {
  const test::TemporaryFolder folder;
  const Outcome outcome = run("plan --json " + model(folder.path()).string());
  CHECK(outcome.status == 0);
  CHECK(outcome.error.empty());
  const Json json = Json::parse(outcome.out);
  CHECK(json["tensors"] == 3);
  CHECK(json["tensor_bytes"] == 70'100);
  CHECK(json["alignment"] == 256);
  REQUIRE(json["arenas"].size() == 1);
  CHECK(json["arenas"][0]["device"] == "host");
  CHECK(json["arenas"][0]["capacity"] == 256 + 70'144);
  CHECK(json["arenas"][0]["used"] == 256 + 70'144);
  CHECK(json["arenas"][0]["padding"] == 156 + 144);
  CHECK(json["total_bytes"] == 256 + 70'144);
}

TEST_CASE("load --json prints one object with what happened") {
  const test::TemporaryFolder folder;
  const std::string file = model(folder.path()).string();
  const Outcome outcome = run("load --verify --json --margin none " + file);
  CHECK(outcome.status == 0);
  CHECK(outcome.error.empty());
  const Json json = Json::parse(outcome.out);
  CHECK(json["tensors"] == 3);
  CHECK(json["tensor_bytes"] == 70'100);
  CHECK(json["device"] == "host");
  CHECK(json["device_allocations"] == 1);
  for (const char* key :
       {"capacity", "used", "padding", "free", "largest_free", "free_blocks", "fragmentation"}) {
    CHECK(json["arena"].contains(key));
  }
  CHECK(json["arena"]["padding"] == 300);
  CHECK(json["seconds"].is_number());
  CHECK(json["gib_per_s"].is_number());
  CHECK(json["verified"] == true);
  CHECK(Json::parse(run("load --json " + file).out)["verified"].is_null());
}

TEST_CASE("alignments are honoured and reported to the byte") {
  const test::TemporaryFolder folder;
  const std::string file = model(folder.path()).string();
  const Json small = Json::parse(run("plan --json --alignment 32 " + file).out);
  CHECK(small["total_bytes"] == 128 + 70'016);
  const Json large = Json::parse(run("load --json --alignment 4096 " + file).out);
  CHECK(large["arena"]["capacity"] == 4096 + 73'728);
  CHECK(run("plan --alignment 300 " + file).status == 2);
}

TEST_CASE("inspect shows facts, tensors and metadata") {
  const test::TemporaryFolder folder;
  const std::string file = model(folder.path()).string();
  const Json json = Json::parse(run("inspect --json --tensors --kv " + file).out);
  CHECK(json["version"] == 3);
  CHECK(json["types"]["I8"]["bytes"] == 70'100);
  CHECK(json["facts"]["llama.block_count"] == 2);
  CHECK(json["tensor_list"].size() == 3);
  CHECK(json["metadata"]["general.architecture"] == "llama");
  const Outcome text = run("inspect --tensors --kv " + file);
  CHECK(text.status == 0);
  CHECK(text.out.find("a.weight") != std::string::npos);
}

TEST_CASE("what cannot be done exits with 1 and says so in one line") {
  const test::TemporaryFolder folder;
  for (const std::string command : {"inspect", "plan", "load"}) {
    const Outcome absent = run(command + " " + (folder.path() / "absent.gguf").string());
    CHECK(absent.status == 1);
    CHECK(absent.out.empty());
    CHECK(is_one_line(absent.error));
    std::ofstream{folder.path() / "broken.gguf"} << "GGUF\1";
    const Outcome broken = run(command + " --json " + (folder.path() / "broken.gguf").string());
    CHECK(broken.status == 1);
    CHECK(is_one_line(broken.error));
  }
  const Outcome huge = run("load --margin 9999% " + model(folder.path()).string());
  CHECK((huge.status == 0 || is_one_line(huge.error)));
}

TEST_CASE("wrong usage exits with 2, and help with 0") {
  CHECK(run("").status == 2);
  CHECK(run("inspect").status == 2);
  CHECK(run("dance").status == 2);
  CHECK(run("load --device moon x.gguf").status == 2);
  CHECK(run("load --device hip:0 x.gguf").status == 1);
  CHECK(run("load --margin lots x.gguf").status == 2);
  const Outcome help = run("--help");
  CHECK(help.status == 0);
  CHECK(help.out.find("Examples:") != std::string::npos);
}

TEST_CASE("every malformed file ends with status 1 and one line") {
  const auto data = test::data_dir();
  if (!data) return;
  for (const auto& entry : fs::directory_iterator{*data / "gguf" / "rejected"}) {
    const Outcome outcome = run("plan '" + entry.path().string() + "'");
    INFO(entry.path().string());
    CHECK(outcome.status == 1);
    CHECK(is_one_line(outcome.error));
  }
}

TEST_CASE("the demo's model has exactly the tensor table of Qwen2.5-0.5B-Instruct Q4_K_M") {
  const auto data = test::data_dir();
  if (!data) return;
  const char* const maker = std::getenv("ALLOT_MAKE_DEMO_MODEL");
  REQUIRE(maker != nullptr);
  const test::TemporaryFolder folder;
  const std::string file = (folder.path() / "demo.gguf").string();
  REQUIRE(std::system((std::string{maker} + " " + file + " >/dev/null").c_str()) == 0);
  const Json json = Json::parse(run("inspect --json --tensors " + file).out);
  std::ifstream csv{*data / "layouts" / "qwen2.5-0.5b-instruct-q4_k_m.csv"};
  std::string line;
  std::getline(csv, line);
  for (const Json& tensor : json["tensor_list"]) {
    REQUIRE(std::getline(csv, line));
    std::string row = tensor["name"].get<std::string>() + "," + tensor["type"].get<std::string>();
    for (std::size_t i = 0; i < 4; ++i) {
      row += "," + (i < tensor["shape"].size() ? tensor["shape"][i].dump() : std::string{"1"});
    }
    CHECK(row + "," + tensor["bytes"].dump() == line);
  }
  CHECK(!std::getline(csv, line));
}
