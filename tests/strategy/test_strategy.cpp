// SPDX-License-Identifier: MIT
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/buddy.hpp>
#include <allot/strategy/detail/coalescing_range.hpp>
#include <allot/strategy/detail/free_index.hpp>
#include <allot/strategy/detail/order_trees.hpp>
#include <allot/strategy/detail/records.hpp>
#include <allot/strategy/first_fit.hpp>
#include <allot/strategy/fixed_blocks.hpp>
#include <allot/strategy/good_fit.hpp>
#include <allot/strategy/linear.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "../support/random.hpp"

namespace {

using namespace allot;

struct NotAPolicy {};

/// Everything that the concept asks, so that the variants below each break one expression.
struct Whole {
  explicit Whole(std::uint64_t) {}
  std::optional<Placement> allocate(std::uint64_t, std::uint64_t) { return {}; }
  bool deallocate(Handle, std::uint64_t) noexcept { return false; }
  std::uint64_t& word(Handle) noexcept { return word_; }
  [[nodiscard]] std::uint64_t block_size(Handle) const noexcept { return 0; }
  [[nodiscard]] bool is_live(Handle, std::uint64_t) const noexcept { return false; }
  [[nodiscard]] std::uint64_t capacity() const noexcept { return 1; }
  [[nodiscard]] std::uint64_t used() const noexcept { return 0; }
  [[nodiscard]] std::uint64_t largest_free() const noexcept { return 1; }
  [[nodiscard]] std::uint64_t free_blocks() const noexcept { return 1; }
  [[nodiscard]] std::uint64_t live_blocks() const noexcept { return 0; }
  template <class V>
  void for_each(V&&) const {}
  [[nodiscard]] bool validate() const { return true; }
  std::uint64_t word_ = 0;
};

struct NeedsNoCapacity : Whole {
  NeedsNoCapacity() : Whole{1} {}
};
struct PlacesWithoutOptional : Whole {
  using Whole::Whole;
  Placement allocate(std::uint64_t, std::uint64_t) { return {}; }
};
struct FreesMayThrow : Whole {
  using Whole::Whole;
  bool deallocate(Handle, std::uint64_t) { return false; }
};
struct WordIsAValue : Whole {
  using Whole::Whole;
  std::uint64_t word(Handle) noexcept { return 0; }
};
struct CountsIn32Bits : Whole {
  using Whole::Whole;
  [[nodiscard]] std::uint32_t capacity() const noexcept { return 1; }
};
struct UsedIsNotConst : Whole {
  using Whole::Whole;
  std::uint64_t used() noexcept { return 0; }
};
struct ValidatesNothing : Whole {
  using Whole::Whole;
  void validate() const {}
};

static_assert(Strategy<Whole>);
static_assert(!Strategy<NotAPolicy>);
static_assert(!Strategy<int>);
static_assert(!Strategy<NeedsNoCapacity>);
static_assert(!Strategy<PlacesWithoutOptional>);
static_assert(!Strategy<FreesMayThrow>);
static_assert(!Strategy<WordIsAValue>);
static_assert(!Strategy<CountsIn32Bits>);
static_assert(!Strategy<UsedIsNotConst>);
static_assert(!Strategy<ValidatesNothing>);

// What a strategy can do besides: each of these breaks one expression.
struct OnlyExpands : Whole {
  using Whole::Whole;
  bool try_expand(Handle, std::uint64_t) { return false; }
};
struct ShrinksToAValue : OnlyExpands {
  using OnlyExpands::OnlyExpands;
  bool shrink(Handle, std::uint64_t) { return false; }
};
struct ResetsUnseen : Whole {
  using Whole::Whole;
  void reset() {}
};
struct ReservesNothing : Whole {
  using Whole::Whole;
  void reserve() {}
};
struct GrowsBySteps : Whole {
  using Whole::Whole;
  void grow() {}
};
struct UpperWithoutAlignment : Whole {
  using Whole::Whole;
  std::optional<Placement> allocate_upper(std::uint64_t) { return {}; }
};
struct MarksOnly : Whole {
  using Whole::Whole;
  [[nodiscard]] int mark() const { return 0; }
};
struct ReleasesSilently : MarksOnly {
  using MarksOnly::MarksOnly;
  bool release_to(int) { return true; }
};

static_assert(Resizable<BestFit> && Resizable<Linear> && !Resizable<Whole>);
static_assert(!Resizable<OnlyExpands> && !Resizable<ShrinksToAValue> && !Resizable<NotAPolicy>);
static_assert(Resettable<Buddy> && !Resettable<Whole> && !Resettable<ResetsUnseen>);
static_assert(Reservable<GoodFit> && !Reservable<Whole> && !Reservable<ReservesNothing>);
static_assert(Growable<FirstFit> && !Growable<Whole> && !Growable<GrowsBySteps>);
static_assert(DoubleEnded<Linear> && !DoubleEnded<BestFit> && !DoubleEnded<UpperWithoutAlignment>);
static_assert(Markable<Linear> && !Markable<BestFit>);
static_assert(!Markable<MarksOnly> && !Markable<ReleasesSilently>);
static_assert(!OneSized<BestFit> && ExplainsDefects<BestFit> && !ExplainsDefects<Whole>);
static_assert(CountsBookkeeping<Linear> && !CountsBookkeeping<Whole>);
static_assert(MadeWithoutThrowing<BestFit> && MadeWithoutThrowing<FirstFit> &&
              MadeWithoutThrowing<GoodFit> && MadeWithoutThrowing<Buddy> &&
              MadeWithoutThrowing<Linear> && MadeWithoutThrowing<FixedBlocks<4>> &&
              MadeWithoutThrowing<WideBestFit> && !MadeWithoutThrowing<Whole>);

/// Everything that `FreeIndex` asks, so that the variants below each break one expression.
struct WholeIndex {
  struct Found {
    std::uint32_t record;
    std::uint64_t size;
    explicit operator bool() const noexcept { return false; }
  };
  WholeIndex() = default;
  WholeIndex(detail::RecordSlab&, std::uint64_t) noexcept {}
  [[nodiscard]] bool try_ensure(std::uint64_t) noexcept { return true; }
  void clear() noexcept {}
  void insert(std::uint32_t, std::uint64_t, std::uint64_t) noexcept {}
  void erase(std::uint32_t) noexcept {}
  void erase(const Found&) noexcept {}
  void replace(std::uint32_t, std::uint32_t, std::uint64_t, std::uint64_t) noexcept {}
  void replace(const Found&, std::uint32_t, std::uint64_t, std::uint64_t) noexcept {}
  [[nodiscard]] Found find(std::uint64_t, std::uint64_t) const noexcept { return {}; }
  [[nodiscard]] bool prefers(std::uint64_t, const Found&) const noexcept { return false; }
  [[nodiscard]] std::uint64_t size(std::uint32_t) const noexcept { return 0; }
  [[nodiscard]] std::uint64_t largest() const noexcept { return 0; }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return 0; }
  [[nodiscard]] bool is_valid(std::uint64_t) const { return true; }
};

struct NeedsNoRecords : WholeIndex {
  explicit NeedsNoRecords(std::uint64_t) {}
};
struct MakingMayThrow : WholeIndex {
  MakingMayThrow(detail::RecordSlab& records, std::uint64_t capacity)
      : WholeIndex{records, capacity} {}
};
struct FindsRecordsOnly : WholeIndex {
  using WholeIndex::WholeIndex;
  [[nodiscard]] std::uint32_t find(std::uint64_t, std::uint64_t) const noexcept { return 0; }
};
struct FindChangesIt : WholeIndex {
  using WholeIndex::WholeIndex;
  Found find(std::uint64_t, std::uint64_t) noexcept { return {}; }
};
struct ErasesRecordsOnly : WholeIndex {
  using WholeIndex::WholeIndex;
  void erase(std::uint32_t) noexcept {}
};
struct InsertMayThrow : WholeIndex {
  using WholeIndex::WholeIndex;
  void insert(std::uint32_t, std::uint64_t, std::uint64_t) {}
};
/// A whole index, but for what `find` returns.
template <class FoundType>
struct IndexThatFinds : WholeIndex {
  using Found = FoundType;
  using WholeIndex::erase;
  using WholeIndex::replace;
  using WholeIndex::WholeIndex;
  void erase(const Found&) noexcept {}
  void replace(const Found&, std::uint32_t, std::uint64_t, std::uint64_t) noexcept {}
  [[nodiscard]] Found find(std::uint64_t, std::uint64_t) const noexcept { return {}; }
  [[nodiscard]] bool prefers(std::uint64_t, const Found&) const noexcept { return false; }
};
struct FoundWithoutSize {
  std::uint32_t record;
  explicit operator bool() const noexcept { return false; }
};
struct FoundWithoutCondition {
  std::uint32_t record;
  std::uint64_t size;
};
struct WholeFound : FoundWithoutCondition {
  explicit operator bool() const noexcept { return false; }
};
struct StaysWhereItIs : WholeIndex {
  using WholeIndex::WholeIndex;
  StaysWhereItIs& operator=(StaysWhereItIs&&) = delete;
};

static_assert(detail::FreeIndex<detail::SizeBins<std::uint32_t>>);
static_assert(detail::FreeIndex<detail::SizeBins<std::uint64_t>>);
static_assert(detail::FreeIndex<detail::AddressTree<std::uint32_t>>);
static_assert(detail::FreeIndex<detail::AddressTree<std::uint64_t>>);
static_assert(detail::FreeIndex<detail::SizeLists>);
static_assert(Strategy<WideBestFit> && Strategy<WideFirstFit> && Strategy<WideBuddy>);
static_assert(detail::FreeIndex<WholeIndex>);
static_assert(!detail::FreeIndex<int>);
static_assert(!detail::FreeIndex<NeedsNoRecords>);
static_assert(!detail::FreeIndex<MakingMayThrow>);
static_assert(!detail::FreeIndex<FindsRecordsOnly>);
static_assert(!detail::FreeIndex<FindChangesIt>);
static_assert(!detail::FreeIndex<ErasesRecordsOnly>);
static_assert(!detail::FreeIndex<InsertMayThrow>);
static_assert(detail::FreeIndex<IndexThatFinds<WholeFound>>);
static_assert(!detail::FreeIndex<IndexThatFinds<FoundWithoutSize>>);
static_assert(!detail::FreeIndex<IndexThatFinds<FoundWithoutCondition>>);
static_assert(!detail::FreeIndex<StaysWhereItIs>);
static_assert(!detail::FreeIndex<detail::OrderTrees<std::uint32_t>>);

}  // namespace

TEST_CASE("a slot that has run through its generations is retired") {
  detail::RecordSlab slab;
  REQUIRE(slab.try_ensure(2));
  const std::uint32_t index = slab.acquire();
  CHECK(slab.has_unused_generation(slab[index]));
  slab[index].generation = slab.first_generation() - 1;
  CHECK(!slab.has_unused_generation(slab[index]));
  slab.release(index, slab[index]);
  CHECK(slab.acquire() != index);
}

TEST_CASE("no two generations of a slot are equal, from the first use on") {
  detail::RecordSlab slab;
  REQUIRE(slab.try_ensure(1));
  const std::uint32_t index = slab.acquire();
  slab.start_use(slab[index]);
  for (int use = 0; use < 10'000; ++use) {
    const std::uint32_t last = slab[index].generation;
    slab.release(index, slab[index]);
    REQUIRE(slab.acquire() == index);
    slab.start_use(slab[index]);
    REQUIRE(slab[index].generation == last + 1);
  }
}

TEST_CASE("memory for bookkeeping grows up to its most objects, whatever it grows by") {
  for (const std::uint64_t most : {9U, 100U, 1000U}) {
    detail::GrowingMemory memory{8, 4, most};
    CHECK(!memory.try_ensure(most + 1));
    for (std::uint64_t count = 1; count <= most; ++count) REQUIRE(memory.try_ensure(count));
    CHECK(memory.capacity_for(1) == most);
    CHECK(!memory.try_ensure(most + 1));
  }
}

TEST_CASE("sizes fall into bins in order, and small ones have a bin each") {
  using Bins = detail::FloatBins<5>;
  for (std::uint64_t size = 1; size < 64; ++size) CHECK(Bins::bin_of(size) == size);
  for (std::uint64_t size = 1; size < 100'000; ++size) {
    const std::uint32_t step = Bins::bin_of(size + 1) - Bins::bin_of(size);
    REQUIRE(step <= 1);
    REQUIRE((Bins::excess_of(size + 1) == 0) == (step == 1));
  }
  CHECK(Bins::bin_of(~std::uint64_t{0}) == Bins::count - 1);
}

TEST_CASE("a bitmap of two levels finds the next member") {
  detail::TwoLevelBitmap<1920> bitmap;
  CHECK(bitmap.next(0) == bitmap.none);
  for (const std::uint32_t number : {3U, 64U, 1919U}) bitmap.insert(number);
  CHECK(bitmap.next(0) == 3);
  CHECK(bitmap.next(4) == 64);
  CHECK(bitmap.next(65) == 1919);
  CHECK(bitmap.next(1920) == bitmap.none);
  bitmap.erase_if(64, false);
  CHECK(bitmap.contains(64));
  bitmap.erase_if(64, true);
  CHECK(bitmap.next(4) == 1919);
  CHECK(bitmap.highest() == 1919);
  CHECK(bitmap.is_valid());
}

TEST_CASE_TEMPLATE("ranges of nearly 2^64 units work", S, WideBestFit, WideFirstFit, GoodFit,
                   WideBuddy, Linear) {
  constexpr std::uint64_t capacity = ~std::uint64_t{0};
  S strategy{capacity};
  CHECK(strategy.largest_free() >= capacity / 2);
  const auto large = strategy.allocate(std::uint64_t{1} << 62, 1);
  REQUIRE(large);
  const auto aligned = strategy.allocate(5, std::uint64_t{1} << 61);
  REQUIRE(aligned);
  CHECK(aligned->offset % (std::uint64_t{1} << 61) == 0);
  const auto neighbour = strategy.allocate((std::uint64_t{1} << 40) + 1, 1);
  REQUIRE(neighbour);
  CHECK(strategy.validate());
  CHECK(strategy.deallocate(large->handle, large->offset));
  CHECK(strategy.deallocate(aligned->handle, aligned->offset));
  CHECK(strategy.deallocate(neighbour->handle, neighbour->offset));
  CHECK(strategy.validate());
  CHECK(strategy.used() == 0);
}

TEST_CASE(
    "good fit refuses only what is within its bound, and finds an exact hole of a bin's size") {
  using Bins = detail::SizeLists::Bins;
  INFO("ALLOT_SEED=" << test::first_seed());
  std::mt19937_64 random{test::first_seed()};
  GoodFit strategy{200'000};
  std::vector<Placement> live;
  std::uint64_t refused = 0;
  for (std::uint64_t step = 0; step < test::operations(20'000); ++step) {
    const std::uint64_t size = 1 + (random() >> (51 + random() % 12));
    const std::uint64_t alignment = std::uint64_t{1} << (random() % 2 == 0 ? 0 : random() % 8);
    const auto placed = strategy.allocate(size, alignment);
    if (placed) {
      live.push_back(*placed);
      continue;
    }
    ++refused;
    const std::uint64_t enough = size + alignment - 1;
    const std::uint64_t bound = enough + enough / 64;
    strategy.for_each([&](std::uint64_t offset, std::uint64_t available, bool used) {
      if (used) return;
      REQUIRE(available <= bound);
      if (alignment == 1 && Bins::excess_of(size) == 0) REQUIRE(available < size);
      if (offset + available == strategy.capacity())
        REQUIRE(!detail::fits(offset, available, size, alignment));
    });
    for (int freed = 0; freed < 3; ++freed) {
      const std::size_t i = random() % live.size();
      REQUIRE(strategy.deallocate(live[i].handle, live[i].offset));
      live[i] = live.back();
      live.pop_back();
    }
  }
  CHECK(refused > 1000);
}

TEST_CASE("a strategy reports what is wrong with a block") {
  BestFit strategy{100};
  const auto placed = *strategy.allocate(10, 1);
  CHECK(strategy.is_live(placed.handle, placed.offset));
  CHECK(strategy.defect(placed.handle, placed.offset + 1) == BlockDefect::offset);
  CHECK(strategy.defect({9999, 1}, 0) == BlockDefect::foreign);
  strategy.deallocate(placed.handle, placed.offset);
  CHECK(strategy.defect(placed.handle, placed.offset) == BlockDefect::stale);
}
