// SPDX-License-Identifier: MIT
#include <allot/memory/host_memory.hpp>
#include <allot/observer/ledger.hpp>
#include <allot/slice.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/synchronization/locked.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <optional>
#include <thread>
#include <type_traits>

namespace {

using namespace allot;

using SharedHost = Shared<Arena<BestFit, AlignTo<256>, Locked<>, HostMemory, Ledger>>;
using HostSlice = SharedHost::slice_type;

static_assert(std::is_same_v<HostSlice, Slice<HostAccessible>>);
static_assert(std::is_nothrow_destructible_v<HostSlice>);
static_assert(std::is_copy_constructible_v<HostSlice> && std::is_copy_assignable_v<HostSlice>);

template <class S>
concept HostMayTouch = requires(const S slice) {
  slice.span();
};
static_assert(HostMayTouch<Slice<HostAccessible>> && HostMayTouch<Slice<HostAndDeviceAccessible>>);
static_assert(!HostMayTouch<Slice<DeviceAccessible>>);
static_assert(std::is_convertible_v<Slice<HostAndDeviceAccessible>, Slice<DeviceAccessible>>);
static_assert(!std::is_convertible_v<Slice<HostAccessible>, Slice<DeviceAccessible>>);
static_assert(!std::is_convertible_v<Slice<DeviceAccessible>, Slice<HostAccessible>>);

template <class S>
concept CanFreeByHand = requires(S shared, Block block) {
  shared.deallocate(block);
};
static_assert(!CanFreeByHand<SharedHost>);

bool holds(const HostSlice& slice, std::byte value) {
  const auto bytes = slice.span();
  return std::all_of(bytes.begin(), bytes.end(), [&](std::byte b) { return b == value; });
}

void fill(const HostSlice& slice, std::byte value) {
  std::fill(slice.span().begin(), slice.span().end(), value);
}

/// An arena, two slices of it, a copy and a part, each of which can be dropped on its own.
struct Family {
  std::optional<SharedHost> arena{64 * KiB};
  std::optional<HostSlice> a{arena->allocate(1000)};
  std::optional<HostSlice> b{arena->allocate(2000)};
  std::optional<HostSlice> copy_of_a{*a};
  std::optional<HostSlice> part_of_b{b->part(500, 100)};

  Family() {
    fill(*a, std::byte{1});
    fill(*b, std::byte{2});
  }

  void drop(int member) {
    switch (member) {
      case 0:
        arena.reset();
        break;
      case 1:
        a.reset();
        break;
      case 2:
        b.reset();
        break;
      case 3:
        copy_of_a.reset();
        break;
      default:
        part_of_b.reset();
        break;
    }
  }

  void check_survivors() const {
    if (a) CHECK(holds(*a, std::byte{1}));
    if (copy_of_a) CHECK(holds(*copy_of_a, std::byte{1}));
    if (b) CHECK(holds(*b, std::byte{2}));
    if (part_of_b) CHECK(holds(*part_of_b, std::byte{2}));
    if (!arena) return;
    CHECK(arena->validate());
    const bool a_lives = a || copy_of_a;
    const bool b_lives = b || part_of_b;
    CHECK(arena->usage().live_blocks == (a_lives ? 1U : 0U) + (b_lives ? 1U : 0U));
  }
};

}  // namespace

TEST_CASE("bytes outlive the arena's handle and every other view, in all orders of destruction") {
  std::array<int, 5> order{0, 1, 2, 3, 4};
  do {
    Family family;
    for (const int member : order) {
      family.drop(member);
      family.check_survivors();
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("bytes outlive the arena's handle when two threads drop the views, in all orders") {
  std::array<int, 5> order{0, 1, 2, 3, 4};
  do {
    Family family;
    std::thread other{[&] {
      for (int i = 0; i < 5; i += 2) family.drop(order[static_cast<std::size_t>(i)]);
    }};
    for (int i = 1; i < 5; i += 2) family.drop(order[static_cast<std::size_t>(i)]);
    other.join();
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("slices are allocated and freed by several threads at once") {
  SharedHost arena{1 * MiB};
  auto churn = [arena](std::byte value) mutable {
    for (int i = 0; i < 500; ++i) {
      const HostSlice slice = arena.allocate(static_cast<std::uint64_t>(1 + i));
      fill(slice, value);
      const HostSlice part = slice.part(0, slice.bytes());
      if (!holds(part, value)) FAIL("another thread wrote into this slice");
    }
  };
  std::thread other{churn, std::byte{3}};
  churn(std::byte{4});
  other.join();
  CHECK(arena.usage().live_blocks == 0);
  CHECK(arena.with_observer([](const Ledger& l) { return l.deallocations(); }) == 1000);
}

TEST_CASE("a part lies inside its slice, and one that would not is refused with the figures") {
  SharedHost arena{64 * KiB};
  const HostSlice slice = arena.allocate(100);
  const HostSlice part = slice.part(10, 20);
  CHECK(part.address() == static_cast<std::byte*>(slice.address()) + 10);
  CHECK(part.part(5, 15).bytes() == 15);
  CHECK(slice.part(100, 0).empty());
  CHECK_THROWS_WITH_AS(static_cast<void>(slice.part(90, 11)),
                       "a part of 11 bytes at 90 reaches beyond a slice of 100 bytes; ask for at "
                       "most 10",
                       std::out_of_range);
  CHECK_THROWS_AS(static_cast<void>(slice.part(~std::uint64_t{0}, 2)), std::out_of_range);
}

TEST_CASE("a refused allocation leaves the shared arena as it was") {
  SharedHost arena{64 * KiB};
  const HostSlice kept = arena.allocate(300, 4096);
  const Usage usage = arena.usage();
  CHECK_THROWS_AS(static_cast<void>(arena.allocate(1 * MiB)), OutOfMemory);
  CHECK(!arena.try_allocate(1 * MiB));
  CHECK_THROWS_AS(static_cast<void>(arena.allocate(1, 3)), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(arena.allocate(0)), std::invalid_argument);
  CHECK(arena.usage() == usage);
}

TEST_CASE("an empty slice has no bytes and no owner") {
  const HostSlice nothing;
  CHECK(nothing.empty());
  CHECK(nothing.address() == nullptr);
  CHECK(nothing.span().empty());
  CHECK(nothing.part(0, 0).empty());
}
