// SPDX-License-Identifier: MIT
// Every example that is a program of its own: on real files, on bad ones, and without arguments.
#include <doctest/doctest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "support/test_data.hpp"
#include "tool/run_program.hpp"

namespace {

using namespace allot;
using test::Outcome;
using test::says;

Outcome run_example(const std::string& example, const std::string& arguments = "") {
  const char* const folder = std::getenv("ALLOT_EXAMPLES");
  REQUIRE_MESSAGE(folder != nullptr, "ALLOT_EXAMPLES is the folder of the built examples");
  return test::run_program(std::string{folder} + "/" + example, arguments);
}

/// A real model, where the test data are there.
std::optional<std::string> real_model() {
  const auto data = test::data_dir();
  if (!data) return std::nullopt;
  return (*data / "gguf" / "real" / "stories260K.gguf").string();
}

/// Fails with the status, one line, and no output.
void check_refused(const Outcome& outcome, int status, const std::string& part) {
  CHECK(outcome.status == status);
  CHECK_MESSAGE(says(outcome.error, part), outcome.error);
}

}  // namespace

TEST_CASE("pooled_matmul: every product is right, every acquisition a hit, nothing is allocated") {
  const Outcome outcome = run_example("pooled_matmul", "6");
  CHECK_MESSAGE(outcome.status == 0, outcome.error);
  for (const std::string way : {"pooled ", "asynchronous ", "batched "}) {
    const std::size_t at = outcome.out.find("\n" + way);
    REQUIRE(at != std::string::npos);
    const std::string line = outcome.out.substr(at + 1, outcome.out.find('\n', at + 1) - at - 1);
    CHECK_MESSAGE(says(line, "hit rate 100.0 %   0 misses   0 allocations"), line);
  }
  check_refused(run_example("pooled_matmul", "none"), 2, "usage: pooled_matmul");
}

TEST_CASE("kv_cache: blocks are shared and copied, and take less than contiguous caches") {
  const Outcome outcome = run_example("kv_cache", "40 16");
  CHECK_MESSAGE(outcome.status == 0, outcome.error);
  for (const std::string line :
       {"blocks hit in a prefix", "blocks copied on write", "peak memory", "contiguous caches"})
    CHECK_MESSAGE(says(outcome.out, line), outcome.out);
  CHECK(run_example("kv_cache", "40 16").out == outcome.out);
  if (const auto model = real_model()) {
    const Outcome of_model = run_example("kv_cache", "10 4 " + *model);
    CHECK_MESSAGE(of_model.status == 0, of_model.error);
    CHECK(says(of_model.out, "5 layers, 4 KV heads, keys of 8 and values of 8 elements"));
  }
  check_refused(run_example("kv_cache", "0"), 2, "usage: kv_cache");
  check_refused(run_example("kv_cache", "1 1 /dev/null"), 1, "kv_cache: /dev/null");
  check_refused(run_example("kv_cache", "1 1"), 1, "out of blocks");
}

TEST_CASE("gguf_metadata prints what a file says") {
  if (const auto model = real_model()) {
    const Outcome outcome = run_example("gguf_metadata", *model + " 1 2");
    CHECK_MESSAGE(outcome.status == 0, outcome.error);
    CHECK(says(outcome.out, "llama, 48 tensors\ncontext of 2048 tokens\n512 tokens\n"));
    CHECK(says(outcome.out, "       1  <s>\n       2  </s>\n"));
  }
  check_refused(run_example("gguf_metadata", "/dev/null"), 1, "/dev/null");
  check_refused(run_example("gguf_metadata"), 2, "sage");
}

TEST_CASE("gguf_dequantize prints a tensor's values") {
  if (const auto model = real_model()) {
    const Outcome outcome = run_example("gguf_dequantize", *model + " blk.0.attn_q.weight");
    CHECK_MESSAGE(outcome.status == 0, outcome.error);
    CHECK(says(outcome.out, "first "));
    CHECK(says(outcome.out, "mean "));
    check_refused(run_example("gguf_dequantize", *model + " no.such.tensor"), 1, "no.such.tensor");
  }
  check_refused(run_example("gguf_dequantize", "/dev/null"), 1, "/dev/null");
  check_refused(run_example("gguf_dequantize"), 2, "sage");
}

TEST_CASE("policy_comparison compares") {
  const Outcome outcome = run_example("policy_comparison");
  CHECK_MESSAGE(outcome.status == 0, outcome.error);
  CHECK(says(outcome.out, "BestFit"));
}

TEST_CASE("plan_graph: a plan at its bound, run twice without a buffer overwritten") {
  const Outcome outcome = run_example("plan_graph", "64");
  CHECK_MESSAGE(outcome.status == 0, outcome.error);
  CHECK(says(outcome.out, "run twice, every input checked"));
  const auto bytes_of = [&](const std::string& row) {
    const std::size_t at = outcome.out.find(row);
    REQUIRE(at != std::string::npos);
    return std::stoull(outcome.out.substr(at + row.size()));
  };
  CHECK(bytes_of("planned") == bytes_of("no plan can be below"));
  CHECK(bytes_of("planned") < bytes_of("best fit, as it runs"));
  CHECK(bytes_of("best fit, as it runs") < bytes_of("one allocation each"));
  check_refused(run_example("plan_graph", "0"), 2, "usage: plan_graph");
}

TEST_CASE("llama: one object with tokens, text and memory, which is what --plan printed") {
  const auto model = real_model();
  if (!model) return;
  const std::string prompt = *model + " --prompt 'Once upon a time' --tokens 8 ";
  const Outcome outcome = run_example("llama/llama", prompt + "--json");
  CHECK_MESSAGE(outcome.status == 0, outcome.error);
  const auto made = nlohmann::json::parse(outcome.out);
  CHECK(made["prompt"] == nlohmann::json{1, 403, 407, 261, 378});
  CHECK(made["tokens"] == nlohmann::json{432, 383, 286, 261, 376, 298, 315, 421});
  CHECK(made["text"] == ", there was a little girl");
  const Outcome planned = run_example("llama/llama", prompt + "--json --plan");
  CHECK_MESSAGE(planned.status == 0, planned.error);
  const auto plan = nlohmann::json::parse(planned.out);
  for (const char* const part : {"weights", "cache", "activations", "scratch"}) {
    CAPTURE(part);
    CHECK(made["memory"][part]["planned"] == plan["memory"][part]["planned"]);
    CHECK(made["memory"][part]["reserved"] == plan["memory"][part]["planned"]);
    CHECK(made["memory"][part]["used"] == plan["memory"][part]["planned"]);
  }
  const Outcome text = run_example("llama/llama", prompt + "--device staged-host --threads 2");
  CHECK(text.out.starts_with("Once upon a time, there was a little girl\n"));
  const Outcome several = run_example(
      "llama/llama", *model + " --ids 1,403,407,261,378 --tokens 8 --sequences 2 --json");
  CHECK(nlohmann::json::parse(several.out)["sequences"] ==
        nlohmann::json{made["tokens"], made["tokens"]});
}

TEST_CASE("llama: what cannot be run ends with 1 and one line, wrong usage with 2") {
  check_refused(run_example("llama/llama", "/dev/null --ids 1"), 1, "llama: /dev/null");
  check_refused(run_example("llama/llama", "/no/such/file --ids 1"), 1, "/no/such/file");
  check_refused(run_example("llama/llama"), 2, "model is required");
  const auto model = real_model();
  if (!model) return;
  check_refused(run_example("llama/llama", *model), 2, "--prompt or --ids");
  check_refused(run_example("llama/llama", *model + " --ids 1,x"), 2, "--ids");
  check_refused(run_example("llama/llama", *model + " --ids 1 --device hip"), 2, "--device");
  check_refused(run_example("llama/llama", *model + " --ids 1,512"), 1, "there is no token 512");
  check_refused(run_example("llama/llama", *model + " --ids 1 --context 8"), 1, "--context 65");
  check_refused(run_example("llama/llama", *model + " --ids 1 --cache-blocks 1"), 1,
                "out of blocks");
}
