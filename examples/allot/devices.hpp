// SPDX-License-Identifier: MIT
/// \file
/// Loading onto each kind of device. Each kind has its own source file, so that they compile in
/// parallel.
#pragma once

#include <allot/core/block.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/load_options.hpp>
#include <allot/load/plan/plan.hpp>

#include <optional>
#include <string>
#include <vector>

#include "commands.hpp"

/// The outcome of a load, for both kinds of output.
struct Result {
  allot::load::Plan plan;  // as it was followed
  allot::load::LoadReport report;
  allot::Usage usage{};  // of all arenas together; the largest free block of any
  std::optional<bool> verified;
};

Result load_on_host(const MemoryOptions& options, const allot::gguf::File& file);
Result load_on_staged_host(const MemoryOptions& options, const allot::gguf::File& file);
/// Throws: `std::runtime_error` if this build has no HIP.
Result load_on_hip(const MemoryOptions& options, const allot::gguf::File& file);
