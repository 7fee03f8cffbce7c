// SPDX-License-Identifier: MIT
// allot plan's caches: whose rules count, what is said of them, and how far a context may grow.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "support/models.hpp"
#include "support/test_data.hpp"
#include "tool/run_program.hpp"

namespace {

using namespace allot;
using Json = nlohmann::json;
using test::Outcome;
using test::run_tool;
using test::says;

std::string model(const char* name) {
  const auto data = test::data_dir();
  return data ? (*data / "kv" / "models" / name).string() : std::string{};
}

}  // namespace

TEST_CASE("plan lists groups of layers, and their bytes are the caches and states") {
  if (!test::data_dir()) return;
  const Outcome outcome = run_tool("plan --json --context 4096 --for llama.cpp --parallel 4 " +
                                   model("granitehybrid.gguf"));
  REQUIRE(outcome.status == 0);
  const Json plan = Json::parse(outcome.out);
  std::uint64_t bytes = 0;
  for (const Json& group : plan["caches"]) {
    const std::uint64_t row =
        group["k_row_bytes"].get<std::uint64_t>() + group["v_row_bytes"].get<std::uint64_t>();
    CHECK(group["bytes"] == group["layers"].get<std::uint64_t>() *
                                group["cells"].get<std::uint64_t>() *
                                group["streams"].get<std::uint64_t>() * row);
    bytes += group["bytes"].get<std::uint64_t>();
  }
  CHECK(bytes ==
        plan["cache_bytes"].get<std::uint64_t>() + plan["state_bytes"].get<std::uint64_t>());
  CHECK(plan["caches"][0]["kind"] == "recurrent");
  CHECK(plan["caches"][0]["cells"] == 4);
  CHECK(plan["caches"][1]["streams"] == 4);
  CHECK(plan["prediction"].is_null());
  CHECK(plan["refused"].is_null());
  const Outcome text = run_tool("plan --context 4096 --sequences 2 " + model("gemma3.gguf"));
  CHECK(says(text.out, "6 layers x 65 tokens x 2 streams"));
}

TEST_CASE("what the engine refuses ends with 1, a line and the object; predictions are apart") {
  if (!test::data_dir()) return;
  const std::string llama = "plan --json --context 4096 --for llama.cpp ";
  const Outcome refused = run_tool(llama + "--cache-type q8_0 " + model("llama-head16-kv2.gguf"));
  CHECK(refused.status == 1);
  CHECK(test::is_one_line(refused.error));
  CHECK(says(refused.error, "llama.cpp refuses this: a head's key of 16"));
  CHECK(says(Json::parse(refused.out)["refused"].get<std::string>(), "blocks of 32"));
  const Json plan = Json::parse(run_tool(llama + "--mtp " + model("glm4moe-nextn.gguf")).out);
  CHECK(plan["cache_bytes"] == 1'572'864);
  CHECK(plan["prediction"]["cache_bytes"] == 524'288);
  CHECK(plan["total_bytes"] > 1'572'864 + 524'288);
}

TEST_CASE("an engine's switches belong to an engine, and what it names differently to none") {
  for (const char* const wrong :
       {"--parallel 2", "--kv-unified", "--ubatch-size 128", "--swa-full", "--flash-attn off",
        "--mtp", "--for llama.cpp --sequences 2", "--for llama.cpp --batch 2", "--for vllm",
        "--cache-type-k q2_k", "--parallel 0 --for llama.cpp"})
    CHECK_MESSAGE(run_tool(std::string{"plan m.gguf --context 8 "} + wrong).status == 2, wrong);
}

TEST_CASE("--fit stays within what the model was made for, and says both and what limits") {
  const test::TemporaryFolder folder;
  const std::string file = test::write_llama(folder.path() / "llama.gguf").string();
  const std::string plan =
      "plan --json --margin none " + file + " --memory 20MiB";  // 1 KiB a token
  const Json within = Json::parse(run_tool(plan + " --fit").out);
  CHECK(within["context"] == 4096);
  CHECK(within["limited_by"] == "training");
  CHECK(within["fitting_context"] > 10'000);
  const Json beyond = Json::parse(run_tool(plan + " --fit=memory").out);
  CHECK(beyond["context"] == within["fitting_context"]);
  CHECK(beyond["limited_by"] == "memory");
  CHECK(beyond["trained_context"] == 4096);
  CHECK(run_tool("plan --fit=all " + file).status == 2);
  if (!test::data_dir()) return;
  for (const char* const keeps_no_cache : {"bert.gguf", "mamba.gguf"}) {
    const Outcome fits = run_tool(std::string{"plan --json --fit "} + model(keeps_no_cache));
    CHECK(fits.status == 0);
    CHECK(Json::parse(fits.out)["cache_bytes"] == 0);
  }
  CHECK(says(run_tool("plan --fit " + model("bert.gguf")).out, "the model keeps nothing"));
}

TEST_CASE("--fit says so if not one token fits beside the weights") {
  const test::TemporaryFolder folder;
  const std::string file = test::write_llama(folder.path() / "llama.gguf").string();
  const auto weights = Json::parse(run_tool("plan --json " + file).out)["total_bytes"];
  const std::string plan = "plan --margin none --fit " + file + " --memory " + weights.dump();
  const Outcome text = run_tool(plan);
  CHECK(text.status == 1);
  CHECK(says(text.out, "none fits beside the weights"));
  CHECK(test::is_one_line(text.error));
  CHECK(says(text.error, "short of"));
  CHECK(says(text.error, "not even a context of 1 fits"));
  const Outcome outcome = run_tool(plan + " --json");
  CHECK(outcome.status == 1);
  const Json json = Json::parse(outcome.out);
  CHECK(json["fits"] == false);
  CHECK(json["short_of"] > 0);
  CHECK(json["context"] == 0);
  CHECK(json["fitting_context"] == 0);
  CHECK(json["limited_by"] == "memory");
  CHECK(Json::parse(run_tool(plan + "0 --json").out)["fitting_context"] > 0);
}

TEST_CASE("load --fit reserves the context that plan --fit finds") {
  const test::TemporaryFolder folder;
  const std::string file = test::write_llama(folder.path() / "llama.gguf").string();
  for (const std::string arguments : {"", "--context 100 ", "--device staged-host,host "}) {
    CAPTURE(arguments);
    const bool is_given = arguments.starts_with("--context");
    const Outcome loaded =
        run_tool("load --json --verify " + arguments + (is_given ? "" : "--fit ") + file);
    REQUIRE_MESSAGE(loaded.status == 0, loaded.error);
    const Json json = Json::parse(loaded.out);
    CHECK(json["context"] == (is_given ? 100 : 4096));
    CHECK(json["cache_bytes"] == json["context"].get<std::uint64_t>() * 1024);
    CHECK(json["verified"] == true);
  }
  CHECK(says(run_tool("load --fit " + file).out, "for a context of 4096"));
  CHECK(Json::parse(run_tool("load --json " + file).out)["context"] == 0);
  CHECK(run_tool("load --fit --context 8 " + file).status == 2);
  if (!test::data_dir()) return;
  const Outcome states = run_tool("load --json --fit " + model("mamba.gguf"));
  CHECK(states.status == 0);
  CHECK(Json::parse(states.out)["state_bytes"] > 0);
}

TEST_CASE("load --json has a model's states apart from its caches") {
  if (!test::data_dir()) return;
  for (const char* const name : {"mamba.gguf", "jamba.gguf"}) {
    const std::string arguments = "--json --context 64 " + model(name);
    const Json planned = Json::parse(run_tool("plan " + arguments).out);
    const Json loaded = Json::parse(run_tool("load " + arguments).out);
    CHECK(loaded["state_bytes"] > 0);
    CHECK((loaded["cache_bytes"] == 0) == (std::string{name} == "mamba.gguf"));
    for (const char* const key : {"state_bytes", "cache_bytes", "context", "tensor_bytes"})
      CHECK_MESSAGE(loaded[key] == planned[key], key);
  }
}

TEST_CASE("a draft model that the engine refuses is named, by plan and by load") {
  if (!test::data_dir()) return;
  const std::string draft = model("llama-head16-kv2.gguf");
  const std::string arguments = " --for llama.cpp --context 64 --cache-type q8_0 " +
                                model("gemma3.gguf") + " --draft " + draft;
  const Outcome text = run_tool("plan" + arguments);
  CHECK(text.status == 1);
  CHECK(test::is_one_line(text.error));
  CHECK(says(text.error, "llama.cpp refuses this: the draft model: a head's key of 16"));
  const Outcome planned = run_tool("plan --json" + arguments);
  CHECK(planned.status == 1);
  const Json json = Json::parse(planned.out);
  CHECK(says(json["refused"].get<std::string>(), "the draft model: "));
  CHECK(says(json["draft"]["refused"].get<std::string>(), "blocks of 32"));
  CHECK(json["fits"].is_null());
  const Outcome loaded = run_tool("load" + arguments);
  CHECK(loaded.status == 1);
  CHECK(test::is_one_line(loaded.error));
  CHECK(says(loaded.error, "llama.cpp refuses the cache of " + draft));
}
