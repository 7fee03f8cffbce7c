// SPDX-License-Identifier: MIT
// A contributor's strategy: the suite needs only what the concept requires, and finds handles that are
// not unique.
#include "../support/minimal_strategy.hpp"
#include "laws.hpp"

using namespace allot;

namespace {

/// Its generations start again in every range, and after every reset.
class StartsAgain : public test::MinimalStrategy {
 public:
  explicit StartsAgain(std::uint64_t capacity) : MinimalStrategy{capacity, 0} {}

  void reset() { free_all(0); }
  template <class Visitor>
  void for_each_live(Visitor&&) const {}
};

static_assert(Resettable<StartsAgain>);

/// The same, with generations from `next_first_generation`.
class GoesOn : public test::MinimalStrategy {
 public:
  using MinimalStrategy::MinimalStrategy;

  void reset() { free_all(next_first_generation()); }
  template <class Visitor>
  void for_each_live(Visitor&&) const {}
};

}  // namespace

ALLOT_TEST_LAWS(Arena<test::MinimalStrategy, AlignTo<1>>, Arena<test::MinimalStrategy>,
                Arena<test::MinimalStrategy, AlignTo<256>, Locked<>, HostMemory>);

TEST_CASE("a strategy whose generations start again in every range takes another arena's block") {
  CHECK(!test::tells_arenas_apart<Arena<StartsAgain>>());
  CHECK(test::tells_arenas_apart<Arena<GoesOn>>());
}

TEST_CASE("a strategy whose generations start again with reset takes a block from before it") {
  CHECK(!test::tells_what_was_before_reset<Arena<StartsAgain>>());
  CHECK(test::tells_what_was_before_reset<Arena<GoesOn>>());
}
