// SPDX-License-Identifier: MIT
#include <allot/arena.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/detail/hierarchical_bitmap.hpp>
#include <allot/strategy/fixed_blocks.hpp>

#include <doctest/doctest.h>

#include <random>
#include <set>
#include <string>

#include "../support/random.hpp"

namespace {

using namespace allot;

using Pages = Arena<FixedBlocks<4>, AlignTo<256>>;

template <class A>
concept HasFragmentation = requires(const A arena) {
  arena.fragmentation();
};
template <class A>
concept CanResize = requires(A arena, Block block) {
  arena.shrink(block, 1);
};

static_assert(!HasFragmentation<Pages> && HasFragmentation<Arena<BestFit>>);
static_assert(!CanResize<Pages> && CanResize<Arena<BestFit>>);

}  // namespace

TEST_CASE("fixed blocks grant the lowest block, whole, whatever part of it is asked for") {
  Pages arena{10 * 1024 + 700};
  CHECK(arena.capacity() == 10 * 1024);
  const Block first = arena.allocate(1);
  const Block second = arena.allocate(1024);
  CHECK(first.size == 1024);
  CHECK(second.offset == 1024);
  CHECK(arena.usage().padding == 1023);
  arena.deallocate(first);
  CHECK(arena.allocate(5).offset == 0);
  CHECK(arena.usage().free_blocks == 8);
}

TEST_CASE("a request above a fixed block's size is refused, naming both figures") {
  Pages arena{64 * 1024};
  CHECK(!arena.try_allocate(1025));
  try {
    static_cast<void>(arena.allocate(2000));
    FAIL("it was granted");
  } catch (const OutOfMemory& error) {
    CHECK(error.reason() == RefusalReason::too_large);
    CHECK(error.limit() == 1024);
    const std::string text = error.what();
    CHECK(text.find("2000 bytes") != std::string::npos);
    CHECK(text.find("1024 bytes") != std::string::npos);
  }
}

TEST_CASE("fixed blocks are aligned to the largest power of two in their size, and no more") {
  Arena<FixedBlocks<12>, AlignTo<1>> arena{120};
  CHECK(arena.try_allocate(1, 4));
  CHECK(!arena.try_allocate(1, 8));
  try {
    static_cast<void>(arena.allocate(1, 8));
    FAIL("it was granted");
  } catch (const OutOfMemory& error) {
    CHECK(error.reason() == RefusalReason::alignment);
  }
}

TEST_CASE("an arena of less than one fixed block is refused") {
  CHECK_THROWS_AS(Pages{1023}, std::invalid_argument);
  CHECK(Pages{1024}.capacity() == 1024);
}

TEST_CASE("a set of numbers finds its lowest member, whatever its bound") {
  INFO("ALLOT_SEED=" << test::first_seed());
  std::mt19937_64 random{test::first_seed()};
  for (const std::uint64_t bound : {1U, 63U, 64U, 65U, 4096U, 4097U, 300'000U}) {
    detail::HierarchicalBitmap set{bound};
    std::set<std::uint64_t> model;
    for (std::uint64_t i = 0; i < bound; ++i) model.insert(model.end(), i);
    for (int step = 0; step < 2000; ++step) {
      REQUIRE(set.is_empty() == model.empty());
      if (!model.empty()) REQUIRE(set.lowest() == *model.begin());
      const std::uint64_t number =
          random() % 2 == 0 ? set.is_empty() ? 0 : set.lowest() : random() % bound;
      REQUIRE(set.contains(number) == (model.count(number) == 1));
      if (model.erase(number) == 1) {
        set.erase(number);
      } else {
        model.insert(number);
        set.insert(number);
      }
    }
    CHECK(set.is_valid());
    set.raise(bound + bound / 3 + 1);
    for (std::uint64_t i = bound; i < bound + bound / 3 + 1; ++i) REQUIRE(set.contains(i));
    for (std::uint64_t i = 0; i < bound; ++i) REQUIRE(set.contains(i) == (model.count(i) == 1));
    CHECK(set.is_valid());
  }
}
