// SPDX-License-Identifier: MIT
/// \file
/// Loading onto the kinds of devices that there are; each has a file of its own, so that they are
/// compiled side by side.
#pragma once

#include <allot/core/block.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/load_options.hpp>
#include <allot/load/plan/plan.hpp>

#include <optional>
#include <string>
#include <vector>

#include "commands.hpp"

/// What a load came to, for both kinds of output.
struct Result {
  allot::load::Plan plan;  // as it was followed
  allot::load::LoadReport report;
  allot::Usage usage{};  // of all arenas together; the largest free block of any
  std::optional<bool> verified;
};

Result load_on_host(const MemoryOptions& options, const allot::gguf::File& file);
Result load_on_staged_host(const MemoryOptions& options, const allot::gguf::File& file);
/// Throws: `std::runtime_error` where this build has no HIP.
Result load_on_hip(const MemoryOptions& options, const allot::gguf::File& file);
