// SPDX-License-Identifier: MIT
#include <allot/arena.hpp>
#include <allot/observer/ledger.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/linear.hpp>

#include <doctest/doctest.h>

#include <vector>

namespace {

using namespace allot;

using Stack = Arena<Linear, AlignTo<1>>;
using ObservedStack = Arena<Linear, AlignTo<1>, Unsynchronized, OffsetsOnly, Ledger>;

template <class A>
concept HasMarks = requires(A arena) {
  arena.release_to(arena.mark());
};
template <class A>
concept HasUpperEnd = requires(A arena) {
  arena.allocate_upper(1);
  arena.try_allocate_upper(1);
};

static_assert(HasMarks<Stack> && HasUpperEnd<Stack>);
static_assert(!HasMarks<Arena<BestFit>> && !HasUpperEnd<Arena<BestFit>>);

}  // namespace

TEST_CASE("linear fills from both ends, and refuses if they would meet") {
  Stack arena{100};
  CHECK(arena.allocate(10).offset == 0);
  CHECK(arena.allocate_upper(30).offset == 70);
  CHECK(arena.allocate({.bytes = 8, .alignment = 16}).offset == 16);
  CHECK(arena.allocate_upper({.bytes = 20, .alignment = 8}).offset == 48);
  CHECK(arena.usage().largest_free == 24);
  CHECK(!arena.try_allocate(25));
  CHECK(!arena.try_allocate_upper(25));
  CHECK_THROWS_AS(static_cast<void>(arena.allocate_upper(25)), OutOfMemory);
  CHECK(arena.allocate(24).offset == 24);
  CHECK(arena.usage().largest_free == 0);
  CHECK(arena.usage().free == 6 + 2);  // in front of 16, and behind 68
  CHECK(arena.validate());
}

TEST_CASE("what linear frees is used again when all above it is free") {
  Stack arena{100};
  const Block first = arena.allocate(10);
  const Block second = arena.allocate(10);
  const Block third = arena.allocate(10);
  arena.deallocate(first);
  arena.deallocate(second);
  CHECK(arena.usage().free == 90);
  CHECK(arena.usage().free_blocks == 2);
  CHECK(arena.usage().largest_free == 70);
  CHECK(!arena.try_allocate(71));
  arena.deallocate(third);
  CHECK(arena.usage().largest_free == 100);
}

TEST_CASE("releasing to a mark frees what was made since, at both ends, and nothing older") {
  ObservedStack arena{1000};
  const Block low = arena.allocate(10);
  const Block high = arena.allocate_upper(10);
  const auto mark = arena.mark();
  std::vector<Block> newer;
  for (int i = 0; i < 5; ++i) {
    newer.push_back(arena.allocate(7));
    newer.push_back(arena.allocate_upper(9));
  }
  arena.deallocate(newer[4]);
  arena.release_to(mark);
  CHECK(arena.owns(low));
  CHECK(arena.owns(high));
  for (const Block& block : newer) CHECK(!arena.owns(block));
  CHECK(arena.usage().used == 20);
  CHECK(arena.usage().requested == 20);
  CHECK(arena.usage().live_blocks == 2);
  CHECK(arena.with_observer([](const Ledger& l) { return l.deallocations(); }) == 10);
  arena.release_to(mark);
  CHECK(arena.usage().live_blocks == 2);
  CHECK(arena.validate());
}

TEST_CASE("a block across a mark that its stack was below stays") {
  Stack arena{100};
  const Block first = arena.allocate(20);
  const auto mark = arena.mark();
  arena.deallocate(first);
  const Block across = arena.allocate(30);
  const Block above = arena.allocate(5);
  arena.release_to(mark);
  CHECK(arena.owns(across));
  CHECK(!arena.owns(above));
}

TEST_CASE("a mark of another arena is recognized and changes nothing") {
  Stack arena{100};
  Stack other{100};
  const auto mark = other.mark();
  const Block block = arena.allocate(10);
  CHECK_THROWS_AS(arena.release_to(mark), std::invalid_argument);
  CHECK(arena.owns(block));
}

TEST_CASE("an observer is notified of every block that a reset frees") {
  ObservedStack arena{1000};
  for (int i = 0; i < 4; ++i) static_cast<void>(arena.allocate(10));
  arena.reset();
  const Ledger ledger = arena.with_observer([](const Ledger& l) { return l; });
  CHECK(ledger.deallocations() == 4);
  CHECK(ledger.deallocated_bytes() == ledger.allocated_bytes());
}

TEST_CASE("an observer is notified of a resize as one block freed and one made") {
  ObservedStack arena{1000};
  const Block block = arena.allocate(10);
  const auto more = arena.try_expand(block, 50);
  REQUIRE(more);
  static_cast<void>(arena.shrink(*more, 20));
  const Ledger ledger = arena.with_observer([](const Ledger& l) { return l; });
  CHECK(ledger.allocated_bytes() - ledger.deallocated_bytes() == 20);
  CHECK(arena.usage().requested == 20);
  CHECK(arena.usage().peak_used == 50);
}

TEST_CASE("expanding to less than a block was asked for keeps what was asked for") {
  Stack arena{100};
  const Block block = arena.allocate(10);
  const auto same = arena.try_expand(block, 5);
  REQUIRE(same);
  CHECK(*same == block);
  CHECK(arena.usage().requested == 10);
}
