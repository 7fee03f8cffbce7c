// SPDX-License-Identifier: MIT
// `allot map`: the page has the figures of --json, needs nothing else, and runs in a browser.
#include <allot/arena.hpp>
#include <allot/report/dump.hpp>
#include <allot/strategy/best_fit.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "support/models.hpp"
#include "support/test_data.hpp"
#include "tool/run_program.hpp"

namespace {

using namespace allot;
using MapJson = nlohmann::json;

std::string write_input(const test::TemporaryFolder& folder, const std::string& name,
                        const std::string& text) {
  const std::filesystem::path path = folder.path() / name;
  std::ofstream{path, std::ios::binary} << text;
  return path.string();
}

/// A thousand blocks, five of them alive at a time; some have names.
std::string recorded_trace() {
  std::string text =
      "# allot-trace 2\nstart process=1 sample=1\nname value=1 text=</script><b>&\"x\n"
      "unit value=256\n";
  for (int i = 0; i < 1000; ++i) {
    const std::string offset = std::to_string(i % 5 * 65'536);
    if (i >= 5) text += "free time=" + std::to_string(i) + " offset=" + offset + "\n";
    text += "allocate time=" + std::to_string(i) + " offset=" + offset +
            " bytes=" + std::to_string(256 + i * 37 % 60'000) + (i % 3 == 0 ? " name=1\n" : "\n");
  }
  return text;
}

/// Makes the page of an input, and checks that it says what --json says.
std::string page_of(const test::TemporaryFolder& folder, const std::string& arguments) {
  const std::string page = (folder.path() / "page.html").string();
  const auto outcome = test::run_tool("map " + arguments + " --json --force --out " + page +
                                      " --svg " + (folder.path() / "picture.svg").string());
  REQUIRE_MESSAGE(outcome.status == 0, outcome.error);
  const MapJson json = MapJson::parse(outcome.out);
  const std::string text = test::read_file(page);
  CHECK(json["page_bytes"] == text.size());
  CHECK(text.size() < 5'000'000);
  for (const auto& figure : json["figures"].items()) {
    const std::string row =
        "data-key=\"" + figure.key() + "\" data-number=\"" + figure.value().dump() + "\"";
    CHECK_MESSAGE(text.find(row) != std::string::npos, row);
  }
  // Nothing is fetched: no address in an attribute, no import, no file beside it.
  for (const char* const part : {"src=", "href=", "url(", "@import", "fetch(", "http:", "https:"})
    CHECK_MESSAGE(text.find(part) == std::string::npos, part);
  const std::string svg = test::read_file(folder.path() / "picture.svg");
  CHECK(svg.starts_with("<svg "));
  CHECK(svg.ends_with("</svg>\n"));
  CHECK(svg.find("<b>") == std::string::npos);
  return text;
}

const char* browser() {
  for (const char* const path : {"/usr/bin/chromium", "/usr/bin/chromium-browser"})
    if (std::filesystem::exists(path)) return path;
  return nullptr;
}

}  // namespace

TEST_CASE("map: a trace, an arena's dump and a plan become pages with the figures of --json") {
  const test::TemporaryFolder folder;
  const std::string page = page_of(folder, write_input(folder, "trace", recorded_trace()));
  CHECK(page.find("data-key=\"peak_blocks\" data-number=\"5\"") != std::string::npos);
  CHECK(page.find("</script><b>") == std::string::npos);
  CHECK(page.find("\\u003c/script>\\u003cb>&\\\"x") != std::string::npos);

  Arena<BestFit> arena{65'536};
  static_cast<void>(arena.allocate(1000));
  const std::string dump = page_of(folder, write_input(folder, "dump", report::dump(arena, "<i>")));
  CHECK(dump.find("data-key=\"used\" data-number=\"1024\"") != std::string::npos);
  CHECK(dump.find("<h1>&lt;i&gt;</h1>") != std::string::npos);

  const auto model = test::write_llama(folder.path() / "model.gguf", {.layers = 2});
  const std::string plan =
      page_of(folder, model.string() + " --device staged-host --context 256 --scratch 1MiB");
  CHECK(plan.find("data-key=\"scratch_bytes\" data-number=\"1048576\"") != std::string::npos);
  CHECK(plan.find("blk.1.attn_q.weight") != std::string::npos);
}

TEST_CASE("map: a trace becomes events for Perfetto, each block with its begin and end") {
  const test::TemporaryFolder folder;
  const std::string trace = write_input(folder, "trace", recorded_trace());
  const std::string events = (folder.path() / "events.json").string();
  REQUIRE(test::run_tool("map " + trace + " --perfetto " + events).status == 0);
  const MapJson json = MapJson::parse(test::read_file(events));
  std::size_t begins = 0;
  std::size_t ends = 0;
  std::uint64_t most = 0;
  for (const MapJson& event : json["traceEvents"]) {
    begins += event["ph"] == "b";
    ends += event["ph"] == "e";
    if (event["name"] == "live bytes")
      most = std::max(most, event["args"]["bytes"].get<std::uint64_t>());
  }
  CHECK(begins == 1000);
  CHECK(ends == 1000);
  const MapJson figures = MapJson::parse(
      test::run_tool("map " + trace + " --json --force --svg " + (folder.path() / "x.svg").string())
          .out)["figures"];
  CHECK(most >= figures["peak_bytes"]);
  CHECK(most <= figures["capacity"]);
  const std::string model = test::write_llama(folder.path() / "model.gguf", {.layers = 1}).string();
  CHECK(test::says(test::run_tool("map " + model + " --force --perfetto " + events).error,
                   "has no time"));
}

TEST_CASE("map: a dump of VulkanMemoryAllocator, with the sums that it has itself") {
  const auto data = test::data_dir();
  if (!data) return;
  const std::filesystem::path sample = *data / "traces" / "vma" / "Sample.json";
  const test::TemporaryFolder folder;
  const std::string page = page_of(folder, sample.string());
  const MapJson total = MapJson::parse(std::ifstream{sample})["Total"];
  for (const auto& [key, figure] :
       {std::pair{"BlockCount", "memory_blocks"}, std::pair{"BlockBytes", "memory_bytes"},
        std::pair{"AllocationCount", "allocations"},
        std::pair{"AllocationBytes", "allocated_bytes"}}) {
    const std::string row =
        std::string{"data-key=\""} + figure + "\" data-number=\"" + total[key].dump() + "\"";
    CHECK_MESSAGE(page.find(row) != std::string::npos, row);
  }
}

TEST_CASE("map: what cannot be drawn is one line, and what is wrong with the usage is told") {
  const test::TemporaryFolder folder;
  const auto refused = [&](const std::string& text) {
    const auto outcome = test::run_tool("map " + write_input(folder, "input", text) + " --out " +
                                        (folder.path() / "out.html").string());
    CHECK(outcome.status == 1);
    CHECK_MESSAGE(test::is_one_line(outcome.error), outcome.error);
    return outcome.error;
  };
  CHECK(test::says(refused("# allot-trace 1\n"), "no allocations in it"));
  CHECK(test::says(refused("{\"allot\":\"arena\",\"version\":1"), "not a dump of report::dump"));
  CHECK(test::says(refused("{\"allot\":\"arena\",\"version\":2}"), "another version"));
  CHECK(test::says(refused("GGUF"), "input"));
  CHECK(test::says(refused("{\"General\":{}}"), "not a dump of VulkanMemoryAllocator 3"));
  CHECK(test::says(
      refused("{\"General\":{},\"DefaultPools\":{\"Type 0\":{\"Blocks\":{\"0\":{\"TotalBytes\":"
              "9223372036854775807}},\"DedicatedAllocations\":[]}}}"),
      "more than 2^60 bytes"));
  CHECK(test::run_tool("map nothing").status == 2);
  CHECK(!std::filesystem::exists(folder.path() / "out.html"));
}

TEST_CASE("map: a page of 100,000 blocks stays below 5 MB, and says what is not drawn") {
  const test::TemporaryFolder folder;
  std::string text = "# allot-trace 1\n";
  for (int i = 0; i < 100'000; ++i)
    text += "a " + std::to_string(i) + " " + std::to_string(1 + i % 5000) + " 16\nf " +
            std::to_string(i) + "\n";
  const std::string page = page_of(folder, write_input(folder, "trace", text));
  CHECK(page.find("smallest blocks, of together") != std::string::npos);
}

TEST_CASE("map: a browser draws each page without an error" * doctest::skip(browser() == nullptr) *
          doctest::description("no Chromium is installed: apt-get install chromium")) {
  const test::TemporaryFolder folder;
  Arena<BestFit> arena{65'536};
  static_cast<void>(arena.allocate(1000));
  const auto model = test::write_llama(folder.path() / "model.gguf", {.layers = 2});
  for (const std::string& input :
       {write_input(folder, "trace", recorded_trace()),
        write_input(folder, "dump", report::dump(arena)), model.string()}) {
    INFO(input);
    static_cast<void>(page_of(folder, input));
    const auto outcome = test::run_shell(
        std::string{browser()} + " --headless --no-sandbox --disable-gpu --user-data-dir=" +
        (folder.path() / "profile").string() + " --dump-dom file://" +
        (folder.path() / "page.html").string() + " 2>/dev/null");
    CHECK(outcome.status == 0);
    CHECK(test::says(outcome.out, "data-ready=\"yes\""));
    CHECK(!test::says(outcome.out, "data-error"));
    CHECK(test::says(outcome.out, "<canvas"));
  }
}
