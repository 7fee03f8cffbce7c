// SPDX-License-Identifier: MIT
// `allot offsets`: MiniMalloc's CSV in, places out; what is malformed is named with its line.
#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "support/test_data.hpp"
#include "tool/run_program.hpp"

namespace {

using namespace allot;
using Json = nlohmann::json;
using test::Outcome;
using test::run_tool;
using test::says;

std::string write_graph(const test::TemporaryFolder& folder, const std::string& text) {
  return test::write_text(folder, "graph.csv", text);
}

constexpr const char* graph =
    "id,lower,upper,size\n"
    "a,0,2,100\n"
    "b,1,3,50\n"
    "c,2,4,100\n";

}  // namespace

TEST_CASE("offsets: places that another reader of the same format takes, and a picture") {
  const test::TemporaryFolder folder;
  const std::string file = write_graph(folder, graph);
  const std::string out = (folder.path() / "out.csv").string();
  const std::string svg = (folder.path() / "out.svg").string();
  const Outcome table = run_tool("offsets " + file + " --out " + out + " --svg " + svg);
  CHECK_MESSAGE(table.status == 0, table.error);
  CHECK(says(table.out, "height       150 bytes, the lower bound"));
  CHECK(says(table.out, "found by"));
  CHECK(test::read_file(out).starts_with("id,lower,upper,size,offset\na,0,2,100,"));
  const std::string picture = test::read_file(svg);
  CHECK(picture.starts_with("<svg "));
  CHECK(picture.ends_with("</svg>\n"));
  for (const char* const part :
       {"<title>a: 100 bytes at ", "bytes alive", "lower bound: 150 bytes"})
    CHECK(says(picture, part));
  CHECK(!says(picture, "http://www.w3.org/1999/xlink"));

  // What it wrote is a plan with every place fixed.
  const Outcome again = run_tool("offsets --json " + out);
  CHECK(again.status == 0);
  CHECK(Json::parse(again.out)["height"] == 150);
  CHECK(Json::parse(again.out)["found_by"] == "rules");

  const Outcome exists = run_tool("offsets " + file + " --out " + out);
  CHECK(exists.status == 1);
  CHECK(test::is_one_line(exists.error));
  CHECK(run_tool("offsets " + file + " --force --out " + out).status == 0);
}

TEST_CASE("offsets never writes over what it reads, nor one output over the other") {
  const test::TemporaryFolder folder;
  const std::string file = write_graph(folder, graph);
  const std::string same = (folder.path() / "." / "link.csv").string();
  std::filesystem::create_symlink(file, same);
  for (const std::string& options :
       {"--out " + file, "--svg " + file, "--out " + same, "--svg " + same}) {
    const Outcome onto_itself = run_tool("offsets --force " + file + " " + options);
    CHECK(onto_itself.status != 0);
    CHECK_MESSAGE(says(onto_itself.error, "is the file that is read"), onto_itself.error);
    CHECK(test::is_one_line(onto_itself.error));
  }
  CHECK(test::read_file(file) == graph);
  const std::string out = (folder.path() / "out").string();
  // In two spellings, of what is not there yet.
  const std::string relative = std::filesystem::relative(out).string();
  for (const std::string& svg : {out, relative, "./" + relative}) {
    const Outcome both =
        run_tool("offsets --force " + file + " --out " + relative + " --svg " + svg);
    CHECK(both.status != 0);
    CHECK_MESSAGE(says(both.error, "--out and --svg are both"), both.error);
    CHECK(!std::filesystem::exists(out));
  }
  CHECK(run_tool("offsets " + file + " --out /dev/null --svg /dev/null").status == 0);
}

TEST_CASE("offsets --json: one object, with every key") {
  const test::TemporaryFolder folder;
  const Outcome outcome = run_tool("offsets --json " + write_graph(folder, graph));
  CHECK(outcome.error.empty());
  const Json json = Json::parse(outcome.out);
  CHECK(json["buffers"] == 3);
  CHECK(json["height"] == 150);
  CHECK(json["lower_bound"] == 150);
  CHECK(json["cut_short"] == false);
  CHECK(json["offsets"].size() == 3);
  for (const char* const key : {"file", "alignment", "found_by", "seconds", "interrupted"})
    CHECK(json.contains(key));
}

TEST_CASE("offsets --capacity: fits, cannot with a proof, and what to keep elsewhere") {
  const test::TemporaryFolder folder;
  const std::string file = write_graph(folder, graph);
  const Outcome fits = run_tool("offsets --json --capacity 150 " + file);
  CHECK(fits.status == 0);
  CHECK(Json::parse(fits.out)["verdict"] == "fits");
  const Outcome cannot = run_tool("offsets --json --capacity 149 " + file);
  CHECK(cannot.status == 1);
  CHECK(test::is_one_line(cannot.error));
  const Json json = Json::parse(cannot.out);
  CHECK(json["verdict"] == "impossible");
  CHECK(json["height"] == nullptr);
  CHECK(json["step"] == 1);
  CHECK(json["proof"] == Json::array({"a", "b"}));
  CHECK(json["spill"]["buffers"] == Json::array({"b"}));
  CHECK(json["spill"]["bytes"] == 50);
  CHECK(json["spill"]["proven"] == true);
  CHECK(says(run_tool("offsets --capacity 149 " + file).out, "the fewest bytes there are: b"));
}

TEST_CASE("offsets: columns by their names, in any order; the last step itself as end") {
  const test::TemporaryFolder folder;
  const std::string text =
      "size, note,end,buffer_id,start,alignment,offset,may_replace,memories,stream\r\n"
      "100,first,1,kv cache,0,64,128,,0,0\r\n"
      "64,in place,3,x,1,1,,,1,1\r\n"
      "64,,5,y,3,1,,x,,1\r\n\r\n";
  const Outcome outcome =
      run_tool("offsets --json --capacity 1KiB,1KiB --stream-wait 10 " + write_graph(folder, text));
  CHECK_MESSAGE(outcome.status == 0, outcome.error);
  CHECK(outcome.error == "allot: note: column 'note' is not used\n");
  const Json json = Json::parse(outcome.out);
  CHECK(json["offsets"][0] == 128);
  CHECK(json["offsets"][1] == json["offsets"][2]);
  CHECK(json["memories"] == Json::array({0, 1, 1}));
  CHECK(json["memory_bytes"] == Json::array({228, 64}));
}

TEST_CASE("offsets --out: what shares a place can be read again") {
  const test::TemporaryFolder folder;
  const std::string out = (folder.path() / "placed.csv").string();
  const std::string text = "id,lower,upper,size,may_replace\na,0,2,64,\nb,1,4,64,a\nc,3,5,64,b\n";
  CHECK(run_tool("offsets " + write_graph(folder, text) + " --out " + out).status == 0);
  const Outcome again = run_tool("offsets --json " + out);
  CHECK_MESSAGE(again.status == 0, again.error);
  CHECK(Json::parse(again.out)["height"] == 64);
}

TEST_CASE("offsets: what is malformed is one line with the line's number, and status 1") {
  const test::TemporaryFolder folder;
  const std::string head = "id,lower,upper,size\n";
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "the file is empty"},
      {"\n\n", "the file is empty"},
      {"id,lower,size\na,0,1\n", ":1: no column 'upper'"},
      {"a,0,1,5\n", ":1: no column 'id'"},
      {"id,id,lower,upper,size\n", ":1: column 'id' is there twice"},
      {"id,buffer,lower,upper,size\n", ":1: column 'buffer' says again"},
      {"id,lower,upper,end,size\n", ":1: columns 'upper' and 'end'"},
      {head + "a,0,1\n", ":2: 3 fields, but the first line names 4 columns"},
      {head + "a,0,1,5,6\n", ":2: 5 fields"},
      {head + "a,0,1,-5\n", ":2: size '-5' is not a whole number"},
      {head + "a,0,1,5.5\n", ":2: size '5.5' is not a whole number"},
      {head + "a,0,1,\n", ":2: size '' is not a whole number"},
      {head + "a,0,1,99999999999999999999\n", "is too large for 64 bits"},
      {head + "a,0,1,5\nb,4,3,5\n", ":3: buffer 'b' ends before it begins"},
      {head + "a,4,4,5\n", ":2: buffer 'a' ends before it begins"},
      {head + "a,0,0,5\n", ":2: upper is 0"},
      {head + ",0,1,5\n", ":2: the id is empty"},
      {head + "a,0,1,5\n\na,2,3,5\n", ":4: buffer 'a' is there twice, first in line 2"},
      {"id,lower,end,size\na,0,18446744073709551615,5\n", ":2: end 18446744073709551615 has no"},
      {"id,lower,upper,size,alignment\na,0,1,5,3\n", ":2: alignment 3 is not a power of two"},
      {"id,lower,upper,size,gaps\na,0,9,5,2-3\n", ":2: gaps '2-3'"},
      {"id,lower,upper,size,may_replace\na,0,9,5,b\n", ":2: may_replace 'b' is not another"},
      {"id,lower,upper,size,may_replace\na,0,9,5,a\n", ":2: may_replace 'a' is not another"},
      {"id,lower,upper,size,memories\na,0,9,5,1\n", "buffer 0 names memory 1, but there are 0"},
      {"id,lower,upper,size,offset\na,0,9,5,0\nb,0,9,5,3\n", "have places that overlap"},
      {head + "a,0,1,18446744073709551615\nb,0,1,5\n", "exceed 2^64 bytes"},
  };
  for (const auto& [text, part] : cases) {
    const std::string& shown = text;
    INFO(shown);
    const Outcome outcome = run_tool("offsets " + write_graph(folder, text));
    CHECK(outcome.status == 1);
    CHECK_MESSAGE(test::is_one_line(outcome.error), outcome.error);
    CHECK_MESSAGE(says(outcome.error, part), outcome.error);
    CHECK(outcome.out.empty());
  }
  CHECK(run_tool("offsets " + folder.path().string()).status == 1);
  CHECK(run_tool("offsets " + (folder.path() / "none").string()).status == 1);
  CHECK(run_tool("offsets").status == 2);
  CHECK(run_tool("offsets x --work 0").status == 2);
}

TEST_CASE("offsets: no buffers are a plan of no bytes") {
  const test::TemporaryFolder folder;
  const std::string svg = (folder.path() / "empty.svg").string();
  const Outcome outcome =
      run_tool("offsets --json " + write_graph(folder, "id,lower,upper,size\n") + " --svg " + svg);
  CHECK(outcome.status == 0);
  CHECK(Json::parse(outcome.out)["height"] == 0);
  CHECK(test::read_file(svg).ends_with("</svg>\n"));
}
