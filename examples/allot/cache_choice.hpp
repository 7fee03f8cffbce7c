// SPDX-License-Identifier: MIT
/// \file
/// The tool's options for caches: how many tokens, sequences and types, and for which engine.
#pragma once

#include <allot/load/plan/cache_options.hpp>
#include <allot/load/plan/planned_cache.hpp>

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace CLI {
class App;
}

/// What was asked for, as it was written.
struct CacheChoice {
  std::string type = "f16";
  std::string key_type;    // empty: as `type`
  std::string value_type;  // likewise
  std::uint64_t sequences = 1;
  std::uint64_t batch = 0;
  std::string engine;  // empty: none
  std::uint64_t parallel = 1;
  std::uint64_t micro_batch = 0;
  std::string flash_attention = "auto";
  bool unified = false;
  bool full_windows = false;
  bool prediction = false;
};

void add_cache_options(CLI::App& command, CacheChoice& choice);

/// The options of a cache for that many tokens.
[[nodiscard]] allot::load::CacheOptions cache_options(const CacheChoice& choice,
                                                      std::uint64_t context);

/// Adds `cache_bytes`, `state_bytes`, `caches`, `prediction` and `refused`.
void add_cache_json(nlohmann::ordered_json& out, const CacheChoice& choice,
                    const allot::load::PlannedCache& planned);

/// Prints the groups of layers, in a table.
void print_cache(const CacheChoice& choice, const allot::load::PlannedCache& planned);
