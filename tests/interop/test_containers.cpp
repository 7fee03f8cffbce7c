// SPDX-License-Identifier: MIT
// Containers of the standard library and of Boost over arenas: through `pmr::Resource` and `Allocator`.
#include <allot/arena.hpp>
#include <allot/chunked_arena.hpp>
#include <allot/interop/allocator.hpp>
#include <allot/interop/pmr.hpp>
#include <allot/memory/host_memory.hpp>
#include <allot/observer/address_index.hpp>
#include <allot/observer/ledger.hpp>
#include <allot/observer/observers.hpp>
#include <allot/sharded_arena.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/buddy.hpp>
#include <allot/strategy/good_fit.hpp>
#include <allot/synchronization/locked.hpp>

#include <doctest/doctest.h>
#include <boost/container/flat_map.hpp>
#include <boost/container/stable_vector.hpp>
#include <boost/container/vector.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory_resource>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "support/random.hpp"

namespace {

using namespace allot;

using Plain = Arena<BestFit, AlignTo<16>, Unsynchronized, HostMemory>;
using Indexed = Arena<BestFit, AlignTo<16>, Unsynchronized, HostMemory, AddressIndex>;
using AmongOthers =
    Arena<GoodFit, AlignTo<64>, Unsynchronized, HostMemory, Observers<Ledger, AddressIndex>>;
using Binary = Arena<Buddy, AlignTo<16>, Unsynchronized, HostMemory>;
using Locking = Arena<GoodFit, AlignTo<16>, Locked<>, HostMemory>;
using LockingIndexed = Arena<GoodFit, AlignTo<16>, Locked<>, HostMemory, AddressIndex>;
using Chunked = ChunkedArena<Plain>;
using Sharded = ShardedArena<Locking, 2>;
using ShardedIndexed = ShardedArena<LockingIndexed, 2>;

/// Containers of every kind, filled, changed and compared with the same over the default allocator.
template <class Text, class Numbers, class Map, class Hashed, class List>
void use_containers(Text text, Numbers numbers, Map map, Hashed hashed, List list) {
  std::map<int, std::string> expected;
  for (int i = 0; i < 2000; ++i) {
    numbers.push_back(i);
    text += std::to_string(i);
    map.emplace(i % 700, i);
    hashed[i * 31 % 900] = i;
    list.push_front(i);
    if (i % 3 == 0) list.pop_back();
    if (i % 5 == 0) map.erase(i % 11);
    if (i % 7 == 0) hashed.erase(i % 13);
  }
  CHECK(std::accumulate(numbers.begin(), numbers.end(), 0) == 1999 * 1000);
  CHECK(text.size() == 10 + 90 * 2 + 900 * 3 + 1000 * 4);
  CHECK(map.at(699) == 699);
  CHECK(hashed.at(1999 * 31 % 900) == 1999);
  CHECK(list.front() == 1999);
  Numbers copy = numbers;
  copy.shrink_to_fit();
  CHECK(copy == numbers);
  const Numbers moved = std::move(copy);
  CHECK(moved == numbers);
}

template <class ArenaType>
void use_resource() {
  ArenaType arena{16 * MiB};
  {
    pmr::Resource<ArenaType> resource{arena};
    use_containers(std::pmr::string{&resource}, std::pmr::vector<int>{&resource},
                   std::pmr::map<int, int>{&resource}, std::pmr::unordered_map<int, int>{&resource},
                   std::pmr::list<int>{&resource});
    std::pmr::unsynchronized_pool_resource pool{&resource};
    std::pmr::vector<std::pmr::string> nested{&pool};
    for (int i = 0; i < 300; ++i)
      nested.emplace_back(std::string(static_cast<std::size_t>(i), 'x'));
    CHECK(nested.back().get_allocator().resource() == &pool);
    CHECK(arena.usage().live_blocks > 0);
  }
  CHECK(arena.usage().used == 0);
  CHECK(arena.validate());
}

template <class ArenaType>
void use_allocator() {
  ArenaType arena{16 * MiB};
  {
    const Allocator<int, ArenaType> allocator{arena};
    using Pair = std::pair<const int, int>;
    use_containers(
        std::basic_string<char, std::char_traits<char>, Allocator<char, ArenaType>>{allocator},
        std::vector<int, Allocator<int, ArenaType>>{allocator},
        std::map<int, int, std::less<>, Allocator<Pair, ArenaType>>{allocator},
        std::unordered_map<int, int, std::hash<int>, std::equal_to<>, Allocator<Pair, ArenaType>>{
            allocator},
        std::list<int, Allocator<int, ArenaType>>{allocator});
    namespace bc = boost::container;
    bc::stable_vector<int, Allocator<int, ArenaType>> stable{allocator};
    bc::vector<int, Allocator<int, ArenaType>> plain{allocator};
    bc::flat_map<int, int, std::less<>, Allocator<std::pair<int, int>, ArenaType>> flat{allocator};
    for (int i = 0; i < 500; ++i) {
      stable.push_back(i);
      plain.push_back(i);
      flat[i * 7 % 100] = i;
    }
    CHECK(stable[499] + plain[499] == 998);
    CHECK(flat.at(499 * 7 % 100) == 499);
  }
  CHECK(arena.usage().used == 0);
  CHECK(arena.validate());
}

}  // namespace

TEST_CASE_TEMPLATE("containers live in an arena through a resource", ArenaType, Plain, Indexed,
                   AmongOthers, Binary, Locking, LockingIndexed, Chunked, Sharded, ShardedIndexed) {
  use_resource<ArenaType>();
}

TEST_CASE_TEMPLATE("containers live in an arena through an allocator", ArenaType, Plain, Indexed,
                   AmongOthers, Binary, Locking, LockingIndexed, Chunked, Sharded, ShardedIndexed) {
  use_allocator<ArenaType>();
}

TEST_CASE_TEMPLATE("a resource gives the alignment asked for, and never less than the arena's",
                   ArenaType, Plain, Indexed) {
  ArenaType arena{1 * MiB};
  pmr::Resource<ArenaType> resource{arena};
  for (const std::size_t alignment : {1U, 8U, 16U, 64U, 4096U}) {
    void* const address = resource.allocate(3, alignment);
    CHECK(reinterpret_cast<std::uintptr_t>(address) % std::max<std::size_t>(alignment, 16) == 0);
    resource.deallocate(address, 3, alignment);
  }
  struct alignas(128) Wide {
    char bytes[128];
  };
  std::vector<Wide, Allocator<Wide, ArenaType>> wide{Allocator<Wide, ArenaType>{arena}};
  wide.resize(5);
  CHECK(reinterpret_cast<std::uintptr_t>(wide.data()) % 128 == 0);
}

TEST_CASE_TEMPLATE("what cannot be granted is an error, and nothing has changed", ArenaType, Plain,
                   Indexed) {
  ArenaType arena{1 * MiB};
  pmr::Resource<ArenaType> resource{arena};
  Allocator<double, ArenaType> allocator{arena};
  const Usage before = arena.usage();
  CHECK_THROWS_AS(static_cast<void>(resource.allocate(2 * MiB)), OutOfMemory);
  for (const std::size_t odd : {3U, 48U})
    CHECK_THROWS_AS(static_cast<void>(resource.allocate(1, odd)), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(allocator.allocate(SIZE_MAX / 4)), std::bad_array_new_length);
  CHECK_THROWS_AS(static_cast<void>(allocator.allocate(1 * MiB)), std::bad_alloc);
  CHECK(arena.usage() == before);
  std::pmr::vector<int> numbers{{1, 2, 3}, &resource};
  CHECK_THROWS_AS(numbers.reserve(1 * MiB), std::bad_alloc);
  CHECK(numbers == std::pmr::vector<int>{1, 2, 3});
}

TEST_CASE_TEMPLATE("an address that is not a live block's is an error, and nothing has changed",
                   ArenaType, Plain, Indexed, Chunked) {
  ArenaType arena{1 * MiB};
  pmr::Resource<ArenaType> resource{arena};
  void* const address = resource.allocate(100, 1);
  int elsewhere = 0;
  for (void* const none : std::vector<void*>{&elsewhere, static_cast<char*>(address) + 16})
    CHECK_THROWS_AS(resource.deallocate(none, 100, 1), InvalidBlock);
  CHECK_THROWS_AS((Allocator<int, ArenaType>{arena}.deallocate(nullptr, 1)), InvalidBlock);
  CHECK(arena.usage().live_blocks == 1);
  resource.deallocate(address, 100, 1);
  CHECK_THROWS_WITH_AS(resource.deallocate(address, 100, 1),
                       doctest::Contains("; free each block once, in the arena that made it"),
                       InvalidBlock);
  CHECK(arena.usage().live_blocks == 0);
  CHECK(arena.validate());
}

TEST_CASE("nothing at all is a byte of its own") {
  Plain arena{1 * MiB};
  pmr::Resource<Plain> resource{arena};
  void* const first = resource.allocate(0);
  void* const second = resource.allocate(0);
  CHECK(first != nullptr);
  CHECK(first != second);
  resource.deallocate(first, 0);
  resource.deallocate(second, 0);
}

TEST_CASE(
    "what one resource of an indexed arena allocates, another may free; without an index not") {
  Indexed indexed{1 * MiB};
  Indexed other{1 * MiB};
  pmr::Resource<Indexed> first{indexed};
  pmr::Resource<Indexed> second{indexed};
  pmr::Resource<Indexed> elsewhere{other};
  CHECK(first == second);
  CHECK(first != elsewhere);
  CHECK(first != *std::pmr::new_delete_resource());
  second.deallocate(first.allocate(100), 100);
  CHECK(indexed.usage().used == 0);

  Plain plain{1 * MiB};
  pmr::Resource<Plain> alone{plain};
  CHECK(alone == alone);
  CHECK(alone != pmr::Resource<Plain>{plain});
}

TEST_CASE("allocators are equal if one can free what the other allocates") {
  Indexed indexed{1 * MiB};
  Plain plain{1 * MiB};
  CHECK(Allocator<int, Indexed>{indexed} == Allocator<char, Indexed>{indexed});
  static_assert(sizeof(Allocator<int, Indexed>) == sizeof(void*));
  const Allocator<int, Plain> allocator{plain};
  CHECK(allocator == Allocator<char, Plain>{allocator});
  CHECK(allocator != Allocator<int, Plain>{plain});
}

TEST_CASE(
    "a container that is moved or swapped takes its memory along; one that is assigned to stays") {
  Plain first{1 * MiB};
  Plain second{1 * MiB};
  using Numbers = std::vector<int, Allocator<int, Plain>>;
  Numbers a(100, 1, Allocator<int, Plain>{first});
  Numbers b(200, 2, Allocator<int, Plain>{second});
  const int* const of_a = a.data();
  std::swap(a, b);
  CHECK(b.data() == of_a);
  CHECK(b.size() == 100);
  a = b;
  CHECK(second.usage().live_blocks == 1);
  a = std::move(b);
  CHECK(a.data() == of_a);
  CHECK(second.usage().live_blocks == 0);

  pmr::Resource<Plain> one{first};
  pmr::Resource<Plain> two{second};
  std::pmr::vector<std::pmr::string> outer{&one};
  outer.emplace_back("a text that is too long to be kept within the string itself");
  CHECK(outer[0].get_allocator().resource() == &one);
  const std::pmr::vector<std::pmr::string> copy{outer, &two};
  CHECK(copy[0].get_allocator().resource() == &two);
  CHECK(copy == outer);
}

// After the loads that malloc's authors measure: "larson" hands blocks from thread to thread, "mstress"
// allocates and frees at random, and leaves some for another thread to free.
TEST_CASE_TEMPLATE("threads share a resource, and free what others allocated", ArenaType, Locking,
                   LockingIndexed, Sharded, ShardedIndexed) {
  ArenaType arena{64 * MiB};
  {
    pmr::Resource<ArenaType> resource{arena};
    constexpr std::size_t threads = 4;
    constexpr std::size_t rounds = 4;
    using Held = std::vector<std::pair<std::uint32_t*, std::size_t>>;
    std::vector<Held> held(threads);
    std::vector<int> faults(threads, 0);
    for (std::size_t round = 0; round < rounds; ++round) {
      std::vector<std::thread> running;
      for (std::size_t thread = 0; thread < threads; ++thread) {
        // Each takes over what its neighbour left.
        Held& mine = held[(thread + round) % threads];
        running.emplace_back([&, thread, round] {
          std::mt19937_64 random{test::first_seed() + thread + round * threads};
          for (int step = 0; step < 600; ++step) {
            if (mine.size() < 20 || random() % 2 == 0) {
              const std::size_t words = 1 + random() % 400;
              auto* const address = static_cast<std::uint32_t*>(resource.allocate(words * 4, 4));
              for (std::size_t i = 0; i < words; ++i)
                address[i] = static_cast<std::uint32_t>(words * 31 + i);
              mine.emplace_back(address, words);
            } else {
              std::swap(mine[random() % mine.size()], mine.back());
              const auto [address, words] = mine.back();
              mine.pop_back();
              for (std::size_t i = 0; i < words; ++i)
                faults[thread] += address[i] != static_cast<std::uint32_t>(words * 31 + i) ? 1 : 0;
              resource.deallocate(address, words * 4, 4);
            }
          }
        });
      }
      for (std::thread& thread : running) thread.join();
    }
    CHECK(std::accumulate(faults.begin(), faults.end(), 0) == 0);
    for (const Held& mine : held) {
      for (const auto& [address, words] : mine) resource.deallocate(address, words * 4, 4);
    }
  }
  CHECK(arena.usage().used == 0);
  CHECK(arena.validate());
}
