// SPDX-License-Identifier: MIT
// Traces over every strategy: built so that the right answer is known.
#include <allot/alignment/alignment.hpp>
#include <allot/arena.hpp>
#include <allot/device/host_device.hpp>
#include <allot/pool/buffers/buffer_pool.hpp>
#include <allot/report/recommend.hpp>
#include <allot/report/replay.hpp>
#include <allot/report/replay_pools.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/random.hpp"

namespace {

using namespace allot;
using report::Aim;
using report::AllocationTrace;
using report::ReplayRow;
using report::TraceBuilder;

const ReplayRow& row_of(const std::vector<ReplayRow>& rows, const std::string& name) {
  const auto found = std::find_if(rows.begin(), rows.end(),
                                  [&](const ReplayRow& row) { return row.name.starts_with(name); });
  REQUIRE(found != rows.end());
  return *found;
}

const ReplayRow& best_of(const std::vector<ReplayRow>& rows) {
  const auto choice = report::recommend<>(rows, Aim::memory);
  REQUIRE(choice.has_value());
  return rows[*choice];
}

/// Whether an arena of that type and capacity serves every request of a trace.
template <class ArenaType>
bool serves(const AllocationTrace& trace, std::uint64_t capacity) {
  ArenaType arena{capacity};
  std::vector<std::optional<Block>> blocks(trace.blocks.size());
  for (const AllocationTrace::Event& event : trace.events) {
    std::optional<Block>& block = blocks[event.block];
    if (event.frees) {
      arena.deallocate(*block);
      continue;
    }
    const AllocationTrace::Block& request = trace.blocks[event.block];
    block = arena.try_allocate(request.bytes, request.alignment);
    if (!block) return false;
  }
  return true;
}

/// A capacity is right if the printed arena serves the trace with it, and not with a unit less.
template <class StrategyType>
void check_capacity(const AllocationTrace& trace, const std::vector<ReplayRow>& rows,
                    const std::string& name) {
  using Served = Arena<StrategyType, AlignTo<64>>;
  const ReplayRow& row = row_of(rows, name);
  INFO(name << ", " << row.capacity);
  REQUIRE(row.type == "allot::Arena<allot::" + name + ", allot::AlignTo<64>>");
  REQUIRE(serves<Served>(trace, row.capacity));
  REQUIRE(!serves<Served>(trace, row.capacity - 64));
}

/// Whether a pool of that capacity serves every request of a trace of one stream.
template <class Classes>
bool pool_serves(const AllocationTrace& trace, std::uint64_t capacity) {
  BufferPool<HostDevice, Classes, BestFit, AlignTo<64>> pool{HostDevice{}, capacity};
  std::vector<PooledBuffer<HostDevice>> buffers(trace.blocks.size());
  try {
    for (const AllocationTrace::Event& event : trace.events) {
      if (event.frees) {
        buffers[event.block].release();
      } else {
        buffers[event.block] = pool.acquire(trace.blocks[event.block].bytes);
      }
    }
  } catch (const OutOfMemory&) {
    return false;
  }
  return true;
}

template <class Classes>
void check_pool(const AllocationTrace& trace, const std::vector<ReplayRow>& rows,
                const std::string& classes) {
  const ReplayRow& row = row_of(rows, "BufferPool, " + classes);
  INFO(classes << ", " << row.capacity);
  CHECK(row.is_pool);
  REQUIRE(row.type == "allot::BufferPool<allot::HipDevice, allot::" + classes +
                          ", allot::BestFit, allot::AlignTo<64>>");
  REQUIRE(pool_serves<Classes>(trace, row.capacity));
  REQUIRE(!pool_serves<Classes>(trace, row.capacity - 64));
}

AllocationTrace churn(std::uint64_t seed, std::size_t steps) {
  std::mt19937_64 random{seed};
  TraceBuilder<> builder;
  std::vector<std::uint64_t> live;
  std::uint64_t next = 0;
  for (std::size_t i = 0; i < steps; ++i) {
    if (live.size() > 20 && random() % 2 == 0) {
      const std::size_t at = random() % live.size();
      builder.free(live[at]);
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(at));
      continue;
    }
    builder.allocate(next, {1 + random() % (random() % 8 == 0 ? 20'000 : 900), 1, 0});
    live.push_back(next++);
  }
  return builder.take("built", 64);
}

}  // namespace

TEST_CASE("a row's arena serves the trace at the row's capacity, and not with a unit less") {
  for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 8; ++seed) {
    INFO("ALLOT_SEED=" << seed);
    const AllocationTrace trace = churn(seed, 400);
    const auto rows = report::replay_all<>(trace, {.measures_time = false});
    check_capacity<BestFit>(trace, rows, "BestFit");
    check_capacity<FirstFit>(trace, rows, "FirstFit");
    check_capacity<GoodFit>(trace, rows, "GoodFit");
    check_capacity<Buddy>(trace, rows, "Buddy");
    check_capacity<Linear>(trace, rows, "Linear");
    std::uint64_t least = rows.front().capacity;
    for (const ReplayRow& row : rows) {
      if (!row.is_simulated && row.capacity < least) least = row.capacity;
      REQUIRE(row.capacity >= report::facts_of<>(trace).peak_bytes);
    }
    REQUIRE(best_of(rows).capacity == least);
  }
}

TEST_CASE("a pool's row: the pool serves the trace at its capacity, and not with a unit less") {
  for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 4; ++seed) {
    INFO("ALLOT_SEED=" << seed);
    AllocationTrace trace = churn(seed, 400);
    CHECK(report::replay_pools<>(trace, {.measures_time = false}).empty());
    trace.knows_streams = true;
    const auto rows = report::replay_pools<>(trace, {.measures_time = false});
    REQUIRE(rows.size() == 3);
    check_pool<ExactSizes>(trace, rows, "ExactSizes");
    check_pool<FourSteps>(trace, rows, "FourSteps");
    check_pool<PowersOfTwo>(trace, rows, "PowersOfTwo");
    for (const ReplayRow& row : rows) CHECK(row.waits == 0);
    trace.blocks[0].alignment = 128;  // which a pool of 64 does not promise
    CHECK(report::replay_pools<>(trace, {.measures_time = false}).empty());
  }
}

TEST_CASE("a pool's row: a buffer of another stream is waited for; refusals are counted") {
  TraceBuilder<> builder;
  builder.trace().knows_streams = true;
  builder.allocate(1, {512, 1, 7});
  builder.free(1);
  builder.allocate(2, {512, 1, 7});  // at once
  builder.free(2);
  builder.allocate(3, {512, 1, 9});
  builder.allocate(4, {512, 1, 9});
  const AllocationTrace trace = builder.take("built", 64);
  for (const ReplayRow& row :
       report::replay_pools<>(trace, {.capacity = 960, .measures_time = false})) {
    CHECK(row.capacity == 1024);
    CHECK(row.waits == 1);
    CHECK(row.refusals == 1);
  }
}

TEST_CASE("coarser units are rows of their own, as long as rounding does not double the peak") {
  TraceBuilder<> builder;
  for (std::uint64_t i = 0; i < 20; ++i) builder.allocate(i, {3000 + i, 1, 0});
  for (std::uint64_t i = 0; i < 20; i += 2) builder.free(i);
  for (std::uint64_t i = 20; i < 30; ++i) builder.allocate(i, {3000, 1, 0});
  const AllocationTrace trace = builder.take("built", 64);
  const auto rows = report::replay_coarser<>(trace, {.measures_time = false});
  REQUIRE(rows.size() == 12);  // 256 bytes and 4 KiB
  for (const ReplayRow& row : rows) {
    CHECK(row.is_coarser);
    CHECK(row.capacity % row.unit == 0);
    CHECK(row.capacity >= report::facts_of<>(trace, row.unit).peak_bytes);
  }
  CHECK(rows[3].type == "allot::Arena<allot::BestFit, allot::AlignTo<256>>");
  CHECK(serves<Arena<BestFit, AlignTo<256>>>(trace, rows[3].capacity));
  CHECK(!serves<Arena<BestFit, AlignTo<256>>>(trace, rows[3].capacity - 256));
  CHECK(rows[11].type == "allot::Arena<allot::Buddy, allot::AlignTo<4096>>");
  CHECK(serves<Arena<Buddy, AlignTo<4096>>>(trace, rows[11].capacity));
  CHECK(!serves<Arena<Buddy, AlignTo<4096>>>(trace, rows[11].capacity - 4096));
  // Of what takes more than is asked about, within 1/256.
  const auto rough = report::replay_coarser<>(trace, {.exact_below = 64});
  REQUIRE(rough.size() == rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CHECK(rough[i].capacity >= rows[i].capacity);
    CHECK(rough[i].capacity - rows[i].capacity <= rows[i].capacity / 256 + rows[i].unit);
    CHECK(rough[i].nanoseconds == 0);
  }
  CHECK(report::replay_coarser<>(trace, {.unit = 4096, .measures_time = false}).empty());
}

TEST_CASE("each kind of trace has its right answer") {
  // Everything freed in the reverse order: a stack is exact, and cheapest.
  TraceBuilder<> stack;
  for (std::uint64_t i = 0; i < 9; ++i) stack.allocate(i, {100 * i + 64, 1, 0});
  for (std::uint64_t i = 9; i-- != 0;) stack.free(i);
  const auto of_stack = report::replay_all<>(stack.take("built", 64), {.measures_time = false});
  CHECK(best_of(of_stack).name == "Linear");

  // One size, freed in any order: blocks of that size.
  TraceBuilder<> alike;
  for (std::uint64_t i = 0; i < 8; ++i) alike.allocate(i, {4096, 1, 0});
  for (std::uint64_t i = 0; i < 8; i += 2) alike.free(i);
  for (std::uint64_t i = 8; i < 12; ++i) alike.allocate(i, {4096, 1, 0});
  const auto of_alike = report::replay_all<>(alike.take("built", 64), {.measures_time = false});
  CHECK(best_of(of_alike).name == "FixedBlocks<64>");
  CHECK(best_of(of_alike).type == "allot::Arena<allot::FixedBlocks<64>, allot::AlignTo<64>>");
  CHECK(best_of(of_alike).capacity == 8 * 4096);

  // Holes of 3 and of 2 units, in that order, then 2 and 3 units are asked for: the tightest hole
  // serves both, the lowest one wastes a unit.
  TraceBuilder<> holes;
  const auto take = [&](std::uint64_t id, std::uint64_t units) {
    holes.allocate(id, {64 * units, 1, 0});
  };
  take(0, 3);
  take(1, 1);
  take(2, 2);
  take(3, 1);
  holes.free(0);
  holes.free(2);
  take(4, 2);
  take(5, 3);
  const auto of_holes = report::replay_all<>(holes.take("built", 64), {.measures_time = false});
  CHECK(row_of(of_holes, "BestFit").capacity == 7 * 64);
  CHECK(row_of(of_holes, "FirstFit").capacity > 7 * 64);
  CHECK(best_of(of_holes).capacity == 7 * 64);
}

TEST_CASE("the rows decide, in the order of the strategies if they are equal") {
  const auto row = [](const char* name, std::uint64_t capacity, double nanoseconds) {
    ReplayRow made;
    made.name = name;
    made.capacity = capacity;
    made.nanoseconds = nanoseconds;
    return made;
  };
  std::vector<ReplayRow> rows{row("a", 300, 4), row("b", 100, 50), row("c", 110, 20),
                              row("d", 100, 10), row("e", 190, 5)};
  CHECK(report::recommend<>(rows, Aim::memory) == 1);
  CHECK(report::recommend<>(rows, Aim::time) == 4);  // a takes over twice the least
  CHECK(report::recommend<>(rows, Aim::both) == 4);
  // Pools and coarser units count for memory alone.
  rows.push_back(row("f", 90, 1));
  rows.back().is_pool = true;
  rows.push_back(row("g", 80, 1));
  rows.back().is_coarser = true;
  CHECK(report::recommend<>(rows, Aim::memory) == 6);
  CHECK(report::recommend<>(rows, Aim::time) == 3);  // e takes over twice the least
  CHECK(report::recommend<>(rows, Aim::both) == 4);
  for (ReplayRow& each : rows) each.is_simulated = true;
  CHECK(!report::recommend<>(rows, Aim::memory));
  CHECK(!report::recommend<>(std::vector<ReplayRow>{}, Aim::both));
}

TEST_CASE(
    "eight blocks of 16 MiB freed, then four of 32: a caching allocator takes twice as much") {
  TraceBuilder<> builder;
  for (std::uint64_t i = 0; i < 8; ++i) builder.allocate(i, {16 * MiB, 1, 0});
  for (std::uint64_t i = 0; i < 8; ++i) builder.free(i);
  for (std::uint64_t i = 8; i < 12; ++i) builder.allocate(i, {32 * MiB, 1, 0});
  const auto rows = report::replay_all<>(builder.take("built", 512), {.measures_time = false});
  CHECK(row_of(rows, "BestFit").capacity == 128 * MiB);
  const ReplayRow& caching = row_of(rows, "PyTorch");
  CHECK(caching.is_simulated);
  CHECK(caching.reserved == 256 * MiB);
  CHECK(caching.capacity == 128 * MiB);  // with what is cached released
}

TEST_CASE("segments: 2 MiB for small, 20 MiB below 10 MiB, whole 2 MiB from there") {
  const auto reserved = [](std::vector<std::uint64_t> sizes) {
    TraceBuilder<> builder;
    for (std::size_t i = 0; i < sizes.size(); ++i) builder.allocate(i, {sizes[i], 1, 0});
    return report::simulate<>(builder.take("built", 512), report::CachingRule::segments).reserved;
  };
  CHECK(reserved({1}) == 2 * MiB);
  CHECK(reserved({1, 1 * MiB}) == 2 * MiB);
  CHECK(reserved({1 * MiB, 1 * MiB}) == 2 * MiB);
  CHECK(reserved({1 * MiB, 1 * MiB, 1}) == 4 * MiB);
  CHECK(reserved({1 * MiB + 1}) == 20 * MiB);
  CHECK(reserved({9 * MiB, 9 * MiB}) == 20 * MiB);
  CHECK(reserved({10 * MiB}) == 10 * MiB);
  CHECK(reserved({11 * MiB}) == 12 * MiB);
}

TEST_CASE("a trace keeps what it cannot know apart") {
  TraceBuilder<> builder;
  builder.free(7);
  builder.allocate(1, {0, 1, 0});
  builder.free(1);
  builder.allocate(2, {10, 1, 0});
  builder.allocate(2, {10, 1, 0});  // the same call, recorded twice
  builder.allocate(2, {20, 1, 0});  // given out again without a free
  CHECK_THROWS_AS(builder.allocate(3, {std::uint64_t{1} << 60, 1, 0}), std::length_error);
  const AllocationTrace trace = builder.take("built", 1);
  CHECK(trace.unknown_frees == 1);
  CHECK(trace.empty == 1);
  CHECK(trace.repeated == 1);
  CHECK(trace.blocks.size() == 2);
  CHECK(trace.events.size() == 3);
  CHECK(report::facts_of<>(trace).peak_bytes == 20);
  CHECK(report::replay_all<>(AllocationTrace{}).empty());
}

TEST_CASE("refusals at a capacity are counted") {
  TraceBuilder<> builder;
  for (std::uint64_t i = 0; i < 10; ++i) builder.allocate(i, {64, 1, 0});
  const auto rows =
      report::replay_all<>(builder.take("built", 64), {.capacity = 64 * 4, .measures_time = false});
  for (const ReplayRow& row : rows) {
    if (!row.is_simulated) CHECK(row.refusals == 6);
  }
}

TEST_CASE("a capacity below a unit refuses every request, and a huge one none") {
  for (const std::uint64_t bytes : {64U, 1000U}) {
    TraceBuilder<> builder;
    builder.trace().knows_streams = true;
    for (std::uint64_t i = 0; i < 10; ++i) builder.allocate(i, {bytes, 1, 7});
    const AllocationTrace trace = builder.take("built", 64);
    const auto check_refusals = [&](std::uint64_t capacity, std::uint64_t expected) {
      const report::ReplayOptions options{.capacity = capacity, .measures_time = false};
      auto rows = report::replay_all<>(trace, options);
      const auto pools = report::replay_pools<>(trace, options);
      CHECK(!pools.empty());
      rows.insert(rows.end(), pools.begin(), pools.end());
      for (const ReplayRow& row : rows) {
        if (!row.is_simulated) CHECK_MESSAGE(row.refusals == expected, row.name, ", ", capacity);
      }
    };
    check_refusals(0, 0);  // none is asked for
    check_refusals(1, 10);
    check_refusals(63, 10);
    // 2^32 units, which the keys of some strategies cannot hold, and all that can be said.
    for (const unsigned shift : {38U, 50U, 63U}) check_refusals(std::uint64_t{1} << shift, 0);
    check_refusals(largest_of<std::uint64_t>, 0);
  }
}
