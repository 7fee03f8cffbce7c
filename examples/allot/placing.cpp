// SPDX-License-Identifier: MIT
#include "placing.hpp"

#include <allot/core/readable_bytes.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/plan/detail/experts.hpp>
#include <allot/os/pattern.hpp>

#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <vector>

#include "option_values.hpp"
#include "output.hpp"

namespace {

namespace loading = allot::load;

/// `blk.*.ffn_*_exps.*=host`
loading::PlaceRule place_rule(const std::string& text) {
  const std::size_t equals = text.rfind('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
    throw CLI::ValidationError{"--place",
                               "use NAMES=DEVICE, as in 'blk.*.ffn_*_exps.*=host', not " + text};
  }
  std::string device = text.substr(equals + 1);
  if (device == "hip") device = "hip:0";
  return {text.substr(0, equals), std::move(device)};
}

/// What a rule took.
struct Placed {
  std::uint64_t items = 0;
  std::uint64_t bytes = 0;
};

/// Returns what each rule took: an item goes by the first that matches it.
std::vector<Placed> placed_by(const PlacingChoice& choice, const loading::Plan& plan) {
  std::vector<Placed> placed(choice.rules.size());
  for (const loading::Item& item : plan.items) {
    if (!item.has_own_memory() || item.purpose == loading::Purpose::scratch) continue;
    for (std::size_t rule = 0; rule < placed.size(); ++rule) {
      if (!allot::os::matches(choice.rules[rule].names.c_str(), item.name.c_str())) continue;
      ++placed[rule].items;
      placed[rule].bytes += item.bytes;
      break;
    }
  }
  return placed;
}

}  // namespace

void add_placing_options(CLI::App& command, PlacingChoice& choice) {
  command
      .add_option_function<std::vector<std::string>>(
          "--place",
          [&choice](const std::vector<std::string>& texts) {
            for (const std::string& text : texts) choice.rules.push_back(place_rule(text));
          },
          "Put tensors with these names on one of the devices, whatever layer they are of, as in "
          "'blk.*.ffn_*_exps.*=host'; the first pattern that matches applies")
      ->type_name("NAMES=DEVICE")
      ->take_all()
      ->allow_extra_args(false)
      ->group("Where");
  command
      .add_option("--with", choice.with,
                  "Also a projector (mmproj) or an adapter (LoRA) of the model, in the same memory")
      ->type_name("FILE")
      ->take_all()
      ->allow_extra_args(false)
      ->group("What else");
  command.add_option("--draft", choice.draft, "Also a draft model, with its own cache")
      ->type_name("FILE")
      ->group("What else");
}

void check_placing(const PlacingChoice& choice, const std::string& device) {
  const std::string devices = "," + device + ",";
  for (const loading::PlaceRule& rule : choice.rules) {
    const bool is_there = devices.find("," + rule.device + ",") != std::string::npos ||
                          (rule.device == "hip:0" && devices.find(",hip,") != std::string::npos);
    if (is_there) continue;
    throw CLI::ValidationError{"--place", rule.device + " (" + rule.names +
                                              ") is not in --device " + device + "; add it there"};
  }
}

void add_emit_option(CLI::App& command, PlacingChoice& choice) {
  add_choice(command, "--emit", choice.emit, {"llama"},
             "Print the options with which llama.cpp (v0.5.0) does what the plan says")
      ->group("For an engine");
}

loading::ModelFiles open_files(const std::string& model, const PlacingChoice& choice) {
  loading::ModelFiles files{allot::gguf::File{model}};
  for (const std::string& path : choice.with) files.add(allot::gguf::File{path});
  if (!choice.draft.empty()) files.add_draft(allot::gguf::File{choice.draft});
  return files;
}

nlohmann::ordered_json files_json(const loading::ModelFiles& files) {
  auto list = nlohmann::ordered_json::array();
  for (const loading::ModelFiles::Entry& entry : files.files()) {
    list.push_back({{"file", printable(entry.path)},
                    {"kind", loading::to_text(entry.kind)},
                    {"tensors", entry.tensors},
                    {"tensor_bytes", entry.tensor_bytes}});
  }
  return list;
}

void print_files(const loading::ModelFiles& files) {
  for (const loading::ModelFiles::Entry& entry : files.files().subspan(1)) {
    print("  {:<12} {:>6}  {}  {}\n", loading::to_text(entry.kind), entry.tensors,
          size_text(entry.tensor_bytes), printable(entry.path));
  }
}

nlohmann::ordered_json places_json(const PlacingChoice& choice, const loading::Plan& plan) {
  auto list = nlohmann::ordered_json::array();
  const std::vector<Placed> placed = placed_by(choice, plan);
  for (std::size_t i = 0; i < placed.size(); ++i) {
    list.push_back({{"names", printable(choice.rules[i].names)},
                    {"device", choice.rules[i].device},
                    {"items", placed[i].items},
                    {"bytes", placed[i].bytes}});
  }
  return list;
}

void print_places(const PlacingChoice& choice, const loading::Plan& plan) {
  const std::vector<Placed> placed = placed_by(choice, plan);
  for (std::size_t i = 0; i < placed.size(); ++i) {
    const loading::PlaceRule& rule = choice.rules[i];
    print("    {:<16} {} on {}, {}{}\n", printable(rule.names), count_text(placed[i].items),
          rule.device, size_text(placed[i].bytes),
          placed[i].items == 0 ? "; no item has such a name" : "");
  }
}

ModelTensors tensors_of_model(const loading::Plan& plan) {
  ModelTensors tensors{0, 0};
  for (const loading::Item& item : plan.items) {
    const bool is_weight = item.purpose == loading::Purpose::weight;
    if (item.file != 0 || (!is_weight && item.purpose != loading::Purpose::fused)) continue;
    tensors.count += is_weight && !item.left_out ? 1 : 0;
    tensors.bytes += item.has_own_memory() ? item.bytes : 0;
  }
  return tensors;
}

HostExperts experts_on_host(const loading::Plan& plan, const allot::gguf::File& file) {
  HostExperts found;
  const bool is_divided = std::any_of(plan.arenas.begin(), plan.arenas.end(),
                                      [](const auto& arena) { return arena.device != "host"; });
  if (!is_divided) return found;
  for (const loading::Item& item : plan.items) {
    if (!item.has_own_memory() || plan.arenas[item.arena].device != "host" ||
        item.purpose == loading::Purpose::cache || !loading::detail::is_of_experts(item.name)) {
      continue;
    }
    ++found.tensors;
    found.bytes += item.bytes;
    found.of_one +=
        item.bytes / (item.shape.rank == 0 ? 1 : item.shape.extent[item.shape.rank - 1U]);
  }
  const std::string used_key =
      allot::gguf::model_shape_of(file).architecture + ".expert_used_count";
  const allot::gguf::Value* value = file.metadata().find(used_key);
  if (const auto used = value == nullptr ? std::nullopt : value->as_count())
    found.a_token = allot::checked_multiply(found.of_one, *used);
  return found;
}

nlohmann::ordered_json experts_json(const HostExperts& experts) {
  return {{"tensors", experts.tensors},
          {"bytes", experts.bytes},
          {"bytes_of_one_each", experts.of_one},
          {"bytes_a_token", experts.a_token ? nlohmann::ordered_json(*experts.a_token)
                                            : nlohmann::ordered_json(nullptr)}};
}

void print_experts(const HostExperts& experts) {
  if (experts.tensors == 0) return;
  print("  experts on host {:>3}  {}{}\n", experts.tensors, size_text(experts.bytes),
        experts.a_token
            ? fmt::format(", {} read a token", allot::ReadableBytes{*experts.a_token}.c_str())
            : fmt::format(", {} read a token for each expert that it uses",
                          allot::ReadableBytes{experts.of_one}.c_str()));
}
