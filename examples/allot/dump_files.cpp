// SPDX-License-Identifier: MIT
#include "dump_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>
#include <tuple>
#include <utility>

#include "printable.hpp"

namespace {

using DumpJson = nlohmann::json;

/// Of one block and of all: sums of a few do not wrap.
constexpr std::uint64_t most_bytes = std::uint64_t{1} << 60;

/// A dump as JSON, and where in it the reader is, for errors.
class DumpFile {
 public:
  explicit DumpFile(const std::string& file) : file_{file} {}

  std::string where;  // empty: at its top

  [[noreturn]] void fail(std::string_view what) const {
    throw std::runtime_error{printable(file_) + ": " + (where.empty() ? "" : where + ": ") +
                             printable(what)};
  }

  [[nodiscard]] DumpJson parse(ByteStream input) const {
    constexpr std::size_t most = std::size_t{128} << 20;
    std::string text;
    for (;;) {
      const std::string_view piece = input.peek(std::size_t{1} << 16);
      if (piece.empty()) break;
      text += piece;
      static_cast<void>(input.take(piece.size()));
      if (text.size() > most) fail("a dump of more than 128 MiB; dump fewer arenas in one file");
    }
    try {
      return DumpJson::parse(text);
    } catch (const DumpJson::parse_error& error) {
      fail(fmt::format("byte {}: not JSON", error.byte));
    } catch (const DumpJson::out_of_range&) {
      fail("a number in it is beyond those of 64 bits");
    }
  }

  [[nodiscard]] std::uint64_t bytes(const DumpJson& json) const {
    if (!json.is_number_unsigned())
      fail("a size or an offset that is not a whole number from 0 up");
    const auto bytes = json.get<std::uint64_t>();
    if (bytes > most_bytes) fail("a size or an offset of more than 2^60 bytes");
    return bytes;
  }

 private:
  const std::string& file_;
};

/// What is missing or of another type in a dump.
std::string wrong_in(const char* what, const DumpJson::exception& error) {
  const std::string_view text = error.what();
  const std::size_t end = text.find("] ");  // of the library's own number for it
  return std::string{what} +
         std::string{end == std::string_view::npos ? text : text.substr(end + 2)};
}

/// An arena, or one of a pool's, a cache's or a model's.
void add_lane(Picture& picture, const DumpJson& dumped, const std::string& title, DumpFile& file,
              TextNumbers& kinds, TextNumbers& names) {
  Picture::Lane lane{title, 0, {}};
  std::size_t number_of_block = 0;
  for (const DumpJson& block : dumped.at("blocks")) {
    file.where = fmt::format("{}, block {}", title, number_of_block++);
    const std::uint64_t offset = file.bytes(block.at("offset"));
    const std::uint64_t size = file.bytes(block.at("size"));
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
  file.where = title;
  if (lane.bytes == 0) file.fail("no blocks in it");
  file.where.clear();
  picture.lanes.push_back(std::move(lane));
}

/// The pools of a dump of VulkanMemoryAllocator.
class VmaPools {
 public:
  VmaPools(Picture& picture, DumpFile& file)
      : picture_{picture}, file_{file}, kinds_{picture.kinds}, names_{picture.names} {}

  void add(const std::string& name, const DumpJson& pool) {
    file_.where = name;
    for (const auto& each : pool.at("Blocks").items()) {
      file_.where = name + ", block " + each.key();
      Picture::Lane lane{file_.where, file_.bytes(each.value().at("TotalBytes")), {}};
      for (const DumpJson& block : each.value().at("Suballocations")) {
        const std::uint64_t offset = file_.bytes(block.at("Offset"));
        if (offset + file_.bytes(block.at("Size")) > lane.bytes)
          file_.fail("a suballocation ends beyond TotalBytes");
        add(lane, block, offset);
      }
      count(lane.bytes);
      if (lane.bytes != 0) picture_.lanes.push_back(std::move(lane));
    }
    file_.where = name + ", dedicated";
    Picture::Lane dedicated{file_.where, 0, {}};
    for (const DumpJson& block : pool.at("DedicatedAllocations")) {
      const std::uint64_t size = file_.bytes(block.at("Size"));
      count(size);
      add(dedicated, block, dedicated.bytes);
      dedicated.bytes += size;
    }
    if (dedicated.bytes != 0) picture_.lanes.push_back(std::move(dedicated));
    file_.where.clear();
  }

  std::uint64_t memory_blocks = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t allocations = 0;
  std::uint64_t bytes = 0;

 private:
  /// A block of device memory.
  void count(std::uint64_t size) {
    ++memory_blocks;
    memory_bytes += size;
    if (memory_bytes > most_bytes) file_.fail("more than 2^60 bytes of memory in all");
  }

  void add(Picture::Lane& lane, const DumpJson& block, std::uint64_t offset) {
    const std::uint64_t size = file_.bytes(block.at("Size"));
    const auto type = block.at("Type").get<std::string>();
    if (type == "FREE") return;
    const std::string name = block.value("Name", "");
    const bool has_room = picture_.names.size() < most_names;
    lane.blocks.push_back(
        {offset, size, kinds_.of(type), name.empty() || !has_room ? 0 : names_.of(name)});
    ++allocations;
    bytes += size;
    if (bytes > most_bytes) file_.fail("more than 2^60 bytes allocated in all");
  }

  Picture& picture_;
  DumpFile& file_;
  TextNumbers kinds_;
  TextNumbers names_;
};

}  // namespace

Picture picture_of_dump(ByteStream input, const std::string& path) {
  DumpFile file{path};
  const DumpJson json = file.parse(std::move(input));
  Picture picture;
  try {
    if (json.at("version") != 1) file.fail("a dump of another version than 1");
    picture.kind = json.at("allot").get<std::string>();
    picture.title = json.at("name").get<std::string>();
    if (picture.title.empty()) picture.title = path;
    const DumpJson& usage = json.at("usage");
    for (const auto& [key, label, is_bytes] :
         {std::tuple{"capacity", "capacity", true}, std::tuple{"used", "used", true},
          std::tuple{"requested", "of these requested", true},
          std::tuple{"cached", "kept for reuse", true},
          std::tuple{"held", "held by slices, copies or other code", true},
          std::tuple{"free", "free", true}, std::tuple{"largest_free", "largest free block", true},
          std::tuple{"free_blocks", "free blocks", false},
          std::tuple{"live_blocks", "live blocks", false},
          std::tuple{"peak_used", "most used at any time", true}}) {
      const auto figure = usage.find(key);
      if (figure == usage.end()) continue;
      file.where = std::string{"usage, "} + key;
      picture.figures.push_back({key, label, file.bytes(*figure), is_bytes});
    }
    file.where.clear();
    TextNumbers kinds{picture.kinds};
    TextNumbers names{picture.names};
    const bool has_types = picture.kind == "named_buffers" || picture.kind == "model";
    if (!has_types && usage.at("used") != 0) kinds.of("used");  // the first color
    if (json.contains("blocks")) add_lane(picture, json, "arena", file, kinds, names);
    for (const DumpJson& arena : json.value("arenas", DumpJson::array())) {
      const std::string device = arena.value("device", "");
      add_lane(picture, arena,
               arena.at("name").get<std::string>() + (device.empty() ? "" : " on " + device), file,
               kinds, names);
    }
  } catch (const DumpJson::exception& error) {
    file.fail(wrong_in("not a dump of report::dump: ", error));
  }
  if (picture.lanes.empty()) file.fail("no memory in it");
  leave_out_small(picture, most_blocks);
  return picture;
}

Picture picture_of_vma(ByteStream input, const std::string& path) {
  DumpFile file{path};
  const DumpJson json = file.parse(std::move(input));
  Picture picture;
  picture.kind = "vma";
  picture.title = path + ": a dump of VulkanMemoryAllocator";
  VmaPools pools{picture, file};
  try {
    for (const auto& type : json.at("DefaultPools").items()) pools.add(type.key(), type.value());
    if (json.contains("CustomPools")) {
      for (const auto& type : json.at("CustomPools").items()) {
        for (const DumpJson& pool : type.value())
          pools.add(type.key() + ", pool " + pool.value("Name", "?"), pool);
      }
    }
  } catch (const DumpJson::exception& error) {
    file.fail(wrong_in("not a dump of VulkanMemoryAllocator 3: ", error));
  }
  if (picture.lanes.empty()) file.fail("no memory in it");
  picture.figures = {{"memory_blocks", "blocks of device memory", pools.memory_blocks, false},
                     {"memory_bytes", "in these", pools.memory_bytes, true},
                     {"allocations", "allocations", pools.allocations, false},
                     {"allocated_bytes", "in these", pools.bytes, true}};
  leave_out_small(picture, most_blocks);
  return picture;
}
