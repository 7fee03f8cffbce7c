// SPDX-License-Identifier: MIT
// Compiled without exceptions and RTTI: which members an arena has then, and what they return.
#include <allot/arena.hpp>
#include <allot/memory/host_memory.hpp>
#include <allot/observer/ledger.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/buddy.hpp>
#include <allot/strategy/detail/trivial_vector.hpp>
#include <allot/strategy/first_fit.hpp>
#include <allot/strategy/fixed_blocks.hpp>
#include <allot/strategy/good_fit.hpp>
#include <allot/strategy/linear.hpp>
#include <allot/synchronization/locked.hpp>

#include <doctest/doctest.h>
#include <support/sanitizers.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#if defined(__cpp_exceptions) || defined(__GXX_RTTI)
#error "compile this with -fno-exceptions -fno-rtti"
#endif

namespace {

using namespace allot;

using Null = Arena<BestFit>;
using OnHost = Arena<BestFit, AlignTo<256>, Unsynchronized, HostMemory>;
using Observed = Arena<Linear, AlignTo<256>, Locked<>, HostMemory, Ledger>;

template <class A>
concept Throws = std::is_constructible_v<A, std::uint64_t> || requires(A arena, Block block) {
  arena.allocate(1);
} || requires(A arena, Block block) {
  arena.deallocate(block);
} || requires(A arena, Block block) {
  arena.shrink(block, 1);
} || requires(A arena) {
  arena.allocate_upper(1);
} || requires(A arena) {
  arena.release_to(arena.mark());
} || requires(A arena) {
  arena.reserve(1);
} || requires(A arena) {
  arena.grow(1);
} || requires(A arena, Block block) {
  arena.address(block);
};

static_assert(!Throws<Null> && !Throws<OnHost> && !Throws<Observed>);
static_assert(std::is_same_v<decltype(Null::try_make(1)), std::unique_ptr<Null>>);

/// Uses every member that an arena has without exceptions, once. Returns whether each worked.
template <class A>
bool works(std::uint64_t bytes) {
  const auto arena = A::try_make(16 * bytes);
  if (arena == nullptr) return false;
  std::vector<Block> blocks;
  while (const auto block = arena->try_allocate(bytes)) blocks.push_back(*block);
  bool right = !blocks.empty() && arena->usage().live_blocks == blocks.size();
  for (const Block& block : blocks) right = right && arena->owns(block);
  std::uint64_t end = 0;
  arena->for_each([&](std::uint64_t offset, std::uint64_t size, bool) {
    right = right && offset == end;
    end += size;
  });
  right = right && end == arena->capacity() && arena->validate();
  right = right && arena->try_reserve(100);
  right = right && arena->try_deallocate(blocks[0]) && !arena->try_deallocate(blocks[0]);
  arena->reset();
  return right && arena->usage().used == 0 && !arena->owns(blocks[1]);
}

}  // namespace

#if !defined(_WIN32)
namespace {
/// How many more calls of `realloc` succeed.
std::uint64_t reallocations_left = ~std::uint64_t{0};
}  // namespace

// The linker's --wrap (meson.build) makes of every such call in this program one of these.
extern "C" {
void* __real_realloc(void* memory, std::size_t bytes);
void* __wrap_realloc(void* memory, std::size_t bytes);
void* __wrap_realloc(void* memory, std::size_t bytes) {
  if (reallocations_left == 0) return nullptr;
  --reallocations_left;
  return __real_realloc(memory, bytes);
}
}

TEST_CASE_TEMPLATE("without memory for bookkeeping no arena is made, and none grows", S, BestFit,
                   FirstFit, GoodFit, Buddy, Linear, WideBestFit, FixedBlocks<4>) {
  constexpr std::uint64_t bytes = 64 * KiB;
  std::unique_ptr<Arena<S>> arena;
  std::uint64_t refusals = 0;
  for (; arena == nullptr && refusals < 10; refusals += arena == nullptr ? 1 : 0) {
    reallocations_left = refusals;
    arena = Arena<S>::try_make(bytes);
  }
  reallocations_left = ~std::uint64_t{0};
  CHECK(refusals != 0);
  CHECK(arena != nullptr);
  if (arena == nullptr) return;
  std::vector<Block> blocks;  // fill the records that there are, so that growing needs more
  CHECK(arena->try_reserve(100));
  for (int i = 0; i < 100; ++i) {
    if (const auto block = arena->try_allocate(1)) blocks.push_back(*block);
  }
  bool has_grown = false;
  for (std::uint64_t most = 0; !has_grown && most < 10; ++most) {
    const std::uint64_t before = arena->capacity();
    const Usage usage = arena->usage();
    reallocations_left = most;
    has_grown = arena->try_grow(1024 * bytes);
    reallocations_left = ~std::uint64_t{0};
    CHECK(arena->validate());
    CHECK(arena->usage().live_blocks == blocks.size());
    if (!has_grown) CHECK(arena->capacity() == before);
    if (!has_grown) CHECK(arena->usage() == usage);
  }
  CHECK(has_grown);
  CHECK(arena->capacity() == 1024 * bytes);
  for (const Block& block : blocks) CHECK(arena->try_deallocate(block));
}
#endif

TEST_CASE_TEMPLATE("an arena of every strategy works without exceptions", S, BestFit, FirstFit,
                   GoodFit, Buddy, Linear, WideBestFit, FixedBlocks<4>) {
  CHECK(works<Arena<S>>(1024));
  CHECK(works<Arena<S, AlignTo<256>, Locked<>, HostMemory, Ledger>>(1024));
}

TEST_CASE("without exceptions bad arguments give nothing, null or false") {
  CHECK(Null::try_make(0) == nullptr);
  CHECK(Null::try_make(255) == nullptr);
  CHECK(OnHost::try_make(std::uint64_t{1} << 62) == nullptr);  // no system has as much

  const auto arena = OnHost::try_make(1 * MiB);
  CHECK(arena != nullptr);
  if (arena == nullptr) return;
  const auto block = arena->try_allocate(1000, 4096);
  CHECK(block);
  if (!block) return;
  const Usage usage = arena->usage();
  constexpr std::uint64_t highest = ~std::uint64_t{0};
  CHECK(!arena->try_allocate(0));
  CHECK(!arena->try_allocate(highest));
  CHECK(!arena->try_allocate(1, 0));
  CHECK(!arena->try_allocate(1, 48));
  CHECK(!arena->try_allocate({.bytes = 1, .alignment = 3}));
  CHECK(!arena->try_allocate(2 * MiB));
  CHECK(!arena->try_expand(*block, 0));
  CHECK(!arena->try_expand(*block, highest));
  CHECK(!arena->try_reserve(highest));
  Block elsewhere = *block;
  elsewhere.offset += 256;
  CHECK(!arena->try_expand(elsewhere, 2000));
  CHECK(!arena->try_deallocate(elsewhere));
  CHECK(arena->try_address(elsewhere) == nullptr);
  CHECK(arena->try_address(Block{}) == nullptr);
  CHECK(arena->usage() == usage);
}

TEST_CASE_TEMPLATE("without exceptions more bookkeeping than records can number is refused", S,
                   Buddy, WideBuddy) {
  const auto arena = Arena<S>::try_make((std::uint64_t{1} << 40) - 512);
  CHECK(arena != nullptr);
  if (arena == nullptr) return;
  const auto block = arena->try_allocate(1000);
  CHECK(block);
  if (!block) return;
  const Usage usage = arena->usage();
  CHECK(!arena->try_reserve(0x7fff'0000));  // each block may need two records, and a few free ones
  CHECK(arena->usage() == usage);
  CHECK(arena->validate());
  CHECK(arena->try_deallocate(*block));
}

TEST_CASE("without exceptions bookkeeping that the host has no memory for is refused" *
          doctest::skip(test::is_sanitized) *
          doctest::description("a sanitizer ends a program that asks for so much")) {
  struct Large {
    std::byte bytes[1 << 30];
  };
  detail::TrivialVector<Large> objects;
  // Optimizing, clang++ leaves out an allocation that nothing else can see, and takes it for granted.
  detail::TrivialVector<Large>* volatile seen = &objects;
  CHECK(!seen->try_ensure(std::uint64_t{1} << 32));  // 2^62 bytes
  CHECK(objects.bytes() == 0);
}

TEST_CASE("without exceptions a block has an address that can be written, and grows in place") {
  const auto arena = OnHost::try_make(1 * MiB);
  CHECK(arena != nullptr);
  if (arena == nullptr) return;
  const auto block = arena->try_allocate({.bytes = 1000, .alignment = 4096, .name = "weights"});
  CHECK(block);
  if (!block) return;
  void* const address = arena->try_address(*block);
  CHECK(address == static_cast<std::byte*>(arena->base_address()) + block->offset);
  std::memset(address, 7, 1000);
  const auto expanded = arena->try_expand(*block, 3000);
  CHECK(expanded);
  if (!expanded) return;
  CHECK(expanded->size == 3072);
  CHECK(!arena->owns(*block));
  CHECK(arena->try_deallocate(*expanded));
}

TEST_CASE("without exceptions an arena grows, but not beyond what its strategy takes") {
  const auto arena = Null::try_make(1024);
  CHECK(arena != nullptr);
  if (arena == nullptr) return;
  CHECK(!arena->try_grow(512));
  CHECK(!arena->try_grow(std::uint64_t{1} << 41));
  CHECK(arena->capacity() == 1024);
  CHECK(arena->try_grow(4096));
  CHECK(arena->try_allocate(4096));
  CHECK(Null::try_make(std::uint64_t{1} << 41) == nullptr);
  CHECK(Arena<WideBestFit>::try_make(std::uint64_t{1} << 41) != nullptr);
}

TEST_CASE("without exceptions both ends of a range can be used, and observers are notified") {
  const auto arena = Observed::try_make(64 * KiB);
  CHECK(arena != nullptr);
  if (arena == nullptr) return;
  const auto lower = arena->try_allocate(100);
  const auto upper = arena->try_allocate_upper(100);
  CHECK(lower);
  if (!lower) return;
  CHECK(upper);
  if (!upper) return;
  CHECK(upper->offset == 64 * KiB - 256);
  CHECK(!arena->try_allocate_upper(0));
  CHECK(!arena->try_allocate(128 * KiB));
  arena->reset();
  const Ledger ledger = arena->with_observer([](const Ledger& l) { return l; });
  CHECK(ledger.allocations() == 2);
  CHECK(ledger.deallocations() == 2);
  CHECK(ledger.refusals() == 1);
}
