// SPDX-License-Identifier: MIT
// `allot replay`: traces of others, told by what they hold, over every strategy.
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

std::string write_trace(const test::TemporaryFolder& folder, const std::string& text) {
  return test::write_text(folder, "trace", text);
}

Json replayed(const std::string& text) {
  const test::TemporaryFolder folder;
  const Outcome outcome = run_tool("replay --json " + write_trace(folder, text));
  CHECK_MESSAGE(outcome.status == 0, outcome.error);
  return Json::parse(outcome.out);
}

/// What Python writes for a snapshot with an allocation, its free and another one.
std::string snapshot() {
  const auto text = [](const std::string& value) {
    return std::string{"\x8c"} + static_cast<char>(value.size()) + value + "\x94";
  };
  const auto number = [](std::uint64_t value) {
    std::string bytes{"\x8a\x08", 2};
    for (int i = 0; i < 8; ++i) bytes += static_cast<char>(value >> 8 * i & 0xff);
    return bytes;
  };
  const auto event = [&](const std::string& action, std::uint64_t at, std::uint64_t size) {
    return "}(" + text("action") + text(action) + text("addr") + number(at) + text("size") +
           number(size) + text("stream") + "K\x07" + text("frames") + "]" + "u";
  };
  const std::uint64_t base = 0x7f00'0000'0000;
  return std::string{"\x80\x04\x95\0\0\0\0\0\0\0\0}(", 13} + text("segments") + "]" +
         text("device_traces") + "](](" + event("alloc", base, 1000) +
         event("free_requested", base, 1000) + event("free_completed", base, 1000) +
         event("alloc", base + 512, 2000) + "ee" + "u.";
}

}  // namespace

TEST_CASE("replay: a table, the type to write, and why") {
  const test::TemporaryFolder folder;
  const std::string file = write_trace(folder,
                                       "# allot-trace 1 built capacity=4096\na 0 100 256\n"
                                       "a 1 300 256\nf 0\na 2 90 256\nf 2\nf 1\n");
  const Outcome outcome = run_tool("replay " + file + " --capacity 600");
  CHECK_MESSAGE(outcome.status == 0, outcome.error);
  for (const char* const part :
       {"3 allocations, 3 frees", "allot::Arena<allot::", "needs", "(simulated)", "refused"})
    CHECK_MESSAGE(says(outcome.out, part), outcome.out);
  const Json json = Json::parse(run_tool("replay --json " + file).out);
  CHECK(json["peak_bytes"] == 400);
  CHECK(json["recommended"]["capacity"] == 768);
  CHECK(json["recommended"] == json["recommended_for"]["memory"]);
  CHECK(json["rows"].size() == 9);
}

TEST_CASE("replay: PyTorch's snapshots and events, RMM's log, Umpire's two logs") {
  const Json of_snapshot = replayed(snapshot());
  CHECK(of_snapshot["format"] == "PyTorch memory snapshot");
  CHECK(of_snapshot["allocations"] == 2);
  CHECK(of_snapshot["frees"] == 1);
  CHECK(of_snapshot["peak_bytes"] == 2000);
  CHECK(of_snapshot["recommended"]["capacity"] == 2048);

  const Json of_events = replayed(
      "action,addr,size,stream\nalloc,7f00,1000,0\nsegment_alloc,7f00,2097152,0\n"
      "free_requested,7f00,1000,0\nfree_completed,7f00,1000,0\nalloc,7f00,600,0\n");
  CHECK(of_events["format"] == "PyTorch events, CSV");
  CHECK(of_events["peak_bytes"] == 1000);

  const Json of_rmm = replayed(
      "Thread,Time,Action,Pointer,Size,Stream\n1,10:00:00,allocate,0x7f0a,512,0x0\n"
      "1,10:00:01,allocate failure,0x0,9999999,0x0\n1,10:00:02,free,0x7f0a,512,0x0\n");
  CHECK(of_rmm["format"] == "RMM log");
  CHECK(of_rmm["allocations"] == 1);
  CHECK(of_rmm["live_at_end"] == 0);

  const Json of_umpire = replayed(
      R"({"category":"operation","name":"allocate","numeric_args":{"size":128},"string_args":{"pointer":"0x10"}})"
      "\n"
      R"({"category":"operation","name":"reallocate","numeric_args":{"size":64},"string_args":{"current_ptr":"0x10"}})"
      "\n"
      R"({"category":"operation","name":"reallocate","numeric_args":{},"string_args":{"new_ptr":"0x50"}})"
      "\n"
      R"({"category":"operation","name":"deallocate","string_args":{"pointer":"0x50"}})"
      "\n");
  CHECK(of_umpire["allocations"] == 2);
  CHECK(of_umpire["frees"] == 2);

  const Json of_old = replayed(
      R"({ "kind":"replay", "event": "allocate", "payload": { "size": 10 } })"
      "\n"
      R"({ "kind":"replay", "event": "allocate", "payload": { "size": 10 }, "result": { "memory_ptr": "0x20" } })"
      "\n");
  CHECK(of_old["allocations"] == 1);
}

TEST_CASE("replay: a snapshot in protocol 0 and with several devices, as Python writes them") {
  const Json of_text = replayed(
      "(dp0\nVsegments\np1\n(lp2\nsVdevice_traces\np3\n(lp4\n(lp5\n(dp6\nVaction\np7\nValloc\np8\n"
      "sVaddr\np9\nL139637976727552L\nsVsize\np10\nI512\nsVstream\np11\nI0\nsVframes\np13\n(lp14\n"
      "saa(lp20\n(dp15\ng7\ng8\nsg9\nL139637976728064L\nsg10\nI1024\nsg11\nI0\nsa"
      "as.");
  CHECK(of_text["allocations"] == 2);
  CHECK(of_text["peak_bytes"] == 1536);
}

TEST_CASE("replay: an allot-trace 2, as text and in bytes, whole and cut off") {
  const test::TemporaryFolder folder;
  const std::string lines =
      "# allot-trace 2\nstart process=4711 sample=1\nname value=1 text=weights\nunit value=256\n"
      "allocate time=1000 offset=512 bytes=100 alignment=512 name=1\n"
      "refuse time=1500 bytes=9999 value=1\nresize time=1500 offset=512 bytes=700\n"
      "allocate time=1600 offset=2048 bytes=300\nfree time=2000 offset=512\n";
  const std::string text = write_trace(folder, lines);
  const std::string bytes = (folder.path() / "bytes").string();
  const std::string back = (folder.path() / "back").string();
  Json json = Json::parse(run_tool("replay --json " + text + " --binary " + bytes).out);
  CHECK(json["format"] == "allot-trace 2");
  CHECK(json["allocations"] == 3);
  CHECK(json["peak_bytes"] == 1000);
  CHECK(json["refused"] == 1);
  CHECK(json["rows"][0]["unit"] == 256);
  CHECK(json["recommended"].is_object());
  json["file"] = "";
  Json of_bytes = Json::parse(run_tool("replay --json " + bytes + " --text " + back).out);
  CHECK(of_bytes["recommended"]["capacity"] == json["recommended"]["capacity"]);
  CHECK(test::read_file(back) == lines);
  CHECK(run_tool("replay " + bytes + " --text " + back).status == 1);

  std::filesystem::resize_file(bytes, std::filesystem::file_size(bytes) - 1);
  const Outcome cut = run_tool("replay " + bytes);
  CHECK_MESSAGE(says(cut.out, "cut off in its last event"), cut.out);
  CHECK(says(cut.out, "3 allocations, 1 frees"));  // the resized block's

  const std::string second = "start process=4711 sample=64\nallocate time=0 offset=0 bytes=9\n";
  const Json sampled = replayed(lines + second);
  CHECK(sampled["sample"] == 64);
  CHECK(sampled["frees"] == 3);  // the first recording's last block is gone
  CHECK(sampled["recommended"] == nullptr);
  CHECK(replayed(lines + "lost value=3\n")["lost"] == 3);
}

TEST_CASE("replay: allocations that were recorded twice, and equal rows, are mentioned") {
  const test::TemporaryFolder folder;
  const std::string file =
      write_trace(folder, "# allot-trace 1\na 0 256 256\na 0 256 256\na 1 0 1\n");
  const Outcome outcome = run_tool("replay " + file);
  for (const char* const part :
       {"1 allocations were recorded twice", "1 allocations of no bytes", "as much: FixedBlocks<"})
    CHECK_MESSAGE(says(outcome.out, part), outcome.out);
  const Json json = Json::parse(run_tool("replay --json " + file).out);
  CHECK(json["repeated"] == 1);
  CHECK(json["empty"] == 1);
}

TEST_CASE("replay: frees of what was never seen made are shown, and nothing is recommended") {
  const test::TemporaryFolder folder;
  const std::string file = write_trace(folder,
                                       "action,addr,size,stream\nfree_completed,10,64,0\n"
                                       "alloc,20,64,0\n");
  const Json json = Json::parse(run_tool("replay --json " + file).out);
  CHECK(json["unknown_frees"] == 1);
  CHECK(json["recommended"] == nullptr);
  CHECK(says(run_tool("replay " + file).out, "nothing is recommended"));
}

TEST_CASE("replay: requests with prefixes have the hit rates that are known of them") {
  const Json small = replayed(
      "{\"timestamp\": 0, \"hash_ids\": [1, 2]}\n{\"hash_ids\": [1, 3]}\n{\"hash_ids\": [1, 2]}\n");
  CHECK(small["requests"] == 3);
  CHECK(small["prompt_blocks"] == 6);
  CHECK(small["different_blocks"] == 3);
  CHECK(small["hit_rates"].back()["blocks"] == 3);
  for (const char* const key : {"least_recent", "least_frequent", "decayed_hits", "waiting_kept",
                                "waiting_kept_decayed_hits", "clairvoyant"})
    CHECK(small["hit_rates"].back()[key] == 0.5);
  for (const auto& [key, below] : small["hit_rates"].back()["below_clairvoyant"].items())
    CHECK_MESSAGE(below == 0, key);

  const auto data = test::data_dir();
  if (!data) return;
  const test::TemporaryFolder folder;
  const std::string unpacked = (folder.path() / "requests").string();
  const std::string packed =
      (*data / "traces" / "mooncake" / "conversation_trace.jsonl.gz").string();
  REQUIRE(std::system(("gunzip -c " + packed + " >" + unpacked).c_str()) == 0);
  const Outcome outcome = run_tool("replay --json --blocks 10000 " + unpacked);
  CHECK_MESSAGE(outcome.status == 0, outcome.error);
  const Json json = Json::parse(outcome.out);
  CHECK(json["prompt_blocks"] == 288'500);
  CHECK(json["different_blocks"] == 182'790);
  const Json& rates = json["hit_rates"][0];
  CHECK(rates["least_recent"].get<double>() == doctest::Approx(0.2112).epsilon(0.0005));
  CHECK(rates["clairvoyant"].get<double>() == doctest::Approx(0.3664).epsilon(0.0005));
  CHECK(rates["below_clairvoyant"]["least_recent"].get<double>() ==
        doctest::Approx(0.1552).epsilon(0.001));
  CHECK(rates["decayed_hits"].get<double>() > rates["least_recent"].get<double>());
  CHECK(rates["waiting_kept"].get<double>() > rates["least_recent"].get<double>());
  const std::string table = run_tool("replay --blocks 10000 --waiting 0 " + unpacked).out;
  CHECK_MESSAGE(says(table, "LeastRecentlyUsed              0.2112                 0.1552"), table);
  CHECK_MESSAGE(says(table, "WaitingKept<>                  0.2112                 0.1552"), table);
}

TEST_CASE("replay: requests with token counts are traffic of a KV cache of a model's shape") {
  const test::TemporaryFolder folder;
  // Of 16 tokens a block: 3 and 1 blocks, for 4 and 2 tokens' time, at the same time.
  const std::string azure = write_trace(folder,
                                        "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
                                        "2023-12-31 23:59:59.9000000,40,4\r\n"
                                        "2024-01-01 00:00:00.0000000+00:00,10,2");
  const Json json = Json::parse(run_tool("replay --json --kv-shape 32,8,128,128 " + azure).out);
  CHECK(json["format"] == "requests with token counts");
  CHECK(json["requests"] == 2);
  CHECK(json["prompt_tokens"] == 50);
  CHECK(json["output_tokens"] == 6);
  CHECK(json["token_bytes"] == 131072);
  CHECK(json["peak_sequences"] == 2);
  const Json& of_16 = json["kv_traffic"][1];
  CHECK(of_16["block_tokens"] == 16);
  CHECK(of_16["peak_blocks"] == 4);
  CHECK(of_16["peak_bytes"] == 4 * 2097152);
  const Json full =
      Json::parse(run_tool("replay --json --kv-shape 32,8,128,128 --capacity 6MiB " + azure).out);
  CHECK(full["kv_traffic"][1]["waited"] == 1);
  CHECK(full["kv_traffic"][1]["refused"] == 0);
  CHECK(says(run_tool("replay --kv-shape 32,8,128,128 --capacity 6MiB " + azure).out, "refused"));
  // The same of lines that have keys of blocks, too; the time is in milliseconds.
  const std::string mooncake = write_trace(
      folder,
      "{\"timestamp\": 0, \"input_length\": 40, \"output_length\": 4, \"hash_ids\": [0]}\n"
      "{\"timestamp\": 100, \"input_length\": 10, \"output_length\": 2, \"hash_ids\": [1]}\n");
  CHECK(Json::parse(
            run_tool("replay --json --kv-shape 32,8,128,128 " + mooncake).out)["kv_traffic"] ==
        json["kv_traffic"]);
  for (const auto& [options, message] : std::vector<std::pair<std::string, std::string>>{
           {"", "give --model FILE.gguf, or --kv-shape"},
           {"--kv-shape 1,2,3 ", "--kv-shape has 3 numbers"},
           {"--kv-shape 1,0,3,4 ", "--kv-shape: "},
           {"--model /nowhere.gguf ", "/nowhere.gguf"}}) {
    const Outcome outcome = run_tool(
        "replay " + options +
        write_trace(folder, "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-01-01 00:00:00,1,1\n"));
    CHECK(outcome.status == 1);
    CHECK_MESSAGE(says(outcome.error, message), outcome.error);
  }
  const auto data = test::data_dir();
  if (!data) return;
  const std::string unpacked = (folder.path() / "azure").string();
  const std::string packed =
      (*data / "traces" / "azure-llm" / "AzureLLMInferenceTrace_conv.csv.gz").string();
  REQUIRE(std::system(("gunzip -c " + packed + " >" + unpacked).c_str()) == 0);
  const Json real = Json::parse(run_tool("replay --json --kv-shape 32,8,128,128 " + unpacked).out);
  CHECK(real["requests"] == 19'366);
  CHECK(real["prompt_tokens"] == 22'361'870);
  CHECK(real["output_tokens"] == 4'088'665);
}

TEST_CASE("replay: what is malformed is one line, with its place, and status 1") {
  const test::TemporaryFolder folder;
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "the file is empty"},
      {"{\"hash_ids\": [1]}\n{\"hash_ids\": [-1]}\n", ":2: a hash id is not"},
      {"{\"hash_ids\": [1]}\n{\"x\": 1}\n", ":2: no list 'hash_ids'"},
      {"{\"hash_ids\": []}\n", "no blocks in it"},
      {"TIMESTAMP,ContextTokens,GeneratedTokens,Cost\n", ":1: the columns are not"},
      {"TIMESTAMP,ContextTokens,GeneratedTokens\n", "no requests in it"},
      {"TIMESTAMP,ContextTokens,GeneratedTokens\n2024-01-01 00:00:00,1\n", ":2: 2 fields, not 3"},
      {"TIMESTAMP,ContextTokens,GeneratedTokens\n2024-13-01 00:00:00,1,1\n",
       ":2: timestamp '2024-13-01 00:00:00' is not"},
      {"TIMESTAMP,ContextTokens,GeneratedTokens\n2024-01-01 00:00:00.,1,1\n", ":2: timestamp"},
      {"TIMESTAMP,ContextTokens,GeneratedTokens\n\n2024-01-01 00:00:00,-1,1\n",
       ":3: ContextTokens '-1' is not a number of tokens"},
      {"TIMESTAMP,ContextTokens,GeneratedTokens\n2024-01-01 00:00:00,1,99999999\n",
       ":2: GeneratedTokens '99999999' is not a number of tokens from 0 to 16777216"},
      {"hello\n", "the format is unknown; give an allot-trace"},
      {"\x1f\x8b\x08", "compressed by gzip"},
      {"# allot-trace 1\na 0 100\n", ":2: 'a 0 100' is neither"},
      {"# allot-trace 1\na 0 100 3\n", ":2: alignment 3 is not a power of two"},
      {"# allot-trace 1\na 0 -1 1\n", ":2: size '-1' is not a whole number"},
      {"# allot-trace 1\n", "no allocations"},
      {"# allot-trace 2\nfree offset=0\n", ":2: the first record is not a start: 'free offset=0'"},
      {"\x10\x01"
       "allot-trace 2\x01\x01\x01\x03",
       "byte 17: a record is shorter than its kind"},
      {"action,addr,size\nalloc,1,2\n", ":1: no column 'stream'"},
      {"action,addr,size,stream\nalloc,1,2\n", ":2: 3 fields"},
      {"action,addr,size,stream\nalloc,xyz,2,0\n", ":2: address 'xyz'"},
      {"{\"category\":\n", ":1: not a JSON object"},
      {"{\"category\":\"operation\",\"name\":\"allocate\"}\n", "no 'size' of at least 0"},
      {"\x80\x04", "byte 2: the pickle ends in the middle"},
      {std::string{"\x80\x04}.", 4}, "no list 'device_traces'"},
      {"\x80\x02"
       "cos\nsystem\n(S'true'\ntR.",
       "byte 2: opcode 99 names or calls something"},
      {"\x80\x09.", "protocol 9"},
      {"\x80\x04]a.", "needs"},
      {"\x80\x04(.", "needs"},
      {"\x80\x04u.", "mark"},
      {"\x80\x04h\x05.", "was not remembered"},
      {snapshot().substr(0, snapshot().size() - 3), "ends in the middle"},
      {"\x80\x04}\x8c\x0d"
       "device_traces](}es.",
       "byte 21: what 'device_traces' holds is not a list"},
      {"\x80\x04}]Ns.", "a dictionary's key is a container"},
      {"\x80\x04}\x8c\x0d"
       "device_traces]]}aas.",
       "byte 21: an event has no 'action'"},
      {"\x80\x04" + std::string(300'000, 'N'), "more than 262,144 values wait"},
  };
  for (const auto& each : cases) {
    const std::string& text = each.first;
    const std::string& part = each.second;
    INFO(text);
    const Outcome outcome = run_tool("replay " + write_trace(folder, text));
    CHECK(outcome.status == 1);
    CHECK_MESSAGE(test::is_one_line(outcome.error), outcome.error);
    CHECK_MESSAGE(says(outcome.error, part), outcome.error);
  }
  CHECK(run_tool("replay").status == 2);
}

TEST_CASE("replay: traces recorded on a GPU; an arena takes less than PyTorch's allocator") {
  const std::filesystem::path traces =
      std::filesystem::path{ALLOT_SOURCE_ROOT} / "bench" / "traces";
  const test::TemporaryFolder folder;
  const std::string unpacked = (folder.path() / "train.csv").string();
  const std::string command =
      "gunzip -c " + (traces / "pytorch-train.csv.gz").string() + " >" + unpacked;
  REQUIRE(std::system(command.c_str()) == 0);
  const Outcome outcome = run_tool("replay --json " + unpacked);
  CHECK_MESSAGE(outcome.status == 0, outcome.error);
  const Json json = Json::parse(outcome.out);
  CHECK(json["allocations"] == 37178);
  CHECK(json["unknown_frees"] == 0);
  std::uint64_t caching = 0;
  for (const Json& row : json["rows"]) {
    if (row["name"].get<std::string>().starts_with("PyTorch")) caching = row["capacity"];
  }
  CHECK(json["recommended"]["capacity"].get<std::uint64_t>() < caching);
  // Best first; a pool for each policy of classes; coarser units, which count for memory, too.
  std::uint64_t least = 0;
  std::uint64_t best = 0;
  std::size_t pools = 0;
  std::size_t coarser = 0;
  for (const Json& row : json["rows"]) {
    CHECK(row["capacity"] >= least);
    least = row["capacity"];
    if (best == 0 && !row["simulated"].get<bool>()) best = least;
    pools += row.contains("waits");
    if (row.value("coarser", false)) {
      ++coarser;
      CHECK(row["unit"] > 512);
    }
  }
  CHECK(pools == 3);
  CHECK(coarser == 18);
  CHECK(json["recommended"]["capacity"] == best);
}

TEST_CASE("replay: Umpire's own logs, with the peaks that are known of them") {
  const auto data = test::data_dir();
  if (!data) return;
  const test::TemporaryFolder folder;
  const std::filesystem::path logs = *data / "traces" / "umpire";
  const std::string unpacked = (folder.path() / "output.replay").string();
  const std::string command = "gunzip -c " + (logs / "output.replay.gz").string() + " >" + unpacked;
  REQUIRE(std::system(command.c_str()) == 0);
  for (const auto& each :
       {std::pair{unpacked, 372}, std::pair{(logs / "tut_replay_log.json").string(), 32'880}}) {
    const std::string& file = each.first;
    INFO(file);
    const Outcome outcome = run_tool("replay --json " + file);
    CHECK_MESSAGE(outcome.status == 0, outcome.error);
    const Json json = Json::parse(outcome.out);
    CHECK(json["peak_bytes"] == each.second);
    CHECK(json["unknown_frees"] == 0);
    CHECK(json["recommended"].is_object());
  }
}
