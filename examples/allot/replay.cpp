// SPDX-License-Identifier: MIT
#include <allot/core/readable_bytes.hpp>
#include <allot/core/units.hpp>
#include <allot/os/output_file.hpp>
#include <allot/report/recommend.hpp>
#include <allot/report/replay.hpp>
#include <allot/report/replay_pools.hpp>
#include <allot/report/trace_records.hpp>
#include <allot/report/trace_text.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "commands.hpp"
#include "output.hpp"
#include "replay_requests.hpp"
#include "request_log.hpp"
#include "trace_files.hpp"

namespace {

namespace report = allot::report;
using Json = nlohmann::ordered_json;

/// A trace, its rows by capacity, and which of them to take for each aim.
struct Replayed {
  report::AllocationTrace trace;
  report::TraceFacts facts;
  std::vector<report::ReplayRow> rows;
  std::optional<std::size_t> for_memory, for_time, for_both;
};

Replayed replay_file(const ReplayCommandOptions& options) {
  Replayed replayed{
      parse_trace(ByteStream::of_file(options.file), options.file), {}, {}, {}, {}, {}};
  report::AllocationTrace& trace = replayed.trace;
  if (trace.blocks.empty())
    throw std::runtime_error{printable(options.file) + ": no allocations in it"};
  if (options.alignment != 0) trace.alignment = options.alignment;
  replayed.facts = facts_of(trace);
  report::ReplayOptions wanted{.capacity = options.capacity};
  replayed.rows = replay_all(trace, wanted);
  if (const auto best = report::recommend<>(replayed.rows, report::Aim::memory))
    wanted.exact_below = replayed.rows[*best].capacity;  // what takes more is not recommended
  const auto add = [&](const std::vector<report::ReplayRow>& more) {
    replayed.rows.insert(replayed.rows.end(), more.begin(), more.end());
  };
  add(replay_pools(trace, wanted));
  add(replay_coarser(trace, wanted));
  std::stable_sort(replayed.rows.begin(), replayed.rows.end(),
                   [](const auto& a, const auto& b) { return a.capacity < b.capacity; });
  if (!trace.is_complete()) return replayed;  // the figures are too low
  const std::span<const report::ReplayRow> rows = replayed.rows;
  replayed.for_memory = recommend(rows, report::Aim::memory);
  replayed.for_time = recommend(rows, report::Aim::time);
  replayed.for_both = recommend(rows, report::Aim::both);
  return replayed;
}

double times_peak(const Replayed& replayed, std::uint64_t bytes) {
  return static_cast<double>(bytes) / static_cast<double>(replayed.facts.peak_bytes);
}

Json choice_json(const Replayed& replayed, std::optional<std::size_t> choice) {
  if (!choice) return nullptr;
  const report::ReplayRow& row = replayed.rows[*choice];
  Json json = {{"type", row.type}, {"capacity", row.capacity}};
  if (!row.is_coarser) json["nanoseconds"] = row.nanoseconds;
  return json;
}

Json to_json(const ReplayCommandOptions& options, const Replayed& replayed) {
  Json rows = Json::array();
  for (const report::ReplayRow& row : replayed.rows) {
    Json json = {{"name", row.name}, {"capacity", row.capacity}, {"simulated", row.is_simulated}};
    if (row.is_simulated) {
      json["reserved"] = row.reserved;
    } else {
      json["type"] = row.type;
      json["unit"] = row.unit;
      json["coarser"] = row.is_coarser;
      if (!row.is_coarser) json["nanoseconds"] = row.nanoseconds;
      if (row.is_pool) {
        json["waits"] = row.waits;
      } else {
        json["mean_fragmentation"] = row.mean_fragmentation;
        json["worst_fragmentation"] = row.worst_fragmentation;
      }
      if (options.capacity != 0) json["refusals"] = row.refusals;
    }
    rows.push_back(std::move(json));
  }
  return {{"file", printable(options.file)},
          {"format", replayed.trace.format},
          {"allocations", replayed.facts.allocations},
          {"frees", replayed.facts.frees},
          {"peak_bytes", replayed.facts.peak_bytes},
          {"peak_blocks", replayed.facts.peak_blocks},
          {"largest", replayed.facts.largest},
          {"live_at_end", replayed.facts.live_at_end},
          {"unknown_frees", replayed.trace.unknown_frees},
          {"repeated", replayed.trace.repeated},
          {"empty", replayed.trace.empty},
          {"refused", replayed.trace.refused},
          {"lost", replayed.trace.lost},
          {"sample", replayed.trace.sample},
          {"cut_off", replayed.trace.is_cut_off},
          {"recommended", choice_json(replayed, replayed.for_memory)},
          {"recommended_for",
           {{"memory", choice_json(replayed, replayed.for_memory)},
            {"time", choice_json(replayed, replayed.for_time)},
            {"both", choice_json(replayed, replayed.for_both)}}},
          {"rows", std::move(rows)}};
}

void print_row(const ReplayCommandOptions& options, const Replayed& replayed,
               const report::ReplayRow& row) {
  print("  {:<40} {:>12} {:>8.3f}", row.name, allot::ReadableBytes{row.capacity}.c_str(),
        times_peak(replayed, row.capacity));
  if (row.is_simulated) {
    print("   reserves {} without a limit\n", allot::ReadableBytes{row.reserved}.c_str());
    return;
  }
  print(" {:>8.1f}", row.nanoseconds);
  if (row.is_pool) {
    print(" {:>8} {:>8}", "", "");
  } else {
    print(" {:>7.1f}% {:>7.1f}%", 100 * row.mean_fragmentation, 100 * row.worst_fragmentation);
  }
  if (options.capacity != 0) print(" {:>8}", count_text(row.refusals));
  if (row.is_pool) print("  {} waits", count_text(row.waits));
  print("\n");
}

/// A column for each coarser unit.
void print_coarser(const Replayed& replayed) {
  const auto strategy_of = [](const report::ReplayRow& row) {
    return row.name.substr(0, row.name.find('<'));  // blocks of another number of units
  };
  std::vector<std::uint64_t> units;
  std::vector<std::string> strategies;
  for (const report::ReplayRow& row : replayed.rows) {
    if (!row.is_coarser) continue;
    if (std::find(units.begin(), units.end(), row.unit) == units.end()) units.push_back(row.unit);
    const std::string strategy = strategy_of(row);
    if (std::find(strategies.begin(), strategies.end(), strategy) == strategies.end())
      strategies.push_back(strategy);
  }
  if (units.empty()) return;
  std::sort(units.begin(), units.end());
  print("\n  {:<40}", "x peak, in coarser units");
  for (const std::uint64_t unit : units) print(" {:>12}", allot::ReadableBytes{unit}.c_str());
  print("\n");
  for (const std::string& strategy : strategies) {
    print("  {:<40}", strategy);
    for (const std::uint64_t unit : units) {
      const auto row = std::find_if(
          replayed.rows.begin(), replayed.rows.end(), [&](const report::ReplayRow& each) {
            return each.is_coarser && each.unit == unit && strategy_of(each) == strategy;
          });
      if (row == replayed.rows.end()) {
        print(" {:>12}", "");
      } else {
        print(" {:>12.3f}", times_peak(replayed, row->capacity));
      }
    }
    print("\n");
  }
}

void print_rows(const ReplayCommandOptions& options, const Replayed& replayed) {
  print("\n  {:<40} {:>12} {:>8} {:>8} {:>8} {:>8}{}\n", "", "capacity", "x peak", "ns", "frag.",
        "worst", options.capacity != 0 ? "  refused" : "");
  for (const report::ReplayRow& row : replayed.rows) {
    if (!row.is_coarser) print_row(options, replayed, row);
  }
  print_coarser(replayed);
}

/// Writes an allot-trace 2 in one of its forms. Throws: `std::runtime_error`.
void write_trace(const ReplayCommandOptions& options, const std::string& to, bool as_text) {
  if (to.empty()) return;
  if (!options.force) refuse_to_overwrite({to});
  allot::os::OutputFile file{to};
  const auto write = [&](std::string_view bytes) { file.write(std::as_bytes(std::span{bytes})); };
  report::TraceEncoder encoder;
  std::byte bytes[report::TraceEncoder::most_bytes];
  std::string piece{as_text ? std::string{report::trace_text_mark} + "\n" : ""};
  read_trace_records(ByteStream::of_file(options.file), options.file,
                     [&](const report::TraceRecord& record) {
                       if (as_text) {
                         piece += to_text(record) + "\n";
                       } else {
                         const std::size_t count = encoder.encode(record, bytes);
                         piece.append(reinterpret_cast<const char*>(bytes), count);
                       }
                       constexpr std::size_t most = std::size_t{1} << 20;
                       if (piece.size() < most) return;
                       write(piece);
                       piece.clear();
                     });
  write(piece);
  file.close(false);
  file.commit();
}

void print_choice(const Replayed& replayed, const char* aim, std::optional<std::size_t> choice) {
  if (!choice) return;
  const report::ReplayRow& row = replayed.rows[*choice];
  if (row.is_pool) {
    print("  {:<7} {} pool{{device, {}}};\n", aim, row.type, row.capacity);
  } else {
    print("  {:<7} {} arena{{{}}};\n", aim, row.type, row.capacity);
  }
}

/// Requires: the trace is not complete.
std::string what_is_missing(const report::AllocationTrace& trace) {
  if (trace.unknown_frees != 0) {
    return count_text(trace.unknown_frees) +
           " frees of blocks that were there before the recording began";
  }
  if (trace.lost != 0) return count_text(trace.lost) + " events had no room in the recording";
  return "One block in " + count_text(trace.sample) + " was recorded";
}

/// Why: by what margin, on which figure.
void print_reasons(const Replayed& replayed) {
  const report::ReplayRow& best = replayed.rows[*replayed.for_memory];
  print("\n{}{} needs {:.1f} % more than what is live at the peak", best.name,
        best.is_coarser ? fmt::format(" in units of {}", allot::ReadableBytes{best.unit}.c_str())
                        : "",
        100 * (times_peak(replayed, best.capacity) - 1));
  const report::ReplayRow* next = nullptr;
  const report::ReplayRow* caching = nullptr;
  std::string equal;
  for (const report::ReplayRow& row : replayed.rows) {
    if (row.is_simulated) {
      if (row.name.starts_with("PyTorch")) caching = &row;
    } else if (row.is_coarser || row.is_pool) {
      continue;
    } else if (row.capacity != best.capacity) {
      if (next == nullptr || row.capacity < next->capacity) next = &row;
    } else if (&row != &best) {
      equal += (equal.empty() ? "" : ", ") + row.name;
    }
  }
  if (!equal.empty()) print("; as much: {}, which come after it in the table", equal);
  if (next != nullptr) {
    print("; {}, the next one{}, {:.1f} % more than it", next->name,
          best.is_coarser || best.is_pool ? " among arenas with the trace's own unit" : "",
          100 * (static_cast<double>(next->capacity) / static_cast<double>(best.capacity) - 1));
  }
  if (caching != nullptr) {
    print(".\n{} would need {:.2f} times as much", caching->name,
          static_cast<double>(caching->capacity) / static_cast<double>(best.capacity));
  }
  print(".\n");
}

}  // namespace

void replay(const ReplayCommandOptions& options) {
  if (is_request_log(std::string{ByteStream::of_file(options.file).peek(1 << 16)}))
    return replay_requests(options);
  if (options.blocks != 0)
    throw std::runtime_error{
        "--blocks is for logs of requests; an allocation trace has --capacity"};
  write_trace(options, options.text, true);
  write_trace(options, options.binary, false);
  const Replayed replayed = replay_file(options);
  if (options.json) {
    print("{}\n", to_json(options, replayed).dump(2));
    return;
  }
  print("{}: {}\n", printable(options.file), replayed.trace.format);
  print("  {} allocations, {} frees, {} live at the end\n", count_text(replayed.facts.allocations),
        count_text(replayed.facts.frees), count_text(replayed.facts.live_at_end));
  print("  peak {} in {} blocks, largest {}\n", size_text(replayed.facts.peak_bytes),
        count_text(replayed.facts.peak_blocks), size_text(replayed.facts.largest));
  if (replayed.trace.repeated != 0) {
    print("  {} allocations were recorded twice: counted once\n",
          count_text(replayed.trace.repeated));
  }
  if (replayed.trace.empty != 0)
    print("  {} allocations of no bytes: left out\n", count_text(replayed.trace.empty));
  if (replayed.trace.refused != 0)
    print("  {} requests were refused then\n", count_text(replayed.trace.refused));
  if (replayed.trace.is_cut_off) print("  the file is cut off in its last event\n");
  print_rows(options, replayed);
  if (!replayed.for_memory) {
    print("\n{}: these figures are too low, and nothing is recommended\n",
          what_is_missing(replayed.trace));
    return;
  }
  print("\nTo write, for least memory, least time, and both:\n");
  print_choice(replayed, "memory", replayed.for_memory);
  print_choice(replayed, "time", replayed.for_time);
  print_choice(replayed, "both", replayed.for_both);
  print_reasons(replayed);
}
