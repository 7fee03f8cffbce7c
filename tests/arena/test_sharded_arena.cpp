// SPDX-License-Identifier: MIT
#include <allot/memory/host_memory.hpp>
#include <allot/observer/ledger.hpp>
#include <allot/sharded_arena.hpp>
#include <allot/slice.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/buddy.hpp>
#include <allot/strategy/first_fit.hpp>
#include <allot/strategy/fixed_blocks.hpp>
#include <allot/strategy/good_fit.hpp>
#include <allot/strategy/linear.hpp>
#include <allot/synchronization/locked.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "support/in_threads.hpp"
#include "support/minimal_strategy.hpp"
#include "support/random.hpp"

namespace {

using namespace allot;

using Offsets = ShardedArena<Arena<BestFit, AlignTo<256>, Locked<>>, 4>;
using ShardsOnHost = ShardedArena<Arena<BestFit, AlignTo<256>, Locked<>, HostMemory>, 3>;
using ObservedShards = ShardedArena<Arena<GoodFit, AlignTo<1>, Locked<>, OffsetsOnly, Ledger>, 2>;

/// Does something when the second of two shards refuses: as another thread might, at that moment.
struct AtRefusal {
  static inline void (*act)() = nullptr;
  static inline int refusals = 0;

  void allocated(const Block&, const Request&) noexcept {}
  void deallocated(const Block&) noexcept {}
  void refused(const Request&, RefusalReason) noexcept {
    if (++refusals == 2 && act != nullptr) act();
  }
};
using InterruptedShards =
    ShardedArena<Arena<BestFit, AlignTo<256>, Locked<>, OffsetsOnly, AtRefusal>, 2>;

template <class A>
concept ShardsHaveAddresses = requires(const A arena, Block block) {
  arena.address(block);
};
static_assert(!ShardsHaveAddresses<Offsets> && ShardsHaveAddresses<ShardsOnHost>);

template <class A>
void check_identities(const A& arena) {
  const Usage usage = arena.usage();
  CHECK(usage.used + usage.free == usage.capacity);
  CHECK(usage.requested + usage.padding == usage.used);
  CHECK(usage.capacity == arena.capacity());
  CHECK(arena.validate());
  std::uint64_t end = 0;
  arena.for_each([&](std::uint64_t offset, std::uint64_t size, bool) {
    CHECK(offset == end);
    end = offset + size;
  });
  CHECK(end == arena.capacity());
}

}  // namespace

TEST_CASE("shards cover the whole capacity, whatever it is") {
  for (const std::uint64_t units : {4U, 5U, 7U, 1000U, 4097U, 1'000'003U}) {
    const Offsets arena{units * 256 + 100};
    CHECK(arena.capacity() == units * 256);
    check_identities(arena);
  }
  CHECK_THROWS_AS(Offsets{3 * 256}, std::invalid_argument);
  CHECK_THROWS_AS(ShardsOnHost{2 * 256}, std::invalid_argument);
}

TEST_CASE("shards of fixed blocks hold whole blocks") {
  ShardedArena<Arena<FixedBlocks<12>, AlignTo<256>, Locked<>>, 3> arena{100 * 12 * 256 + 700};
  CHECK(arena.capacity() == 100 * 12 * 256);
  check_identities(arena);
  int blocks = 0;
  while (arena.try_allocate(1)) ++blocks;
  CHECK(blocks == 100);
}

TEST_CASE("a thread allocates in its own shard, and in the others before it is refused") {
  Offsets arena{4 * MiB};
  std::vector<Block> blocks;
  std::vector<std::uint32_t> shards;
  while (const auto block = arena.try_allocate(256 * KiB)) {
    blocks.push_back(*block);
    if (shards.empty() || shards.back() != arena.shard_of(*block))
      shards.push_back(arena.shard_of(*block));
  }
  CHECK(blocks.size() == 16);
  CHECK(shards.size() == 4);
  CHECK(arena.usage().free == 0);
  check_identities(arena);
  for (const Block& block : blocks) arena.deallocate(block);
  CHECK(arena.usage().used == 0);
  check_identities(arena);
}

TEST_CASE("a request above a shard's size is refused, naming both figures") {
  Offsets arena{4 * MiB};
  CHECK(arena.shard_capacity() == 1 * MiB);
  CHECK(!arena.try_allocate(2 * MiB));
  try {
    static_cast<void>(arena.allocate(2 * MiB));
    FAIL("it was granted");
  } catch (const OutOfMemory& error) {
    CHECK(error.reason() == RefusalReason::too_large);
    CHECK(error.limit() == 1 * MiB);
    CHECK(error.free() == 4 * MiB);
    const std::string text = error.what();
    CHECK(text.find("2097152 bytes") != std::string::npos);
    CHECK(text.find("1048576 bytes") != std::string::npos);
  }
}

TEST_CASE("a block that is freed while a request is refused does not make alignment the reason") {
  static InterruptedShards* arena = nullptr;
  static std::vector<Block> blocks;
  InterruptedShards made{2 * MiB};
  arena = &made;
  blocks = {made.allocate(1 * MiB), made.allocate(1 * MiB)};
  AtRefusal::refusals = 0;
  // The shard that is asked first is that of the first block: the second one holds its own lock.
  AtRefusal::act = [] { arena->deallocate(blocks[0]); };
  try {
    static_cast<void>(made.allocate(1 * MiB));
    FAIL("it was granted");
  } catch (const OutOfMemory& error) {
    CHECK(error.reason() == RefusalReason::fragmented);
    CHECK(error.largest() == 1 * MiB);
  }
  AtRefusal::act = nullptr;
  CHECK(made.allocate(1 * MiB).size == 1 * MiB);
}

/// Counts how often a lock is taken.
struct CountingMutex {
  static inline int locked = 0;
  void lock() noexcept { ++locked; }
  void unlock() noexcept {}
};

TEST_CASE("what all shards have refused is refused without a lock, until one of them changes") {
  ShardedArena<Arena<GoodFit, AlignTo<256>, Locked<CountingMutex>>, 4> arena{4 * MiB};
  std::vector<Block> blocks;
  while (const auto block = arena.try_allocate(64 * KiB)) blocks.push_back(*block);
  CHECK(blocks.size() == 64);
  const auto locks_of = [&](std::uint64_t bytes, bool is_granted, std::uint64_t alignment = 256) {
    const int before = CountingMutex::locked;
    const auto block = arena.try_allocate(bytes, alignment);
    CHECK(block.has_value() == is_granted);
    const int locked = CountingMutex::locked - before;
    if (block) arena.deallocate(*block);
    return locked;
  };
  CHECK(locks_of(64 * KiB, false) == 0);
  CHECK(locks_of(std::uint64_t{1} << 63, false) == 0);
  CHECK(locks_of(64 * KiB, false, 4096) == 0);
  CHECK(locks_of(64 * KiB - 255, false) == 0);
  CHECK(locks_of(64 * KiB - 256, false) == 4);
  CHECK(locks_of(1, false) == 4);
  CHECK(locks_of(1, false) == 0);
  SUBCASE("a block is freed") {
    for (const std::size_t i : {0U, 63U, 20U}) {
      arena.deallocate(blocks[i]);
      CHECK(locks_of(64 * KiB, true) == 1);
      CHECK(locks_of(64 * KiB + 1, false) == 1);
      CHECK(locks_of(64 * KiB + 1, false) == 0);
      static_cast<void>(arena.allocate(64 * KiB));
      CHECK(locks_of(64 * KiB, false) == 1);
    }
  }
  SUBCASE("a block shrinks and grows again") {
    Block block = arena.shrink(blocks[40], 1 * KiB);
    CHECK(locks_of(63 * KiB, true) == 1);
    CHECK(arena.try_expand(block, 64 * KiB));
    CHECK(locks_of(1, false) == 1);
  }
  SUBCASE("all is freed") {
    arena.reset();
    CHECK(locks_of(1 * MiB, true) == 1);
  }
  SUBCASE("what is not valid is still reported") {
    CHECK_THROWS_AS(static_cast<void>(arena.try_allocate(0)), std::invalid_argument);
    CHECK_THROWS_AS(static_cast<void>(arena.try_allocate(1, 3)), std::invalid_argument);
    CHECK_THROWS_AS(static_cast<void>(arena.try_allocate(1 * MiB, 0)), std::invalid_argument);
  }
}

/// A contributor's strategy that may grant more than it refuses.
class EvenSizes : public test::MinimalStrategy {
 public:
  using MinimalStrategy::MinimalStrategy;

  [[nodiscard]] std::optional<Placement> allocate(std::uint64_t size, std::uint64_t alignment) {
    if (size % 2 != 0) return std::nullopt;
    return MinimalStrategy::allocate(size, alignment);
  }
};

TEST_CASE("a shard grants more than its strategy has refused, if the strategy does") {
  ShardedArena<Arena<EvenSizes, AlignTo<1>, Locked<>>, 2> arena{100};
  CHECK(!arena.try_allocate(3));
  CHECK(arena.allocate(4).size == 4);
  CHECK(!arena.try_allocate(3));
  CHECK(arena.allocate(50).size == 50);
}

TEST_CASE("one block may have all that a range can have") {
  constexpr std::uint64_t all = ~std::uint64_t{0};
  ShardedArena<Arena<WideBestFit, AlignTo<1>, Locked<>>, 1> arena{all};
  CHECK(arena.allocate(all).size == all);
}

/// The same strategy, whose shards are asked each time.
template <class StrategyType>
class AskedEachTime : public StrategyType {
 public:
  using StrategyType::StrategyType;
};

TEST_CASE_TEMPLATE("shards that keep refusing place the same as those that are asked each time", S,
                   BestFit, WideBestFit, FirstFit, GoodFit, Buddy, Linear, FixedBlocks<8>) {
  static_assert(keeps_refusing<S> && !keeps_refusing<AskedEachTime<S>>);
  constexpr std::uint64_t capacity = 3 * 64 * KiB;
  ShardedArena<Arena<S, AlignTo<256>, Locked<>>, 3> arena{capacity};
  ShardedArena<Arena<AskedEachTime<S>, AlignTo<256>, Locked<>>, 3> asked{capacity};
  std::mt19937_64 random{test::first_seed()};
  INFO("ALLOT_SEED=" << test::first_seed());
  struct Pair {
    Block block;
    Block of_asked;
  };
  std::vector<Pair> live;
  int refused = 0;
  bool are_same = true;
  for (int step = 0; step < 5000 && are_same; ++step) {
    const std::uint64_t choice = random() % 100;
    const std::uint64_t most = choice % 4 == 0 ? 8 * KiB : 2 * KiB;
    const std::uint64_t bytes = 1 + random() % most;
    if (choice < 60 || live.empty()) {
      const std::uint64_t alignment = random() % 3 == 0 ? 1024 : 256;
      const auto block = arena.try_allocate(bytes, alignment);
      const auto of_asked = asked.try_allocate(bytes, alignment);
      are_same = block.has_value() == of_asked.has_value();
      refused += block ? 0 : 1;
      if (!block || !of_asked) continue;
      are_same = block->offset == of_asked->offset && block->size == of_asked->size;
      live.push_back({*block, *of_asked});
      continue;
    }
    Pair& chosen = live[random() % live.size()];
    if constexpr (Resizable<S>) {
      if (choice < 65) {
        const auto block = arena.try_expand(chosen.block, bytes);
        const auto of_asked = asked.try_expand(chosen.of_asked, bytes);
        are_same = block.has_value() == of_asked.has_value();
        if (block && of_asked) chosen = {*block, *of_asked};
        continue;
      }
      if (choice < 70) {
        const std::uint64_t rest = 1 + random() % chosen.block.size;
        chosen = {arena.shrink(chosen.block, rest), asked.shrink(chosen.of_asked, rest)};
        continue;
      }
    }
    if (choice == 99 && random() % 8 == 0) {
      arena.reset();
      asked.reset();
      live.clear();
      continue;
    }
    arena.deallocate(chosen.block);
    asked.deallocate(chosen.of_asked);
    chosen = live.back();
    live.pop_back();
  }
  CHECK(are_same);
  CHECK(refused > 100);
  CHECK(arena.validate());
}

TEST_CASE("a shard of GoodFit grants what it refused, once an allocation has made room for it") {
  // It looks only at the most recently freed block of a bin: of 320 to 323 units, at 320 here.
  ShardedArena<Arena<GoodFit, AlignTo<1>, Locked<>>, 1> arena{1000};
  const Block larger = arena.allocate(322);
  static_cast<void>(arena.allocate(1));
  const Block smaller = arena.allocate(320);
  static_cast<void>(arena.allocate(1));
  while (arena.try_allocate(1)) {
  }
  arena.deallocate(larger);
  arena.deallocate(smaller);
  CHECK(!arena.try_allocate(321));
  CHECK(arena.allocate(320).offset == smaller.offset);
  CHECK(arena.allocate(321).offset == larger.offset);
}

TEST_CASE(
    "a block of another arena, or freed before, is reported with the place that the caller knows") {
  Offsets arena{4 * MiB};
  std::vector<Block> blocks;
  for (int i = 0; i < 8; ++i) blocks.push_back(arena.allocate(512 * KiB));
  const Block last = blocks.back();
  arena.deallocate(last);
  CHECK(!arena.owns(last));
  try {
    arena.deallocate(last);
    FAIL("it was freed twice");
  } catch (const InvalidBlock& error) {
    CHECK(std::string{error.what()}.find(std::to_string(last.offset)) != std::string::npos);
  }
  Block elsewhere = blocks.front();
  elsewhere.offset += arena.shard_capacity();
  CHECK_THROWS_AS(arena.deallocate(elsewhere), InvalidBlock);
  elsewhere.offset = ~std::uint64_t{0};
  CHECK_THROWS_AS(arena.deallocate(elsewhere), InvalidBlock);
  check_identities(arena);
}

TEST_CASE("a block of a shard grows and shrinks where it is") {
  Offsets arena{4 * MiB};
  const Block block = arena.allocate(100 * KiB);
  const auto more = arena.try_expand(block, 300 * KiB);
  REQUIRE(more);
  CHECK(more->offset == block.offset);
  CHECK(!arena.try_expand(*more, 2 * MiB));
  const Block less = arena.shrink(*more, 10);
  CHECK(less.size == 256);
  CHECK(arena.usage().requested == 10);
  arena.reset();
  CHECK(arena.usage().used == 0);
}

TEST_CASE("blocks of host memory lie where their offsets say, aligned as asked") {
  ShardsOnHost arena{12 * MiB};
  for (int i = 0; i < 9; ++i) {
    const Block block = arena.allocate(1 * MiB, 4096);
    auto* const address = static_cast<std::byte*>(arena.address(block));
    CHECK(address == static_cast<std::byte*>(arena.base_address()) + block.offset);
    CHECK(reinterpret_cast<std::uintptr_t>(address) % 4096 == 0);
    std::memset(address, i, block.size);
  }
  check_identities(arena);
}

TEST_CASE("slices of a sharded arena keep it alive") {
  Slice<HostAccessible> slice;
  {
    Shared<ShardsOnHost> arena{12 * MiB};
    slice = arena.allocate(1000);
  }
  std::memset(slice.address(), 7, slice.bytes());
}

TEST_CASE("every shard's observer is notified") {
  ObservedShards arena{1000};
  static_cast<void>(arena.allocate(300));
  static_cast<void>(arena.allocate(300));
  std::uint64_t allocations = 0;
  arena.with_observers([&](const Ledger& ledger) { allocations += ledger.allocations(); });
  CHECK(allocations == 2);
}

TEST_CASE("threads allocate, and free each other's blocks") {
  Offsets arena{64 * MiB};
  arena.reserve(4000);
  constexpr std::size_t threads = 4;
  constexpr std::size_t each = 500;
  std::vector<std::vector<Block>> made(threads);
  test::in_threads(threads, [&](std::size_t t) {
    for (std::size_t i = 0; i < each; ++i)
      made[t].push_back(arena.allocate(256 * (1 + t + i % 16)));
  });
  CHECK(arena.usage().live_blocks == threads * each);
  check_identities(arena);
  test::in_threads(threads, [&](std::size_t t) {
    for (const Block& block : made[(t + 1) % threads]) {
      arena.deallocate(block);
      if (block.size % 512 == 0) arena.deallocate(arena.allocate(block.size));
    }
  });
  CHECK(arena.usage().used == 0);
  check_identities(arena);
}

TEST_CASE("two threads that live at the same time have two shards, also after others have ended") {
  using Two = ShardedArena<Arena<BestFit, AlignTo<256>, Locked<>>, 2>;
  Two arena{4 * MiB};
  const std::uint32_t own = arena.shard_of(arena.allocate(256));
  for (int i = 0; i < 5; ++i) {
    std::uint32_t other = own;
    std::thread{[&] { other = arena.shard_of(arena.allocate(256)); }}.join();
    CHECK(other != own);
  }
}
