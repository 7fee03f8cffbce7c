// SPDX-License-Identifier: MIT
// An arena as JSON, as text, and why it refuses.
#include <allot/arena.hpp>
#include <allot/report/dump.hpp>
#include <allot/report/explain.hpp>
#include <allot/report/text.hpp>
#include <allot/sharded_arena.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/buddy.hpp>
#include <allot/strategy/fixed_blocks.hpp>
#include <allot/strategy/linear.hpp>
#include <allot/synchronization/locked.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "report/json_schema.hpp"
#include "support/random.hpp"

namespace {

using namespace allot;
using Json = nlohmann::json;

const Json& schema() {
  static const Json read = test::read_schema("arena.json");
  return read;
}

/// Blocks of random sizes, some freed again.
template <class ArenaType>
std::vector<Block> fill(ArenaType& arena, std::uint64_t seed, std::uint64_t most) {
  std::mt19937_64 random{seed};
  std::vector<Block> live;
  while (const auto block = arena.try_allocate(1 + random() % most)) live.push_back(*block);
  for (std::size_t i = live.size(); i-- != 0;) {
    if (random() % 3 != 0) continue;
    arena.deallocate(live[i]);
    live.erase(live.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return live;
}

/// What `explain` promises: when the blocks are freed the request is granted, and freeing fewer bytes
/// does not do, of all contiguous runs of live blocks.
template <class ArenaType>
void check_explanation(std::uint64_t seed, std::uint64_t bytes, std::uint64_t alignment) {
  INFO("ALLOT_SEED=" << seed << ", bytes " << bytes << ", alignment " << alignment);
  ArenaType arena{16'384};
  const std::vector<Block> live = fill(arena, seed, 900);
  const auto found = report::explain(arena, {bytes, alignment});
  const auto freed = [&](const auto& is_freed) {
    ArenaType again{16'384};
    std::vector<Block> same = fill(again, seed, 900);
    for (const Block& block : same) {
      if (is_freed(block)) again.deallocate(block);
    }
    return again.try_allocate(bytes, alignment).has_value();
  };
  REQUIRE(found.fits == freed([](const Block&) { return false; }));
  if (found.never) {
    REQUIRE(!freed([](const Block&) { return true; }));
    return;
  }
  REQUIRE(freed([&](const Block& block) {
    for (const report::BlockRange& range : found.in_the_way)
      if (range.offset == block.offset) return true;
    return false;
  }));
  std::vector<report::BlockRange> all;
  arena.for_each([&](std::uint64_t offset, std::uint64_t size, bool is_used) {
    if (is_used) all.push_back({offset, size});
  });
  for (std::size_t from = 0; from < all.size(); ++from) {
    std::uint64_t sum = 0;
    for (std::size_t to = from; to < all.size(); ++to) {
      sum += all[to].size;
      if (sum >= found.bytes_in_the_way) break;
      REQUIRE(!freed([&](const Block& block) {
        return block.offset >= all[from].offset && block.offset <= all[to].offset;
      }));
    }
  }
}

}  // namespace

TEST_CASE("bytes of a name that are not UTF-8 are replaced, so that a dump is JSON") {
  const Arena<BestFit> arena{256};
  std::mt19937 random{5};
  // Beginnings and ends of all lengths, and where longer forms than needed and surrogates differ.
  constexpr std::string_view bytes{
      "az\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc2\xdf\xe0\xed\xef\xf0\xf4\xf5\xff"};
  for (int i = 0; i < 3000; ++i) {
    std::string name;
    while (random() % 8 != 0) name += bytes[random() % bytes.size()];
    const Json dump = Json::parse(report::dump(arena, name), nullptr, false);
    REQUIRE(!dump.is_discarded());
    REQUIRE(dump["name"] ==
            Json::parse(Json(name).dump(-1, ' ', false, Json::error_handler_t::replace)));
  }
  CHECK(Json::parse(report::dump(arena, "blk\xff.w\xe2\x82 \xe2\x82\xac"))["name"] ==
        "blk\xef\xbf\xbd.w\xef\xbf\xbd \xe2\x82\xac");
}

TEST_CASE("a dump keeps the schema, and has the figures of the arena") {
  Arena<BestFit, AlignTo<64>> arena{16'384};
  fill(arena, 3, 900);
  const Json dump = Json::parse(report::dump(arena, "a \"name\"\n\x01"));
  CHECK(test::schema_error(schema(), dump) == "");
  CHECK(dump["name"] == "a \"name\"\n\x01");
  const Usage usage = arena.usage();
  CHECK(dump["usage"]["used"] == usage.used);
  CHECK(dump["usage"]["requested"] == usage.requested);
  CHECK(dump["usage"]["fragmentation"].get<double>() == doctest::Approx(usage.fragmentation()));
  std::uint64_t end = 0;
  std::uint64_t used = 0;
  for (const Json& block : dump["blocks"]) {
    CHECK(block["offset"] == end);
    end += block["size"].get<std::uint64_t>();
    if (block["used"]) used += block["size"].get<std::uint64_t>();
  }
  CHECK(end == usage.capacity);
  CHECK(used == usage.used);

  ShardedArena<Arena<BestFit, AlignTo<64>, Locked<>>, 2> sharded{16'384};
  static_cast<void>(sharded.allocate(100));
  CHECK(test::schema_error(schema(), Json::parse(report::dump(sharded))) == "");
}

TEST_CASE("the schema refuses what is not a dump") {
  Arena<BestFit> arena{4096};
  const Json dump = Json::parse(report::dump(arena));
  const auto error_of = [&](const auto& change) {
    Json changed = dump;
    change(changed);
    return test::schema_error(schema(), changed);
  };
  CHECK(error_of([](Json& json) { json.erase("blocks"); }) == "blocks is missing");
  CHECK(error_of([](Json& json) { json["version"] = 2; }) == "version is not 1");
  CHECK(error_of([](Json& json) { json["usage"]["free"] = -1; }) == "usage.free is below 0");
  CHECK(error_of([](Json& json) { json["usage"]["fragmentation"] = 2; }) ==
        "usage.fragmentation is above 1");
  CHECK(error_of([](Json& json) { json["blocks"][0]["used"] = 1; }) ==
        "blocks.0.used is not a boolean");
}

TEST_CASE("text has the figures, a map in one line, and how many blocks of each size there are") {
  Arena<BestFit, AlignTo<256>> arena{4096};
  const Block first = arena.allocate(1024);
  static_cast<void>(arena.allocate(300));
  arena.deallocate(first);
  CHECK(report::text(arena, 16) ==
        "512 B of 4 KiB used in 1 blocks, 3.5 KiB free in 2, largest 2.5 KiB; padding 212 B; peak "
        "1.5 KiB\n"
        "[....##..........]\n"
        "        from      used      free\n"
        "       512 B         1         0\n"
        "       1 KiB         0         1\n"
        "       2 KiB         0         1\n");
  CHECK(report::text(arena, 3).find("[++.]\n") != std::string::npos);
  CHECK(report::text(arena, 0).find("[+]\n") != std::string::npos);
  CHECK(report::text(arena, 1000).find("[....##..........]") == std::string::npos);
}

TEST_CASE("an explanation names the fewest bytes that must go, and freeing them is enough") {
  for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 6; ++seed) {
    for (const std::uint64_t bytes : {64U, 700U, 3000U, 16'384U, 16'385U}) {
      check_explanation<Arena<BestFit, AlignTo<64>>>(seed, bytes, 64);
      check_explanation<Arena<BestFit, AlignTo<64>>>(seed, bytes, 2048);
      check_explanation<Arena<Buddy, AlignTo<64>>>(seed, bytes, 64);
      check_explanation<Arena<Buddy, AlignTo<64>>>(seed, bytes, 1024);
    }
    check_explanation<Arena<FixedBlocks<15>, AlignTo<64>>>(seed, 900, 64);
    check_explanation<Arena<FixedBlocks<15>, AlignTo<64>>>(seed, 961, 64);
    check_explanation<Arena<FixedBlocks<16>, AlignTo<64>>>(seed, 900, 1024);
    check_explanation<Arena<FixedBlocks<16>, AlignTo<64>>>(seed, 900, 2048);
  }
}

TEST_CASE("an explanation says what is wrong, in numbers") {
  Arena<BestFit, AlignTo<256>> arena{4096};
  std::vector<Block> blocks;
  for (int i = 0; i < 4; ++i) blocks.push_back(arena.allocate(1024));
  arena.deallocate(blocks[0]);
  arena.deallocate(blocks[2]);
  const auto found = report::explain(arena, {2000});
  CHECK(found.reason == RefusalReason::fragmented);
  CHECK(found.in_the_way == std::vector<report::BlockRange>{{1024, 1024}});
  CHECK(found.text ==
        "1.95 KiB (2000 bytes), 2 KiB as rounded up, is refused (fragmented): 2 KiB free in 2 "
        "blocks, "
        "the largest of 1 KiB. It would fit at offset 0 if 1 blocks of together 1 KiB were freed: "
        "1 KiB at 1024");
  CHECK(report::explain(arena, {100}).text ==
        "100 B (100 bytes), 256 B as rounded up, can be had at offset 0");
  CHECK(report::explain(arena, {5000}).text ==
        "4.88 KiB (5000 bytes), 5 KiB as rounded up, can never be had of this arena of 4 KiB");
  CHECK(report::explain(arena, {1024, 4096}).fits);
  CHECK_THROWS_AS(static_cast<void>(report::explain(arena, {0})), std::invalid_argument);
}
