// SPDX-License-Identifier: MIT
// Where tensors go: --place, --fit with the host, --emit, --with, --draft, memory_sources.
#include <allot/gguf/writer/writer.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "support/models.hpp"
#include "support/test_data.hpp"
#include "tool/run_program.hpp"

namespace {

using namespace allot;
using test::Outcome;
using test::run_tool;
using test::says;

/// A model of experts: 4 layers of 3 tensors of 8 experts each, one of another size.
std::string write_experts(const std::filesystem::path& path) {
  gguf::Writer writer;
  writer.add("general.architecture", "qwen3moe");
  writer.add("qwen3moe.block_count", std::uint32_t{4});
  writer.add("qwen3moe.context_length", std::uint32_t{4096});
  writer.add("qwen3moe.embedding_length", std::uint32_t{64});
  writer.add("qwen3moe.attention.head_count", std::uint32_t{4});
  writer.add("qwen3moe.attention.head_count_kv", std::uint32_t{2});
  writer.add("qwen3moe.expert_count", std::uint32_t{8});
  writer.add("qwen3moe.expert_used_count", std::uint32_t{2});
  const auto add = [&](const std::string& name, const gguf::Shape& shape) {
    writer.add_tensor(name, gguf::TensorType::F16, shape, test::fill_with_offsets);
  };
  add("token_embd.weight", {{64, 1024, 1, 1}, 2});
  for (int layer = 0; layer < 4; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    add(prefix + "attn_q.weight", {{64, 64, 1, 1}, 2});
    add(prefix + "ffn_gate_exps.weight", {{64, 128, 8, 1}, 3});
    add(prefix + "ffn_up_exps.weight", {{64, 128, 8, 1}, 3});
    add(prefix + "ffn_down_exps.weight", {{layer == 2 ? 96U : 128U, 64, 8, 1}, 3});
  }
  add("output_norm.weight", {{64, 1, 1, 1}, 1});
  add("output.weight", {{64, 1024, 1, 1}, 2});
  writer.write(path);
  return path.string();
}

nlohmann::json json_of(const Outcome& outcome) { return nlohmann::json::parse(outcome.out); }

std::uint64_t bytes_on(const nlohmann::json& plan, const std::string& device) {
  std::uint64_t bytes = 0;
  for (const auto& arena : plan["arenas"])
    bytes += arena["device"] == device ? arena["capacity"].get<std::uint64_t>() : 0;
  return bytes;
}

}  // namespace

TEST_CASE("plan --fit moves the experts that cost the fewest bytes, and no more than must go") {
  const test::TemporaryFolder folder;
  const std::string file = write_experts(folder.path() / "moe.gguf");
  const auto all = json_of(run_tool("plan --json --context 256 --margin none " + file));
  const std::uint64_t total = all["total_bytes"];
  const std::uint64_t expert = 64 * 128 * 8 * 2;
  const std::uint64_t small = 64 * 96 * 8 * 2;
  const std::string plan = "plan --json --margin none --device staged-host,host " + file + " --fit";
  const auto moved = [&](std::uint64_t missing) {
    const Outcome outcome =
        run_tool(plan + " --context 256 --memory " + std::to_string(total - missing) + ",1GiB");
    CHECK(outcome.status == 0);
    const auto json = json_of(outcome);
    CHECK(json["context"] == 256);
    CHECK(json["fits"] == true);
    return bytes_on(json, "host");
  };
  const auto one = json_of(run_tool(plan + " --context 256 --memory " + std::to_string(total - 1) +
                                    ",1GiB"))["experts_on_host"];
  CHECK(one["tensors"] == 1);
  CHECK(one["bytes"] == small);
  CHECK(one["bytes_a_token"] == small / 8 * 2);
  CHECK(moved(0) == 0);
  CHECK(moved(1) == small);
  CHECK(moved(small) == small);
  CHECK(moved(small + 1) == expert);
  CHECK(moved(expert + 1) == expert + small);
  CHECK(moved(11 * expert + small) == 11 * expert + small);
}

TEST_CASE("plan --fit lowers the trained context only if all experts on the host do not suffice") {
  const test::TemporaryFolder folder;
  const std::string file = write_experts(folder.path() / "moe.gguf");
  const std::uint64_t trained =
      json_of(run_tool("plan --json --context 4096 --margin none " + file))["total_bytes"];
  const std::uint64_t experts = 64 * 8 * 2 * (11 * 128 + 96);
  const auto fit = [&](std::uint64_t gpu) {
    return json_of(run_tool("plan --json --margin none --device staged-host,host --fit " + file +
                            " --memory " + std::to_string(gpu) + ",1GiB"));
  };
  CHECK(fit(trained)["context"] == 4096);
  CHECK(bytes_on(fit(trained), "host") == 0);
  CHECK(fit(trained - experts)["context"] == 4096);
  CHECK(fit(trained - experts)["limited_by"] == "training");
  CHECK(bytes_on(fit(trained - experts), "host") == experts);
  const auto less = fit(trained - experts - 1);
  CHECK(less["context"] < 4096);
  CHECK(less["context"] > 4000);
  CHECK(less["limited_by"] == "memory");
  CHECK(bytes_on(less, "host") == experts);
  // Without the host, a context and a search for one are two wishes.
  const Outcome both = run_tool("plan --fit --context 5 " + file);
  CHECK(both.status == 2);
  CHECK(test::is_one_line(both.error));
}

TEST_CASE(
    "plan --place puts tensors where their names say, and refuses devices that are not there") {
  const test::TemporaryFolder folder;
  const std::string file = write_experts(folder.path() / "moe.gguf");
  const std::string plan =
      "plan --json --margin none " + file + " --device staged-host,host --memory 1GiB,1GiB";
  CHECK(bytes_on(json_of(run_tool(plan + " --place 'blk.*.ffn_up_exps.*=host'")), "host") ==
        4 * 64 * 128 * 8 * 2);
  const auto two = json_of(run_tool(plan + " --place 'blk.[01].*_exps.*=staged-host' --place "
                                           "'*_exps.*=host' --place token_embd.weight=host"));
  CHECK(bytes_on(two, "host") == 64 * 8 * 2 * (5 * 128 + 96) + 64 * 1024 * 2);
  CHECK(two["places"][0]["items"] == 6);
  CHECK(two["places"][1]["bytes"] == 64 * 8 * 2 * (5 * 128 + 96));
  CHECK(says(run_tool("plan " + file + " --place 'nothing*=host'").out, "no item has such a name"));
  for (const char* wrong : {"'*=hip:3'", "'=host'", "'abc'", "'abc='"}) {
    INFO(wrong);
    const Outcome outcome = run_tool(plan + " --place " + wrong);
    CHECK(outcome.status == 2);
    CHECK(test::is_one_line(outcome.error));
  }
}

TEST_CASE("plan --emit llama prints the options of llama.cpp that do the same") {
  const test::TemporaryFolder folder;
  const std::string file = write_experts(folder.path() / "moe.gguf");
  const std::string plan =
      "plan --margin none --device staged-host,host --memory 1GiB,1GiB --emit llama " + file;
  CHECK(run_tool(plan).out == "-m " + file + " -ngl 5\n");
  CHECK(run_tool(plan + " --context 512 --cache-type q8_0").out ==
        "-m " + file + " -ngl 5 -c 512 -ctk q8_0 -ctv q8_0\n");
  CHECK(
      says(run_tool(plan + " --context 512 --sequences 2").out, "-c 1024 -ctk f16 -ctv f16 -np 2"));
  CHECK(says(run_tool(plan + " --context 512 --for llama.cpp --parallel 2 --kv-unified --swa-full "
                             "--ubatch-size 128 --flash-attn on")
                 .out,
             "-c 512 -ctk f16 -ctv f16 -np 2 -kvu -ub 128 --swa-full -fa on"));
  CHECK(run_tool(plan + " --place 'blk.[01].ffn_*_exps.*=host'").out ==
        "-m " + file + " -ngl 5 --n-cpu-moe 2\n");
  CHECK(run_tool(plan + " --place 'blk.[13].ffn_up_exps.*=host'").out ==
        "-m " + file + " -ngl 5 -ot '^blk\\.(1|3)\\.ffn_up_exps\\.weight$=CPU'\n");
  CHECK(says(run_tool(plan).error, "llama.cpp keeps token_embd.weight on the CPU"));
  const auto json = json_of(run_tool(plan + " --json --place token_embd.weight=host"));
  CHECK(json["llama"] == nlohmann::json{"-m", file, "-ngl", "5"});
  // The host takes the first layers, as llama.cpp does.
  const std::uint64_t layer = 64 * 64 * 2 + 3 * 64 * 128 * 8 * 2;
  const std::uint64_t end = 64 * 1024 * 2 + 256;
  CHECK(run_tool("plan --margin none --device staged-host,host --memory " +
                 std::to_string(layer + end) + ",1GiB --emit llama " + file)
            .out == "-m " + file + " -ngl 2\n");
  CHECK(run_tool("plan --emit llama " + file).out == "-m " + file + " -ngl 0\n");
  // Of several GPUs the one with the first layers comes first, whatever its number.
  const std::string gpus = "plan --margin none --emit llama " + file + " --memory " +
                           std::to_string(4 * layer) + "," + std::to_string(2 * layer) + " ";
  CHECK(run_tool(gpus + "--device hip:1,hip:0").out ==
        "-m " + file + " -ngl 5 -dev ROCm1,ROCm0 -ts 3,2\n");
  CHECK(run_tool(gpus + "--device hip:0,hip:2").out ==
        "-m " + file + " -ngl 5 -dev ROCm0,ROCm2 -ts 3,2\n");
  CHECK(run_tool("plan --emit vllm " + file).status == 2);
}

TEST_CASE("plan and load take further files, each with its line, all in one budget") {
  const test::TemporaryFolder folder;
  const std::string file = test::write_llama(folder.path() / "model.gguf").string();
  const std::string draft = test::write_llama(folder.path() / "d.gguf", {.layers = 1}).string();
  gguf::Writer writer;
  writer.add("general.type", "mmproj");
  writer.add_tensor("mm.0.weight", gguf::TensorType::F32, {64, 16}, test::fill_with_offsets);
  const std::string projector = (folder.path() / "mmproj.gguf").string();
  writer.write(projector);
  const std::string files = file + " --with " + projector + " --draft " + draft + " --context 64";

  const auto alone = json_of(run_tool("plan --json " + file + " --context 64"));
  const auto plan = json_of(run_tool("plan --json " + files));
  CHECK(plan["tensors"] == alone["tensors"]);
  CHECK(plan["tensor_bytes"] == alone["tensor_bytes"]);
  CHECK(plan["cache_bytes"] == alone["cache_bytes"]);
  REQUIRE(plan["files"].size() == 3);
  CHECK(plan["files"][0]["kind"] == "model");
  CHECK(plan["files"][1]["kind"] == "mmproj");
  CHECK(plan["files"][1]["tensor_bytes"] == 4096);
  CHECK(plan["files"][2]["kind"] == "draft");
  CHECK(plan["draft"]["cache_bytes"] == alone["cache_bytes"].get<std::uint64_t>() / 4);
  CHECK(plan["draft"]["caches"].size() == 1);
  const auto of_draft = json_of(run_tool("plan --json " + draft + " --context 64"));
  CHECK(plan["total_bytes"] == alone["total_bytes"].get<std::uint64_t>() +
                                   of_draft["total_bytes"].get<std::uint64_t>() + 4096);
  const Outcome text = run_tool("plan " + files);
  CHECK(says(text.out, "mmproj.gguf"));
  CHECK(says(text.out, "draft"));

  CHECK(says(run_tool("plan --emit llama " + files).out,
             "--mmproj " + projector + " -md " + draft + " -ngl 0"));

  const Outcome loaded = run_tool("load --json --verify " + files);
  CHECK(loaded.status == 0);
  CHECK(json_of(loaded)["verified"] == true);
  CHECK(json_of(loaded)["device_allocations"] == 1);
  CHECK(json_of(loaded)["tensors"] == alone["tensors"]);

  const Outcome wrong = run_tool("plan " + file + " --with " + draft);
  CHECK(wrong.status == 1);
  CHECK(says(wrong.error, "neither a projector"));
  CHECK(run_tool("plan " + file + " --draft " + projector).status == 1);
}

TEST_CASE("an option that can be given again takes one argument each time, not the file after it") {
  const test::TemporaryFolder folder;
  const std::string file = test::write_llama(folder.path() / "m.gguf").string();
  for (const char* option : {"--memory 1GiB", "--place token_embd.weight=host", "--transpose none",
                             "--dequantize f16", "--fuse qkv", "--only 'blk*'"}) {
    INFO(option);
    CHECK(run_tool(std::string{"plan "} + option + " " + file + " --json").status == 0);
  }
  CHECK(run_tool("plan --device staged-host,host --memory 1GiB,1GiB " + file).status == 0);
}

TEST_CASE("plan: adapters and projectors keep no cache, whatever context is asked for") {
  const test::TemporaryFolder folder;
  for (const char* type : {"adapter", "mmproj"}) {
    gguf::Writer writer;
    writer.add("general.type", std::string_view{type});
    writer.add("general.architecture", "llama");
    writer.add_tensor("a", gguf::TensorType::F32, {64}, test::fill_with_offsets);
    const std::string file = (folder.path() / type).string();
    writer.write(file);
    for (const char* wanted : {" --context 100", " --fit"}) {
      const Outcome outcome = run_tool("plan --json --memory 1GiB " + file + wanted);
      CHECK(outcome.status == 0);
      CHECK(json_of(outcome)["cache_bytes"] == 0);
      CHECK(json_of(outcome)["assumed"].size() == 1);
    }
  }
}

TEST_CASE("plan --json names the sources of free memory") {
  const test::TemporaryFolder folder;
  const std::string file = test::write_llama(folder.path() / "m.gguf").string();
  const auto asked = json_of(run_tool("plan --json " + file));
  std::uint64_t least = ~std::uint64_t{0};
  bool has_meminfo = false;
  for (const auto& source : asked["memory_sources"]) {
    least = std::min(least, source["bytes"].get<std::uint64_t>());
    has_meminfo = has_meminfo || says(source["source"], "MemAvailable");
  }
  CHECK(has_meminfo);
  CHECK(asked["devices"][0]["free"] == least);
  const auto given = json_of(run_tool("plan --json --memory 4GiB " + file));
  CHECK(given["memory_sources"][0]["source"] == "--memory");
  // A limit of the process is one of them: 4 GiB of addresses.
  const std::string tool = std::getenv("ALLOT_TOOL");
  const auto limited =
      json_of(test::run_shell("ulimit -v 4194304; exec '" + tool + "' plan --json " + file));
  CHECK(limited["devices"][0]["free"] <= std::uint64_t{4} << 30);
  CHECK(limited["memory_sources"].dump().find("RLIMIT_AS") != std::string::npos);
}

TEST_CASE(
    "plan: every real layout has a table, with its experts on the host where a GPU is small") {
  const auto data = test::data_dir();
  if (!data) return;
  const std::string script = (*data / ".." / "tools" / "mk_sparse_gguf.py").string();
  for (const auto& entry : std::filesystem::directory_iterator{*data / "layouts"}) {
    if (entry.path().extension() != ".csv") continue;
    INFO(entry.path().string());
    const test::TemporaryFolder folder;
    REQUIRE(test::run_shell("python3 '" + script + "' '" + entry.path().string() + "' '" +
                            (folder.path() / "m.gguf").string() + "'")
                .status == 0);
    std::filesystem::path file = folder.path() / "m.gguf";
    if (!std::filesystem::exists(file)) file = folder.path() / "m-00001-of-00009.gguf";
    const Outcome table = run_tool("plan " + file.string() + " --memory 600GiB");
    CHECK(table.status == 0);
    CHECK(says(table.out, "to reserve"));
    const std::string beside =
        "plan --json --device staged-host,host --memory 24GiB,600GiB --fit " + file.string();
    const Outcome fit = run_tool(beside);
    CHECK(fit.status == 0);
    CHECK(fit.error.empty());
    const auto json = json_of(fit);
    CHECK(json["fits"] == true);
    CHECK(json["assumed"].dump().find("block_count") != std::string::npos);
    CHECK(bytes_on(json, "staged-host") <= std::uint64_t{24} << 30);
    const Outcome options = run_tool(beside.substr(0, 5) + beside.substr(12) + " --emit llama");
    CHECK(says(options.out, " -ngl "));
  }
}

TEST_CASE(
    "plan --shares: each rank's memory, what is repeated and why, and what cannot be divided") {
  const test::TemporaryFolder folder;
  const std::string file =
      test::write_llama(folder.path() / "m.gguf", {.layers = 4, .heads = 8, .kv_heads = 2})
          .string();
  const auto json =
      json_of(run_tool("plan --json --context 100 --shares pipeline:2,tensor:4 " + file));
  REQUIRE(json["ranks"].size() == 8);
  CHECK(json["shares"]["ranks"] == 8);
  CHECK(json["ranks"][5]["stage"] == 1);
  CHECK(json["ranks"][5]["part"] == 1);
  std::uint64_t total = 0;
  for (const auto& rank : json["ranks"]) {
    total += rank["total_bytes"].get<std::uint64_t>();
    CHECK(rank["cache_bytes"] == 2 * 100 * 2 * 32 * 2);  // layers, tokens, K and V, a head, f16
  }
  CHECK(json["total_bytes"] == total);
  CHECK(json["repeated"][0]["tensor"] == "blk.0.attn_norm.weight");
  CHECK(json["repeated"][0]["ranks"] == 4);

  const Outcome table = run_tool("plan --shares tensor:2 " + file);
  CHECK(table.status == 0);
  CHECK(says(table.out, "2 ranks: 1 stage of 2 parts"));
  CHECK(says(table.out, "it is a norm"));
  const Outcome small = run_tool("plan --shares tensor:2 --memory 1MiB --margin none " + file);
  CHECK(small.status == 1);
  CHECK(says(small.error, "the plan of rank 0 does not fit: short of "));

  const Outcome odd = run_tool("plan --shares tensor:3 " + file);
  CHECK(odd.status == 1);
  CHECK(says(odd.error, "numbers of parts that work, up to 64: 1, 2, 4, 8"));
  for (const char* const wrong :
       {"--shares three", "--shares tensor:0", "--shares tensor:2,",
        "--shares pipeline:", "--shares tensor:2 --fit", "--shares tensor:99999999999999999999"}) {
    INFO(wrong);
    CHECK(run_tool(std::string{"plan "} + wrong + " " + file).status == 2);
  }
}
