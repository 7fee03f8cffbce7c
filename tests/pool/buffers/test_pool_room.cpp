// SPDX-License-Identifier: MIT
// What a pool does before it refuses: idle memory makes room, and rounding refuses nothing.
#include <allot/device/host_device.hpp>
#include <allot/pool/buffers/buffer_pool.hpp>
#include <allot/sharded_arena.hpp>
#include <allot/strategy/buddy.hpp>
#include <allot/strategy/fixed_blocks.hpp>
#include <allot/synchronization/locked.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace allot;
template <class Classes = FourSteps>
using PoolOf = BufferPool<HostDevice, Classes>;

/// Host memory of a system that has `left` bytes more.
struct ScarceMemory {
  static constexpr bool host_accessible = true;
  static constexpr bool device_accessible = false;

  struct GiveBack {
    std::uint64_t bytes;
    void operator()(std::uint64_t* of) const noexcept { *of += bytes; }
  };
  struct Region {
    HostMemory::Region memory;
    std::unique_ptr<std::uint64_t, GiveBack> taken;
    [[nodiscard]] void* address() const noexcept { return memory.address(); }
    [[nodiscard]] std::uint64_t alignment() const noexcept { return memory.alignment(); }
  };
  [[nodiscard]] Region acquire(std::uint64_t bytes, std::uint64_t alignment) const {
    if (bytes > *left) throw OutOfMemory{RefusalReason::source, bytes, alignment, *left, *left, 0};
    Region made{HostMemory{}.acquire(bytes, alignment), {left, GiveBack{bytes}}};
    *left -= bytes;
    return made;
  }

  std::uint64_t* left;
};
struct ScarceDevice : HostDevice {
  using memory_type = ScarceMemory;
  explicit ScarceDevice(std::uint64_t& bytes) : left{&bytes} {}
  [[nodiscard]] ScarceMemory memory() const noexcept { return {left}; }

  std::uint64_t* left;
};

}  // namespace

TEST_CASE_TEMPLATE("sizes that rise slowly do not fill a limit with chunks that are idle", C,
                   PowersOfTwo, FourSteps, ExactSizes) {
  PoolOf<C> pool{HostDevice{}, 4 * MiB, {.growth = 4 * MiB, .max_capacity = 64 * MiB}};
  for (std::uint64_t n = 1; n <= 90; ++n) {
    const auto a = pool.acquire(n * 300'000);
    const auto b = pool.acquire(n * 250'000);
    REQUIRE(pool.stats().capacity <= 64 * MiB);
  }
  CHECK(pool.validate());
  const auto whole = pool.acquire(20 * MiB);
  CHECK(whole.size() == 20 * MiB);
}

TEST_CASE("only as many idle chunks as are needed go, and none that a buffer uses") {
  PoolOf<> pool{HostDevice{}, 2 * MiB, {.growth = 1 * MiB, .max_capacity = 10 * MiB}};
  {
    const auto a = pool.acquire(2 * MiB);
    const auto b = pool.acquire(3 * MiB);
    const auto c = pool.acquire(4 * MiB);
  }
  CHECK(pool.stats().chunks == 3);
  const auto used = pool.acquire(4 * MiB);
  {
    const auto d = pool.acquire(3584 * KiB);  // the 3 MiB make room: the least that is enough
    CHECK(pool.stats().chunks == 3);
    CHECK(pool.stats().capacity == (2 + 4) * MiB + 3584 * KiB);
    CHECK(pool.stats().cached == 2 * MiB);
  }
  const auto e = pool.acquire(5 * MiB);  // both others
  CHECK(pool.stats().capacity == 9 * MiB);
  CHECK_THROWS_AS(static_cast<void>(pool.acquire(5 * MiB)), OutOfMemory);
  CHECK(pool.stats().capacity == 9 * MiB);
  CHECK(pool.validate());
}

TEST_CASE("idle chunks go if the system has too little for a larger one, whatever the limit") {
  std::uint64_t left = 10 * MiB;
  BufferPool<ScarceDevice> pool{ScarceDevice{left}, 2 * MiB, {.growth = 1 * MiB}};
  const auto used = pool.acquire(2 * MiB);
  {
    const auto a = pool.acquire(3 * MiB);
    const auto b = pool.acquire(4 * MiB);
  }
  CHECK(left == 1 * MiB);
  CHECK(pool.acquire(6 * MiB).capacity() == 6 * MiB);
  CHECK(pool.stats().chunks == 2);
  CHECK(left == 2 * MiB);
  try {
    static_cast<void>(pool.acquire(10 * MiB));
    FAIL("the system has as much");
  } catch (const OutOfMemory& error) {
    CHECK(error.reason() == RefusalReason::source);
    CHECK(error.requested() == 10 * MiB);
  }
  CHECK(pool.acquire(8 * MiB).capacity() == 8 * MiB);
  CHECK(left == 0);
  CHECK(pool.validate());
}

TEST_CASE("what no chunk could hold however many are given back costs nothing that is cached") {
  PoolOf<> pool{HostDevice{}, 2 * MiB, {.growth = 1 * MiB, .max_capacity = 10 * MiB}};
  const auto used = pool.acquire(2 * MiB);
  {
    const auto a = pool.acquire(3 * MiB);
    const auto b = pool.acquire(4 * MiB);
  }
  CHECK_THROWS_AS(static_cast<void>(pool.acquire(10 * MiB)), OutOfMemory);
  CHECK(pool.stats().cached == 7 * MiB);
  const auto large = pool.acquire(8 * MiB);
  CHECK(pool.stats().capacity == 10 * MiB);
}

TEST_CASE("a warm-up has idle chunks and other classes' buffers make room, not its own") {
  PoolOf<> pool{HostDevice{}, 2 * MiB, {.growth = 1 * MiB, .max_capacity = 8 * MiB}};
  {
    std::vector<PooledBuffer<HostDevice>> many;
    for (int i = 0; i < 8; ++i) many.push_back(pool.acquire(1 * MiB));
  }
  CHECK(pool.stats().cached == 8 * MiB);
  pool.warm_up({5 * MiB, 1 * MiB, 1 * MiB, 1 * MiB});
  CHECK(pool.stats().capacity == 8 * MiB);
  pool.on_miss(Misses::are_errors);
  {
    const auto a = pool.acquire(5 * MiB);
    const auto b = pool.acquire(1 * MiB);
    const auto c = pool.acquire(1 * MiB);
    const auto d = pool.acquire(1 * MiB);
  }
  // What is there and wanted, too, is not given back; then there is no room.
  CHECK_THROWS_AS(pool.warm_up({5 * MiB, 1 * MiB, 1 * MiB, 1 * MiB, 512 * KiB}), OutOfMemory);
  CHECK(pool.stats().cached == 8 * MiB);
  CHECK(pool.validate());

  PoolOf<> fixed{HostDevice{}, 4 * MiB};  // in one chunk
  for (const std::uint64_t bytes : {1 * MiB, 2 * MiB, 3 * MiB, 4 * MiB}) fixed.warm_up({bytes});
  CHECK(fixed.stats().cached == 4 * MiB);
}

TEST_CASE("a refusal says what is cached apart from what is free") {
  PoolOf<> pool{HostDevice{}, 1 * MiB, {.growth = 64 * KiB, .max_capacity = 1 * MiB + 64 * KiB}};
  const auto used = pool.acquire(768 * KiB);
  const auto other = pool.acquire(256 * KiB);
  pool.acquire(64 * KiB).release();  // alone in a second chunk
  CHECK_THROWS_WITH_AS(
      static_cast<void>(pool.acquire(128 * KiB)),
      "out of memory (too large): requested 128 KiB (131072 bytes) aligned to 256 B; free 0 B, "
      "cached 64 KiB, largest free block 0 B, capacity 1.06 MiB; free blocks first, or give the "
      "arena more capacity",
      OutOfMemory);
}

TEST_CASE_TEMPLATE("a class that does not fit refuses nothing that fits", C, PowersOfTwo,
                   FourSteps) {
  for (const std::uint64_t units : {450U, 499U, 500U}) {
    PoolOf<C> pool{HostDevice{}, 500 * KiB};
    const auto buffer = pool.acquire(units * KiB);
    CHECK(buffer.size() == units * KiB);
    CHECK(buffer.capacity() == 500 * KiB);  // what there is
    CHECK(pool.stats().in_use == 500 * KiB);
    CHECK(pool.validate());
    CHECK_THROWS_AS(static_cast<void>(pool.acquire(1)), OutOfMemory);
  }
  PoolOf<C> pool{HostDevice{}, 500 * KiB};
  CHECK_THROWS_AS(static_cast<void>(pool.acquire(501 * KiB)), OutOfMemory);
  PoolOf<C> grows{HostDevice{}, 100 * KiB, {.growth = 100 * KiB, .max_capacity = 600 * KiB}};
  const auto kept = grows.acquire(100 * KiB);
  CHECK(grows.acquire(450 * KiB).capacity() == 450 * KiB);
  PoolOf<C> idle{HostDevice{}, 100 * KiB, {.growth = 100 * KiB, .max_capacity = 500 * KiB}};
  idle.acquire(100 * KiB).release();
  CHECK(idle.acquire(450 * KiB).capacity() == 450 * KiB);
  CHECK(idle.stats().chunks == 1);
}

TEST_CASE("a buffer smaller than its class never serves more than its own bytes") {
  PoolOf<> pool{HostDevice{}, 460 * KiB, {.growth = 64 * KiB, .max_capacity = 2 * MiB}};
  const auto fill = pool.acquire(10 * KiB);  // the class of 450 KiB is 512 KiB
  PoolOf<> small{HostDevice{}, 460 * KiB};
  {
    const auto short_one = small.acquire(450 * KiB);
    CHECK(short_one.capacity() == 460 * KiB);
  }
  {
    const auto again = small.acquire(455 * KiB);  // a hit, within its own bytes
    CHECK(again.capacity() == 460 * KiB);
  }
  CHECK(small.stats().hits == 1);
  CHECK_THROWS_AS(static_cast<void>(small.acquire(461 * KiB)), OutOfMemory);  // also of the class
  CHECK(small.stats().hits == 1);
  small.on_miss(Misses::are_errors);
  CHECK_THROWS_AS(static_cast<void>(small.acquire(462 * KiB)), PoolMiss);
  CHECK(!small.acquire(460 * KiB).empty());
  CHECK(small.validate());
}

TEST_CASE("a buffer smaller than its class does not stand before a whole one") {
  PoolOf<> pool{
      HostDevice{}, 460 * KiB, {.growth = 64 * KiB, .max_capacity = 460 * KiB + 512 * KiB}};
  auto first = pool.acquire(450 * KiB);  // whole, in a chunk of its own
  auto second = pool.acquire(450 * KiB);
  CHECK(first.capacity() == 512 * KiB);
  CHECK(second.capacity() == 460 * KiB);
  first.release();
  second.release();
  const auto large = pool.acquire(500 * KiB);
  CHECK(large.capacity() == 512 * KiB);
  const auto little = pool.acquire(450 * KiB);
  CHECK(little.capacity() == 460 * KiB);
  CHECK(pool.stats().hits == 2);
  CHECK(pool.validate());
}

TEST_CASE("a warm-up is given what there is, too, and its promise holds") {
  PoolOf<> pool{HostDevice{}, 500 * KiB};
  pool.warm_up({450 * KiB});
  CHECK(pool.stats().cached == 500 * KiB);
  pool.warm_up({450 * KiB});  // is there
  CHECK(pool.stats().frees == 0);
  pool.on_miss(Misses::are_errors);
  CHECK(!pool.acquire(450 * KiB).empty());
  // A short one is there, but too short for this.
  PoolOf<> other{HostDevice{}, 460 * KiB, {.growth = 64 * KiB, .max_capacity = 1 * MiB}};
  auto first = other.acquire(450 * KiB);
  auto second = other.acquire(450 * KiB);
  second.release();
  first.release();
  other.warm_up({500 * KiB});
  other.on_miss(Misses::are_errors);
  CHECK(other.acquire(500 * KiB).capacity() == 512 * KiB);
  // What may be cached is less than the class, but not than the size.
  PoolOf<> capped{HostDevice{}, 1 * MiB, {.max_cached = 500 * KiB}};
  capped.warm_up({450 * KiB});
  CHECK(capped.stats().cached <= 500 * KiB);
  capped.on_miss(Misses::are_errors);
  CHECK(!capped.acquire(450 * KiB).empty());
  CHECK(capped.stats().cached_buffers == 1);
}

TEST_CASE("a warm-up keeps the buffers that are large enough for it, and no shorter one instead") {
  // Of one class, 512 KiB, one in a chunk of its own and one of 460 KiB.
  const auto cache_both = [](auto& pool) {
    auto whole = pool.acquire(450 * KiB);
    auto short_one = pool.acquire(450 * KiB);
    REQUIRE(whole.capacity() == 512 * KiB);
    REQUIRE(short_one.capacity() == 460 * KiB);
    whole.release();  // the longest unused
    short_one.release();
  };
  const auto serves = [](auto& pool, std::uint64_t bytes) {
    pool.on_miss(Misses::are_errors);
    CHECK(pool.acquire(bytes).size() == bytes);
    CHECK(pool.validate());
  };
  for (const std::uint64_t other : {128 * KiB, 256 * KiB}) {
    PoolOf<PowersOfTwo> pool{
        HostDevice{}, 460 * KiB, {.growth = 64 * KiB, .max_capacity = 460 * KiB + 512 * KiB}};
    cache_both(pool);
    pool.warm_up({500 * KiB, other});  // the whole one is there; the short one makes room
    pool.on_miss(Misses::are_errors);
    const auto first = pool.acquire(500 * KiB);
    CHECK(pool.acquire(other).size() == other);
    CHECK(pool.validate());
  }
  // The chunk of the short one is idle, that of the one that is kept is not.
  PoolOf<> grows{HostDevice{}, 460 * KiB, {.growth = 64 * KiB, .max_capacity = 1023 * KiB}};
  cache_both(grows);
  grows.warm_up({500 * KiB, 510 * KiB});
  CHECK(grows.stats().capacity == (512 + 510) * KiB);
  serves(grows, 510 * KiB);
  // One that is too short makes room, too.
  PoolOf<> only{HostDevice{}, 460 * KiB, {.growth = 64 * KiB, .max_capacity = 600 * KiB}};
  only.acquire(450 * KiB).release();
  only.warm_up({500 * KiB});
  serves(only, 500 * KiB);
}

TEST_CASE("buffers in use and cached never exceed the limit, whatever is short") {
  PoolOf<> pool{HostDevice{}, 777 * KiB, {.growth = 33 * KiB, .max_capacity = 1555 * KiB}};
  std::vector<PooledBuffer<HostDevice>> buffers;
  std::uint64_t state = 1;
  const auto random = [&state] {
    state = state * 6364136223846793005U + 1442695040888963407U;
    return state >> 33;
  };
  std::uint64_t in_use = 0;
  for (int i = 0; i < 5000; ++i) {
    if (random() % 2 == 0 || buffers.empty()) {
      const std::uint64_t bytes = 1 + random() % (900 * KiB);
      try {
        buffers.push_back(pool.acquire(bytes));
        REQUIRE(buffers.back().capacity() >= bytes);
        in_use += buffers.back().capacity();
      } catch (const OutOfMemory& refused) {
        REQUIRE(refused.requested() == bytes);
      }
    } else {
      std::swap(buffers[random() % buffers.size()], buffers.back());
      in_use -= buffers.back().capacity();
      buffers.pop_back();
    }
    REQUIRE(pool.stats().in_use == in_use);
    REQUIRE(pool.stats().capacity <= 1555 * KiB);
    if (i % 64 == 0) REQUIRE(pool.validate());
  }
}

TEST_CASE("a chunk is as large as the strategy's block, and an error names that block") {
  using Buddies = BufferPool<HostDevice, FourSteps, Buddy>;
  Buddies grows{HostDevice{}, 1 * MiB, {.growth = 64 * KiB, .max_capacity = 3 * MiB}};
  CHECK(grows.acquire(1280 * KiB).capacity() == 1280 * KiB);
  CHECK(grows.stats().capacity == 3 * MiB);
  Buddies fixed{HostDevice{}, 500 * KiB};
  CHECK(fixed.acquire(256 * KiB).capacity() == 256 * KiB);
  CHECK_THROWS_WITH_AS(
      static_cast<void>(fixed.acquire(448 * KiB)),
      "out of memory (fragmented): requested 448 KiB (458752 bytes), rounded up to 512 KiB (524288 "
      "bytes), aligned to 256 B; free 500 KiB, largest free block 256 KiB, capacity 500 KiB; free "
      "neighboring blocks, or ask for smaller pieces",
      OutOfMemory);
}

TEST_CASE("a chunk of fixed blocks has room for one, however little the pool grows by") {
  BufferPool<HostDevice, ExactSizes, FixedBlocks<16>> pool{
      HostDevice{}, 4 * KiB, {.growth = 256, .max_capacity = 9 * KiB}};
  const auto first = pool.acquire(1000);
  const auto second = pool.acquire(1000);
  CHECK(pool.stats().capacity == 8 * KiB);
  CHECK_THROWS_WITH_AS(
      static_cast<void>(pool.acquire(1000)),
      "out of memory (too large): requested 1000 B (1000 bytes) aligned to 256 B; free 0 B, "
      "largest free block 0 B, capacity 8 KiB; free blocks first, or give the arena more capacity",
      OutOfMemory);
  CHECK(pool.validate());
}

TEST_CASE("an arena's error names what a buddy was rounded up to, if that is the cause") {
  Arena<Buddy> arena{500 * KiB};
  const auto text = [](auto&& f) {
    try {
      f();
    } catch (const OutOfMemory& error) {
      return std::string{error.what()};
    }
    return std::string{};
  };
  CHECK(text([&] { static_cast<void>(arena.allocate(450 * KiB)); })
            .starts_with("out of memory (fragmented): requested 450 KiB (460800 bytes), rounded up "
                         "to 512 KiB (524288 bytes), aligned to 256 B; free 500 KiB, largest free "
                         "block 256 KiB"));
  CHECK(text([&] {
          static_cast<void>(arena.allocate(600 * KiB));
        }).starts_with("out of memory (too large): requested 600 KiB (614400 bytes) aligned to"));
  ShardedArena<Arena<Buddy, AlignTo<256>, Locked<>>, 2> shards{1000 * KiB};
  CHECK(text([&] {
          static_cast<void>(shards.allocate(450 * KiB));
        }).find("rounded up to 512 KiB (524288 bytes)") != std::string::npos);
}
