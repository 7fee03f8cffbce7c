// SPDX-License-Identifier: MIT
#include <allot/arena.hpp>
#include <allot/memory/host_memory.hpp>
#include <allot/observer/ledger.hpp>
#include <allot/policy_set.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/buddy.hpp>
#include <allot/strategy/first_fit.hpp>
#include <allot/synchronization/locked.hpp>

#include <doctest/doctest.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

extern "C" allot::Block allot_test_null_allocate(allot::Arena<allot::BestFit>& arena,
                                                 std::uint64_t bytes);

namespace {

using namespace allot;

using Null = Arena<BestFit>;
using OnHost = Arena<BestFit, AlignTo<256>, Unsynchronized, HostMemory>;
using Observed = Arena<BestFit, AlignTo<256>, Unsynchronized, OffsetsOnly, Ledger>;

static_assert(sizeof(Arena<BestFit>) == sizeof(BestFit) + 16);
static_assert(sizeof(Arena<FirstFit>) == sizeof(FirstFit) + 16);
static_assert(sizeof(Arena<Buddy>) == sizeof(Buddy) + 16);
static_assert(!std::is_copy_constructible_v<Null> && !std::is_move_constructible_v<Null>);
static_assert(!std::is_copy_assignable_v<Null> && !std::is_move_assignable_v<Null>);

template <class A>
concept HasAddress = requires(const A arena, Block block) {
  arena.address(block);
};
template <class A>
concept HasObserver = requires(A arena) {
  arena.with_observer([](auto&) {});
};

static_assert(!HasAddress<Null> && HasAddress<OnHost>);
static_assert(!HasObserver<Null> && HasObserver<Observed>);

template <class S, class A, class L, class M, class O>
concept CanBeComposed = requires {
  typename Arena<S, A, L, M, O>;
};

struct Set {
  using Strategy = BestFit;
  using Alignment = AlignTo<64>;
  using Synchronization = Locked<>;
};
struct SetWithoutAlignment {
  using Strategy = BestFit;
  using Synchronization = Locked<>;
};
struct SetWithoutStrategy : Set {
  using Strategy = int;
};

static_assert(PolicySet<Set> && !PolicySet<SetWithoutAlignment> && !PolicySet<SetWithoutStrategy>);
static_assert(!PolicySet<int>);
static_assert(std::is_same_v<ArenaOf<Set>, Arena<BestFit, AlignTo<64>, Locked<>>>);
static_assert(std::is_same_v<ArenaOf<Set, HostMemory, Ledger>,
                             Arena<BestFit, AlignTo<64>, Locked<>, HostMemory, Ledger>>);
static_assert(std::is_same_v<decltype(Null::try_make(1)), std::unique_ptr<Null>>);
static_assert(std::is_constructible_v<OnHost, std::uint64_t, HostMemory>);

static_assert(CanBeComposed<BestFit, AlignTo<1>, Unsynchronized, OffsetsOnly, Unobserved>);
static_assert(!CanBeComposed<int, AlignTo<1>, Unsynchronized, OffsetsOnly, Unobserved>);
static_assert(!CanBeComposed<BestFit, int, Unsynchronized, OffsetsOnly, Unobserved>);
static_assert(!CanBeComposed<BestFit, AlignTo<1>, int, OffsetsOnly, Unobserved>);
static_assert(!CanBeComposed<BestFit, AlignTo<1>, Unsynchronized, int, Unobserved>);
static_assert(!CanBeComposed<BestFit, AlignTo<1>, Unsynchronized, OffsetsOnly, int>);

}  // namespace

TEST_CASE("a block of host memory has an address that can be written, aligned as asked") {
  OnHost arena{1 * MiB};
  const Block block = arena.allocate(1000, 4096);
  void* const address = arena.address(block);
  CHECK(reinterpret_cast<std::uintptr_t>(address) % 4096 == 0);
  std::memset(address, 7, 1000);
  arena.deallocate(block);
  CHECK_THROWS_AS(static_cast<void>(arena.address(block)), InvalidBlock);
}

TEST_CASE("an alignment above that of the memory's base is refused with that reason") {
  OnHost arena{16 * MiB};
  CHECK(!arena.try_allocate(100, 4 * MiB));
  try {
    static_cast<void>(arena.allocate(100, 4 * MiB));
    FAIL("it was granted");
  } catch (const OutOfMemory& error) {
    CHECK(error.reason() == RefusalReason::alignment);
  }
  CHECK(arena.try_allocate(100, 2 * MiB));
}

TEST_CASE("a free block that is large enough, but not once aligned, is refused for its alignment") {
  Arena<BestFit, AlignTo<1>> arena{4};
  const Block first = arena.allocate(1);
  static_cast<void>(first);
  try {
    static_cast<void>(arena.allocate(3, 2));
    FAIL("it was granted");
  } catch (const OutOfMemory& error) {
    CHECK(error.reason() == RefusalReason::alignment);
    CHECK(error.largest() == 3);
  }
}

TEST_CASE("an observer is notified of what was allocated, freed and refused") {
  Observed arena{1024};
  const Block block = arena.allocate({.bytes = 300, .name = "weights"});
  CHECK(!arena.try_allocate(1024));
  CHECK_THROWS_AS(static_cast<void>(arena.allocate(2048)), OutOfMemory);
  arena.deallocate(block);
  CHECK_THROWS_AS(arena.deallocate(block), InvalidBlock);
  const Ledger ledger = arena.with_observer([](const Ledger& l) { return l; });
  CHECK(ledger.allocations() == 1);
  CHECK(ledger.deallocations() == 1);
  CHECK(ledger.refusals() == 2);
  CHECK(ledger.allocated_bytes() == 512);
  CHECK(ledger.deallocated_bytes() == 512);
  CHECK(ledger.largest_request() == 300);
}

TEST_CASE("an arena that cannot be made is an empty pointer from try_make") {
  CHECK(Null::try_make(255) == nullptr);
  CHECK(Null::try_make(std::uint64_t{1} << 42) == nullptr);  // beyond what best fit takes
  CHECK(OnHost::try_make(1 * GiB) != nullptr);  // AddressSanitizer writes an eighth of it
  CHECK(Arena<WideBestFit, AlignTo<256>, Unsynchronized, HostMemory>::try_make(std::uint64_t{1}
                                                                               << 62) == nullptr);
  const auto arena = Observed::try_make(1024);
  REQUIRE(arena != nullptr);
  CHECK(arena->capacity() == 1024);
}

TEST_CASE("a try_ member does what the throwing one does, and returns whether it did") {
  OnHost arena{1 * MiB};
  const Block block = arena.allocate(1000);
  CHECK(arena.try_address(block) == arena.address(block));
  CHECK(arena.try_deallocate(block));
  const Usage usage = arena.usage();
  CHECK(!arena.try_deallocate(block));
  CHECK(arena.try_address(block) == nullptr);
  CHECK(arena.usage() == usage);
  CHECK(arena.try_reserve(1000));
  CHECK(!arena.try_reserve(~std::uint64_t{0}));
  Null offsets{1024};
  CHECK(!offsets.try_grow(512));
  CHECK(!offsets.try_grow(std::uint64_t{1} << 42));
  CHECK(offsets.try_grow(2048));
  CHECK(offsets.capacity() == 2048);
}

TEST_CASE("a request has one meaning in each of its spellings") {
  Null arena{64 * KiB};
  CHECK(arena.allocate(100).size == 256);
  CHECK(arena.allocate(100, 1).offset == 256);
  CHECK(arena.allocate(100, 4096).offset == 4096);
  CHECK(arena.allocate({.bytes = 100, .alignment = 4096}).offset == 8192);
  CHECK(arena.allocate({.bytes = 100}).offset == 512);
  CHECK_THROWS_WITH_AS(static_cast<void>(arena.allocate(100, 0)),
                       "an alignment of 0 bytes is not a power of two; use 1, 2, 4, ...",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(Null{255},
                       "a capacity of 255 bytes is less than one unit (256 bytes); give at least "
                       "one unit",
                       std::invalid_argument);
}

TEST_CASE("the peak stays when blocks are freed") {
  Null arena{1024};
  const Block block = arena.allocate(700);
  arena.deallocate(block);
  CHECK(arena.usage().peak_used == 768);
  CHECK(arena.usage().used == 0);
}

TEST_CASE("two threads share a locked arena") {
  Arena<BestFit, AlignTo<256>, Locked<>, OffsetsOnly, Ledger> arena{256 * 64};
  const auto churn = [&arena] {
    std::vector<Block> blocks;
    for (int i = 0; i < 2000; ++i) {
      if (const auto block = arena.try_allocate(static_cast<std::uint64_t>(1 + i % 700))) {
        blocks.push_back(*block);
      }
      if (blocks.size() > 8) {
        arena.deallocate(blocks.front());
        blocks.erase(blocks.begin());
      }
    }
    for (const Block& block : blocks) arena.deallocate(block);
  };
  std::thread other{churn};
  churn();
  other.join();
  CHECK(arena.validate());
  CHECK(arena.usage().used == 0);
  CHECK(arena.with_observer([](const Ledger& l) { return l.allocations() == l.deallocations(); }));
}

TEST_CASE("the capacity of a locked arena can be asked for while another thread lets it grow") {
  // It is the thread sanitizer that finds a race here.
  Arena<BestFit, AlignTo<256>, Locked<>> arena{1 * KiB};
  std::thread other{[&] {
    for (std::uint64_t capacity = 2 * KiB; capacity <= 10 * MiB; capacity += KiB)
      arena.grow(capacity);
  }};
  std::uint64_t last = 0;
  bool is_right = true;
  while (last != 10 * MiB) {
    const std::uint64_t now = arena.capacity();
    is_right = is_right && now >= last && now % KiB == 0;
    last = now;
  }
  other.join();
  CHECK(is_right);
}

TEST_CASE("messages carry the figures in readable units") {
  Null arena{1 * MiB};
  try {
    static_cast<void>(arena.allocate(3 * MiB / 2));
    FAIL("it was granted");
  } catch (const OutOfMemory& error) {
    const std::string text = error.what();
    CHECK(text.find("1.5 MiB") != std::string::npos);
    CHECK(text.find("1572864 bytes") != std::string::npos);
    CHECK(text.find("capacity 1 MiB") != std::string::npos);
  }
}

#if defined(__x86_64__) && defined(__linux__)
constexpr bool is_disassembled = true;
#else
constexpr bool is_disassembled = false;
#endif

TEST_CASE("allocating from an arena of null models takes no lock" *
          doctest::skip(!is_disassembled) *
          doctest::description("objdump of x86-64 Linux shows it")) {
  Null arena{1024};
  CHECK(allot_test_null_allocate(arena, 10).size == 256);

  std::FILE* const pipe = ::popen("objdump -d --no-show-raw-insn " ALLOT_NULL_OBJECT " 2>&1", "r");
  REQUIRE(pipe != nullptr);
  std::string text;
  char buffer[4096];
  while (const std::size_t count = std::fread(buffer, 1, sizeof buffer, pipe))
    text.append(buffer, count);
  REQUIRE(::pclose(pipe) == 0);
  CHECK(text.find("allot_test_null_allocate") != std::string::npos);
  CHECK(text.find("lock ") == std::string::npos);
  CHECK(text.find("pthread_mutex") == std::string::npos);
}
