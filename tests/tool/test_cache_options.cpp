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
