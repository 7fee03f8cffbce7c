// SPDX-License-Identifier: MIT
/// \file
/// The tool's options for what shares the memory: tensors by pattern, and further files.
#pragma once

#include <allot/load/plan/model_files.hpp>
#include <allot/load/plan/placing.hpp>
#include <allot/load/plan/plan.hpp>

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

/// What was asked for.
struct PlacingChoice {
  std::vector<allot::load::PlaceRule> rules;
  std::vector<std::string> with;  // projectors and adapters
  std::string draft;              // empty: none
  std::string emit;               // the engine whose options are printed; empty: none
};

void add_placing_options(CLI::App& command, PlacingChoice& choice);
/// \param device  the devices of the options
/// Throws: `CLI::ValidationError` for a rule of a device that is not among them.
void check_placing(const PlacingChoice& choice, const std::string& device);
void add_emit_option(CLI::App& command, PlacingChoice& choice);

/// Opens a model and all that is loaded with it.
[[nodiscard]] allot::load::ModelFiles open_files(const std::string& model,
                                                 const PlacingChoice& choice);

/// `[{file, kind, tensors, tensor_bytes}]`
[[nodiscard]] nlohmann::ordered_json files_json(const allot::load::ModelFiles& files);
/// Prints a line for each file beside the model.
void print_files(const allot::load::ModelFiles& files);

/// What each rule of `--place` took: `[{names, device, items, bytes}]`.
[[nodiscard]] nlohmann::ordered_json places_json(const PlacingChoice& choice,
                                                 const allot::load::Plan& plan);
/// Prints a line for each rule.
void print_places(const PlacingChoice& choice, const allot::load::Plan& plan);

/// The tensors of a plan that are the model's own.
struct ModelTensors {
  std::uint64_t count;
  std::uint64_t bytes;  // in memory, each counted once
};
[[nodiscard]] ModelTensors tensors_of_model(const allot::load::Plan& plan);
/// The experts that are on the host beside another device.
struct HostExperts {
  std::uint64_t tensors = 0;
  std::uint64_t bytes = 0;
  std::uint64_t of_one = 0;  // bytes of one expert of each tensor
  std::optional<std::uint64_t>
      a_token{};  // bytes read for a token, if the file says how many it uses
};
[[nodiscard]] HostExperts experts_on_host(const allot::load::Plan& plan,
                                          const allot::gguf::File& file);
[[nodiscard]] nlohmann::ordered_json experts_json(const HostExperts& experts);
void print_experts(const HostExperts& experts);
