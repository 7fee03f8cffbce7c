// SPDX-License-Identifier: MIT
// docs/tool-json.md has a table for each command, and this compares it with what the tool prints.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "support/models.hpp"
#include "support/test_data.hpp"
#include "tool/run_program.hpp"

namespace {

namespace fs = std::filesystem;

using Paths = std::set<std::string>;

/// The keys of each `## allot COMMAND`.
std::map<std::string, Paths> keys_of_page() {
  std::map<std::string, Paths> keys;
  std::ifstream page{fs::path{ALLOT_SOURCE_ROOT} / "docs/tool-json.md"};
  std::string command;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with("## allot ")) command = line.substr(9);
    if (line.starts_with("| `")) keys[command].insert(line.substr(3, line.find('`', 3) - 3));
  }
  return keys;
}

/// Adds the path of every value in `json`, by the names that the page has: `*` stands for any name, and at a
/// path's end for everything below.
void add_paths(const nlohmann::json& json, const std::string& path, const Paths& page,
               Paths& found) {
  const std::string before = path.empty() ? "" : path + ".";
  if (page.contains(before + "*")) {
    found.insert(before + "*");
  } else if (json.is_object()) {
    const auto first = page.lower_bound(before + "*.");
    const bool is_any = first != page.end() && first->starts_with(before + "*.");
    for (const auto& [key, value] : json.items())
      add_paths(value, before + (is_any ? "*" : key), page, found);
  } else if (json.is_array()) {
    for (const auto& value : json) add_paths(value, path + "[]", page, found);
    if (json.empty() && page.contains(path + "[]")) found.insert(path + "[]");
  } else {
    found.insert(path);
  }
}

}  // namespace

TEST_CASE("every key that the tool prints is on the page, and every key on the page is printed") {
  const allot::test::TemporaryFolder folder;
  const fs::path model = allot::test::write_llama(folder.path() / "model.gguf", {.layers = 2});
  const std::string file = model.string();
  const std::string out = (folder.path() / "part").string();
  const std::string boxes = (folder.path() / "boxes.csv").string();
  std::ofstream{boxes} << "id,lower,upper,size\na,0,2,8\nb,1,3,4\n";
  const std::string trace = (folder.path() / "calls.trace").string();
  std::ofstream{trace} << "# allot-trace 1\na 0 100 64\na 1 50 64\nf 0\n";
  const std::string streams = (folder.path() / "streams.csv").string();
  std::ofstream{streams} << "action,addr,size,stream\nalloc,7f00,5000,0\n";
  const std::string requests = (folder.path() / "requests.jsonl").string();
  std::ofstream{requests} << "{\"hash_ids\": [1, 2]}\n{\"hash_ids\": [1, 3]}\n";
  const std::string azure = (folder.path() / "azure.csv").string();
  std::ofstream{azure} << "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-01-01 00:00:00,9,9\n";
  // Commands, each after what it needs; those that do not fit print what is missing.
  const std::map<std::string, std::vector<std::string>> arguments{
      {"inspect", {file, file + " --kv --tensors --for llama.cpp"}},
      {"plan",
       {file, file + " --only 'blk.*'",
        file + " --context 512 --fuse qkv --scratch 1MiB --device staged-host",
        file + " --context 4096 --memory 1MiB", file + " --fit --memory 1GiB",
        file + " --context 512 --draft " + file + " --emit llama",
        file + " --shares pipeline:2,tensor:2 --context 64",
        file + " --place output.*=host --device host,staged-host"}},
      {"offsets",
       {boxes + " --stream-wait 1", boxes + " --capacity 8", boxes + " --capacity 12,12"}},
      {"replay",
       {trace, trace + " --capacity 1KiB", streams, requests,
        azure + " --kv-shape 1,1,128,128 --capacity 8KiB --token-ms 1"}},
      {"map", {trace + " --out " + out + ".html"}},
      {"load", {file + " --verify --fuse qkv --device staged-host"}},
      {"split", {file + " --max-tensors 5 " + out}},
      {"merge", {out + "-00001-of-*.gguf " + (folder.path() / "whole.gguf").string()}},
  };
  const std::map<std::string, Paths> page = keys_of_page();
  REQUIRE(page.size() == arguments.size());
  for (const std::string command :
       {"inspect", "plan", "load", "offsets", "replay", "map", "split", "merge"}) {
    CAPTURE(command);
    Paths found;
    for (const std::string& given : arguments.at(command)) {
      CAPTURE(given);
      const auto outcome = allot::test::run_tool(command + " --json " + given);
      CAPTURE(outcome.error);
      REQUIRE(outcome.out.starts_with("{"));
      add_paths(nlohmann::json::parse(outcome.out), "", page.at(command), found);
    }
    for (const std::string& key : found)
      CHECK_MESSAGE(page.at(command).contains(key), key, " is not on the page");
    for (const std::string& key : page.at(command)) {
      if (key.starts_with("experts_on_host."))
        continue;  // of a model with experts: test_placement.cpp
      CHECK_MESSAGE(found.contains(key), key, " was not printed");
    }
  }
}
