// SPDX-License-Identifier: MIT
// The pool on the host and on the host as a discrete device: the laws, and what only these show.
#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/pool/buffers/buffer_pool.hpp>
#include <allot/pool/kv/kv_cache.hpp>
#include <allot/pool/workspace/workspace.hpp>
#include <allot/strategy/buddy.hpp>
#include <allot/stream/readback.hpp>
#include <allot/stream/shared_stream.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <future>
#include <memory>
#include <string>

#include "pool/buffers/pool_laws.hpp"

namespace {

using namespace allot;
using test::PoolOn;

}  // namespace

ALLOT_POOL_LAWS(PoolOn<HostDevice, PowersOfTwo>, PoolOn<HostDevice, FourSteps>,
                PoolOn<HostDevice, ExactSizes>, PoolOn<StagedHostDevice, PowersOfTwo>,
                PoolOn<StagedHostDevice, FourSteps>, PoolOn<StagedHostDevice, ExactSizes>);

TEST_CASE_TEMPLATE("classes hold what they are for, and waste as little as they say", C,
                   PowersOfTwo, FourSteps, ExactSizes) {
  std::uint64_t before = 0;
  std::size_t next_index = 0;
  const auto check = [&](std::uint64_t units) {
    const auto rounded = C::round_up(units);
    REQUIRE(rounded);
    REQUIRE(*rounded >= units);
    REQUIRE(*C::round_up(*rounded) == *rounded);
    if constexpr (std::same_as<C, PowersOfTwo>) REQUIRE(*rounded - units < units);
    if constexpr (std::same_as<C, FourSteps>) REQUIRE((*rounded - units) * 4 < units);
    if constexpr (std::same_as<C, ExactSizes>) REQUIRE(*rounded == units);
    REQUIRE(*rounded >= before);
    if constexpr (requires { C::count; }) {
      const std::size_t index = C::index_of(*rounded);
      REQUIRE(index < C::count);
      REQUIRE((*rounded == before ? index == next_index : index > next_index || before == 0));
      next_index = index;
    }
    before = *rounded;
  };
  for (std::uint64_t units = 1; units <= 1 << 15; ++units) check(units);
  // Above, where classes begin and end.
  for (int exponent = 15; exponent < 63; ++exponent) {
    for (std::uint64_t quarter = 4; quarter < 8; ++quarter) {
      const std::uint64_t at = quarter << (exponent - 2);
      for (const std::uint64_t units : {at, at + 1, at + (at >> 4), at + (at >> 3)}) {
        if (units > before) check(units);
      }
    }
  }
}

TEST_CASE("sizes above the largest class have none") {
  constexpr std::uint64_t top = std::uint64_t{1} << 63;
  CHECK(PowersOfTwo::round_up(top) == top);
  CHECK(!PowersOfTwo::round_up(top + 1));
  CHECK(FourSteps::round_up(top + 1) == top / 4 * 5);
  CHECK(FourSteps::round_up(top / 4 * 7) == top / 4 * 7);
  CHECK(!FourSteps::round_up(top / 4 * 7 + 1));
  CHECK(FourSteps::index_of(top / 4 * 7) == 255);
}

TEST_CASE("what is not a set of size classes is refused") {
  struct Signed {
    static int round_up(std::uint64_t units) { return static_cast<int>(units); }
  };
  struct Empty {};
  CHECK(!SizeClasses<Signed>);
  CHECK(!SizeClasses<Empty>);
  CHECK(!SizeClasses<int>);
}

TEST_CASE("a stream waits on the device for another, and the host goes on") {
  StagedHostDevice device;
  for (const bool is_shared : {true, false}) {
    BufferPool pool{device, 1 * MiB, {.reuse = Reuse::cached_first}};
    const SharedStream first{device};
    const SharedStream second{device};
    std::promise<void> gate;
    (*first)->push([opened = gate.get_future().share()] { opened.wait(); });
    const auto acquire = [&](const SharedStream<StagedHostDevice>& stream) {
      return is_shared ? pool.acquire(4096, stream) : pool.acquire(4096, *stream);
    };
    acquire(first).release();
    // The first stream stands still; this returns nevertheless, and the second waits.
    const auto buffer = acquire(second);
    CHECK(pool.stats().waits == 1);
    std::promise<void> reached;
    auto is_reached = reached.get_future();
    (*second)->push([&] { reached.set_value(); });
    CHECK(is_reached.wait_for(std::chrono::seconds{0}) == std::future_status::timeout);
    gate.set_value();
    is_reached.wait();
  }
}

TEST_CASE("a buffer on the host is bytes") {
  HostDevice device;
  BufferPool pool{device, 1 * MiB};
  auto buffer = pool.acquire(1000);
  CHECK(buffer.span().size() == 1000);
  std::memset(buffer.span().data(), 1, buffer.span().size());
  auto moved = std::move(buffer);
  CHECK(buffer.empty());
  CHECK(moved.size() == 1000);
  buffer = std::move(moved);
  CHECK(buffer.size() == 1000);
  buffer = pool.acquire(2000);
  CHECK(pool.stats().in_use_buffers == 1);
  CHECK(pool.stats().cached_buffers == 1);
}

TEST_CASE("classes that are not numbered are forgotten with their buffers") {
  HostDevice device;
  BufferPool<HostDevice, ExactSizes> pool{device, 1 * MiB, {.max_cached = 4096}};
  for (std::uint64_t units = 1; units <= 100; ++units) pool.acquire(units * 256).release();
  CHECK(pool.stats().classes.size() <= 4);
  CHECK(pool.stats().misses == 100);
}

TEST_CASE("what no chunk could ever hold frees nothing that is cached") {
  HostDevice device;
  BufferPool pool{device, 1 * MiB, {.growth = 64 * KiB, .max_capacity = 1 * MiB + 64 * KiB}};
  const auto kept = pool.acquire(1 * MiB);
  pool.acquire(64 * KiB).release();  // alone in a second chunk
  CHECK(pool.stats().chunks == 2);
  CHECK_THROWS_AS(static_cast<void>(pool.acquire(128 * KiB)), OutOfMemory);
  CHECK_THROWS_AS(static_cast<void>(pool.acquire(2 * MiB)), OutOfMemory);
  CHECK(pool.stats().cached == 64 * KiB);
  CHECK(pool.stats().frees == 0);
  CHECK(pool.validate());
}

TEST_CASE("a chunk in which the strategy cannot place what it is for is not kept") {
  HostDevice device;
  BufferPool<HostDevice, FourSteps, Buddy> pool{
      device, 1 * MiB, {.growth = 64 * KiB, .max_capacity = 15 * 128 * KiB}};
  // Buddies are powers of two: none has room for one of 1.25 MiB.
  CHECK_THROWS_WITH_AS(
      static_cast<void>(pool.acquire(5 * 256 * KiB)),
      "out of memory (too large): requested 1.25 MiB (1310720 bytes) aligned to 256 B; free 1 MiB, "
      "largest free block 1 MiB, capacity 1 MiB; free blocks first, or give the arena more "
      "capacity",
      OutOfMemory);
  CHECK(pool.stats().chunks == 1);
  CHECK(pool.acquire(1 * MiB).capacity() == 1 * MiB);
  CHECK(pool.validate());
}

TEST_CASE("thousands of buffers of as many sizes are made and freed, without a look at each") {
  HostDevice device;
  constexpr std::uint64_t count = 4'000;
  BufferPool<HostDevice, ExactSizes> pool{device, count * (count + 1) / 2 * 256};
  std::vector<std::uint64_t> sizes;
  for (std::uint64_t units = 1; units <= count; ++units) sizes.push_back(units * 256);
  pool.warm_up(sizes);
  CHECK(pool.stats().classes.size() == count);
  pool.trim();
  CHECK(pool.stats().classes.empty());
}

TEST_CASE("a warm-up does not exceed the cap together with what is cached already") {
  HostDevice device;
  BufferPool pool{device, 1 * MiB, {.max_cached = 64 * KiB}};
  pool.warm_up({32 * KiB});
  pool.warm_up({16 * KiB, 24 * KiB});  // the 32 KiB make room
  CHECK(pool.stats().cached == 40 * KiB);
  CHECK(pool.stats().frees == 1);
  pool.warm_up({32 * KiB, 16 * KiB});  // the last is there
  CHECK(pool.stats().cached == 48 * KiB);
  CHECK(pool.stats().frees == 2);
  CHECK_THROWS_WITH_AS(pool.warm_up({64 * KiB, 1}),
                       "a warm-up of 64.25 KiB (65792 bytes) exceeds what the pool may cache, "
                       "64 KiB; raise max_cached",
                       std::invalid_argument);
  CHECK(pool.stats().cached == 48 * KiB);
  CHECK(pool.validate());
}

namespace {

/// A stream and what was acquired for another: goes with the last that shares the stream.
struct Engine {
  explicit Engine(StagedHostDevice& device) : stream{device.make_stream()} {}

  PooledBuffer<StagedHostDevice> scratch;
  StagedHostDevice::stream_type stream;
};

}  // namespace

TEST_CASE("what owns a stream may use the pool when the pool is the last to let it go") {
  StagedHostDevice device;
  BufferPool pool{device, 1 * MiB};
  const SharedStream other{device};
  auto engine = std::make_shared<Engine>(device);
  engine->scratch = pool.acquire(1000, other);
  pool.acquire(5000, SharedStream<StagedHostDevice>{{engine, &engine->stream}}).release();
  engine.reset();
  CHECK(pool.stats().in_use_buffers == 1);
  pool.trim();
  CHECK(pool.stats().in_use_buffers == 0);
}

TEST_CASE("a stream that is new to a pool does not have the host wait for one that was dropped") {
  StagedHostDevice device;
  BufferPool pool{device, 1 * MiB, {.reuse = Reuse::cached_first}};
  std::promise<void> gate;
  {
    const SharedStream dropped{device};
    (*dropped)->push([opened = gate.get_future().share()] { opened.wait(); });
    pool.acquire(4096, dropped).release();
  }
  const SharedStream fresh{device};
  const auto buffer = pool.acquire(4096, fresh);  // returns, although the other stands still
  CHECK(pool.stats().waits == 1);
  gate.set_value();
}

TEST_CASE("a stream that was moved from is refused") {
  StagedHostDevice device;
  BufferPool pool{device, 1 * MiB};
  auto stream = device.make_stream();
  pool.acquire(1000, stream).release();
  auto moved = std::move(stream);
  CHECK_THROWS_AS(static_cast<void>(pool.acquire(1000, stream)), std::invalid_argument);
  auto buffer = pool.acquire(1000, moved);
  CHECK(pool.stats().hits == 1);
  CHECK_THROWS_AS(buffer.release(stream), std::invalid_argument);
  CHECK(pool.stats().in_use_buffers == 1);
}

TEST_CASE("a pool that begins above its own limit is refused") {
  HostDevice device;
  CHECK_THROWS_AS((BufferPool{device, 2 * MiB, {.max_capacity = 1 * MiB}}), std::invalid_argument);
}

TEST_CASE_TEMPLATE("a pooled buffer is accepted where a slice is asked for, which keeps it", D,
                   HostDevice, StagedHostDevice) {
  D device;
  BufferPool<D> pool{device, 1 * MiB};
  auto stream = SharedStream<D>{device};
  auto buffer = pool.acquire(1000, stream);
  typename PooledBuffer<D>::slice_type kept = buffer;
  CHECK(kept.bytes() == 1000);
  CHECK(kept.address() == buffer.address());
  static_assert(!std::convertible_to<PooledBuffer<StagedHostDevice>, Slice<HostAccessible>>);
  Readback<std::byte, D> readback{device, 1000};
  readback.start(buffer, *stream);
  buffer.release();
  CHECK(pool.stats().in_use_buffers == 1);
  CHECK(readback.wait().size() == 1000);
  kept = {};
  CHECK(pool.stats().in_use_buffers == 0);
}

TEST_CASE_TEMPLATE("pool, workspace and cache work on one stream, which the last of them releases",
                   D, HostDevice, StagedHostDevice) {
  D device;
  std::weak_ptr<typename D::stream_type> watched;
  {
    SharedStream<D> stream{device};
    watched = stream.owner();
    Workspace<D> workspace{device, {}, stream};
    KvCache<D> cache{
        device, {.shape = {1, 1, 16, 16}, .budget_bytes = 64 * KiB, .block_tokens = 4}, {stream}};
    BufferPool<D> pool{device, 1 * MiB};
    CHECK(&workspace.stream() == &*stream);
    CHECK(&cache.stream() == &*stream);
    auto buffer = pool.acquire(100, workspace.shared_stream());
    buffer.release(cache.shared_stream());
    CHECK(workspace.shared_stream().owner() == stream.owner());
  }
  CHECK(watched.expired());
}
