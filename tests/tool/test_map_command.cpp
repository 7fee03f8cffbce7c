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
#include <vector>

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

/// Whether a program is there that makes PNG files of SVG files.
bool has_converter() {
  for (const char* const name : {"rsvg-convert", "magick", "convert", "inkscape", "chromium"}) {
    for (const char* const folder : {"/usr/bin", "/usr/local/bin"})
      if (std::filesystem::exists(std::filesystem::path{folder} / name)) return true;
  }
  return false;
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

TEST_CASE("map: a picture becomes a PNG file" * doctest::skip(!has_converter()) *
          doctest::description("no converter is installed: apt-get install librsvg2-bin")) {
  const test::TemporaryFolder folder;
  const std::string png = (folder.path() / "picture.png").string();
  const std::string trace = write_input(folder, "trace", recorded_trace());
  const auto outcome = test::run_tool("map " + trace + " --png " + png);
  REQUIRE_MESSAGE(outcome.status == 0, outcome.error);
  const std::string bytes = test::read_file(png);
  REQUIRE(bytes.size() > 24);
  CHECK(bytes.starts_with("\x89PNG\r\n"));
  CHECK(bytes.substr(12, 4) == "IHDR");
  CHECK(static_cast<unsigned char>(bytes[18]) * 256 + static_cast<unsigned char>(bytes[19]) ==
        1200);
  CHECK(test::says(test::run_tool("map " + trace + " --png " + png).error, "exists"));
}

TEST_CASE("map: without a converter, or with one that fails, a PNG file is refused") {
  const test::TemporaryFolder folder;
  const std::string trace = write_input(folder, "trace", recorded_trace());
  const std::string png = (folder.path() / "picture.png").string();
  const std::string svg = (folder.path() / "picture.svg").string();
  const auto with_path = [&](const std::string& path) {
    return test::run_program("PATH=" + path + " " + std::getenv("ALLOT_TOOL"),
                             "map " + trace + " --svg " + svg + " --png " + png);
  };
  const auto none = with_path(folder.path().string());
  CHECK(none.status == 1);
  CHECK(test::is_one_line(none.error));
  CHECK(test::says(none.error, "install rsvg-convert"));
  CHECK(!std::filesystem::exists(svg));  // nothing was begun
  const std::string broken = write_input(folder, "rsvg-convert", "#!/bin/sh\nexit 3\n");
  std::filesystem::permissions(broken, std::filesystem::perms::owner_all);
  const auto failed = with_path(folder.path().string());
  CHECK(failed.status == 1);
  CHECK(test::is_one_line(failed.error));
  CHECK(test::says(failed.error, "made no PNG file"));
  CHECK(!std::filesystem::exists(png));
}

TEST_CASE("map --recorded: each block where the program had it, gaps left out") {
  const test::TemporaryFolder folder;
  const std::string events =
      "action,addr,size,stream\nalloc,7f0000000000,1024,0\nalloc,7f0000000800,512,0\n"
      "free_completed,7f0000000000,1024,0\nalloc,7f4000000000,4096,0\n";
  const std::string trace = write_input(folder, "events", events);
  const std::string page = (folder.path() / "page.html").string();
  const auto outcome = test::run_tool("map " + trace + " --recorded --json --out " + page +
                                      " --perfetto " + (folder.path() / "events.json").string());
  REQUIRE_MESSAGE(outcome.status == 0, outcome.error);
  const MapJson json = MapJson::parse(outcome.out);
  CHECK(json["figures"]["capacity"] == 2560 + 4096);
  CHECK(json["figures"]["peak_bytes"] == 4608);
  CHECK(test::says(test::read_file(page), "where the program had it"));
  std::vector<std::uint64_t> offsets;
  const MapJson written = MapJson::parse(test::read_file(folder.path() / "events.json"));
  for (const MapJson& event : written["traceEvents"]) {
    if (event["ph"] == "b") offsets.push_back(event["args"]["offset"]);
  }
  CHECK(offsets == std::vector<std::uint64_t>{0, 2048, 2560});

  // Offsets in an arena are what an allot-trace 2 has; version 1 has numbers only.
  const std::string recorded = write_input(folder, "recorded", recorded_trace());
  CHECK(
      MapJson::parse(test::run_tool("map " + recorded + " --recorded --json --force --out " + page)
                         .out)["figures"]["capacity"] > 4 * 65'536);
  const std::string numbers = write_input(folder, "numbers", "# allot-trace 1\na 0 100 16\n");
  CHECK(test::says(test::run_tool("map " + numbers + " --recorded --force --out " + page).error,
                   "no addresses in it"));
  const std::string model = test::write_llama(folder.path() / "model.gguf", {.layers = 1}).string();
  CHECK(test::says(test::run_tool("map " + model + " --recorded --force --out " + page).error,
                   "--recorded needs a trace"));
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
  CHECK(test::says(refused("{\"allot\":\"arena\",\"version\":1"), "byte 29: not JSON"));
  CHECK(test::says(refused("{\"allot\":\"arena\",\"version\":1}"), "not a dump of report::dump"));
  CHECK(test::says(
      refused("{\"allot\":\"arena\",\"version\":1,\"name\":\"\",\"usage\":{\"used\":8},\"blocks\":["
              "{\"offset\":0,\"size\":8,\"used\":true},{\"offset\":-8,\"size\":8}]}"),
      "arena, block 1: a size or an offset that is not a whole number from 0 up"));
  CHECK(test::says(refused("{\"allot\":1e999}"), "a number in it is beyond those of 64 bits"));
  CHECK(test::says(refused("{\"allot\":\"arena\",\"version\":2}"), "another version"));
  CHECK(test::says(refused("GGUF"), "input"));
  CHECK(test::says(refused("{\"General\":{}}"), "not a dump of VulkanMemoryAllocator 3"));
  CHECK(test::says(
      refused("{\"General\":{},\"DefaultPools\":{\"Type 0\":{\"Blocks\":{\"0\":{\"TotalBytes\":"
              "9223372036854775807}},\"DedicatedAllocations\":[]}}}"),
      "Type 0, block 0: a size or an offset of more than 2^60 bytes"));
  const std::string pool = "{\"General\":{},\"DefaultPools\":{\"Type 0\":{\"Blocks\":{";
  CHECK(test::says(
      refused(pool + "\"0\":{\"TotalBytes\":8,\"Suballocations\":[{\"Offset\":4,\"Size\":8,"
                     "\"Type\":\"BUFFER\"}]}},\"DedicatedAllocations\":[]}}}"),
      "Type 0, block 0: a suballocation ends beyond TotalBytes"));
  std::string many;
  for (int i = 0; i < 16; ++i)
    many += std::string{i == 0 ? "" : ","} + "{\"Type\":\"IMAGE\",\"Size\":1152921504606846976}";
  CHECK(test::says(refused(pool + "},\"DedicatedAllocations\":[" + many + "]}}}"),
                   "Type 0, dedicated: more than 2^60 bytes of memory in all"));
  CHECK(test::run_tool("map nothing").status == 2);
  // As `plan`.
  for (const char* const wrong :
       {"--placement chunks", "--fit --context 7", "--memory 1,2", "--place 'blk*=hip'"})
    CHECK_MESSAGE(test::run_tool(std::string{"map nothing --out x.html "} + wrong).status == 2,
                  wrong);
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
