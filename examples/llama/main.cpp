// SPDX-License-Identifier: MIT
/// \file
/// Runs a llama-family model whose memory all comes from allot.
///
///     llama MODEL.gguf --prompt "Once upon a time" --tokens 64
///
/// Exit status: 1 if the model cannot be run, 2 for wrong usage.
#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/load/check.hpp>
#include <allot/load/planned_device.hpp>
#include <allot/os/stopwatch.hpp>

#include <fmt/core.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <numeric>
#include <string>
#include <vector>

#include "engine.hpp"
#include "generate.hpp"
#include "tokenizer.hpp"

namespace {

using namespace llama;
using Json = nlohmann::ordered_json;

struct Options {
  std::string file, prompt, device = "host", cache_type = "f32";
  Settings settings;
  Job job;
  bool ignores_end = false, only_plan = false, json = false;
};

constexpr std::pair<const char*, MemoryLine MemoryReport::*> lines[] = {
    {"weights", &MemoryReport::weights},
    {"cache", &MemoryReport::cache},
    {"activations", &MemoryReport::activations},
    {"scratch", &MemoryReport::scratch}};

void print_memory(const MemoryReport& memory, bool only_plan) {
  fmt::print("{:<12}{:>14}{:>14}{:>14}\n", "memory", "planned", only_plan ? "" : "reserved",
             only_plan ? "" : "used");
  for (const auto& [name, line] : lines) {
    const auto& [planned, reserved, used] = memory.*line;
    if (only_plan) fmt::print("{:<12}{:>14} bytes\n", name, planned);
    if (!only_plan) fmt::print("{:<12}{:>14}{:>14}{:>14} bytes\n", name, planned, reserved, used);
  }
}

Json memory_json(const MemoryReport& memory, bool only_plan) {
  Json json;
  for (const auto& [name, line] : lines) {
    json[name]["planned"] = (memory.*line).planned;
    if (only_plan) continue;
    json[name]["reserved"] = (memory.*line).reserved;
    json[name]["used"] = (memory.*line).used;
  }
  return json;
}

void print_json(const Json& json) {
  fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

/// Hears of each token: prints the first sequence's text as it grows, and keeps what `--json` shows.
struct Listener {
  const Tokenizer& tokenizer;
  bool prints;
  Json top = Json::array();

  /// Keeps the ten highest logits of the prompt's last token.
  void prompt(std::span<const float> logits) {
    std::vector<std::size_t> order(logits.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto most = order.begin() + std::min<std::ptrdiff_t>(10, std::ssize(order));
    std::partial_sort(order.begin(), most, order.end(),
                      [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
    for (auto at = order.begin(); at != most; ++at) top.push_back({*at, logits[*at]});
  }

  void operator()(std::size_t sequence, Token token) const {
    if (!prints || sequence != 0) return;
    if (tokenizer.has_text()) fmt::print("{}", tokenizer.decode(token));
    if (!tokenizer.has_text()) fmt::print("{} ", token);
    std::fflush(stdout);
  }
};

template <class DeviceType>
void run_on(DeviceType device, const allot::gguf::File& file, const Tokenizer& tokenizer,
            const Options& options) {
  RunPlan plan = plan_run(file, options.settings, allot::load::planned_device(device));
  if (options.only_plan) {
    if (options.json) return print_json({{"memory", memory_json(plan.memory(), true)}});
    return print_memory(plan.memory(), true);
  }
  allot::load::check(plan.weights, device);
  Engine<DeviceType> engine{file, std::move(plan), std::move(device)};
  Generation generation{engine, options.job};
  Listener listener{tokenizer, !options.json};
  if (listener.prints) fmt::print("{}", options.prompt);
  const allot::os::Stopwatch stopwatch;
  generation.run(listener);
  const double seconds = stopwatch.seconds();

  Json sequences = Json::array();
  std::uint64_t count = 0;
  for (std::uint64_t i = 0; i < options.settings.sequences; ++i) {
    sequences.push_back(generation.tokens(i));
    count += generation.tokens(i).size();
  }
  std::string text;
  for (const Token token : generation.tokens(0)) text += tokenizer.decode(token);
  const double speed = static_cast<double>(count) / seconds;
  if (!options.json) {
    fmt::print("\n\n{} of prompt and {} new tokens in {:.3f} s, {:.0f} new tokens/s\n",
               options.job.prompt.size(), count, seconds, speed);
    return print_memory(engine.memory(), false);
  }
  print_json({{"prompt", options.job.prompt},
              {"tokens", sequences.front()},
              {"text", text},
              {"memory", memory_json(engine.memory(), false)},
              {"sequences", sequences},
              {"top", listener.top},
              {"suspended", generation.suspended()},
              {"seconds", seconds},
              {"tokens_per_s", speed}});
}

/// Prints one line, whatever a file's names hold.
void print_error(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char one) { return static_cast<unsigned char>(one) < ' '; },
      ' ');
  fmt::print(stderr, "llama: {}\n", text);
}

void run(Options options) {
  const allot::gguf::File file{options.file};
  const Tokenizer tokenizer{file};
  if (options.job.prompt.empty()) options.job.prompt = tokenizer.encode(options.prompt);
  if (!options.ignores_end) options.job.end = tokenizer.end_of_sequence();
  auto& settings = options.settings;
  const std::uint64_t needed = options.job.prompt.size() + options.job.tokens;
  if (settings.context == 0) settings.context = needed;
  if (settings.context < needed)
    throw std::invalid_argument{fmt::format(
        "a context of {} has no room for {} tokens of prompt and {} new ones; give --context {}",
        settings.context, options.job.prompt.size(), options.job.tokens, needed)};
  settings.cache_type = options.cache_type == "f32"   ? allot::gguf::TensorType::F32
                        : options.cache_type == "f16" ? allot::gguf::TensorType::F16
                                                      : allot::gguf::TensorType::BF16;
  if (options.device == "host") return run_on(allot::HostDevice{}, file, tokenizer, options);
  run_on(allot::StagedHostDevice{}, file, tokenizer, options);
}

void add_options(CLI::App& app, Options& options) {
  Settings& settings = options.settings;
  const auto number = [&](const char* name, std::uint64_t& value, const char* help,
                          std::uint64_t least = 1, std::uint64_t most = std::uint64_t{1} << 31) {
    app.add_option(name, value, help)->check(CLI::Range(least, most));
  };
  app.add_option("model", options.file, "a GGUF file: llama, qwen2 or qwen3")->required();
  auto* const prompt = app.add_option("--prompt", options.prompt, "text to continue");
  auto* const ids = app.add_option("--ids", options.job.prompt, "the same as token ids: 1,403,407");
  ids->delimiter(',')->excludes(prompt);
  number("--tokens", options.job.tokens, "new tokens, at most (64)");
  app.add_option("--device", options.device, "host or staged-host (host)")
      ->check(CLI::IsMember({"host", "staged-host"}));
  number("--sequences", settings.sequences, "continuations of the prompt, at once (1)", 1, 65536);
  number("--threads", settings.threads, "threads that compute, up to 64 (1)", 1, 64);
  number("--context", settings.context,
         "tokens that a sequence has room for (prompt and new ones)");
  number("--batch", settings.batch, "tokens of the prompt computed at once (32)");
  app.add_option("--cache-type", options.cache_type, "f32, f16 or bf16 (f32)")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}));
  number("--cache-blocks", settings.cache_blocks, "blocks of the cache (enough for all)");
  number("--block-tokens", settings.block_tokens, "tokens of a block (16)");
  app.add_flag("!--no-fuse", settings.fuse, "keep Q, K, V and gate, up apart");
  app.add_option("--temperature", options.job.temperature, "0: the most likely token (0)")
      ->check(CLI::Range(0.0, 1e6));
  number("--seed", options.job.seed, "of the first sequence, with a temperature (0)", 0);
  app.add_flag("--ignore-eos", options.ignores_end, "do not stop at the end-of-sequence token");
  app.add_flag("--plan", options.only_plan, "print the memory that it would take, and stop");
  app.add_flag("--json", options.json, "print one JSON object");
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
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return 0;
  } catch (const CLI::ParseError& error) {
    print_error(error.what());
    return 2;
  }
  try {
    run(std::move(options));
    if (std::fflush(stdout) != 0) throw std::runtime_error{"cannot write to standard output"};
  } catch (const std::exception& error) {
    print_error(error.what());
    return 1;
  }
}
