// SPDX-License-Identifier: MIT
#include <allot/core/units.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/os/output_file.hpp>
#include <allot/report/placed_trace.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

#include "byte_stream.hpp"
#include "commands.hpp"
#include "output.hpp"
#include "picture.hpp"
#include "placing.hpp"
#include "planning.hpp"
#include "text_files.hpp"
#include "trace_files.hpp"

namespace {

namespace report = allot::report;

/// About 40 bytes of the page each.
constexpr std::size_t most_blocks = 60'000;
constexpr std::size_t most_names = 20'000;
constexpr std::size_t most_moments = 4'000;

/// Numbers texts in the order in which they come.
class Numbers {
 public:
  explicit Numbers(std::vector<std::string>& texts) : texts_{texts} {}

  std::uint32_t of(const std::string& text) {
    const auto [found, is_new] = numbers_.try_emplace(text, texts_.size());
    if (is_new) texts_.push_back(text);
    return static_cast<std::uint32_t>(found->second);
  }

 private:
  std::vector<std::string>& texts_;
  std::map<std::string, std::size_t> numbers_;
};

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
  const auto placed = report::place_trace(trace);
  if (!placed) {
    throw std::runtime_error{printable(options.file) +
                             ": more than 2^32 - 2 units are live at once; nothing to draw it in"};
  }
  const report::TraceFacts facts = facts_of(trace);
  Picture picture;
  picture.kind = "trace";
  picture.title = options.file + ": " + trace.format + ", in an arena of BestFit";
  picture.figures = {{"allocations", "allocations", facts.allocations, false},
                     {"frees", "frees", facts.frees, false},
                     {"peak_bytes", "live at the peak, as requested", facts.peak_bytes, true},
                     {"peak_blocks", "blocks at the peak", facts.peak_blocks, false},
                     {"largest", "largest request", facts.largest, true},
                     {"live_at_end", "blocks live at the end", facts.live_at_end, false},
                     {"unknown_frees", "frees of unknown blocks", trace.unknown_frees, false},
                     {"capacity", "the smallest arena found", placed->capacity, true}};
  picture.kinds = {"to 64 KiB", "to 1 MiB", "to 16 MiB", "to 256 MiB", "larger"};
  picture.events = trace.events.size();
  picture.moments = moments_of(*placed);
  picture.peaks = peaks_of(*placed);
  Picture::Lane lane{"arena", placed->capacity, {}};
  lane.blocks.reserve(trace.blocks.size());
  for (std::size_t i = 0; i < trace.blocks.size(); ++i) {
    const report::PlacedTrace::Block& block = placed->blocks[i];
    lane.blocks.push_back({block.offset, block.size, size_class(trace.blocks[i].bytes),
                           static_cast<std::uint32_t>(i), block.from, block.to});
  }
  picture.lanes.push_back(std::move(lane));
  leave_out_small(picture, most_blocks);
  Numbers names{picture.names};
  for (Picture::Block& block : picture.lanes[0].blocks) {
    const std::string name{trace.name(block.name)};
    const bool has_room = picture.names.size() < most_names;
    block.name = name.empty() || !has_room ? 0 : names.of(name);
  }
  return picture;
}

/// An arena, or one of a pool's, a cache's or a model's.
void add_lane(Picture& picture, const nlohmann::json& dumped, const std::string& title,
              Numbers& kinds, Numbers& names) {
  Picture::Lane lane{title, 0, {}};
  for (const auto& block : dumped.at("blocks")) {
    const auto offset = block.at("offset").get<std::uint64_t>();
    const auto size = block.at("size").get<std::uint64_t>();
    if (offset > (std::uint64_t{1} << 60) || size > (std::uint64_t{1} << 60))
      throw std::length_error{"a block lies beyond 2^60 bytes"};
    lane.bytes = std::max(lane.bytes, offset + size);
    const bool is_used = block.at("used").get<bool>();
    const std::string state = block.value("state", is_used ? "used" : "free");
    if (state == "free") continue;
    const std::string kind = is_used ? block.value("type", state) : state;
    const std::string name = block.value("name", "");
    const bool has_room = picture.names.size() < most_names;
    const std::uint32_t number = name.empty() || !has_room ? 0 : names.of(name);
    lane.blocks.push_back({offset, size, kinds.of(kind), number});
  }
  if (lane.bytes == 0) throw std::length_error{"no blocks in it"};
  picture.lanes.push_back(std::move(lane));
}

Picture picture_of_dump(const MapOptions& options) {
  const auto fail = [&](const std::string& what) {
    throw std::runtime_error{printable(options.file) + ": " + what};
  };
  const auto json = nlohmann::json::parse(read_text(options.file), nullptr, false);
  Picture picture;
  try {
    if (json.at("version") != 1) fail("a dump of another version than 1");
    picture.kind = json.at("allot").get<std::string>();
    picture.title = json.at("name").get<std::string>();
    if (picture.title.empty()) picture.title = options.file;
    for (const auto& [key, label, is_bytes] :
         {std::tuple{"capacity", "capacity", true}, std::tuple{"used", "used", true},
          std::tuple{"requested", "of these requested", true},
          std::tuple{"cached", "kept for reuse", true},
          std::tuple{"held", "held by slices, copies or other code", true},
          std::tuple{"free", "free", true}, std::tuple{"largest_free", "largest free block", true},
          std::tuple{"free_blocks", "free blocks", false},
          std::tuple{"live_blocks", "live blocks", false},
          std::tuple{"peak_used", "most used at any time", true}}) {
      const auto figure = json.at("usage").find(key);
      if (figure != json.at("usage").end())
        picture.figures.push_back({key, label, figure->get<std::uint64_t>(), is_bytes});
    }
    Numbers kinds{picture.kinds};
    Numbers names{picture.names};
    const bool has_types = picture.kind == "named_buffers" || picture.kind == "model";
    if (!has_types && json["usage"].at("used") != 0) kinds.of("used");  // the first color
    if (json.contains("blocks")) add_lane(picture, json, "arena", kinds, names);
    for (const auto& arena : json.value("arenas", nlohmann::json::array())) {
      const std::string device = arena.value("device", "");
      add_lane(picture, arena,
               arena.at("name").get<std::string>() + (device.empty() ? "" : " on " + device), kinds,
               names);
    }
    if (picture.lanes.empty()) fail("no memory in it");
  } catch (const nlohmann::json::exception& error) {
    fail(std::string{"not a dump of report::dump: "} + printable(error.what()));
  } catch (const std::length_error& error) {
    fail(error.what());
  }
  leave_out_small(picture, most_blocks);
  return picture;
}

/// The pools of a dump of VulkanMemoryAllocator (vmaBuildStatsString of version 3).
class VmaPools {
 public:
  explicit VmaPools(Picture& picture)
      : picture_{picture}, kinds_{picture.kinds}, names_{picture.names} {}

  /// Throws: `nlohmann::json::exception`; `std::length_error` for a block beyond 2^60 bytes.
  void add(const std::string& name, const nlohmann::json& pool) {
    for (const auto& each : pool.at("Blocks").items()) {
      Picture::Lane lane{
          name + ", block " + each.key(), bytes_in(each.value().at("TotalBytes")), {}};
      for (const nlohmann::json& block : each.value().at("Suballocations"))
        add(lane, block, bytes_in(block.at("Offset")));
      ++memory_blocks;
      picture_.lanes.push_back(std::move(lane));
    }
    Picture::Lane dedicated{name + ", dedicated", 0, {}};
    for (const nlohmann::json& block : pool.at("DedicatedAllocations")) {
      add(dedicated, block, dedicated.bytes);
      dedicated.bytes += bytes_in(block.at("Size"));
      ++memory_blocks;
    }
    if (dedicated.bytes != 0) picture_.lanes.push_back(std::move(dedicated));
  }

  std::uint64_t memory_blocks = 0;
  std::uint64_t allocations = 0;
  std::uint64_t bytes = 0;

 private:
  static std::uint64_t bytes_in(const nlohmann::json& json) {
    const auto bytes = json.get<std::uint64_t>();
    if (bytes > std::uint64_t{1} << 60) throw std::length_error{"a size of more than 2^60 bytes"};
    return bytes;
  }

  void add(Picture::Lane& lane, const nlohmann::json& block, std::uint64_t offset) {
    const std::uint64_t size = bytes_in(block.at("Size"));
    const auto type = block.at("Type").get<std::string>();
    if (type == "FREE") return;
    const auto name = block.find("Name");
    lane.blocks.push_back({offset, size, kinds_.of(type),
                           name == block.end() ? 0 : names_.of(name->get<std::string>())});
    ++allocations;
    bytes += size;
  }

  Picture& picture_;
  Numbers kinds_;
  Numbers names_;
};

Picture picture_of_vma(const MapOptions& options) {
  const auto fail = [&](const std::string& what) {
    throw std::runtime_error{printable(options.file) + ": " + what};
  };
  const auto json = nlohmann::json::parse(read_text(options.file), nullptr, false);
  Picture picture;
  picture.kind = "vma";
  picture.title = options.file + ": a dump of VulkanMemoryAllocator";
  VmaPools pools{picture};
  try {
    for (const auto& type : json.at("DefaultPools").items()) pools.add(type.key(), type.value());
    if (json.contains("CustomPools")) {
      for (const auto& type : json.at("CustomPools").items()) {
        for (const nlohmann::json& pool : type.value())
          pools.add(type.key() + ", pool " + pool.value("Name", "?"), pool);
      }
    }
  } catch (const nlohmann::json::exception& error) {
    fail(std::string{"not a dump of VulkanMemoryAllocator 3: "} + printable(error.what()));
  } catch (const std::length_error& error) {
    fail(error.what());
  }
  if (picture.lanes.empty()) fail("no memory in it");
  std::uint64_t held = 0;
  for (const Picture::Lane& lane : picture.lanes) held += lane.bytes;
  picture.figures = {{"memory_blocks", "blocks of device memory", pools.memory_blocks, false},
                     {"memory_bytes", "in these", held, true},
                     {"allocations", "allocations", pools.allocations, false},
                     {"allocated_bytes", "in these", pools.bytes, true}};
  leave_out_small(picture, most_blocks);
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
  Numbers kinds{picture.kinds};
  Numbers names{picture.names};
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
    return picture_of_vma(options);
  if (begin.starts_with("{\"allot\":")) return picture_of_dump(options);
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
    for (const std::string& path : {options.out, options.svg, options.perfetto}) {
      if (!path.empty()) outputs.push_back(path);
    }
    refuse_to_overwrite(outputs);
  }
  const Picture picture = picture_of(options);
  const std::string page = options.out.empty() ? "" : page_of(picture);
  write_file(options.out, page);
  if (!options.perfetto.empty() && picture.events == 0)
    throw std::runtime_error{"--perfetto needs a trace; " + printable(options.file) +
                             " has no time"};
  if (!options.perfetto.empty()) write_file(options.perfetto, perfetto_of(picture));
  if (!options.svg.empty()) write_file(options.svg, svg_of(picture));
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
