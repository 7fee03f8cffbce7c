// SPDX-License-Identifier: MIT
/// \file
/// Says with llama.cpp's options what a plan does.
#pragma once

#include <allot/load/plan/model_files.hpp>
#include <allot/load/plan/plan.hpp>

#include <string>
#include <vector>

#include "commands.hpp"

/// The options of llama.cpp (v0.5.0), and what they cannot say.
struct LlamaOptions {
  std::vector<std::string> arguments;
  std::vector<std::string> notes;
};

/// Returns the options that put every tensor of the model where the plan has it, with the same
/// context and types of cache.
[[nodiscard]] LlamaOptions llama_options(const MemoryOptions& options,
                                         const allot::load::ModelFiles& files,
                                         const allot::load::Plan& plan);

/// Returns arguments as one line for a shell.
[[nodiscard]] std::string shell_line(const std::vector<std::string>& arguments);
