// SPDX-License-Identifier: MIT
#include "replay_requests.hpp"

#include <allot/report/prefix_hits.hpp>

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <unordered_set>
#include <vector>

#include "byte_stream.hpp"
#include "output.hpp"

namespace {

using allot::report::Eviction;
using allot::report::PromptTrace;

constexpr Eviction evictions[] = {Eviction::least_recent, Eviction::least_frequent,
                                  Eviction::decayed_hits, Eviction::clairvoyant};

PromptTrace read_requests(const std::string& file) {
  ByteStream input = ByteStream::of_file(file);
  PromptTrace trace;
  std::size_t number = 0;
  while (const auto line = input.line()) {
    ++number;
    if (line->empty()) continue;
    const auto json = nlohmann::json::parse(*line, nullptr, false);
    const auto fail = [&](const char* what) {
      throw std::runtime_error{fmt::format("{}:{}: {}", printable(file), number, what)};
    };
    if (!json.is_object()) fail("not a JSON object in one line");
    const auto blocks = json.find("hash_ids");
    if (blocks == json.end() || !blocks->is_array()) fail("no list 'hash_ids'");
    for (const nlohmann::json& block : *blocks) {
      if (!block.is_number_unsigned()) fail("a hash id is not a whole number of at least 0");
      trace.blocks.push_back(block.get<std::uint64_t>());
    }
    ++trace.requests;
  }
  if (trace.blocks.empty()) throw std::runtime_error{printable(file) + ": no blocks in it"};
  return trace;
}

/// A hundredth, a thirtieth, ... of the different blocks, and all of them.
std::vector<std::uint64_t> capacities_of(std::uint64_t different) {
  std::vector<std::uint64_t> capacities;
  for (const std::uint64_t part : {100U, 30U, 10U, 3U, 1U}) {
    const std::uint64_t capacity = different / part;
    if (capacity != 0 && (capacities.empty() || capacities.back() != capacity))
      capacities.push_back(capacity);
  }
  return capacities;
}

const char* key_of(Eviction eviction) {
  constexpr const char* keys[] = {"least_recent", "least_frequent", "decayed_hits", "clairvoyant"};
  return keys[static_cast<std::size_t>(eviction)];
}

}  // namespace

bool is_request_log(std::string_view begin) {
  return begin.starts_with('{') &&
         begin.substr(0, begin.find('\n')).find("\"hash_ids\"") != std::string_view::npos;
}

void replay_requests(const ReplayCommandOptions& options) {
  const PromptTrace trace = read_requests(options.file);
  const std::uint64_t different =
      std::unordered_set<std::uint64_t>{trace.blocks.begin(), trace.blocks.end()}.size();
  std::vector<std::uint64_t> capacities = capacities_of(different);
  if (options.blocks != 0) capacities = {options.blocks};
  const auto rate = [&](std::uint64_t hits) {
    return static_cast<double>(hits) / static_cast<double>(trace.blocks.size());
  };
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const std::uint64_t capacity : capacities) {
    nlohmann::ordered_json row = {{"blocks", capacity}};
    for (const Eviction eviction : evictions)
      row[key_of(eviction)] = rate(prefix_hits(trace, eviction, capacity));
    rows.push_back(std::move(row));
  }
  if (options.json) {
    const nlohmann::ordered_json json = {
        {"file", printable(options.file)}, {"format", "requests with prefixes"},
        {"requests", trace.requests},      {"prompt_blocks", trace.blocks.size()},
        {"different_blocks", different},   {"hit_rates", std::move(rows)}};
    print("{}\n", json.dump(2));
    return;
  }
  print("{}: requests with prefixes\n  {} requests, {} blocks of prompts, {} of them different\n\n",
        printable(options.file), count_text(trace.requests), count_text(trace.blocks.size()),
        count_text(different));
  print("  {:>12}", "blocks");
  for (const Eviction eviction : evictions) print(" {:>15}", to_text(eviction));
  print("\n");
  for (const auto& row : rows) {
    print("  {:>12}", count_text(row["blocks"].get<std::uint64_t>()));
    for (const Eviction eviction : evictions)
      print(" {:>15.4f}", row[key_of(eviction)].get<double>());
    print("\n");
  }
  print(
      "\nHits of all blocks of prompts, by what a full cache evicts; requests one after another, "
      "none "
      "held while others\ncome. No eviction has more hits than the clairvoyant one.\n");
}
