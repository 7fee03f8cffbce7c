// SPDX-License-Identifier: MIT
#include <allot/arena.hpp>
#include <allot/memory/host_memory.hpp>
#include <allot/memory/memory.hpp>
#include <allot/strategy/best_fit.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace allot;

struct NotAPolicy {};
struct RegionHasNoAlignment {
  static constexpr bool host_accessible = true;
  static constexpr bool device_accessible = false;
  struct Region {};
  Region acquire(std::uint64_t, std::uint64_t) { return {}; }
};
struct AcquiresAnotherType : RegionHasNoAlignment {
  struct Region {
    [[nodiscard]] std::uint64_t alignment() const noexcept { return 1; }
  };
  int acquire(std::uint64_t, std::uint64_t) { return 0; }
};
struct FlagIsNoConstant {
  bool host_accessible = true;
  [[maybe_unused]] static constexpr bool device_accessible = false;
  using Region = AcquiresAnotherType::Region;
  Region acquire(std::uint64_t, std::uint64_t) { return {}; }
};

static_assert(!Memory<NotAPolicy>);
static_assert(!Memory<int>);
static_assert(!Memory<RegionHasNoAlignment>);
static_assert(!Memory<AcquiresAnotherType>);
static_assert(!Memory<FlagIsNoConstant>);
static_assert(std::is_empty_v<OffsetsOnly::Region>);

// What a memory can do besides: each of these breaks one expression.
struct Plain {
  static constexpr bool host_accessible = true;
  static constexpr bool device_accessible = false;
  using Region = AcquiresAnotherType::Region;
  Region acquire(std::uint64_t, std::uint64_t) { return {}; }
};
struct AddressIsATypedPointer : Plain {
  struct Region : Plain::Region {
    [[nodiscard]] char* address() const noexcept { return nullptr; }
  };
  Region acquire(std::uint64_t, std::uint64_t) { return {}; }
};
struct MarksOnlyUsed : Plain {
  struct Region : Plain::Region {
    void mark_used(std::uint64_t, std::uint64_t) noexcept {}
  };
  Region acquire(std::uint64_t, std::uint64_t) { return {}; }
};
struct TriesButMayThrow : Plain {
  std::optional<Region> try_acquire(std::uint64_t, std::uint64_t) { return {}; }
};

static_assert(Memory<Plain> && Memory<AddressIsATypedPointer> && Memory<MarksOnlyUsed>);
static_assert(Addressable<HostMemory> && !Addressable<OffsetsOnly> && !Addressable<Plain>);
static_assert(!Addressable<AddressIsATypedPointer> && !Addressable<NotAPolicy>);
static_assert(TracksUse<HostMemory> && !TracksUse<OffsetsOnly> && !TracksUse<MarksOnlyUsed>);
static_assert(GrowableMemory<OffsetsOnly> && !GrowableMemory<HostMemory>);
static_assert(TryAcquirable<HostMemory> && !TryAcquirable<OffsetsOnly>);
static_assert(!TryAcquirable<Plain> && !TryAcquirable<TriesButMayThrow>);

}  // namespace

TEST_CASE("a host region is aligned to 2 MiB, holds what was asked for, and is writable") {
  for (const std::uint64_t bytes : {std::uint64_t{1}, 2 * MiB, 2 * MiB + 1, 7 * MiB}) {
    for (const bool huge : {false, true}) {
      HostMemory memory{{.huge_pages = huge}};
      HostMemory::Region region = memory.acquire(bytes, 256);
      CHECK(reinterpret_cast<std::uintptr_t>(region.address()) % (2 * MiB) == 0);
      CHECK(region.bytes() >= bytes);
      std::memset(region.address(), 1, bytes);  // all of it is in use until an arena has it
    }
  }
}

TEST_CASE("a region can be moved, and is returned once") {
  HostMemory memory;
  HostMemory::Region first = memory.acquire(100, 1);
  void* const address = first.address();
  HostMemory::Region second = std::move(first);
  CHECK(second.address() == address);
  HostMemory::Region third;
  CHECK(third.address() == nullptr);
  third = std::move(second);
  CHECK(third.address() == address);
}

TEST_CASE("what the system refuses is out of memory of that source") {
  HostMemory memory;
  for (const std::uint64_t bytes : {~std::uint64_t{0}, std::uint64_t{1} << 62}) {
    try {
      static_cast<void>(memory.acquire(bytes, 256));
      FAIL("it was granted");
    } catch (const OutOfMemory& error) {
      CHECK(error.reason() == RefusalReason::source);
      CHECK(error.requested() == bytes);
    }
  }
  CHECK_THROWS_AS(static_cast<void>(memory.acquire(100, 4 * MiB)), OutOfMemory);
}

#if defined(ALLOT_HAS_ADDRESS_SANITIZER)
TEST_CASE("what is not in a live block is poisoned, what is in one is not") {
  Arena<BestFit, AlignTo<1>, Unsynchronized, HostMemory> arena{4096};
  const Block before = arena.allocate(13);
  const Block freed = arena.allocate(30);
  const Block after = arena.allocate(21);
  auto* const at = static_cast<std::byte*>(arena.address(freed));
  const auto poisoned = [](const void* p) { return __asan_address_is_poisoned(p) != 0; };
  for (int i = 0; i < 30; ++i) CHECK(!poisoned(at + i));
  arena.deallocate(freed);
  CHECK(poisoned(at + 8));
  auto* const left = static_cast<std::byte*>(arena.address(before));
  auto* const right = static_cast<std::byte*>(arena.address(after));
  for (int i = 0; i < 13; ++i) CHECK(!poisoned(left + i));
  for (int i = 0; i < 21; ++i) CHECK(!poisoned(right + i));
  CHECK(poisoned(right + 2000));
}
#endif

TEST_CASE("try_acquire returns nothing if the system refuses") {
  HostMemory memory;
  CHECK(!memory.try_acquire(~std::uint64_t{0}, 256));
  CHECK(!memory.try_acquire(std::uint64_t{1} << 62, 256));
  CHECK(!memory.try_acquire(0, 1));
  CHECK(!memory.try_acquire(100, 4 * MiB));
  const auto region = memory.try_acquire(100, 1);
  REQUIRE(region.has_value());
  CHECK(region->address() != nullptr);
}

namespace {

/// What an arena marks, in order: `+` and `-`, offset, bytes.
struct MarkedMemory : Plain {
  struct Region : Plain::Region {
    std::vector<std::tuple<char, std::uint64_t, std::uint64_t>>* marks = nullptr;
    std::uint64_t has = 0;
    [[nodiscard]] std::uint64_t bytes() const noexcept { return has; }
    void mark_used(std::uint64_t offset, std::uint64_t size) noexcept {
      marks->push_back({'+', offset, size});
    }
    void mark_free(std::uint64_t offset, std::uint64_t size) noexcept {
      marks->push_back({'-', offset, size});
    }
  };
  std::vector<std::tuple<char, std::uint64_t, std::uint64_t>>* marks = nullptr;
  Region acquire(std::uint64_t bytes, std::uint64_t) {
    Region region;
    region.marks = marks;
    region.has = bytes + 100;
    return region;
  }
};

}  // namespace

TEST_CASE("an arena marks all of its region free, then what it hands out as used") {
  std::vector<std::tuple<char, std::uint64_t, std::uint64_t>> marks;
  MarkedMemory memory;
  memory.marks = &marks;
  using Marks = std::vector<std::tuple<char, std::uint64_t, std::uint64_t>>;
  Arena<BestFit, AlignTo<1>, Unsynchronized, MarkedMemory> arena{4096, memory};
  const Block block = arena.allocate(10);
  arena.deallocate(block);
  CHECK(marks == Marks{{'-', 0, 4196}, {'+', 0, 10}, {'-', 0, 10}});
}
