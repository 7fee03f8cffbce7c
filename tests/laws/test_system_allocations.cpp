// SPDX-License-Identifier: MIT
#include <allot/arena.hpp>
#include <allot/report/recorder.hpp>
#include <allot/strategy/best_fit.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "system_allocations.hpp"

namespace {

struct alignas(64) CacheLine {
  std::uint64_t words[8];
};

// Volatile: the optimizer would otherwise leave out what is allocated and freed unused.
void* volatile kept = nullptr;

template <class F>
std::uint64_t calls_of(F&& function) {
  const std::uint64_t before = allot::test::system_allocator_calls();
  function();
  return allot::test::system_allocator_calls() - before;
}

}  // namespace

TEST_CASE("every way of asking the system allocator is counted") {
  CHECK(calls_of([] {}) == 0);
  CHECK(calls_of([] { kept = std::malloc(8); }) == 1);
  CHECK(calls_of([] { kept = std::realloc(kept, 16); }) == 1);
  std::free(kept);
  CHECK(calls_of([] { kept = new std::uint64_t{1}; }) == 1);
  CHECK(calls_of([] { delete static_cast<std::uint64_t*>(kept); }) == 1);
  CHECK(calls_of([] { kept = new CacheLine{}; }) == 1);
  delete static_cast<CacheLine*>(kept);
  CHECK(calls_of([] { kept = std::allocator<std::uint64_t>{}.allocate(8); }) == 1);
  std::allocator<std::uint64_t>{}.deallocate(static_cast<std::uint64_t*>(kept), 8);
}

TEST_CASE("a recorder's notices never ask the system allocator, whatever is full") {
  using namespace allot;
  using Watched = Arena<BestFit, AlignTo<256>, Unsynchronized, OffsetsOnly, report::Recorder>;
  for (const report::Recording keeps :
       {report::Recording::latest, report::Recording::first, report::Recording::everything}) {
    Watched arena{
        1 << 20,
        {},
        report::Recorder{
            {.keeps = keeps, .file = "/dev/null", .events = 16, .blocks = 8, .names = 3}}};
    arena.reserve(32);
    std::array<Block, 20> blocks{};
    constexpr std::array<std::string_view, 4> names{"a", "b", "c", "d"};
    CHECK(calls_of([&] {
            for (std::size_t i = 0; i < blocks.size(); ++i)
              blocks[i] = arena.allocate({1000, 0, names[i % names.size()]});
            for (Block& block : blocks) block = arena.shrink(block, 10);
            static_cast<void>(arena.try_allocate(2 << 20));
            for (const Block& block : blocks) arena.deallocate(block);
          }) == 0);
  }
}
