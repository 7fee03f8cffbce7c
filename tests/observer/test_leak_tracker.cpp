// SPDX-License-Identifier: MIT
#include <allot/arena.hpp>
#include <allot/observer/leak_tracker.hpp>
#include <allot/observer/ledger.hpp>
#include <allot/observer/observers.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/buddy.hpp>
#include <allot/strategy/fixed_blocks.hpp>
#include <allot/strategy/linear.hpp>

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "support/manual_clock.hpp"

namespace {

using namespace allot;
using namespace std::chrono_literals;
using test::ManualClock;

using Tracker = LeakTrackerOf<ManualClock>;
template <class O, class S = BestFit>
using Watched = Arena<S, AlignTo<256>, Unsynchronized, OffsetsOnly, O>;

/// Keeps what was reported.
struct Reported {
  std::vector<std::string> texts;

  [[nodiscard]] LeakReport report() {
    return [this](std::span<const Leak> leaks) {
      for (const Leak& leak : leaks) texts.push_back(to_text(leak));
    };
  }
};

static_assert(Observer<Tracker> && Observer<Observers<Ledger, LeakTracker>>);
static_assert(detail::reports_leaks<LeakTracker> &&
              detail::reports_leaks<Observers<Ledger, LeakTracker>> &&
              !detail::reports_leaks<Ledger> && !detail::reports_leaks<Observers<Ledger>>);

}  // namespace

TEST_CASE("what is live when the arena goes is reported, with name, size, age and call site") {
  Reported reported;
  ManualClock::time = 0ns;
  {
    Watched<Tracker> arena{1 * MiB, {}, Tracker{reported.report()}};
    const Block freed = arena.allocate({.bytes = 100, .name = "freed"});
    const SourceLocation here = SourceLocation::current();
    {
      const CallSite site{here};
      static_cast<void>(arena.allocate({.bytes = 3000, .name = "kept"}));
    }
    static_cast<void>(arena.allocate(5));
    arena.deallocate(freed);
    ManualClock::time = 1'250ms;
    CHECK(reported.texts.empty());
  }
  REQUIRE(reported.texts.size() == 2);
  CHECK(reported.texts[0].starts_with("\"kept\": 2.92 KiB (3000 bytes), 1.25 s old, made at "));
  CHECK(reported.texts[0].find("test_leak_tracker.cpp:") != std::string::npos);
  CHECK(reported.texts[1] == "\"\": 5 B (5 bytes), 1.25 s old");
}

TEST_CASE("nothing is reported if everything was freed") {
  Reported reported;
  {
    Watched<Tracker> arena{1 * MiB, {}, Tracker{reported.report()}};
    std::vector<Block> blocks;
    for (std::uint64_t i = 1; i < 100; ++i) blocks.push_back(arena.allocate(i * 10));
    CHECK(arena.with_observer([](const Tracker& tracker) { return tracker.leaks().size(); }) == 99);
    arena.reset();
    CHECK(arena.with_observer([](const Tracker& tracker) { return tracker.live_blocks(); }) == 0);
  }
  CHECK(reported.texts.empty());
}

TEST_CASE("a block resized in place keeps its name, age and call site") {
  ManualClock::time = 0ns;
  Reported reported;
  Watched<Tracker> arena{1 * MiB, {}, Tracker{reported.report()}};
  Block block = arena.allocate({.bytes = 100, .name = "grows"});
  ManualClock::time = 2s;
  const auto expanded = arena.try_expand(block, 9000);
  REQUIRE(expanded);
  block = arena.shrink(*expanded, 5000);
  arena.with_observer([](const Tracker& tracker) {
    const std::vector<Leak> leaks = tracker.leaks();
    REQUIRE(leaks.size() == 1);
    CHECK(leaks[0].name == "grows");
    CHECK(leaks[0].bytes == 5000);
    CHECK(leaks[0].age == 2s);
  });
  arena.deallocate(block);
  CHECK(arena.with_observer([](const Tracker& tracker) { return tracker.leaks().empty(); }));
}

TEST_CASE("a record that is used again is another block") {
  ManualClock::time = 0ns;
  Reported reported;
  Watched<Tracker> arena{1 * MiB, {}, Tracker{reported.report()}};
  arena.deallocate(arena.allocate({.bytes = 100, .name = "first"}));
  ManualClock::time = 1s;
  const Block block = arena.allocate({.bytes = 100, .name = "second"});
  arena.with_observer([](const Tracker& tracker) {
    const std::vector<Leak> leaks = tracker.leaks();
    REQUIRE(leaks.size() == 1);
    CHECK(leaks[0].name == "second");
    CHECK(leaks[0].age == 0s);
  });
  arena.deallocate(block);
}

TEST_CASE_TEMPLATE("after a reset or a release, blocks are others", S, BestFit, Buddy, Linear,
                   FixedBlocks<256>) {
  Reported reported;
  Watched<Tracker, S> arena{1 * MiB, {}, Tracker{reported.report()}};
  const auto name_of_only = [&] {
    return arena.with_observer([](const Tracker& tracker) {
      const std::vector<Leak> leaks = tracker.leaks();
      REQUIRE(leaks.size() == 1);
      return std::string{leaks[0].name};
    });
  };
  for (int i = 0; i < 3; ++i) {
    const std::string name = "round " + std::to_string(i);
    static_cast<void>(arena.allocate({.bytes = 100, .name = name}));
    CHECK(name_of_only() == name);
    arena.reset();
    const Block again = arena.allocate({.bytes = 100, .name = "again"});
    CHECK(name_of_only() == "again");
    if constexpr (requires { arena.mark(); }) {
      arena.deallocate(again);
      const auto mark = arena.mark();
      static_cast<void>(arena.allocate({.bytes = 100, .name = name}));
      CHECK(name_of_only() == name);
      arena.release_to(mark);
    } else {
      arena.deallocate(again);
    }
  }
  CHECK(reported.texts.empty());
}

TEST_CASE("it works among other observers, and over any strategy") {
  Reported reported;
  {
    Watched<Observers<Ledger, Tracker>, Linear> arena{
        1 * MiB, {}, Observers<Ledger, Tracker>{Ledger{}, Tracker{reported.report()}}};
    static_cast<void>(arena.allocate({.bytes = 100, .name = "one"}));
    const auto mark = arena.mark();
    static_cast<void>(arena.allocate({.bytes = 100, .name = "two"}));
    arena.release_to(mark);
    arena.with_observer([](const Observers<Ledger, Tracker>& both) {
      CHECK(both.get<Ledger>().allocations() == 2);
      CHECK(both.get<Tracker>().live_blocks() == 1);
      const Leak leak{"other", 1, 0s, std::nullopt};
      detail::report_leaks(both, {&leak, 1});
    });
  }
  REQUIRE(reported.texts.size() == 2);
  CHECK(reported.texts[0].starts_with("\"other\""));
  CHECK(reported.texts[1].starts_with("\"one\""));
}

TEST_CASE("the innermost call site of a thread counts, and ends with its scope") {
  CHECK(!CallSite::current());
  const SourceLocation outer = SourceLocation::current();
  const CallSite outer_site{outer};
  {
    const CallSite inner_site{SourceLocation::current()};
    CHECK(CallSite::current()->line() == outer.line() + 3);
  }
  CHECK(CallSite::current()->line() == outer.line());
}
