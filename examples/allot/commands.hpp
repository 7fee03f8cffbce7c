// SPDX-License-Identifier: MIT
/// \file
/// The commands of the allot tool. Each prints its result to standard output and throws if it
/// fails.
#pragma once

#include <allot/gguf/file.hpp>
#include <allot/load/load_options.hpp>
#include <allot/load/plan/share_options.hpp>
#include <allot/load/plan/transform.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "cache_choice.hpp"
#include "placing.hpp"

struct InspectOptions {
  std::string file;
  bool tensors = false;
  bool metadata = false;
  std::string engine;  // empty: none
  bool json = false;
};

/// The options that `plan` and `load` share: how much memory, where, in what pieces.
struct MemoryOptions {
  std::string file;
  std::string device = "host";        // several: hip:0,hip:1
  std::vector<std::uint64_t> memory;  // bytes free on each device, instead of asking it
  std::uint64_t alignment = 256;
  std::string margin = "usual";
  std::string placement = "one";
  std::uint64_t chunk_bytes = 0;
  std::uint64_t context = 0;  // 0: no cache
  CacheChoice cache;
  PlacingChoice placing;
  const allot::gguf::File* draft = nullptr;  // the draft model, once it is open
  std::uint64_t scratch_bytes = 0;
  allot::load::TransformOptions transforms;
  std::vector<std::string> only;  // patterns; none: all tensors
  allot::load::Shares shares;     // one process, unless --shares says otherwise
  std::string fit_limit;          // trained or memory; empty: the context is given
  [[nodiscard]] bool fit() const noexcept { return !fit_limit.empty(); }
  bool verify = false;
  bool read_once = false;  // of ranks: each byte by one of them
  bool json = false;
  allot::load::LoadOptions load;
};

/// The options that `split` and `merge` share: files made from files.
struct RewriteOptions {
  std::string file;
  std::string out;                // merge: a file; split: what the shards' names begin with
  std::uint64_t max_bytes = 0;    // of tensor data in a shard; 0: no limit
  std::uint64_t max_tensors = 0;  // in a shard; 0: no limit
  bool no_tensor_first_split = false;
  bool force = false;
  bool json = false;
};

struct CompletionsOptions {
  std::string shell;
};
struct ManOptions {};
/// The options of `offsets`: lifetimes planned into one block, or some.
struct OffsetsOptions {
  std::string file;
  std::vector<std::uint64_t> capacities;  // of each memory; none: as few bytes as possible
  std::uint64_t work = 0;                 // 0: the default
  std::uint64_t stream_wait_bytes = 0;
  std::string out;  // a CSV file
  std::string svg;
  bool force = false;
  bool json = false;
};

/// The options of `replay`.
struct ReplayCommandOptions {
  std::string file;
  std::uint64_t capacity = 0;   // bytes to count refusals at; 0: none
  std::uint64_t alignment = 0;  // of every block, and the arenas' unit; 0: as recorded
  std::uint64_t blocks = 0;     // of requests: of the cache; 0: several
  std::uint64_t waiting = 32;   // of requests: how many wait while one is served
  std::string model;            // of requests: a file, for the shape of its KV cache
  std::string kv_shape;         // the same as numbers
  std::uint64_t token_milliseconds = 30;
  std::string text;    // where to write an allot-trace 2 as text
  std::string binary;  // the other way
  bool force = false;
  bool json = false;
};

/// The options of `record`.
struct RecordOptions {
  std::vector<std::string> program;  // and its arguments
  std::string out = "allot.trace";
  std::string library;  // empty: beside the tool
  bool force = false;
};

/// The options of `run`.
struct RunOptions {
  std::vector<std::string> program;  // and its arguments
  std::uint64_t budget = 0;          // bytes of each device; 0: most of what is free
  std::uint64_t direct_above = 0;    // bytes; 0: no limit
  std::string json;                  // a file
  std::string library;               // empty: beside the tool
  bool force = false;
};

/// The options of `map`: for a plan, those of one.
struct MapOptions : MemoryOptions {
  std::string out;  // an HTML file
  std::string svg;
  std::string png;
  std::string perfetto;
  bool recorded = false;  // of a trace: as the program had it
  bool force = false;
};

void inspect(const InspectOptions& options);
void split(const RewriteOptions& options);
void merge(const RewriteOptions& options);
void plan(const MemoryOptions& options);
void load(const MemoryOptions& options);
void print_completions(const CompletionsOptions& options);
void print_man_page(const ManOptions& options);
void offsets(const OffsetsOptions& options);
void replay(const ReplayCommandOptions& options);
void map(const MapOptions& options);
void record(const RecordOptions& options);
void run(const RunOptions& options);
