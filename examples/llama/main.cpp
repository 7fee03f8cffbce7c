// SPDX-License-Identifier: MIT
/// \file
/// Runs a llama-family model whose memory all comes from allot.
///
///     llama MODEL.gguf --prompt "Once upon a time" --tokens 64
///
/// Exit status: 1 if the model cannot be run, 2 for wrong usage.
#include <allot/load/check.hpp>
#include <allot/os/stopwatch.hpp>

#include <fmt/core.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <map>

#include "generate.hpp"

namespace {

using namespace llama;
using Json = nlohmann::ordered_json;
using Memory = std::vector<load::MemoryUse>;

const std::map<std::string, gguf::TensorType> cache_types{{"f32", gguf::TensorType::F32},
                                                          {"f16", gguf::TensorType::F16},
                                                          {"bf16", gguf::TensorType::BF16}};

struct Options {
  std::string file, prompt, device = "host";
  bool ignores_end = false, only_plan = false, json = false;
  Settings settings;
  Job job;
};

void print(const Json& json) {
  fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

void print(const Memory& memory) {
  fmt::print("{:<12}{:>14}{:>14}{:>14}\n", "memory", "planned", "reserved", "used");
  for (const auto& [name, planned, reserved, used] : memory)
    fmt::print("{:<12}{:>14}{:>14}{:>14} bytes\n", name, planned, reserved, used);
}

Json json_of(const Memory& memory) {
  Json json;
  for (const auto& [name, planned, reserved, used] : memory)
    json[name] = {{"planned", planned}, {"reserved", reserved}, {"used", used}};
  return json;
}

/// Returns the ten highest logits, each with its token.
Json top_of(std::span<const float> logits) {
  std::vector<std::pair<float, std::size_t>> sorted;
  for (std::size_t i = 0; i < logits.size(); ++i) sorted.emplace_back(-logits[i], i);
  const auto end = sorted.begin() + std::min<std::ptrdiff_t>(10, std::ssize(sorted));
  std::partial_sort(sorted.begin(), end, sorted.end());
  Json top = Json::array();
  for (auto one = sorted.begin(); one != end; ++one) top.push_back({one->second, -one->first});
  return top;
}

template <class DeviceType>
void run_on(DeviceType device, const gguf::File& file, const Tokenizer& tokenizer,
            const Options& options) {
  RunPlan plan = plan_run(file, options.settings, load::planned_device(device));
  if (options.only_plan) {
    const Memory memory = load::memory_use(plan.memory);
    return options.json ? print(Json{{"memory", json_of(memory)}}) : print(memory);
  }
  load::check(plan.memory, device);
  Engine<DeviceType> engine{file, std::move(plan), std::move(device)};
  if (!options.json) fmt::print("{}", options.prompt);
  const os::Stopwatch stopwatch;
  Generation generation{engine, options.job};
  const Json top = options.json ? top_of(generation.logits(0)) : Json{};
  std::string text;  // of the first sequence, printed as it grows
  std::size_t count = 0;
  generation.run([&](std::size_t sequence, Token token) {
    ++count;
    if (sequence != 0) return;
    const std::string piece = tokenizer.decode(token);
    text += piece;
    if (options.json) return;
    fmt::print("{}", tokenizer.has_text() ? piece : std::to_string(token) + " ");
    std::fflush(stdout);
  });
  const double seconds = stopwatch.seconds();
  const double speed = static_cast<double>(count) / seconds;
  if (!options.json) {
    fmt::print("\n\n{} of prompt and {} new tokens in {:.3f} s, {:.0f} new tokens/s\n",
               options.job.prompt.size(), count, seconds, speed);
    return print(engine.memory());
  }
  Json sequences = Json::array();
  for (std::uint64_t i = 0; i < options.settings.sequences; ++i)
    sequences.push_back(generation.tokens(i));
  print(Json{{"prompt", options.job.prompt},
             {"tokens", sequences.front()},
             {"text", text},
             {"memory", json_of(engine.memory())},
             {"sequences", sequences},
             {"top", top},
             {"suspended", generation.suspended()},
             {"seconds", seconds},
             {"tokens_per_s", speed}});
}

void run(Options options) {
  const gguf::File file{options.file};
  const Tokenizer tokenizer{file};
  Job& job = options.job;
  if (job.prompt.empty()) job.prompt = tokenizer.encode(options.prompt);
  if (!options.ignores_end) job.end = tokenizer.end_of_sequence();
  const std::uint64_t needed = job.prompt.size() + job.tokens;
  std::uint64_t& context = options.settings.context;
  if (context == 0) context = needed;
  if (context < needed)
    throw std::invalid_argument{fmt::format(
        "a context of {} has no room for {} tokens of prompt and {} new ones; give --context {}",
        context, job.prompt.size(), job.tokens, needed)};
  if (options.device == "host") return run_on(HostDevice{}, file, tokenizer, options);
  run_on(StagedHostDevice{}, file, tokenizer, options);
}

void add_options(CLI::App& app, Options& options) {
  const auto number = [&](const char* name, std::uint64_t& value, const char* help,
                          std::uint64_t most = std::uint64_t{1} << 31) {
    app.add_option(name, value, help)->check(CLI::Range(std::uint64_t{1}, most));
  };
  Settings& settings = options.settings;
  app.add_option("model", options.file, "a GGUF file: llama, qwen2 or qwen3")->required();
  auto* const prompt = app.add_option("--prompt", options.prompt, "text to continue");
  app.add_option("--ids", options.job.prompt, "the same as token ids: 1,403,407")
      ->delimiter(',')
      ->excludes(prompt);
  number("--tokens", options.job.tokens, "new tokens, at most (64)");
  app.add_option("--device", options.device, "host or staged-host (host)")
      ->check(CLI::IsMember({"host", "staged-host"}));
  number("--sequences", settings.sequences, "continuations of the prompt, at once (1)", 65536);
  number("--threads", settings.threads, "threads that compute, up to 64 (1)", 64);
  number("--context", settings.context,
         "tokens that a sequence has room for (prompt and new ones)");
  number("--batch", settings.batch, "tokens of the prompt computed at once (32)");
  const auto set_type = [&](const std::string& name) {
    settings.cache_type = cache_types.at(name);
  };
  app.add_option_function<std::string>("--cache-type", set_type, "f32, f16 or bf16 (f32)")
      ->check(CLI::IsMember(&cache_types));
  number("--cache-blocks", settings.cache_blocks, "blocks of the cache (enough for all)");
  number("--block-tokens", settings.block_tokens, "tokens of a block (16)");
  app.add_flag("!--no-fuse", settings.fuse, "keep Q, K, V and gate, up apart");
  app.add_option("--temperature", options.job.temperature, "0: the most likely token (0)")
      ->check(CLI::Range(0.0, 1e6));
  app.add_option("--seed", options.job.seed, "of the first sequence, with a temperature (0)");
  app.add_flag("--ignore-eos", options.ignores_end, "do not stop at the end-of-sequence token");
  app.add_flag("--plan", options.only_plan, "print the memory that it would take, and stop");
  app.add_flag("--json", options.json, "print one JSON object");
}

/// Prints one line, whatever a file's names hold.
int fail(std::string text, int status) {
  for (char& one : text) one = static_cast<unsigned char>(one) < ' ' ? ' ' : one;
  fmt::print(stderr, "llama: {}\n", text);
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{
      "Runs a model whose weights, cache, activations and scratch memory come from allot."};
  add_options(app, options);
  try {
    app.parse(argc, argv);
    if (options.prompt.empty() && options.job.prompt.empty())
      throw CLI::RequiredError{"--prompt or --ids"};
    run(std::move(options));
    if (std::fflush(stdout) != 0) throw std::runtime_error{"cannot write to standard output"};
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
  } catch (const CLI::ParseError& error) {
    return fail(error.what(), 2);
  } catch (const std::exception& error) {
    return fail(error.what(), 1);
  }
}
