// SPDX-License-Identifier: MIT
#include <allot/arena.hpp>
#include <allot/pool/kv/eviction/decayed_hits.hpp>
#include <allot/pool/kv/eviction/least_frequently_used.hpp>
#include <allot/pool/kv/eviction/least_recently_used.hpp>
#include <allot/pool/kv/eviction/waiting_kept.hpp>
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

TEST_CASE_TEMPLATE("an eviction policy never asks the system allocator once it is made", Policy,
                   allot::LeastRecentlyUsed, allot::LeastFrequentlyUsed, allot::DecayedHits<>,
                   allot::WaitingKept<>, allot::WaitingKept<allot::DecayedHits<>>) {
  constexpr std::uint32_t blocks = 64;
  Policy policy{blocks};
  std::array<std::uint32_t, 2 * blocks> queue{};
  for (std::uint32_t i = 0; i < queue.size(); ++i) queue[i] = i % blocks;
  CHECK(calls_of([&] {
          for (std::uint32_t i = 0; i < blocks; ++i) policy.note_kept(i);
          for (std::uint32_t i = 0; i < blocks; ++i) policy.note_hit(i);
          for (std::uint32_t i = 0; i < blocks; ++i) policy.add(i);
          if constexpr (allot::QueueAwareEviction<Policy>) policy.expect(queue);
          while (policy.size() != 0) policy.remove(policy.next());
        }) == 0);
}
