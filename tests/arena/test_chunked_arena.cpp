// SPDX-License-Identifier: MIT
// What only an arena of chunks promises; tests/laws has the rest.
#include <allot/chunked_arena.hpp>
#include <allot/memory/host_memory.hpp>
#include <allot/observer/ledger.hpp>
#include <allot/sharded_arena.hpp>
#include <allot/slice.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/buddy.hpp>
#include <allot/strategy/fixed_blocks.hpp>
#include <allot/synchronization/locked.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "support/in_threads.hpp"

namespace {

using namespace allot;

using Chunks = ChunkedArena<Arena<BestFit>>;
using ChunksOnHost = ChunkedArena<Arena<BestFit, AlignTo<256>, Locked<>, HostMemory>>;

struct Texture {
  std::string name;
};
using WithWords = ChunkedArena<Arena<BestFit, AlignTo<1>>, Texture>;

/// Offsets of which the test says how many regions there are.
struct CountedMemory : OffsetsOnly {
  static inline int live = 0;
  static inline int most = 1000;
  struct Region : OffsetsOnly::Region {
    Region() noexcept = default;
    explicit Region(int counted) noexcept : count{counted} { live += count; }
    Region(Region&& other) noexcept : count{std::exchange(other.count, 0)} {}
    Region& operator=(Region&& other) noexcept {
      std::swap(count, other.count);
      return *this;
    }
    ~Region() { live -= count; }
    int count = 0;
  };
  [[nodiscard]] static Region acquire(std::uint64_t bytes, std::uint64_t alignment) {
    if (live == most) throw OutOfMemory{RefusalReason::source, bytes, alignment, 0, 0, 0};
    return Region{1};
  }
};
using Counted = ChunkedArena<Arena<BestFit, AlignTo<1>, Unsynchronized, CountedMemory>>;

template <class A>
concept HasWords = requires(A arena, Block block) {
  arena.word(block);
};
template <class A>
concept HasAddresses = requires(const A arena, Block block) {
  arena.address(block);
};
static_assert(HasWords<WithWords> && !HasWords<Chunks>);
static_assert(HasAddresses<ChunksOnHost> && !HasAddresses<Chunks>);

}  // namespace

TEST_CASE("an arena of chunks grows by a chunk, and releases what is empty but the first") {
  Chunks arena{1 * MiB, 8 * MiB};
  CHECK(arena.capacity() == 1 * MiB);
  CHECK(arena.chunk_count() == 1);
  std::vector<Block> blocks;
  for (int i = 0; i < 12; ++i) blocks.push_back(arena.allocate(256 * KiB));
  CHECK(arena.chunk_count() == 3);
  CHECK(arena.capacity() == 3 * MiB);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    CHECK(arena.chunk_of(blocks[i]) == i / 4);
    CHECK(blocks[i].offset == i / 4 * arena.span() + i % 4 * 256 * KiB);
    CHECK(arena.owns(blocks[i]));
  }
  for (std::size_t i = 4; i < 8; ++i) arena.deallocate(blocks[i]);  // the chunk in the middle
  CHECK(arena.chunk_count() == 2);
  CHECK(arena.usage().used == 2 * MiB);
  const Block again = arena.allocate(1);
  CHECK(arena.chunk_of(again) == 1);  // its number is used again
  CHECK(!arena.owns(blocks[4]));      // but not its blocks
  CHECK_THROWS_AS(arena.deallocate(blocks[4]), InvalidBlock);
  arena.deallocate(again);
  for (std::size_t i = 8; i < 12; ++i) arena.deallocate(blocks[i]);
  for (std::size_t i = 0; i < 4; ++i) arena.deallocate(blocks[i]);
  CHECK(arena.chunk_count() == 1);
  CHECK(arena.capacity() == 1 * MiB);
  CHECK(arena.usage().peak_used == 3 * MiB);
  CHECK(arena.validate());
}

TEST_CASE("the budget bounds all chunks, and the last may be smaller") {
  Chunks arena{1 * MiB, 2 * MiB + 512 * KiB};
  static_cast<void>(arena.allocate(1 * MiB));
  static_cast<void>(arena.allocate(1 * MiB));
  CHECK(!arena.try_allocate(1 * MiB));
  CHECK(arena.chunk_count() == 2);
  const Block last = arena.allocate(300 * KiB);
  CHECK(arena.capacity() == 2 * MiB + 512 * KiB);
  CHECK(arena.usage().free == 212 * KiB);
  try {
    static_cast<void>(arena.allocate(300 * KiB));
    FAIL("it was granted");
  } catch (const OutOfMemory& error) {
    CHECK(error.reason() == RefusalReason::too_large);
    CHECK(error.largest() == 212 * KiB);
    CHECK(error.capacity() == 2 * MiB + 512 * KiB);
  }
  try {
    static_cast<void>(arena.allocate(3 * MiB));
    FAIL("it was granted");
  } catch (const OutOfMemory& error) {
    CHECK(error.limit() == 2 * MiB + 512 * KiB);
  }
  arena.deallocate(last);
  CHECK(arena.capacity() == 2 * MiB);
  CHECK_THROWS_WITH_AS((Chunks{2 * MiB, 1 * MiB}),
                       "a budget of 1048576 bytes is less than one chunk of 2097152 bytes; give at "
                       "least one chunk: the first stays",
                       std::invalid_argument);
  CHECK_THROWS_AS(Chunks{100}, std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(arena.try_allocate(0)), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(arena.try_allocate(1, 3)), std::invalid_argument);
}

TEST_CASE("a request above a size gets a chunk of its own, if the budget has room for one") {
  Chunks arena{ChunkedOptions{
      .chunk_bytes = 1 * MiB, .budget_bytes = 3 * MiB, .own_chunk_above = 512 * KiB}};
  const Block own = arena.allocate(600 * KiB);
  CHECK(arena.chunk_of(own) == 1);
  CHECK(arena.capacity() == 1 * MiB + 600 * KiB);
  const Block shared = arena.allocate(512 * KiB);
  CHECK(arena.chunk_of(shared) == 0);
  const Block larger = arena.allocate(1 * MiB + 256);  // larger than a chunk
  CHECK(arena.chunk_of(larger) == 2);
  CHECK(!arena.try_allocate(600 * KiB));
  arena.deallocate(shared);
  CHECK(arena.chunk_of(arena.allocate(600 * KiB)) == 0);  // there is no room for its own
  arena.deallocate(own);
  CHECK(arena.chunk_count() == 2);
  // Without that size, only what is larger than a chunk.
  Chunks plain{1 * MiB, 8 * MiB};
  CHECK(plain.chunk_of(plain.allocate(5 * MiB)) == 1);
  CHECK(plain.capacity() == 6 * MiB);
  CHECK(plain.validate());
}

TEST_CASE("a memory that refuses a chunk is an error of that source, and nothing has changed") {
  CountedMemory::most = 2;
  {
    Counted arena{1000};
    CHECK(CountedMemory::live == 1);
    const Block first = arena.allocate(900);
    const Block second = arena.allocate(900);
    CHECK(CountedMemory::live == 2);
    const Usage usage = arena.usage();
    try {
      static_cast<void>(arena.allocate(900));
      FAIL("it was granted");
    } catch (const OutOfMemory& error) {
      CHECK(error.reason() == RefusalReason::source);
    }
    CHECK(!arena.try_allocate(900));
    CHECK(arena.usage() == usage);
    CHECK(arena.try_allocate(100));
    arena.deallocate(second);
    CHECK(CountedMemory::live == 1);
    arena.deallocate(first);
    CHECK(arena.validate());
  }
  CHECK(CountedMemory::live == 0);
  CountedMemory::most = 1000;
}

TEST_CASE("an alignment that the memory does not have leaves no chunk behind") {
  ChunksOnHost arena{2 * MiB};
  CHECK(!arena.try_allocate(256, 4 * MiB));
  CHECK_THROWS_AS(static_cast<void>(arena.allocate(256, 4 * MiB)), OutOfMemory);
  CHECK(arena.chunk_count() == 1);
  CHECK(arena.validate());
}

TEST_CASE("each live block has a word of the caller's, new with each block") {
  WithWords arena{1000, 4000};
  std::vector<Block> blocks;
  for (int i = 0; i < 30; ++i) {
    blocks.push_back(arena.allocate(100));
    CHECK(arena.word(blocks.back()).name.empty());
    arena.word(blocks.back()).name = "texture " + std::to_string(i);
  }
  CHECK(arena.chunk_count() == 3);
  for (std::size_t i = 0; i < blocks.size(); ++i)
    CHECK(arena.word(blocks[i]).name == "texture " + std::to_string(i));
  arena.deallocate(blocks[3]);
  CHECK_THROWS_AS(static_cast<void>(arena.word(blocks[3])), InvalidBlock);
  const Block again = arena.allocate(50);
  CHECK(again.offset == blocks[3].offset);
  CHECK(arena.word(again).name.empty());
  const Block shrunk = arena.shrink(blocks[4], 10);
  CHECK(arena.word(shrunk).name == "texture 4");  // it keeps its handle
}

TEST_CASE("without words an arena of chunks has none to pay for") {
  static_assert(sizeof(ChunkedArena<Arena<BestFit>, NoWord>) ==
                sizeof(ChunkedArena<Arena<BestFit>, Texture>));
  struct AsItWouldBe {
    ChunkedOptions options;
    std::uint64_t span;
    std::vector<void*> chunks;
    std::uint64_t counts[3];
  };
  static_assert(sizeof(Chunks) == sizeof(AsItWouldBe));
}

TEST_CASE("blocks in host memory have addresses, and slices keep their arena alive") {
  std::vector<Slice<HostAccessible>> slices;
  {
    Shared<ChunksOnHost> arena{2 * MiB, 16 * MiB};
    for (int i = 0; i < 6; ++i) slices.push_back(arena.allocate(1 * MiB));
    CHECK(arena.capacity() == 6 * MiB);
    CHECK(arena.usage().live_blocks == 6);
  }
  for (std::size_t i = 0; i < slices.size(); ++i)
    std::memset(slices[i].address(), static_cast<int>(i), slices[i].bytes());
  std::thread{[&] { slices.clear(); }}.join();
}

TEST_CASE("threads allocate in chunks, and free each other's blocks") {
  ChunksOnHost arena{2 * MiB, 64 * MiB};
  constexpr std::size_t threads = 4;
  std::vector<std::vector<Block>> made(threads);
  test::in_threads(threads, [&](std::size_t t) {
    for (std::size_t i = 0; i < 200; ++i) made[t].push_back(arena.allocate(256 * (1 + i % 64)));
  });
  CHECK(arena.usage().live_blocks == threads * 200);
  test::in_threads(threads, [&](std::size_t t) {
    for (const Block& block : made[(t + 1) % threads]) arena.deallocate(block);
  });
  CHECK(arena.usage().used == 0);
  CHECK(arena.chunk_count() == 1);
  CHECK(arena.validate());
}

TEST_CASE("chunks of fixed blocks hold whole blocks") {
  ChunkedArena<Arena<FixedBlocks<12>, AlignTo<256>>> arena{10 * 12 * 256 + 700, 25 * 12 * 256};
  std::uint64_t blocks = 0;
  while (arena.try_allocate(1)) ++blocks;
  CHECK(blocks == 25);
  CHECK(arena.chunk_count() == 3);
  CHECK(arena.validate());
}

TEST_CASE("every chunk's observer is notified, and ends with it") {
  ChunkedArena<Arena<BestFit, AlignTo<1>, Unsynchronized, OffsetsOnly, Ledger>> arena{100};
  std::vector<Block> blocks;
  for (int i = 0; i < 3; ++i) blocks.push_back(arena.allocate(80));
  std::uint64_t allocations = 0;
  arena.with_observers([&](const Ledger& ledger) { allocations += ledger.allocations(); });
  CHECK(allocations == 3);
  arena.deallocate(blocks[1]);
  allocations = 0;
  arena.with_observers([&](const Ledger& ledger) { allocations += ledger.allocations(); });
  CHECK(allocations == 2);
}

TEST_CASE("a chunk of its own is as large as the strategy rounds its request") {
  ChunkedArena<Arena<Buddy>> arena{1 * MiB, 64 * MiB};
  CHECK(arena.allocate(1536 * KiB).size == 2 * MiB);
  CHECK(arena.validate());
}

TEST_CASE("an arena, shards and chunks name alike what a refused request was rounded up to") {
  const auto refusal_of = [](auto& arena, const Request& request) {
    try {
      static_cast<void>(arena.allocate(request));
    } catch (const OutOfMemory& error) {
      return error;
    }
    FAIL("granted");
    return OutOfMemory{RefusalReason::source, 0, 0, 0, 0, 0};
  };
  using Buddies = Arena<Buddy, AlignTo<256>, Locked<>, HostMemory>;
  Buddies one{768 * KiB};  // 512 and 256 KiB
  ShardedArena<Buddies, 2> shards{1536 * KiB};
  ChunkedArena<Buddies> chunks{768 * KiB, 768 * KiB};
  const auto all_say = [&](const Request& request, std::uint64_t rounded) {
    CAPTURE(request.bytes);
    CHECK(refusal_of(one, request).rounded() == rounded);
    CHECK(refusal_of(shards, request).rounded() == rounded);
    CHECK(refusal_of(chunks, request).rounded() == rounded);
  };
  all_say({.bytes = 600 * KiB}, 1 * MiB);  // as many are free
  all_say({.bytes = 800 * KiB}, 0);        // in any case too many
  all_say({.bytes = 100 * KiB, .alignment = std::uint64_t{1} << 50},
          0);  // refused for its alignment
  all_say({.bytes = std::uint64_t{3} << 62}, 0);

  ChunkedArena<Arena<Buddy>> grows{256 * KiB, 1 * MiB};  // the budget has 768 KiB for another chunk
  CHECK(refusal_of(grows, {.bytes = 600 * KiB}).rounded() == 1 * MiB);
  ChunkedArena<Arena<BestFit>> exact{256 * KiB, 300 * KiB};
  CHECK(refusal_of(exact, {.bytes = 280'001}).rounded() == 0);  // whole units are no reason
}

TEST_CASE("offsets of chunks do not wrap, whatever the budget") {
  ChunkedArena<Arena<BestFit>> arena{64 * KiB, std::uint64_t{1} << 63};
  std::vector<Block> blocks;
  while (const auto block = arena.try_allocate(64 * KiB)) blocks.push_back(*block);
  CHECK(blocks.size() == 2);
  for (const Block& block : blocks) {
    CHECK(arena.owns(block));
    arena.deallocate(block);
  }
  CHECK(arena.usage().used == 0);
}

TEST_CASE("what is longer than the strategy's range is refused, not an error of length") {
  ChunkedArena<Arena<BestFit, AlignTo<1>>> arena{1 * GiB, 16 * GiB};
  CHECK(!arena.try_allocate(5 * GiB));
}

TEST_CASE("an alignment above the span is kept or refused") {
  ChunkedArena<Arena<BestFit>> arena{64 * KiB, 1 * MiB};
  static_cast<void>(arena.allocate(64 * KiB));
  const auto block = arena.try_allocate(256, 2 * MiB);
  CHECK((!block || block->offset % (2 * MiB) == 0));
}
