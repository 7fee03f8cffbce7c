// SPDX-License-Identifier: MIT
// Arenas through the C interface: the same as in C++, and safe to misuse.
#include <allot.h>

#include <allot/arena.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/buddy.hpp>
#include <allot/strategy/first_fit.hpp>
#include <allot/strategy/good_fit.hpp>
#include <allot/strategy/linear.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/random.hpp"

namespace {

/// An arena that the C interface made, destroyed at the end.
struct CArena {
  explicit CArena(std::uint64_t capacity, allot_strategy strategy = ALLOT_BEST_FIT,
                  allot_memory memory = ALLOT_HOST, std::uint64_t alignment = 0) {
    allot_arena_options options{};
    options.strategy = strategy;
    options.memory = memory;
    options.alignment = alignment;
    REQUIRE(allot_arena_create(capacity, &options, &handle) == ALLOT_OK);
  }
  CArena(const CArena&) = delete;
  CArena& operator=(const CArena&) = delete;
  ~CArena() { allot_arena_destroy(handle); }

  [[nodiscard]] allot_usage usage() const {
    allot_usage usage{};
    REQUIRE(allot_arena_usage(handle, &usage) == ALLOT_OK);
    return usage;
  }
  [[nodiscard]] allot_block allocate(std::uint64_t bytes) const {
    allot_block block{};
    REQUIRE(allot_arena_allocate(handle, bytes, 0, &block) == ALLOT_OK);
    return block;
  }

  allot_arena* handle = nullptr;
};

template <class StrategyType, allot_strategy number>
struct Pair {
  using Strategy = StrategyType;
  static constexpr allot_strategy in_c = number;
};

[[nodiscard]] std::string last_error() { return allot_last_error(); }

}  // namespace

TEST_CASE_TEMPLATE("a C arena places every block where the C++ arena does", Chosen,
                   Pair<allot::WideBestFit, ALLOT_BEST_FIT>,
                   Pair<allot::WideFirstFit, ALLOT_FIRST_FIT>, Pair<allot::GoodFit, ALLOT_GOOD_FIT>,
                   Pair<allot::WideBuddy, ALLOT_BUDDY>, Pair<allot::Linear, ALLOT_LINEAR>) {
  INFO("ALLOT_SEED=" << allot::test::first_seed());
  std::mt19937_64 random{allot::test::first_seed()};
  allot::Arena<typename Chosen::Strategy> expected{1 << 20};
  const CArena arena{1 << 20, Chosen::in_c, ALLOT_OFFSETS};
  std::vector<std::pair<allot::Block, allot_block>> live;
  for (int step = 0; step < 1000; ++step) {
    if (live.empty() || random() % 5 < 3) {
      const std::uint64_t bytes = 1 + random() % 20'000;
      const std::uint64_t alignment = std::uint64_t{1} << random() % 13;
      const auto block = expected.try_allocate(bytes, alignment);
      allot_block in_c{};
      const allot_status status = allot_arena_allocate(arena.handle, bytes, alignment, &in_c);
      REQUIRE(status == (block ? ALLOT_OK : ALLOT_OUT_OF_MEMORY));
      if (!block) continue;
      REQUIRE(in_c.offset == block->offset);
      REQUIRE(in_c.size == block->size);
      live.emplace_back(*block, in_c);
    } else {
      std::swap(live[random() % live.size()], live.back());
      allot_block found{};
      REQUIRE(allot_arena_block_at_offset(arena.handle, live.back().second.offset, &found) ==
              ALLOT_OK);
      REQUIRE(found.generation == live.back().second.generation);
      expected.deallocate(live.back().first);
      REQUIRE(allot_arena_free(arena.handle, &found) == ALLOT_OK);
      live.pop_back();
    }
    const allot::Usage usage = expected.usage();
    REQUIRE(arena.usage().used == usage.used);
    REQUIRE(arena.usage().padding == usage.padding);
    REQUIRE(arena.usage().largest_free == usage.largest_free);
  }
  CHECK(allot_arena_reset(arena.handle) == ALLOT_OK);
  CHECK(arena.usage().live_blocks == 0);
  CHECK(arena.usage().peak_used == expected.usage().peak_used);
}

TEST_CASE("a dump is JSON with every block") {
  const CArena arena{1 << 20};
  static_cast<void>(arena.allocate(1000));
  char* json = nullptr;
  REQUIRE(allot_arena_dump(arena.handle, &json) == ALLOT_OK);
  const std::string text = json;
  allot_string_free(json);
  CHECK(text.find("\"blocks\":[{\"offset\":0,\"size\":1024,\"used\":true},{") != std::string::npos);
}

TEST_CASE("every strategy has every memory and alignment") {
  for (const allot_strategy strategy :
       {ALLOT_BEST_FIT, ALLOT_FIRST_FIT, ALLOT_GOOD_FIT, ALLOT_BUDDY, ALLOT_LINEAR}) {
    for (const allot_memory memory : {ALLOT_OFFSETS, ALLOT_HOST}) {
      for (const std::uint64_t alignment : {0U, 16U, 256U, 4096U, 65536U}) {
        const CArena arena{1 << 20, strategy, memory, alignment};
        const allot_block block = arena.allocate(1);
        CHECK(block.size == (alignment == 0 ? 256 : alignment));
        void* address = nullptr;
        const allot_status status = allot_arena_address(arena.handle, &block, &address);
        CHECK(status == (memory == ALLOT_HOST ? ALLOT_OK : ALLOT_UNSUPPORTED));
        if (address != nullptr) *static_cast<char*>(address) = 1;
      }
    }
  }
}

TEST_CASE("blocks are resized in place, as far as the strategy can") {
  const CArena arena{1 << 20};
  allot_block block = arena.allocate(1000);
  CHECK(allot_arena_resize(arena.handle, &block, 5000) == ALLOT_OK);
  CHECK(block.size == 5120);
  CHECK(allot_arena_resize(arena.handle, &block, 10) == ALLOT_OK);
  CHECK(block.size == 256);
  const allot_block next = arena.allocate(1);
  const allot_block before = block;
  CHECK(allot_arena_resize(arena.handle, &block, 5000) == ALLOT_OUT_OF_MEMORY);
  CHECK(block.size == before.size);
  CHECK(allot_arena_resize(arena.handle, &block, 0) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_arena_free(arena.handle, &next) == ALLOT_OK);
}

TEST_CASE("malloc and free by address: alignment, no bytes, null") {
  const CArena arena{1 << 20, ALLOT_FIRST_FIT, ALLOT_HOST, 16};
  void* const first = allot_malloc(arena.handle, 0, 0);
  void* const second = allot_malloc(arena.handle, 0, 0);
  CHECK(first != nullptr);
  CHECK(first != second);
  void* const aligned = allot_malloc(arena.handle, 10, 4096);
  CHECK(reinterpret_cast<std::uintptr_t>(aligned) % 4096 == 0);
  CHECK(allot_malloc(arena.handle, 10, 3) == nullptr);
  CHECK(last_error().find("not a power of two") != std::string::npos);
  CHECK(allot_malloc(arena.handle, 1 << 21, 0) == nullptr);
  CHECK(allot_free(arena.handle, nullptr) == ALLOT_OK);
  for (void* const address : {first, second, aligned})
    CHECK(allot_free(arena.handle, address) == ALLOT_OK);
  CHECK(allot_free(arena.handle, first) == ALLOT_INVALID_BLOCK);
  CHECK(arena.usage().live_blocks == 0);
  const CArena offsets{1 << 20, ALLOT_BEST_FIT, ALLOT_OFFSETS};
  CHECK(allot_malloc(offsets.handle, 10, 0) == nullptr);
  CHECK(offsets.usage().live_blocks == 0);
}

TEST_CASE("hostile use is an error that says what to do, and changes nothing") {
  const CArena arena{1 << 20};
  const CArena other{1 << 20};
  allot_block block = arena.allocate(100);
  void* address = nullptr;
  allot_usage usage{};

  for (allot_arena* const wrong :
       {static_cast<allot_arena*>(nullptr), reinterpret_cast<allot_arena*>(std::uintptr_t{12345}),
        reinterpret_cast<allot_arena*>(&block),
        reinterpret_cast<allot_arena*>(~std::uintptr_t{0})}) {
    allot_block out{};
    CHECK(allot_arena_allocate(wrong, 1, 0, &out) == ALLOT_INVALID_HANDLE);
    CHECK(allot_arena_free(wrong, &block) == ALLOT_INVALID_HANDLE);
    CHECK(allot_arena_resize(wrong, &block, 10) == ALLOT_INVALID_HANDLE);
    CHECK(allot_arena_reset(wrong) == ALLOT_INVALID_HANDLE);
    CHECK(allot_arena_address(wrong, &block, &address) == ALLOT_INVALID_HANDLE);
    CHECK(allot_arena_block_at(wrong, &block, &out) == ALLOT_INVALID_HANDLE);
    CHECK(allot_arena_block_at_offset(wrong, 0, &out) == ALLOT_INVALID_HANDLE);
    CHECK(allot_arena_usage(wrong, &usage) == ALLOT_INVALID_HANDLE);
    char* json = nullptr;
    CHECK(allot_arena_dump(wrong, &json) == ALLOT_INVALID_HANDLE);
    CHECK(json == nullptr);
    CHECK(allot_malloc(wrong, 1, 0) == nullptr);
    CHECK(allot_free(wrong, &block) == ALLOT_INVALID_HANDLE);
    CHECK(last_error().find("use one that a create") != std::string::npos);
    allot_arena_destroy(wrong);
  }

  CHECK(allot_arena_create(1 << 20, nullptr, nullptr) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_arena_allocate(arena.handle, 1, 0, nullptr) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_arena_allocate(arena.handle, 0, 0, &block) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_arena_allocate(arena.handle, ~std::uint64_t{0}, 0, &block) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_arena_allocate(arena.handle, 1, 48, &block) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_arena_allocate(arena.handle, 1 << 21, 0, &block) == ALLOT_OUT_OF_MEMORY);
  CHECK(allot_arena_free(arena.handle, nullptr) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_arena_resize(arena.handle, nullptr, 1) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_arena_address(arena.handle, &block, nullptr) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_arena_block_at(arena.handle, &block, nullptr) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_arena_usage(arena.handle, nullptr) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_arena_dump(arena.handle, nullptr) == ALLOT_INVALID_ARGUMENT);

  CHECK(allot_arena_free(other.handle, &block) == ALLOT_INVALID_BLOCK);
  allot_block made_up{0, 256, 77, 3};
  CHECK(allot_arena_free(arena.handle, &made_up) == ALLOT_INVALID_BLOCK);
  CHECK(allot_free(arena.handle, &made_up) == ALLOT_INVALID_BLOCK);
  CHECK(last_error().find("no live block starts at address 0x") == 0);
  CHECK(allot_arena_block_at_offset(arena.handle, 1, &made_up) == ALLOT_INVALID_BLOCK);
  CHECK(arena.usage().live_blocks == 1);
  CHECK(arena.usage().used == 256);

  allot_arena* none = nullptr;
  allot_arena_options options{};
  options.strategy = 17;
  CHECK(allot_arena_create(1 << 20, &options, &none) == ALLOT_INVALID_ARGUMENT);
  options = {};
  options.memory = 17;
  CHECK(allot_arena_create(1 << 20, &options, &none) == ALLOT_INVALID_ARGUMENT);
  options = {};
  options.alignment = 100;
  CHECK(allot_arena_create(1 << 20, &options, &none) == ALLOT_INVALID_ARGUMENT);
  options = {};
  options.reserved[2] = 1;
  CHECK(allot_arena_create(1 << 20, &options, &none) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_arena_create(0, nullptr, &none) == ALLOT_INVALID_ARGUMENT);
  options = {};
  options.memory = ALLOT_HOST;
  CHECK(allot_arena_create(std::uint64_t{1} << 60, &options, &none) == ALLOT_OUT_OF_MEMORY);
  CHECK(none == nullptr);
}

TEST_CASE("a handle that was destroyed stays invalid, whatever is made after it") {
  std::vector<allot_arena*> old;
  for (int i = 0; i < 100; ++i) {
    const CArena arena{1 << 20, ALLOT_LINEAR, ALLOT_OFFSETS};
    for (allot_arena* const one : old) REQUIRE(allot_arena_reset(one) == ALLOT_INVALID_HANDLE);
    old.push_back(arena.handle);
  }
}

TEST_CASE("every status has a name, and each thread its own last error") {
  for (allot_status status = ALLOT_OK; status <= ALLOT_OTHER_ERROR; ++status)
    CHECK(std::string{allot_status_name(status)} != "unknown");
  CHECK(std::string{allot_status_name(99)} == "unknown");
  CHECK(allot_arena_reset(nullptr) == ALLOT_INVALID_HANDLE);
  const std::string mine = last_error();
  std::string of_thread = "not asked";
  std::thread{[&] { of_thread = last_error(); }}.join();
  CHECK(of_thread.empty());
  CHECK(last_error() == mine);
}

TEST_CASE("threads may use one arena, and destroy it, at any time") {
  for (int round = 0; round < 20; ++round) {
    allot_arena* arena = nullptr;
    REQUIRE(allot_arena_create(1 << 20, nullptr, &arena) == ALLOT_OK);
    std::atomic<int> unexpected{0};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 3; ++thread) {
      threads.emplace_back([&, thread] {
        for (int step = 0; step < 200; ++step) {
          allot_block block{};
          allot_status status = allot_arena_allocate(arena, 100, 0, &block);
          if (status == ALLOT_OK) status = allot_arena_free(arena, &block);
          if (status != ALLOT_OK && status != ALLOT_INVALID_HANDLE) ++unexpected;
          if (thread == 0 && step == 100) allot_arena_destroy(arena);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(unexpected == 0);
    CHECK(allot_arena_reset(arena) == ALLOT_INVALID_HANDLE);
  }
}
