// SPDX-License-Identifier: MIT
#include <allot/core/units.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/os/output_file.hpp>
#include <allot/report/placed_trace.hpp>
#include <allot/report/recorded_places.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "byte_stream.hpp"
#include "commands.hpp"
#include "convert_picture.hpp"
#include "dump_files.hpp"
#include "output.hpp"
#include "picture.hpp"
#include "placing.hpp"
#include "planning.hpp"
#include "text_files.hpp"
#include "trace_files.hpp"

namespace {

namespace report = allot::report;

constexpr std::size_t most_moments = 4'000;

std::uint32_t size_class(std::uint64_t bytes) {
  std::uint32_t kind = 0;
  for (std::uint64_t most = 64 * allot::KiB; bytes > most && kind < 4; most *= 16) ++kind;
  return kind;
}

/// The most in use in each of at most `most_moments` parts of the time.
std::vector<Picture::Moment> moments_of(const report::PlacedTrace& placed) {
  std::vector<Picture::Moment> moments;
  const std::size_t every = placed.live.size() / most_moments + 1;
  for (std::size_t i = 0; i < placed.live.size(); ++i) {
    if (i % every == 0) moments.push_back({i, 0, 0});
    Picture::Moment& moment = moments.back();
    moment.live = std::max(moment.live, placed.live[i]);
    const std::uint64_t free = placed.capacity - placed.live[i];
    if (free == 0) continue;
    const double fragmentation =
        1 - static_cast<double>(placed.largest_free[i]) / static_cast<double>(free);
    moment.fragmentation = std::max(moment.fragmentation, fragmentation);
  }
  return moments;
}

/// The highest moments, a twentieth of the time apart.
std::vector<Picture::Moment> peaks_of(const report::PlacedTrace& placed) {
  constexpr std::size_t most = 5;
  std::vector<Picture::Moment> moments;
  const std::size_t every = placed.live.size() / most_moments + 1;
  for (std::size_t i = 0; i < placed.live.size(); ++i) {
    if (i % every == 0) moments.push_back({i, placed.live[i], 0});
    if (placed.live[i] > moments.back().live) moments.back() = {i, placed.live[i], 0};
  }
  std::stable_sort(moments.begin(), moments.end(),
                   [](const auto& a, const auto& b) { return a.live > b.live; });
  std::vector<Picture::Moment> peaks;
  for (const Picture::Moment& moment : moments) {
    const auto is_near = [&](const Picture::Moment& peak) {
      const std::uint64_t apart =
          moment.event > peak.event ? moment.event - peak.event : peak.event - moment.event;
      return apart < placed.live.size() / 20;
    };
    if (std::none_of(peaks.begin(), peaks.end(), is_near)) peaks.push_back(moment);
    if (peaks.size() == most) break;
  }
  return peaks;
}

Picture picture_of_trace(const MapOptions& options) {
  const report::AllocationTrace trace =
      parse_trace(ByteStream::of_file(options.file), options.file);
  if (trace.blocks.empty())
    throw std::runtime_error{printable(options.file) + ": no allocations in it"};
  if (options.recorded && !trace.knows_addresses) {
    throw std::runtime_error{printable(options.file) +
                             ": no addresses in it; without --recorded it is drawn in an arena"};
  }
  const auto placed =
      options.recorded ? report::recorded_places(trace) : report::place_trace(trace);
  if (!placed && options.recorded)
    throw std::runtime_error{printable(options.file) + ": a block ends beyond 2^64 bytes"};
  if (!placed) {
    throw std::runtime_error{printable(options.file) +
                             ": more than 2^32 - 2 units are live at once; nothing to draw it in"};
  }
  const report::TraceFacts facts = facts_of(trace);
  Picture picture;
  picture.kind = "trace";
  picture.title = options.file + ": " + trace.format +
                  (options.recorded ? ", where the program had it" : ", in an arena of BestFit");
  picture.figures = {
      {"allocations", "allocations", facts.allocations, false},
      {"frees", "frees", facts.frees, false},
      {"peak_bytes", "live at the peak, as requested", facts.peak_bytes, true},
      {"peak_blocks", "blocks at the peak", facts.peak_blocks, false},
      {"largest", "largest request", facts.largest, true},
      {"live_at_end", "blocks live at the end", facts.live_at_end, false},
      {"unknown_frees", "frees of unknown blocks", trace.unknown_frees, false},
      {"capacity", options.recorded ? "memory that blocks were in" : "the smallest arena found",
       placed->capacity, true}};
  picture.kinds = {"to 64 KiB", "to 1 MiB", "to 16 MiB", "to 256 MiB", "larger"};
  picture.events = trace.events.size();
  picture.moments = moments_of(*placed);
  picture.peaks = peaks_of(*placed);
  Picture::Lane lane{options.recorded ? "memory" : "arena", placed->capacity, {}};
  lane.blocks.reserve(trace.blocks.size());
  for (std::size_t i = 0; i < trace.blocks.size(); ++i) {
    const report::PlacedTrace::Block& block = placed->blocks[i];
    lane.blocks.push_back({block.offset, block.size, size_class(trace.blocks[i].bytes),
                           static_cast<std::uint32_t>(i), block.from, block.to});
  }
  picture.lanes.push_back(std::move(lane));
  leave_out_small(picture, most_blocks);
  TextNumbers names{picture.names};
  for (Picture::Block& block : picture.lanes[0].blocks) {
    const std::string name{trace.name(block.name)};
    const bool has_room = picture.names.size() < most_names;
    block.name = name.empty() || !has_room ? 0 : names.of(name);
  }
  return picture;
}

std::string kind_of(const allot::load::Item& item) {
  switch (item.purpose) {
    case allot::load::Purpose::cache:
      return "cache";
    case allot::load::Purpose::scratch:
      return "scratch";
    default:
      return std::string{allot::gguf::type_name(item.type)};
  }
}

Picture picture_of_plan(const MapOptions& asked) {
  using allot::load::Purpose;
  const allot::load::ModelFiles files = open_files(asked.file, asked.placing);
  MemoryOptions options = asked;
  options.draft = files.draft();
  const auto devices = planned_devices(options, device_names(options).size() > 1);
  const allot::load::Plan plan = make_plan(options, files, plan_options(options, devices));
  Picture picture;
  picture.kind = "plan";
  picture.title = options.file + ": the plan of its memory";
  picture.figures = {{"tensors", "tensors", plan.tensor_count(), false},
                     {"tensor_bytes", "tensors, in memory", plan.tensor_bytes(), true},
                     {"cache_bytes", "cache", plan.bytes_for(Purpose::cache), true},
                     {"scratch_bytes", "scratch", plan.bytes_for(Purpose::scratch), true},
                     {"total_bytes", "to reserve", plan.total_bytes(), true}};
  for (std::size_t i = 0; i < devices.size(); ++i) {
    const std::uint64_t planned = plan.bytes_on(devices[i].name);
    picture.figures.push_back(
        {fmt::format("device_{}_bytes", i), "on " + devices[i].name, planned, true});
    picture.figures.push_back({fmt::format("device_{}_margin", i), "margin on " + devices[i].name,
                               ChosenMargin{options.margin}(planned), true});
  }
  for (std::size_t i = 0; i < plan.arenas.size(); ++i) {
    const allot::load::PlannedArena& arena = plan.arenas[i];
    std::string name = fmt::format("arena {} on {}", i, arena.device);
    if (!arena.rule.empty()) name += " (" + arena.rule + ")";
    picture.lanes.push_back({std::move(name), std::max<std::uint64_t>(arena.capacity, 1), {}});
  }
  TextNumbers kinds{picture.kinds};
  TextNumbers names{picture.names};
  for (const allot::load::Item& item : plan.items) {
    if (!item.has_own_memory()) continue;
    picture.lanes[item.arena].blocks.push_back(
        {item.offset, item.bytes, kinds.of(kind_of(item)), names.of(item.name)});
  }
  leave_out_small(picture, most_blocks);
  return picture;
}

Picture picture_of(const MapOptions& options) {
  std::string begin;
  {
    ByteStream input = ByteStream::of_file(options.file);
    begin = std::string{input.peek(64)};
  }
  if (begin.starts_with("GGUF")) return picture_of_plan(options);
  if (begin.starts_with('{') && begin.find("\"General\"") != std::string::npos)
    return picture_of_vma(ByteStream::of_file(options.file), options.file);
  if (begin.starts_with("{\"allot\":"))
    return picture_of_dump(ByteStream::of_file(options.file), options.file);
  return picture_of_trace(options);
}

void write_file(const std::string& path, const std::string& text) {
  if (path.empty()) return;
  allot::os::OutputFile file{path};
  file.write(std::as_bytes(std::span{text}));
  file.close(false);
  file.commit();
}

}  // namespace

void map(const MapOptions& options) {
  if (!options.force) {
    std::vector<std::string> outputs;
    for (const std::string& path : {options.out, options.svg, options.png, options.perfetto}) {
      if (!path.empty()) outputs.push_back(path);
    }
    refuse_to_overwrite(outputs);
  }
  PictureConverter converter;
  if (!options.png.empty()) converter = find_picture_converter();
  const Picture picture = picture_of(options);
  if (options.recorded && picture.kind != "trace")
    throw std::runtime_error{"--recorded needs a trace; " + printable(options.file) +
                             " has no time"};
  const std::string page = options.out.empty() ? "" : page_of(picture);
  write_file(options.out, page);
  if (!options.perfetto.empty() && picture.events == 0)
    throw std::runtime_error{"--perfetto needs a trace; " + printable(options.file) +
                             " has no time"};
  if (!options.perfetto.empty()) write_file(options.perfetto, perfetto_of(picture));
  if (!options.svg.empty()) write_file(options.svg, svg_of(picture));
  if (!options.png.empty()) write_file(options.png, png_of(svg_of(picture), converter));
  if (!options.json) {
    print("{}\n", printable(picture.title));
    for (const Picture::Figure& figure : picture.figures) {
      print("  {:<32} {}\n", printable(figure.label),
            figure.is_bytes ? size_text(figure.number) : count_text(figure.number));
    }
    if (!options.out.empty()) print("open {} in a browser\n", printable(options.out));
    return;
  }
  nlohmann::ordered_json figures;
  for (const Picture::Figure& figure : picture.figures) figures[figure.key] = figure.number;
  const nlohmann::ordered_json json = {
      {"file", printable(options.file)}, {"kind", picture.kind},
      {"figures", std::move(figures)},   {"blocks", picture.blocks()},
      {"left_out", picture.left_out},    {"page_bytes", page.size()}};
  print("{}\n", json.dump(2));
}
