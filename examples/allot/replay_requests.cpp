// SPDX-License-Identifier: MIT
#include "replay_requests.hpp"

#include <allot/pool/kv/eviction/decayed_hits.hpp>
#include <allot/pool/kv/eviction/least_frequently_used.hpp>
#include <allot/pool/kv/eviction/least_recently_used.hpp>
#include <allot/pool/kv/eviction/waiting_kept.hpp>
#include <allot/report/prefix_hits.hpp>

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "output.hpp"
#include "replay_traffic.hpp"
#include "request_log.hpp"

namespace {

using allot::report::PromptTrace;

/// An eviction, in the order of the table: the policy's type, its key, and its hits.
struct Eviction {
  const char* type;
  const char* key;
  std::uint64_t (*hits)(const PromptTrace& trace, std::uint64_t capacity, std::size_t waiting);
};

constexpr Eviction evictions[] = {
    {"LeastRecentlyUsed", "least_recent", allot::report::prefix_hits<allot::LeastRecentlyUsed>},
    {"LeastFrequentlyUsed", "least_frequent",
     allot::report::prefix_hits<allot::LeastFrequentlyUsed>},
    {"DecayedHits<>", "decayed_hits", allot::report::prefix_hits<allot::DecayedHits<>>},
    {"WaitingKept<>", "waiting_kept", allot::report::prefix_hits<allot::WaitingKept<>>},
    {"WaitingKept<DecayedHits<>>", "waiting_kept_decayed_hits",
     allot::report::prefix_hits<allot::WaitingKept<allot::DecayedHits<>>>},
};

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

}  // namespace

void replay_requests(const ReplayCommandOptions& options) {
  const bool has_shape = !options.model.empty() || !options.kv_shape.empty();
  const RequestLog log =
      read_request_log(ByteStream::of_file(options.file), options.file, has_shape);
  const PromptTrace& trace = log.prompts;
  if (has_shape || trace.requests() == 0) return replay_traffic(options, log.format, log.requests);
  std::vector<std::uint64_t> capacities = capacities_of(trace.different());
  if (options.blocks != 0) capacities = {options.blocks};
  const auto rate = [&](std::uint64_t hits) {
    return static_cast<double>(hits) / static_cast<double>(trace.blocks().size());
  };
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const std::uint64_t capacity : capacities) {
    const double most = rate(clairvoyant_hits(trace, capacity));
    nlohmann::ordered_json row = {{"blocks", capacity}};
    nlohmann::ordered_json below = nlohmann::ordered_json::object();
    for (const Eviction& eviction : evictions) {
      const double hits = rate(eviction.hits(trace, capacity, options.waiting));
      row[eviction.key] = hits;
      below[eviction.key] = most - hits;
    }
    row["clairvoyant"] = most;
    row["below_clairvoyant"] = std::move(below);
    rows.push_back(std::move(row));
  }
  if (options.json) {
    const nlohmann::ordered_json json = {
        {"file", printable(options.file)},       {"format", log.format},
        {"requests", trace.requests()},          {"prompt_blocks", trace.blocks().size()},
        {"different_blocks", trace.different()}, {"waiting", options.waiting},
        {"hit_rates", std::move(rows)}};
    print("{}\n", json.dump(2));
    return;
  }
  print("{}: {}\n  {} requests, {} blocks of prompts, {} of them different\n",
        printable(options.file), log.format, count_text(trace.requests()),
        count_text(trace.blocks().size()), count_text(trace.different()));
  print("\n  {:>10}  {:<28} {:>8} {:>22}\n", "blocks", "evicts by", "hits",
        "below the clairvoyant");
  for (const auto& row : rows) {
    std::string blocks = count_text(row["blocks"].get<std::uint64_t>());
    for (const Eviction& eviction : evictions) {
      print("  {:>10}  {:<28} {:>8.4f} {:>22.4f}\n", std::exchange(blocks, ""), eviction.type,
            row[eviction.key].get<double>(), row["below_clairvoyant"][eviction.key].get<double>());
    }
    print("  {:>10}  {:<28} {:>8.4f}\n\n", "", "clairvoyant", row["clairvoyant"].get<double>());
  }
  print(
      "Hits of all blocks of prompts; requests one after another as they arrive, none held while\n"
      "others come. WaitingKept knows of the next {} requests (--waiting). No eviction has more\n"
      "hits than the clairvoyant one. To write: allot::KvCache<Device, Synchronization, TYPE>.\n",
      options.waiting);
}
