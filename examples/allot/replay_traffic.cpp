// SPDX-License-Identifier: MIT
#include "replay_traffic.hpp"

#include <allot/core/readable_bytes.hpp>
#include <allot/gguf/file.hpp>
#include <allot/pool/kv/kv_layout.hpp>
#include <allot/pool/kv/kv_shape_of.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "numbers.hpp"
#include "output.hpp"

namespace {

using allot::KvLayout;
using allot::KvShape;
using allot::report::kv_traffic;
using allot::report::KvRequest;
using allot::report::KvTraffic;

KvShape given_shape(const ReplayCommandOptions& options) {
  if (!options.model.empty()) return allot::kv_shape_of(allot::gguf::File{options.model});
  if (options.kv_shape.empty()) {
    throw std::runtime_error{
        "the KV cache's bytes depend on the model: give --model FILE.gguf, or --kv-shape "
        "LAYERS,KV_HEADS,KEY,VALUE such as 32,8,128,128"};
  }
  std::vector<std::uint64_t> numbers;
  std::string_view left = options.kv_shape;
  try {
    while (!left.empty()) {
      const std::string_view number = left.substr(0, left.find(','));
      numbers.push_back(read_number(number, 1, std::uint64_t{1} << 32));
      left.remove_prefix(std::min(number.size() + 1, left.size()));
    }
  } catch (const std::invalid_argument& error) {
    throw std::runtime_error{fmt::format("--kv-shape: {}", error.what())};
  }
  if (numbers.size() != 4) {
    throw std::runtime_error{fmt::format(
        "--kv-shape has {} numbers; give LAYERS,KV_HEADS,KEY,VALUE, such as 32,8,128,128",
        numbers.size())};
  }
  return {.layers = numbers[0],
          .kv_heads = numbers[1],
          .key_dimension = numbers[2],
          .value_dimension = numbers[3]};
}

/// What requests ask of a cache with blocks of one size.
struct TrafficRow {
  KvLayout layout;
  KvTraffic peak;       // without a limit
  KvTraffic limited{};  // with one, if there is one

  [[nodiscard]] std::uint64_t peak_bytes() const { return layout.bytes_for(peak.peak_blocks); }
  [[nodiscard]] double unfilled() const {
    const auto slots = static_cast<double>(peak.peak_blocks * layout.block_tokens());
    return slots == 0 ? 0 : 1 - static_cast<double>(peak.peak_tokens) / slots;
  }
};

TrafficRow replay_with(const ReplayCommandOptions& options, std::span<const KvRequest> requests,
                       const KvShape& shape, std::uint64_t block_tokens) {
  allot::report::KvTrafficOptions replay{.block_tokens = block_tokens,
                                         .token_time = 1000 * options.token_milliseconds};
  TrafficRow row{KvLayout{shape, block_tokens}, kv_traffic(requests, replay)};
  if (options.capacity == 0) return row;
  replay.blocks = options.capacity / row.layout.block_bytes();
  if (replay.blocks == 0) {
    row.limited.refused = requests.size();
  } else if (replay.blocks < row.peak.peak_blocks) {
    row.limited = kv_traffic(requests, replay);
  } else {
    row.limited = row.peak;
  }
  return row;
}

nlohmann::ordered_json traffic_json(const ReplayCommandOptions& options, const TrafficRow& row) {
  nlohmann::ordered_json json = {{"block_tokens", row.layout.block_tokens()},
                                 {"peak_blocks", row.peak.peak_blocks},
                                 {"peak_bytes", row.peak_bytes()},
                                 {"unfilled", row.unfilled()}};
  if (options.capacity == 0) return json;
  json["waited"] = row.limited.waited;
  json["longest_wait_ms"] = row.limited.longest_wait / 1000;
  json["restarted"] = row.limited.restarted;
  json["refused"] = row.limited.refused;
  return json;
}

}  // namespace

void replay_traffic(const ReplayCommandOptions& options, const char* format,
                    std::span<const KvRequest> requests) {
  const KvShape shape = given_shape(options);
  std::vector<TrafficRow> rows;
  for (const std::uint64_t block_tokens : {8U, 16U, 32U, 64U, 128U, 256U})
    rows.push_back(replay_with(options, requests, shape, block_tokens));
  std::uint64_t prompts = 0;
  std::uint64_t outputs = 0;
  for (const KvRequest& request : requests) {
    prompts += request.prompt_tokens;
    outputs += request.output_tokens;
  }
  const std::uint64_t seconds = (requests.back().arrival - requests.front().arrival) / 1'000'000;
  const std::uint64_t token_bytes = rows.front().layout.token_bytes();
  const std::uint64_t sequences = rows.front().peak.peak_sequences;
  if (options.json) {
    nlohmann::ordered_json traffic = nlohmann::ordered_json::array();
    for (const TrafficRow& row : rows) traffic.push_back(traffic_json(options, row));
    const nlohmann::ordered_json json = {
        {"file", printable(options.file)}, {"format", format},
        {"requests", requests.size()},     {"seconds", seconds},
        {"prompt_tokens", prompts},        {"output_tokens", outputs},
        {"token_bytes", token_bytes},      {"token_ms", options.token_milliseconds},
        {"peak_sequences", sequences},     {"kv_traffic", std::move(traffic)}};
    print("{}\n", json.dump(2));
    return;
  }
  print("{}: {}\n  {} requests in {} s, {} tokens of prompts, {} of outputs\n",
        printable(options.file), format, count_text(requests.size()), count_text(seconds),
        count_text(prompts), count_text(outputs));
  print("  a token takes {}; at most {} sequences at once\n\n", size_text(token_bytes),
        count_text(sequences));
  print("  {:>12} {:>12} {:>12} {:>9}{}\n", "tokens/block", "peak blocks", "peak", "unfilled",
        options.capacity == 0 ? "" : "    waited   longest  restarted  refused");
  for (const TrafficRow& row : rows) {
    print("  {:>12} {:>12} {:>12} {:>8.2f}%", row.layout.block_tokens(),
          count_text(row.peak.peak_blocks), allot::ReadableBytes{row.peak_bytes()}.c_str(),
          100 * row.unfilled());
    if (options.capacity != 0) {
      print("  {:>8} {:>7.1f} s {:>10} {:>8}", count_text(row.limited.waited),
            static_cast<double>(row.limited.longest_wait) / 1e6, count_text(row.limited.restarted),
            count_text(row.limited.refused));
    }
    print("\n");
  }
  print(
      "\nThe peak is the smallest cache in which no request waits; unfilled: of its slots. "
      "Assumed,\n"
      "since a log does not have it: a prompt takes no time, each sequence gets a token every {} "
      "ms\n"
      "(--token-ms), and nothing is shared.{}\n",
      options.token_milliseconds,
      options.capacity == 0 ? ""
                            : " At --capacity, a full cache lets requests wait;\nthe sequence that "
                              "started last makes "
                              "room for the others, and starts again.");
}
