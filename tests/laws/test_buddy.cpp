// SPDX-License-Identifier: MIT
#include <allot/strategy/buddy.hpp>

#include "laws.hpp"

using namespace allot;

ALLOT_TEST_LAWS(
    Arena<Buddy, AlignTo<1>>, Arena<Buddy, AlignTo<256>>, Arena<Buddy, AlignTo<4096>>,
    Arena<Buddy, AlignTo<256>, Locked<std::mutex>>,
    Arena<Buddy, AlignTo<256>, Unsynchronized, HostMemory>,
    Arena<Buddy, AlignTo<256>, Unsynchronized, OffsetsOnly, Ledger>,
    Arena<Buddy, AlignTo<256>, Unsynchronized, OffsetsOnly, Observers<Ledger, Unobserved, Ledger>>,
    Arena<WideBuddy, AlignTo<1>>, Arena<WideBuddy, AlignTo<256>>);

TEST_CASE("buddy places every block exactly where its naive model does") {
  test::check_against_model<Buddy, test::NaiveBuddy>();
}

TEST_CASE("wide buddy places every block exactly where its naive model does") {
  test::check_against_model<WideBuddy, test::NaiveBuddy>();
}

TEST_CASE("bookkeeping of buddy is at most 56 bytes a used block, 80 a free one, and 64 KiB") {
  test::check_bookkeeping<Buddy>(56);
}

TEST_CASE("bookkeeping of wide buddy is at most 67 bytes a used block, 91 a free one, and 64 KiB") {
  test::check_bookkeeping<WideBuddy>(67);
}

TEST_CASE("reset of buddy calls no system allocator, however many blocks there are") {
  for (std::uint64_t blocks = 1; blocks <= 600; ++blocks) {
    Arena<Buddy, AlignTo<1>> arena{4095};  // its free blocks are twelve
    for (std::uint64_t i = 0; i < blocks; ++i) static_cast<void>(arena.allocate(1));
    const std::uint64_t before = test::system_allocator_calls();
    arena.reset();
    REQUIRE(test::system_allocator_calls() == before);
    REQUIRE(arena.validate());
  }
}
