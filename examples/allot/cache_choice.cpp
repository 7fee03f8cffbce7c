// SPDX-License-Identifier: MIT
#include "cache_choice.hpp"

#include <allot/core/readable_bytes.hpp>
#include <allot/gguf/tensor_type.hpp>
#include <allot/load/plan/engine.hpp>

#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include <cstddef>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <vector>

#include "option_values.hpp"
#include "output.hpp"

namespace {

namespace loading = allot::load;
using Json = nlohmann::ordered_json;
using allot::gguf::TensorType;

/// The types that engines keep caches in.
struct NamedType {
  const char* name;
  TensorType type;
};
constexpr NamedType cache_types[] = {
    {"f32", TensorType::F32},   {"f16", TensorType::F16},   {"bf16", TensorType::BF16},
    {"q8_0", TensorType::Q8_0}, {"q5_1", TensorType::Q5_1}, {"q5_0", TensorType::Q5_0},
    {"q4_1", TensorType::Q4_1}, {"q4_0", TensorType::Q4_0}, {"iq4_nl", TensorType::IQ4_NL},
};

TensorType type_named(const std::string& name) {
  for (const NamedType& one : cache_types) {
    if (one.name == name) return one.type;
  }
  throw std::logic_error{"unknown cache type " + name};
}

std::vector<std::string> type_names() {
  std::vector<std::string> names;
  for (const NamedType& one : cache_types) names.emplace_back(one.name);
  return names;
}

Json groups_json(const std::vector<loading::CacheGroup>& groups) {
  Json list = Json::array();
  for (const loading::CacheGroup& group : groups) {
    list.push_back({{"kind", allot::gguf::to_text(group.kind)},
                    {"layers", group.layers},
                    {"cells", group.cells},
                    {"streams", group.streams},
                    {"k_row_bytes", group.key_row_bytes},
                    {"v_row_bytes", group.value_row_bytes},
                    {"bytes", group.bytes}});
  }
  return list;
}

void print_groups(const char* title, const std::vector<loading::CacheGroup>& groups) {
  for (const loading::CacheGroup& group : groups) {
    const bool is_state = allot::gguf::is_state(group.kind);
    const std::string cells =
        is_state ? fmt::format("{} sequence{}", group.cells, group.cells == 1 ? "" : "s")
                 : fmt::format("{} tokens{}", count_text(group.cells),
                               group.streams == 1 ? std::string{}
                                                  : fmt::format(" x {} streams", group.streams));
    print("    {:<14} {:>12} {:>18}  {} layer{} x {}, {} + {} bytes\n",
          std::string{title} + allot::gguf::to_text(group.kind),
          allot::ReadableBytes{group.bytes}.c_str(), count_text(group.bytes), group.layers,
          group.layers == 1 ? "" : "s", cells, group.key_row_bytes, group.value_row_bytes);
  }
}

/// The switches that only an engine has, under its names.
void add_engine_options(CLI::App& command, CacheChoice& choice) {
  const auto group = "For an engine";
  CLI::Option* const engine = add_choice(command, "--for", choice.engine, {"llama.cpp"},
                                         "Count as this engine (v0.5.0) allocates")
                                  ->group(group);
  constexpr std::uint64_t most_sequences = 1U << 20U;
  constexpr std::uint64_t most_batch = 1U << 31U;
  const auto of_engine = [&](CLI::Option* option) { option->needs(engine)->group(group); };
  of_engine(add_number(command, "--parallel", choice.parallel,
                       "Sequences that share the context (1 if not given)", 1, most_sequences));
  of_engine(command.add_flag("--kv-unified", choice.unified, "One cache for all sequences"));
  of_engine(add_number(command, "--ubatch-size", choice.micro_batch,
                       "Tokens computed at once (512 if not given)", 1, most_batch));
  of_engine(command.add_flag("--swa-full", choice.full_windows, "Windows also keep every token"));
  of_engine(add_choice(command, "--flash-attn", choice.flash_attention, {"on", "off", "auto"},
                       "Flash attention; auto counts as on"));
  of_engine(
      command.add_flag("--mtp", choice.prediction,
                       "Also plan the second context, of layers that predict further tokens"));
  const auto amount = "How much";
  add_number(command, "--sequences", choice.sequences,
             "How many sequences have a cache of that context each (1 if not given)", 1,
             most_sequences)
      ->excludes(engine)
      ->group(amount);
  add_number(command, "--batch", choice.batch,
             "Tokens computed at once: a window keeps that many more (1 if not given)", 1,
             most_batch)
      ->excludes(engine)
      ->group(amount);
}

}  // namespace

void add_cache_options(CLI::App& command, CacheChoice& choice) {
  const auto amount = "How much";
  add_choice(command, "--cache-type", choice.type, type_names(),
             "The type of the cache's elements (f16 if not given)")
      ->group(amount);
  add_choice(command, "--cache-type-k", choice.key_type, type_names(), "The type of keys alone")
      ->group(amount);
  add_choice(command, "--cache-type-v", choice.value_type, type_names(), "The type of values alone")
      ->group(amount);
  add_engine_options(command, choice);
}

loading::CacheOptions cache_options(const CacheChoice& choice, std::uint64_t context) {
  const auto type_of = [&](const std::string& own) {
    return type_named(own.empty() ? choice.type : own);
  };
  loading::CacheOptions options{context, type_of(choice.key_type), type_of(choice.value_type)};
  options.sequences = choice.sequences;
  options.batch = choice.batch;
  if (choice.engine.empty()) return options;
  options.engine = &loading::llama_cpp;
  options.sequences = choice.parallel;
  options.batch = choice.micro_batch;
  options.unified = choice.unified;
  options.full_windows = choice.full_windows;
  options.flash_attention = choice.flash_attention != "off";
  options.prediction = choice.prediction;
  return options;
}

void add_cache_json(Json& out, const CacheChoice& choice, const loading::PlannedCache& planned) {
  const loading::CacheBytes bytes = loading::bytes_of(planned.groups);
  out["cache_bytes"] = bytes.cache;
  out["state_bytes"] = bytes.state;
  out["caches"] = groups_json(planned.groups);
  out["prediction"] = nullptr;
  if (choice.prediction) {
    const loading::CacheBytes second = loading::bytes_of(planned.prediction);
    out["prediction"] = {{"cache_bytes", second.cache},
                         {"state_bytes", second.state},
                         {"caches", groups_json(planned.prediction)}};
  }
  out["refused"] = planned.refused.empty() ? Json(nullptr) : Json(planned.refused);
}

void print_cache(const CacheChoice& choice, const loading::PlannedCache& planned) {
  const std::string engine =
      choice.engine.empty() ? std::string{} : ", as " + choice.engine + " allocates";
  if (planned.groups.empty() && planned.refused.empty()) {
    print("  cache        none: the model keeps nothing between tokens\n");
    return;
  }
  print("  what layers keep{}\n", engine);
  print_groups("", planned.groups);
  print_groups("mtp ", planned.prediction);
}
