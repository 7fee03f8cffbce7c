// SPDX-License-Identifier: MIT
#include <allot/arena.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/buddy.hpp>
#include <allot/strategy/first_fit.hpp>
#include <allot/strategy/good_fit.hpp>
#include <allot/strategy/linear.hpp>
#include <allot/strategy/wide.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace {

using namespace allot;

/// Bare offsets, and how often they were asked for.
struct Counted : OffsetsOnly {
  Region acquire(std::uint64_t bytes, std::uint64_t alignment) {
    ++acquired;
    return OffsetsOnly::acquire(bytes, alignment);
  }
  inline static int acquired = 0;
};
static_assert(Memory<Counted>);

}  // namespace

TEST_CASE_TEMPLATE("ranges of 2^32 - 2 units work, the longest that 32-bit keys allow", S, BestFit,
                   FirstFit, Buddy) {
  constexpr std::uint64_t capacity = 0xffff'fffe;
  static_assert(S::largest_capacity == capacity && largest_capacity_of<S> == capacity);
  S strategy{capacity};
  std::vector<Placement> live;
  const auto allocate = [&](std::uint64_t size, std::uint64_t alignment) {
    live.push_back(strategy.allocate(size, alignment).value());
    CHECK(live.back().offset % alignment == 0);
    CHECK(strategy.validate());
  };
  allocate(std::uint64_t{1} << 30, 1);
  allocate(5, std::uint64_t{1} << 29);
  while (strategy.largest_free() != 0) allocate(strategy.largest_free(), 1);
  CHECK(strategy.used() + (live[1].size - 5) >= capacity - 3);
  for (std::size_t i = 0; i < live.size(); i += 2)
    CHECK(strategy.deallocate(live[i].handle, live[i].offset));
  CHECK(strategy.validate());
  for (std::size_t i = 1; i < live.size(); i += 2)
    CHECK(strategy.deallocate(live[i].handle, live[i].offset));
  CHECK(strategy.validate());
  CHECK(strategy.used() == 0);
}

TEST_CASE("the wide form of a strategy is itself if its ranges have any length") {
  CHECK(std::is_same_v<WideOf<BestFit>, WideBestFit>);
  CHECK(std::is_same_v<WideOf<FirstFit>, WideFirstFit>);
  CHECK(std::is_same_v<WideOf<Buddy>, WideBuddy>);
  CHECK(std::is_same_v<WideOf<WideBestFit>, WideBestFit>);
  CHECK(std::is_same_v<WideOf<Linear>, Linear>);
  CHECK(largest_capacity_of<WideBestFit> == ~std::uint64_t{0});
  CHECK(largest_capacity_of<GoodFit> == ~std::uint64_t{0});
}

TEST_CASE_TEMPLATE(
    "an arena of more units than 32-bit keys count is refused with the wide type's name", S,
    BestFit, FirstFit, Buddy) {
  using Bytes = Arena<S, AlignTo<1>, Unsynchronized, Counted>;
  constexpr std::uint64_t most = 0xffff'fffe;
  const int acquired = Counted::acquired;
  for (const std::uint64_t bytes :
       {most + 1, most + 2, std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
    CHECK_THROWS_AS(Bytes{bytes}, std::length_error);
  }
  CHECK(Counted::acquired == acquired);
  try {
    Arena<S> arena{std::uint64_t{1} << 40};
    FAIL("it was made");
  } catch (const std::length_error& error) {
    const std::string text = error.what();
    CHECK(text.find(S::wide_name) != text.npos);
    CHECK(text.find("1099511627776 bytes") != text.npos);
    CHECK(text.find("4294967296 units of 256 bytes") != text.npos);
    CHECK(text.find("4294967294") != text.npos);
  }
  CHECK(Bytes{most}.capacity() == most);
  CHECK(Arena<S>{(std::uint64_t{1} << 40) - 512}.capacity() == (std::uint64_t{1} << 40) - 512);
  CHECK(Arena<WideOf<S>>{std::uint64_t{1} << 40}.capacity() == std::uint64_t{1} << 40);
}

TEST_CASE_TEMPLATE("an arena does not grow beyond what its keys count", S, BestFit, FirstFit,
                   Buddy) {
  Arena<S, AlignTo<1>> arena{1000};
  const Block block = arena.allocate(10);
  const Usage usage = arena.usage();
  CHECK_THROWS_AS(arena.grow(0xffff'ffff), std::length_error);
  CHECK(arena.usage() == usage);
  CHECK(arena.validate());
  arena.grow(0xffff'fffe);
  CHECK(arena.capacity() == 0xffff'fffe);
  CHECK(arena.validate());
  arena.deallocate(block);
}
