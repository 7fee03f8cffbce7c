// SPDX-License-Identifier: MIT
#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/pool/workspace/workspace.hpp>
#include <allot/slice.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/synchronization/locked.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/patterns.hpp"
#include "support/random.hpp"

namespace {

using namespace allot;

constexpr WorkspaceOptions small{.minimum_bytes = 4 * KiB};

/// Host memory of which the test says how much there is.
class LimitedMemory : public HostMemory {
 public:
  static inline std::uint64_t largest = ~std::uint64_t{0};
  static inline int acquired = 0;

  [[nodiscard]] Region acquire(std::uint64_t bytes, std::uint64_t alignment) {
    if (bytes > largest)
      throw OutOfMemory{RefusalReason::source, bytes, alignment, largest, 0, largest};
    ++acquired;
    return HostMemory::acquire(bytes, alignment);
  }
};

class LimitedDevice : public HostDevice {
 public:
  using memory_type = LimitedMemory;
  LimitedDevice() noexcept : HostDevice{HostMemory::Options{}} {}
  [[nodiscard]] static LimitedMemory memory() noexcept { return {}; }
};
static_assert(Device<LimitedDevice>);

}  // namespace

TEST_CASE_TEMPLATE("a workspace grows, then keeps its addresses and calls no device", D, HostDevice,
                   StagedHostDevice) {
  Workspace<D> workspace{D{}, small};
  CHECK(workspace.capacity() == 0);
  const auto layer = [&] {
    std::vector<void*> addresses;
    auto outer = workspace.scope();
    addresses.push_back(outer.allocate(3000).address());
    {
      auto inner = workspace.scope();
      addresses.push_back(inner.allocate(5000, 4096).address());
      addresses.push_back(inner.allocate(10'000).address());
    }
    auto output = workspace.scope(End::upper);
    addresses.push_back(output.allocate(7000).address());
    addresses.push_back(outer.allocate(1).address());
    return addresses;
  };
  static_cast<void>(layer());
  CHECK(workspace.grown() > 1);
  const auto settled = layer();
  const std::uint64_t grown = workspace.grown();
  const std::uint64_t capacity = workspace.capacity();
  CHECK(workspace.high_water() >= 18'000);
  for (int i = 0; i < 100; ++i) REQUIRE(layer() == settled);
  CHECK(workspace.grown() == grown);
  CHECK(workspace.capacity() == capacity);
  CHECK(workspace.used() == 0);
}

TEST_CASE("a workspace begins with the slice that it is given, and asks the device for more only") {
  Shared<Arena<BestFit, AlignTo<256>, Locked<>, LimitedMemory>> arena{16 * KiB};
  auto slice = arena.allocate(4 * KiB + 100);
  void* const begin = slice.address();
  CHECK_THROWS_WITH_AS((Workspace<LimitedDevice>{LimitedDevice{}, slice.part(8, 4096)}),
                       doctest::Contains("cannot begin with a slice of 4096 bytes"),
                       std::invalid_argument);
  CHECK_THROWS_AS((Workspace<LimitedDevice>{LimitedDevice{}, slice.part(0, 255)}),
                  std::invalid_argument);
  const int acquired = LimitedMemory::acquired;
  Workspace<LimitedDevice> workspace{LimitedDevice{}, std::move(slice), small};
  CHECK(workspace.capacity() == 4 * KiB);
  for (int i = 0; i < 2; ++i) {
    auto scope = workspace.scope();
    CHECK(scope.allocate(4 * KiB).address() == begin);
  }
  CHECK(workspace.high_water() == 4 * KiB);
  CHECK(LimitedMemory::acquired == acquired);
  {
    auto scope = workspace.scope();
    const auto first = scope.allocate(256);
    CHECK(first.address() == begin);
    std::memset(scope.allocate(8 * KiB).address(), 1, 8 * KiB);
  }
  CHECK(LimitedMemory::acquired == acquired + 1);
  CHECK(arena.usage().used != 0);
  { auto merges = workspace.scope().allocate(12 * KiB); }
  workspace.collect();
  CHECK(arena.usage().used == 0);  // one larger piece has taken its place
}

TEST_CASE("what does not fit is added, and what there is stays where it is, and alive") {
  Workspace<HostDevice> workspace{HostDevice{}, small};
  auto scope = workspace.scope();
  std::vector<Slice<HostAccessible>> slices;
  for (std::uint64_t i = 1; i < 40; ++i) {
    slices.push_back(scope.allocate(1000 * i));
    std::memset(slices.back().address(), static_cast<int>(i), 1000 * i);
  }
  for (std::size_t i = 0; i < slices.size(); ++i) {
    REQUIRE(test::all_are<std::byte>(slices[i].span(), std::byte(i + 1)));
  }
  CHECK(workspace.grown() < 15);
}

TEST_CASE("the two ends are stacks of their own: a step reads one and writes the other") {
  Workspace<HostDevice> workspace{HostDevice{}, {.initial_bytes = 64 * KiB}};
  auto even = std::optional{workspace.scope(End::lower)};
  static_cast<void>(even->allocate(20'000));
  auto odd = std::optional{workspace.scope(End::upper)};
  for (int step = 0; step < 10; ++step) {
    auto& done = step % 2 == 0 ? odd : even;
    done.reset();
    done.emplace(workspace.scope(step % 2 == 0 ? End::upper : End::lower));
    static_cast<void>(done->allocate(20'000));
    CHECK(workspace.used() == 2 * 20'224);
  }
  CHECK(workspace.grown() == 1);
}

TEST_CASE("scopes may end in any order: memory is used again when the inner ones have ended") {
  Workspace<HostDevice> workspace{HostDevice{}, {.initial_bytes = 64 * KiB}};
  std::vector<std::optional<Workspace<HostDevice>::Scope>> scopes(4);
  std::vector<int> order{0, 1, 2, 3};
  do {
    for (auto& scope : scopes) {
      scope.emplace(workspace.scope());
      static_cast<void>(scope->allocate(256));
    }
    std::vector<bool> has_ended(4);
    std::uint64_t scopes_left = 4;
    for (const int i : order) {
      scopes[static_cast<std::size_t>(i)].reset();
      has_ended[static_cast<std::size_t>(i)] = true;
      std::uint64_t open = 4;
      while (open != 0 && has_ended[open - 1]) --open;
      REQUIRE(workspace.used() == 256 * open);
      REQUIRE(workspace.stats().scopes == --scopes_left);
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("an outer scope allocates only when the inner ones have ended") {
  Workspace<HostDevice> workspace{HostDevice{}, small};
  auto outer = workspace.scope();
  {
    auto inner = workspace.scope();
    CHECK_THROWS_WITH_AS(static_cast<void>(outer.allocate(1)),
                         "scope 1 of 2 is not the innermost one; allocate in that, or end it first",
                         std::logic_error);
    auto upper = workspace.scope(End::upper);
    static_cast<void>(upper.allocate(1));
    static_cast<void>(inner.allocate(1));
  }
  static_cast<void>(outer.allocate(1));
}

TEST_CASE("open scopes keep a workspace from being moved: reserve and shrink_to_fit are refused") {
  Workspace<HostDevice> workspace{HostDevice{}, small};
  {
    auto scope = workspace.scope();
    CHECK_THROWS_WITH_AS(
        workspace.shrink_to_fit(),
        "shrink_to_fit of a workspace with 1 open scopes would move their memory; end them first",
        std::logic_error);
    CHECK_THROWS_AS(workspace.reserve(10'000), std::logic_error);
  }
  workspace.reserve(10'000);
  CHECK(workspace.capacity() >= 10'000);
}

TEST_CASE("shrink_to_fit leaves the high-water mark, or nothing") {
  Workspace<HostDevice> workspace{HostDevice{}, {.initial_bytes = 10 * MiB}};
  const auto use = [&] {
    auto scope = workspace.scope();
    auto upper = workspace.scope(End::upper);
    static_cast<void>(upper.allocate(5000, 4096));
    return scope.allocate(100'000).address() != nullptr;
  };
  CHECK(use());
  workspace.shrink_to_fit();
  CHECK(workspace.capacity() < 120 * KiB);
  const std::uint64_t grown = workspace.grown();
  CHECK(use());
  CHECK(workspace.grown() == grown);
  workspace.shrink_to_fit();
  CHECK(workspace.grown() == grown);
  workspace.reset_high_water();
  workspace.shrink_to_fit();
  CHECK(workspace.capacity() == 0);
  CHECK(use());
}

TEST_CASE("invalid requests, the limit and a device that refuses change nothing") {
  Workspace<LimitedDevice> workspace{LimitedDevice{},
                                     {.minimum_bytes = 4 * KiB, .limit_bytes = 64 * KiB}};
  auto scope = workspace.scope();
  auto kept = scope.allocate(3000);
  const auto unchanged = [&, used = workspace.used(), capacity = workspace.capacity(),
                          grown = workspace.grown()] {
    return workspace.used() == used && workspace.capacity() == capacity &&
           workspace.grown() == grown;
  };
  CHECK_THROWS_AS(static_cast<void>(scope.allocate(0)), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(scope.allocate(1, 3)), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(scope.allocate(~std::uint64_t{0})), std::exception);
  CHECK_THROWS_AS(static_cast<void>(scope.allocate(~std::uint64_t{0} - 1000)), std::exception);
  CHECK_THROWS_AS(static_cast<void>(scope.allocate(1, std::uint64_t{1} << 63)), OutOfMemory);
  CHECK_THROWS_AS(static_cast<void>(scope.allocate(16, 4 * MiB)), OutOfMemory);
  CHECK_THROWS_AS(static_cast<void>(scope.allocate(64 * KiB)), OutOfMemory);
  CHECK(unchanged());
  LimitedMemory::largest = 1000;
  CHECK_THROWS_AS(static_cast<void>(scope.allocate(10'000)), OutOfMemory);
  CHECK(unchanged());
  LimitedMemory::largest = 13'000;  // refuses what it would like to have, not what it needs
  CHECK(scope.allocate(12'000).bytes() == 12'000);
  LimitedMemory::largest = ~std::uint64_t{0};
}

TEST_CASE("reserve never leaves less than there was") {
  Workspace<HostDevice> workspace{HostDevice{}, small};
  {
    auto scope = workspace.scope();
    static_cast<void>(scope.allocate(100'000));
    static_cast<void>(scope.allocate(200'000));
  }
  const std::uint64_t capacity = workspace.capacity();
  workspace.reserve(1);
  CHECK(workspace.capacity() >= capacity);
}

TEST_CASE("all up to the limit can be had where nothing is in use, however it grew") {
  Workspace<HostDevice> workspace{HostDevice{},
                                  {.minimum_bytes = 4 * KiB, .limit_bytes = 64 * KiB}};
  {
    auto scope = workspace.scope();
    auto upper = workspace.scope(End::upper);
    static_cast<void>(scope.allocate(20 * KiB));
    static_cast<void>(upper.allocate(30 * KiB));
    CHECK_THROWS_AS(static_cast<void>(scope.allocate(40 * KiB)), OutOfMemory);
  }
  auto scope = workspace.scope();
  CHECK(scope.allocate(63 * KiB).bytes() == 63 * KiB);
  CHECK(workspace.capacity() <= 64 * KiB);
}

TEST_CASE("the limit is never exceeded, not by rounding either") {
  const WorkspaceOptions options{.minimum_bytes = 1, .limit_bytes = 1000};
  CHECK_THROWS_AS(
      (Workspace<HostDevice>{HostDevice{}, {.initial_bytes = 1000, .limit_bytes = 1000}}),
      OutOfMemory);
  Workspace<HostDevice> workspace{HostDevice{}, options};
  CHECK_THROWS_AS(workspace.reserve(900), OutOfMemory);
  workspace.reserve(700);
  CHECK(workspace.capacity() == 768);
  try {
    auto scope = workspace.scope();
    static_cast<void>(scope.allocate(900));
    CHECK(false);
  } catch (const OutOfMemory& error) {
    CHECK(error.reason() == RefusalReason::too_large);
  }
  CHECK(workspace.capacity() == 768);
}

TEST_CASE(
    "all of a limit can be had at once, and an error whose cause is rounding names the size") {
  for (const End end : {End::lower, End::upper}) {
    Workspace<HostDevice> workspace{HostDevice{},
                                    {.minimum_bytes = 4 * KiB, .limit_bytes = 64 * KiB}};
    auto scope = workspace.scope(end);
    CHECK(scope.allocate(64 * KiB).bytes() == 64 * KiB);
    CHECK(workspace.capacity() == 64 * KiB);
  }
  Workspace<HostDevice> workspace{HostDevice{}, {.minimum_bytes = 4 * KiB, .limit_bytes = 1000}};
  CHECK_THROWS_WITH_AS(
      workspace.reserve(1000),
      "out of memory (too large): requested 1000 B (1000 bytes), rounded up to 1 KiB (1024 bytes), "
      "aligned to 256 B; free 1000 B, largest free block 1000 B, capacity 1000 B; free blocks "
      "first, or give the arena more capacity",
      OutOfMemory);
  auto scope = workspace.scope();
  CHECK(scope.allocate(768).bytes() == 768);
}

TEST_CASE("sizes that rise while an outer scope is open do not fill the limit with idle pieces") {
  for (const End end : {End::lower, End::upper}) {
    Workspace<StagedHostDevice> workspace{StagedHostDevice{},
                                          {.minimum_bytes = 4 * KiB, .limit_bytes = 1 * MiB}};
    auto outer = workspace.scope();
    auto kept = outer.allocate(1000);
    for (std::uint64_t bytes = 4 * KiB; bytes <= 1000 * KiB; bytes += 4 * KiB) {
      auto inner = workspace.scope(end);
      REQUIRE(inner.allocate(bytes).bytes() == bytes);
      REQUIRE(workspace.capacity() <= 1 * MiB);
    }
    const auto again = outer.allocate(1000);  // where the first is
    CHECK(static_cast<std::byte*>(again.address()) - static_cast<std::byte*>(kept.address()) ==
          1024);
    CHECK_THROWS_AS(static_cast<void>(outer.allocate(1 * MiB)), OutOfMemory);
  }
}

namespace {

/// Host memory of which there is so much in all.
class SharedHostMemory : public HostMemory {
 public:
  static inline std::uint64_t left = 0;

  class Region : public HostMemory::Region {
   public:
    Region() = default;
    Region(HostMemory::Region&& region, std::uint64_t bytes)
        : HostMemory::Region{std::move(region)}, taken_{nullptr, [bytes](void*) {
                                                          left += bytes;
                                                        }} {
      left -= bytes;
    }

   private:
    std::shared_ptr<void> taken_;
  };

  [[nodiscard]] Region acquire(std::uint64_t bytes, std::uint64_t alignment) {
    if (bytes > left) throw OutOfMemory{RefusalReason::source, bytes, alignment, left, 0, left};
    return Region{HostMemory::acquire(bytes, alignment), bytes};
  }
};

class SharedHostDevice : public HostDevice {
 public:
  using memory_type = SharedHostMemory;
  SharedHostDevice() noexcept : HostDevice{HostMemory::Options{}} {}
  [[nodiscard]] static SharedHostMemory memory() noexcept { return {}; }
};

}  // namespace

TEST_CASE("a device that refuses more is given back what is idle") {
  SharedHostMemory::left = 64 * KiB;
  {
    Workspace<SharedHostDevice> workspace{SharedHostDevice{}, small};
    for (const std::uint64_t bytes : {30 * KiB, 50 * KiB}) {  // nothing is in use in between
      auto scope = workspace.scope();
      CHECK(scope.allocate(bytes).bytes() == bytes);
    }
  }
  CHECK(SharedHostMemory::left == 64 * KiB);
  Workspace<SharedHostDevice> workspace{SharedHostDevice{}, small};
  auto outer = workspace.scope();
  const auto kept = outer.allocate(1000);
  for (const std::uint64_t bytes : {30 * KiB, 50 * KiB}) {
    auto inner = workspace.scope();
    CHECK(inner.allocate(bytes).bytes() == bytes);
  }
  CHECK_THROWS_AS(static_cast<void>(outer.allocate(64 * KiB)), OutOfMemory);
  CHECK(workspace.used() == 1024);
  CHECK(outer.allocate(1000).bytes() == 1000);
}

TEST_CASE("where one piece for several is refused, the several do as well") {
  LimitedMemory::acquired = 0;
  Workspace<LimitedDevice> workspace{LimitedDevice{}, small};
  LimitedMemory::largest = 8 * KiB;
  for (int i = 0; i < 3; ++i) {
    auto scope = workspace.scope();
    static_cast<void>(scope.allocate(4000));
    static_cast<void>(scope.allocate(6000));
  }
  CHECK(LimitedMemory::acquired == 2);
  LimitedMemory::largest = ~std::uint64_t{0};
  auto scope = workspace.scope();
  static_cast<void>(scope.allocate(10'000));
  CHECK(LimitedMemory::acquired == 3);
}

TEST_CASE("slices and scopes keep their memory alive, in any order of destruction") {
  std::vector<int> order{0, 1, 2};
  do {
    auto workspace = std::optional{Workspace<HostDevice>{HostDevice{}, small}};
    auto scope = std::optional{workspace->scope()};
    auto slice = std::optional{scope->allocate(9000)};
    std::memset(slice->address(), 1, 9000);
    for (const int what : order) {
      if (what == 0) workspace.reset();
      if (what == 1) scope.reset();
      if (what == 2) slice.reset();
      if (slice) std::memset(slice->address(), 2, 9000);
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("memory that the stream still uses is given back only when it is done") {
  StagedHostDevice device;
  Workspace<StagedHostDevice> workspace{device, small};
  std::vector<char> source(1 * MiB, 'x');
  for (int i = 0; i < 20; ++i) {
    {
      auto scope = workspace.scope();
      const auto bytes = static_cast<std::uint64_t>(i + 1) * 40'000;
      const auto slice = scope.allocate(bytes);
      device.copy_to_device(slice.address(), source.data(), bytes, workspace.stream());
    }
    if (i % 5 == 4) workspace.shrink_to_fit();
    workspace.reset_high_water();
  }
  device.synchronize(workspace.stream());
  workspace.collect();
  CHECK(workspace.retired_bytes() == 0);
}

TEST_CASE("random scopes never overlap, and use again all that has ended") {
  for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 20; ++seed) {
    INFO("ALLOT_SEED=" << seed);
    std::mt19937_64 random{seed};
    Workspace<HostDevice> workspace{HostDevice{}, {.minimum_bytes = 1 * KiB}};
    struct Range {
      std::uint64_t first, last;
    };
    struct Opened {
      Workspace<HostDevice>::Scope scope;
      std::vector<Range> ranges;
    };
    std::vector<Opened> opened[2];
    for (std::uint64_t i = 0; i < test::operations(2000); ++i) {
      auto& side = opened[random() % 2];
      const End end = &side == &opened[0] ? End::lower : End::upper;
      const std::uint64_t choice = random() % 8;
      if (side.empty() || (choice == 0 && side.size() < 6)) {
        side.push_back({workspace.scope(end), {}});
      } else if (choice <= 2) {
        side.pop_back();
      } else {
        const std::uint64_t bytes = 1 + random() % 3000;
        const std::uint64_t alignment = std::uint64_t{1} << random() % 13;
        const auto slice = side.back().scope.allocate(bytes, alignment);
        const auto first = reinterpret_cast<std::uintptr_t>(slice.address());
        REQUIRE(first % alignment == 0);
        for (const auto& stack : opened) {
          for (const Opened& other : stack) {
            for (const Range& range : other.ranges)
              REQUIRE((first + bytes <= range.first || range.last <= first));
          }
        }
        side.back().ranges.push_back({first, first + bytes});
      }
    }
    opened[0].clear();
    opened[1].clear();
    REQUIRE(workspace.used() == 0);
  }
}
