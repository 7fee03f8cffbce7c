// SPDX-License-Identifier: MIT
// Pools, caches and models as JSON, as text, and as `allot map` draws them.
#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/load/load.hpp>
#include <allot/load/load_divided.hpp>
#include <allot/pool/buffers/buffer_pool.hpp>
#include <allot/pool/kv/kv_cache.hpp>
#include <allot/pool/named/named_buffers.hpp>
#include <allot/pool/workspace/workspace.hpp>
#include <allot/report/dump.hpp>
#include <allot/report/prometheus.hpp>
#include <allot/report/recorder.hpp>
#include <allot/report/text.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "report/json_schema.hpp"
#include "support/models.hpp"
#include "support/test_data.hpp"
#include "tool/run_program.hpp"

namespace {

using namespace allot;
using DumpJson = nlohmann::json;

/// Checks what holds for every dump, and that `allot map` draws all of its blocks but the free ones.
template <class Type>
DumpJson checked_dump(const Type& memory, const std::string& kind) {
  const std::string text = report::dump(memory, "of a \"test\"");
  const DumpJson dump = DumpJson::parse(text);
  REQUIRE(test::schema_error(test::read_schema(kind + ".json"), dump) == "");
  CHECK(dump["allot"] == kind);
  CHECK(dump["name"] == "of a \"test\"");
  const auto sum = [](const DumpJson& arena, const char* state) {
    std::uint64_t bytes = 0;
    for (const DumpJson& block : arena["blocks"])
      if (block["state"] == state) bytes += block["size"].get<std::uint64_t>();
    return bytes;
  };
  std::uint64_t capacity = 0;
  std::uint64_t drawn = 0;
  for (const DumpJson& arena : dump["arenas"]) {
    std::uint64_t end = 0;
    for (const DumpJson& block : arena["blocks"]) {
      CHECK(block["offset"] == end);
      end += block["size"].get<std::uint64_t>();
      drawn += block["state"] != "free";
    }
    capacity += end;
  }
  CHECK(dump["usage"]["capacity"] == capacity);
  for (const char* const state : {"used", "cached", "held", "free"}) {
    std::uint64_t bytes = 0;
    for (const DumpJson& arena : dump["arenas"]) bytes += sum(arena, state);
    CHECK_MESSAGE(dump["usage"][state] == bytes, state);
  }

  const test::TemporaryFolder folder;
  const std::string file = (folder.path() / "dump.json").string();
  std::ofstream{file, std::ios::binary} << text;
  const std::string svg = (folder.path() / "dump.svg").string();
  const auto map = test::run_tool("map " + file + " --json --svg " + svg);
  REQUIRE_MESSAGE(map.status == 0, map.error);
  const DumpJson picture = DumpJson::parse(map.out);
  CHECK(picture["kind"] == kind);
  CHECK(picture["blocks"] == drawn);
  for (const auto& figure : picture["figures"].items())
    CHECK_MESSAGE(dump["usage"][figure.key()] == figure.value(), figure.key());
  CHECK(test::read_file(svg).find("of a &quot;test&quot;") != std::string::npos);
  return dump;
}

/// The blocks of an arena of a dump, such as `used 1024 "a" f32, free 512`.
std::string story_of(const DumpJson& arena) {
  std::string story;
  for (const DumpJson& block : arena["blocks"]) {
    if (!story.empty()) story += ", ";
    story += block["state"].get<std::string>() + ' ' + block["size"].dump();
    for (const char* const key : {"name", "type", "stream", "references"})
      if (block.contains(key)) story += ' ' + block[key].dump();
  }
  return story;
}

/// A policy of weights that records what is loaded.
struct RecordedWeights : load::DefaultWeights {
  using Observer = report::Recorder;
};

KvCacheConfig small_kv(std::uint64_t blocks) {
  const KvShape shape{.layers = 1, .kv_heads = 1, .key_dimension = 16, .value_dimension = 16};
  const KvLayout layout{shape, 16};
  return {.shape = shape, .budget_bytes = blocks * layout.block_bytes()};
}

}  // namespace

TEST_CASE("a dump of a buffer pool has its buffers, in use and cached, with their streams") {
  StagedHostDevice device;
  const SharedStream<StagedHostDevice> stream{device};
  BufferPool<StagedHostDevice> pool{device, 8192, {.growth = 8192}};
  const auto a = pool.acquire(1000, stream);
  auto b = pool.acquire(2000, stream);
  const auto c = pool.acquire(7000, stream);
  b.release();
  const DumpJson dump = checked_dump(pool, "buffer_pool");
  REQUIRE(dump["arenas"].size() == 2);
  CHECK(story_of(dump["arenas"][0]) == "used 1024 1, cached 2048 1, free 5120");
  CHECK(story_of(dump["arenas"][1]) == "used 7168 1, free 1024");
  CHECK(dump["usage"]["requested"] == 8000);
  CHECK(dump["stats"]["misses"] == 3);
  CHECK(dump["stats"]["peak_in_use"] == dump["usage"]["peak_used"]);
  CHECK(dump["classes"].size() == 3);
  CHECK(dump["classes"][1]["cached_buffers"] == 1);

  const std::string text = report::text(pool, 16);
  CHECK(text.find("8 KiB of 16 KiB used in 2 blocks, 2 KiB cached, 0 B held, 6 KiB free in 2, "
                  "largest 5 KiB; padding 192 B; peak 10 KiB\nhits 0, misses 3, ") == 0);
  CHECK(text.find("\n[##oooo..........] chunk 0\n[##############..] chunk 1\n"
                  "        from      used    cached      free\n"
                  "       1 KiB         1         0         1\n"
                  "       2 KiB         0         1         0\n"
                  "       4 KiB         1         0         1\n") != std::string::npos);

  pool.trim();
  CHECK(story_of(checked_dump(pool, "buffer_pool")["arenas"][0]) == "used 1024 1, free 7168");
}

TEST_CASE("a dump of named buffers has them by name, and what only handles hold") {
  NamedBuffers<HostDevice> buffers{HostDevice{}, 1 * MiB};
  const BufferConfig plain{.growth = Growth::exact(), .minimum = 0};
  buffers.add<float>("forces", 256, plain);
  {
    const auto kept = buffers.add<float>("positions", 512, plain);
    buffers.free("positions");
    const DumpJson dump = checked_dump(buffers, "named_buffers");
    CHECK(story_of(dump["arenas"][0]) == "used 1024 \"forces\" \"float\", held 2048, free 1045504");
    CHECK(dump["buffers"].size() == 1);
    CHECK(dump["buffers"][0]["elements"] == 256);
    CHECK(dump["stats"]["frees"] == 1);
    CHECK(report::text(buffers, 8).find("        from      used      held      free\n") !=
          std::string::npos);
  }
  CHECK(story_of(checked_dump(buffers, "named_buffers")["arenas"][0]) ==
        "used 1024 \"forces\" \"float\", free 1047552");
}

TEST_CASE("a dump of a workspace has its pieces, used from both ends") {
  Workspace<HostDevice> workspace{HostDevice{}, {.minimum_bytes = 4096}};
  const DumpJson empty = DumpJson::parse(report::dump(workspace));
  CHECK(test::schema_error(test::read_schema("workspace.json"), empty) == "");
  CHECK(empty["arenas"].empty());
  CHECK(report::text(workspace).find("0 B of 0 B used in 0 blocks") == 0);
  auto lower = workspace.scope();
  auto upper = workspace.scope(End::upper);
  static_cast<void>(lower.allocate(1000));
  static_cast<void>(upper.allocate(500));
  static_cast<void>(lower.allocate(8000));
  const DumpJson dump = checked_dump(workspace, "workspace");
  REQUIRE(dump["arenas"].size() == 2);
  CHECK(story_of(dump["arenas"][0]) == "used 1024, free 2560, used 512");
  CHECK(dump["arenas"][1]["blocks"][0]["size"] == 8192);
  CHECK(dump["stats"]["scopes"] == 2);
  CHECK(dump["stats"]["pieces"] == 2);
  CHECK(dump["stats"]["capacity"] == dump["usage"]["capacity"]);
  report::PrometheusText metrics;
  metrics.add("scratch", workspace.stats());
  CHECK(metrics.text().find("allot_workspace_scopes{name=\"scratch\"} 2\n") != std::string::npos);
}

TEST_CASE("a dump of a KV cache has its blocks, by sequences, for prefixes and free") {
  KvCache<HostDevice> cache{HostDevice{}, small_kv(8)};
  std::vector<std::uint32_t> tokens(40);
  for (std::uint32_t i = 0; i < tokens.size(); ++i) tokens[i] = i;
  {
    auto first = cache.start(tokens).sequence;
    first.publish();
  }
  const auto second = cache.start(std::vector<std::uint32_t>(17, 7)).sequence;
  const std::uint64_t each = cache.layout().block_bytes();
  const DumpJson dump = checked_dump(cache, "kv_cache");
  const std::string size = std::to_string(each);
  CHECK(story_of(dump["arenas"][0]) == "cached " + size + " 1, cached " + size + " 1, used " +
                                           size + " 1, used " + size + " 1, free " +
                                           std::to_string(4 * each));
  CHECK(dump["usage"]["requested"] == 17 * each / 16);
  CHECK(dump["stats"]["sequences"] == 1);
  CHECK(dump["stats"]["cached"] == 2);
  CHECK(report::text(cache, 8).find("\n[oo##....] blocks\n") != std::string::npos);
  report::PrometheusText metrics;
  metrics.add("tenant", cache.stats(KvTenant{1}));
  CHECK(metrics.text().find("allot_kv_key_sequences{name=\"tenant\"} 0\n") != std::string::npos);
}

TEST_CASE("a dump of a model has its tensors with name, type, offset and bytes, on each device") {
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_llama(folder.path() / "model.gguf", {.layers = 2})};
  StagedHostDevice gpu;
  HostDevice host;
  const auto check = [&](const auto& model) {
    const DumpJson dump = checked_dump(model, "model");
    const load::Plan& plan = model.plan();
    CHECK(dump["planned"]["total_bytes"] == plan.total_bytes());
    CHECK(dump["usage"]["capacity"] == plan.total_bytes());
    REQUIRE(dump["arenas"].size() == plan.arenas.size());
    for (std::size_t i = 0; i < plan.arenas.size(); ++i) {
      CHECK(dump["arenas"][i]["device"] == plan.arenas[i].device);
      CHECK(dump["arenas"][i]["planned"] == plan.arenas[i].used);
    }
    REQUIRE(dump["tensors"].size() == plan.items.size());
    std::uint64_t named = 0;
    for (std::size_t i = 0; i < plan.items.size(); ++i) {
      const DumpJson& tensor = dump["tensors"][i];
      CHECK(tensor["name"] == plan.items[i].name);
      CHECK(tensor["type"] == gguf::type_name(plan.items[i].type));
      CHECK(tensor["bytes"] == plan.items[i].bytes);
      for (const DumpJson& block : dump["arenas"][tensor["arena"].get<std::size_t>()]["blocks"]) {
        if (block["offset"] != tensor["offset"] || block["state"] != "used") continue;
        CHECK(block["name"] == tensor["name"]);
        CHECK(block["requested"] == tensor["bytes"]);
        ++named;
      }
    }
    return named;
  };
  auto model = load::load(file, load::make_plan(file), host);
  CHECK(check(model) == model.plan().items.size());
  CHECK(report::text(model).find("] arena 0 on host\n") != std::string::npos);
  const auto kept = model["output_norm.weight"].slice();
  model.release("output_norm.weight");
  const DumpJson dump = checked_dump(model, "model");
  CHECK(dump["usage"]["held"] == 1024);
  CHECK(dump["usage"]["live_blocks"] == model.plan().items.size() - 1);

  load::PlanOptions options{.devices = {load::planned_device(gpu), load::planned_device(host)}};
  options.devices[0].usable_bytes = file.tensors()[0].bytes + 100'000;
  const auto divided = load::load(file, load::make_plan(file, options), load::devices(gpu, host));
  CHECK(check(divided) == divided.plan().items.size());
}

TEST_CASE("a load is recorded where the policy of its weights names a recorder: tensors by name") {
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_llama(folder.path() / "model.gguf", {.layers = 1})};
  HostDevice host;
  const load::Plan plan = load::make_plan<RecordedWeights>(file);
  auto model = load::load<RecordedWeights>(file, plan, host);
  model.release("output_norm.weight");
  const std::vector<std::byte> bytes = model.arenas()[0].with_observer(
      [](const report::Recorder& recorder) { return recorder.recording(); });
  std::string_view rest{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  report::TraceDecoder decoder;
  std::vector<std::string> names{""};
  std::vector<std::pair<std::string, std::uint64_t>> made;
  std::vector<std::pair<std::string, std::uint64_t>> planned;
  std::uint64_t freed = 0;
  while (!rest.empty()) {
    const auto read = decoder.decode(rest);
    REQUIRE(read.bytes != 0);
    rest.remove_prefix(read.bytes);
    const report::TraceRecord& record = read.record;
    if (record.kind == report::TraceKind::name) names.emplace_back(record.text);
    if (record.kind == report::TraceKind::allocate)
      made.emplace_back(names.at(static_cast<std::size_t>(record.name)), record.offset);
    freed += record.kind == report::TraceKind::free;
  }
  for (const load::Item& item : plan.items) planned.emplace_back(item.name, item.offset);
  CHECK(made == planned);
  CHECK(freed == 1);
}
