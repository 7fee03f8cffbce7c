// SPDX-License-Identifier: MIT
// Workspaces and paged caches on simulated GPUs: no copy races with another, nothing is freed in
// flight, and whichever call fails, everything is given back.
#include <allot/device/hip_device.hpp>
#include <allot/device/host_device.hpp>
#include <allot/pool/kv/kv_cache.hpp>
#include <allot/pool/workspace/workspace.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "hip/failing_calls.hpp"
#include "hip/simulation.hpp"
#include "laws/system_allocations.hpp"
#include "pool/kv/kv_engine.hpp"
#include "support/random.hpp"

namespace {

using namespace allot;
using test::fail_every_call;
using test::schedules;
using test::Tokens;
using Cache = KvCache<HipDevice<>>;

Tokens counted(std::uint32_t first, std::size_t count) {
  Tokens tokens(count);
  for (std::uint32_t& token : tokens) token = first++;
  return tokens;
}

/// All that a cache does with a device, on three lanes.
void serve(Cache& cache) {
  test::KvEngine engine{cache, 3};
  const Tokens prompt = counted(0, 10);
  auto first = cache.start(prompt, 0).sequence;
  engine.write(first, prompt, 0);
  first.publish();
  auto fork = first.fork(1);
  Tokens forked = prompt;
  forked.push_back(50);
  fork.append(50);  // copies, after what lane 0 has written
  engine.write(fork, forked, 10);
  Tokens appended = prompt;
  appended.push_back(60);
  first.append(60);
  engine.write(first, appended, 10);  // in place: after lane 1 has copied
  {
    auto [second, cached] = cache.start(prompt, 2);
    REQUIRE(cached == 8);
    engine.write(second, prompt, cached);
    second.use_lane(0);
    engine.check(second, prompt);
  }
  const Tokens other = counted(100, 12);
  auto again = cache.start(other, 1).sequence;  // in a block that lane 2 has used
  engine.write(again, other, 0);
  fork.truncate(0);
  static_cast<void>(cache.compact(10, 2));
  engine.check(again, other);
  engine.check(first, appended);
}

/// All that a workspace does with a device.
void compute(Workspace<HipDevice<>>& workspace, HipDevice<>& device, void* pinned) {
  for (std::uint64_t round = 0; round < 4; ++round) {
    auto scope = workspace.scope();
    auto upper = workspace.scope(End::upper);
    for (std::uint64_t i = 1; i < 4; ++i) {
      const auto a = scope.allocate(3000 * i);
      const auto b = upper.allocate(3000 * i);
      device.copy_to_device(a.address(), pinned, 3000 * i, workspace.stream());
      device.copy_on_device(b.address(), a.address(), 3000 * i, workspace.stream());
    }
  }
  workspace.shrink_to_fit();
}

}  // namespace

TEST_CASE("a paged cache commits no crime on three streams, in one allocation") {
  for (const auto schedule : schedules) {
    const test::Simulation simulation{{.schedule = schedule}};
    Cache cache{HipDevice<>{}, test::small_cache(12, 3)};
    serve(cache);
    CHECK(cache.stats().copied == 1);
    CHECK(cache.validate());
    CHECK(hipsim::calls("hipMalloc") == 1);
  }
}

TEST_CASE("a lane waits for no other where they share nothing") {
  const test::Simulation simulation;
  Cache cache{HipDevice<>{}, test::small_cache(12, 2)};
  test::KvEngine engine{cache, 2};
  for (std::size_t lane = 0; lane < 2; ++lane) {
    const Tokens tokens = counted(static_cast<std::uint32_t>(100 * lane), 9);
    auto sequence = cache.start(tokens, lane).sequence;
    engine.write(sequence, tokens, 0);
    sequence.append(1);
    auto kept = sequence.fork();
    kept.append(2);
    if (lane == 0) CHECK(hipsim::calls("hipStreamWaitEvent") == 0);
    if (lane == 1) CHECK(hipsim::calls("hipStreamWaitEvent") == 1);  // for the blocks of lane 0
  }
}

TEST_CASE("a block's work may be given after another lane has waited for other work of that lane") {
  for (const auto schedule : schedules) {
    const test::Simulation simulation{{.schedule = schedule}};
    HipDevice<> device;
    const auto pinned = device.staging_memory().acquire(4096, 256);
    auto* const host = static_cast<std::byte*>(pinned.address());
    BlockPool<HipDevice<>> pool{device, {.blocks = 4, .block_bytes = 1024, .lanes = 2}};
    const auto wait_for_other_work = [&](std::size_t lane) {
      const auto block = pool.allocate(lane);
      pool.write(block, 1 - lane);
      pool.release(block, 1 - lane);
    };
    const auto block = pool.allocate(0);
    wait_for_other_work(0);
    device.copy_to_device(pool.address(block), host, 1024, pool.stream(0));
    pool.read(block, 1);
    wait_for_other_work(1);
    device.copy_to_host(host + 1024, pool.address(block), 1024, pool.stream(1));
    pool.write(block, 0);
    wait_for_other_work(0);
    device.copy_to_device(pool.address(block), host + 2048, 1024, pool.stream(0));
    pool.release(block, 0);
    const auto again = pool.allocate(1);
    CHECK(again == block);
    device.copy_to_device(pool.address(again), host + 3072, 1024, pool.stream(1));
  }
}

TEST_CASE("a sequence's work may be given after calls of other lanes, as threads do") {
  for (int how = 0; how < 5; ++how) {
    CAPTURE(how);
    const test::Simulation simulation{{.schedule = schedules[how % 2]}};
    Cache cache{HipDevice<>{}, test::small_cache(24, 2)};
    test::KvEngine engine{cache, 2};
    const Tokens other_prompt = counted(100, 9);
    const Tokens prompt = counted(0, 11);
    auto other = cache.start(other_prompt, 0).sequence;
    auto first = cache.start(prompt, 0).sequence;
    engine.write(other, other_prompt, 0);
    other.publish();
    auto [waits, cached] = cache.start(other_prompt, 1);
    REQUIRE(cached == 8);
    engine.write(first, prompt, 0);
    if (how == 0) {
      first.publish();
      auto [second, found] = cache.start(prompt, 1);
      REQUIRE(found == 8);
      engine.write(second, prompt, found);
      engine.check(second, prompt);
    } else if (how == 1) {
      auto fork = first.fork(1);
      Tokens forked = prompt;
      forked.push_back(50);
      fork.append(50);
      engine.write(fork, forked, prompt.size());
      engine.check(fork, forked);
    } else if (how == 2) {
      first.use_lane(1);
      engine.check(first, prompt);
    } else if (how == 3) {
      other.truncate(0);
      static_cast<void>(cache.compact(3, 1));
      engine.check(first, prompt);
    } else {
      first.truncate(0);
      auto again = cache.start(prompt, 1).sequence;
      engine.write(again, prompt, 0);
      engine.check(again, prompt);
    }
  }
}

TEST_CASE("random serving on three streams commits no crime, early or late") {
  for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 6; ++seed) {
    INFO("ALLOT_SEED=" << seed);
    std::mt19937_64 random{seed};
    const test::Simulation simulation{{.schedule = schedules[seed % 2]}};
    Cache cache{HipDevice<>{}, test::small_cache(24, 3)};
    test::KvEngine engine{cache, 3};
    // Work is given as late as it may be: before the sequence's next call.
    struct Served {
      Cache::Sequence sequence;
      Tokens tokens;
      std::size_t written;
    };
    std::vector<Served> live;
    const auto give_work = [&](Served& served) {
      engine.write(served.sequence, served.tokens, served.written);
      served.written = served.tokens.size();
    };
    for (int i = 0; i < 250; ++i) {
      const std::size_t lane = random() % 3;
      try {
        if (live.size() < 2 || random() % 4 == 0) {
          Tokens prompt(random() % 14);
          for (auto& token : prompt) token = static_cast<std::uint32_t>(random() % 2);
          auto [sequence, cached] = cache.start(prompt, lane);
          live.push_back({std::move(sequence), prompt, cached});
          continue;
        }
        Served& served = live[random() % live.size()];
        give_work(served);
        switch (random() % 8) {
          case 0:
            served.sequence.append(7);
            served.tokens.push_back(7);
            break;
          case 1: {
            Served fork{served.sequence.fork(lane), served.tokens, served.written};
            fork.sequence.append(8);
            fork.tokens.push_back(8);
            live.push_back(std::move(fork));
            break;
          }
          case 2:
            for (Served& each : live) give_work(each);
            static_cast<void>(cache.compact(2, lane));
            break;
          case 3:
            engine.check(served.sequence, served.tokens);
            break;
          case 4:
            served.sequence.publish();
            break;
          case 5:
            served.sequence.use_lane(lane);
            break;
          case 6:
            served.tokens.resize(random() % (served.tokens.size() + 1));
            served.sequence.truncate(served.tokens.size());
            served.written = served.tokens.size();
            break;
          default:
            std::swap(served, live.back());
            live.pop_back();
        }
      } catch (const OutOfBlocks&) {
        live.erase(live.begin());
      }
    }
    for (Served& served : live) {
      give_work(served);
      engine.check(served.sequence, served.tokens);
    }
  }
}

TEST_CASE("a sequence that grows token by token seldom asks the system for memory") {
  KvCache<HostDevice> cache{HostDevice{}, test::small_cache(10'000)};
  auto sequence = cache.start().sequence;
  const std::uint64_t calls = test::system_allocator_calls();
  for (std::uint32_t token = 0; token < 40'000; ++token) sequence.append(token);
  CHECK(test::system_allocator_calls() - calls < 64);
}

TEST_CASE("whichever call of a cache fails, nothing is lost, raced or freed in flight") {
  fail_every_call(
      [] {
        Cache cache{HipDevice<>{}, test::small_cache(12, 3)};
        try {
          serve(cache);
        } catch (...) {
          hipsim::stop_failing();
          REQUIRE(cache.validate());
          REQUIRE(cache.stats().sequences == 0);
          throw;
        }
      },
      {"hipMalloc", "hipMemcpyAsync", "hipEventRecord", "hipStreamWaitEvent",
       "hipStreamCreateWithFlags", "hipEventCreateWithFlags", "hipStreamSynchronize", "hipFree"});
}

TEST_CASE("a workspace commits no crime, and once grown calls no device") {
  for (const auto schedule : schedules) {
    const test::Simulation simulation{{.schedule = schedule}};
    HipDevice<> device;
    const auto pinned = device.staging_memory().acquire(64 * KiB, 256);
    Workspace<HipDevice<>> workspace{device, {.minimum_bytes = 4 * KiB}};
    compute(workspace, device, pinned.address());
    compute(workspace, device, pinned.address());
    workspace.collect();
    device.synchronize(workspace.stream());
    workspace.collect();
    CHECK(workspace.retired_bytes() == 0);
    const std::uint64_t calls = hipsim::calls();
    for (int i = 0; i < 10; ++i) {
      auto scope = workspace.scope();
      static_cast<void>(scope.allocate(9000));
    }
    CHECK(hipsim::calls() == calls);
  }
}

TEST_CASE(
    "a workspace that the device refuses more waits for what it gives back, then asks again") {
  const test::Simulation simulation{
      {.devices = {{.memory = 10 * MiB}}, .schedule = hipsim::Schedule::late}};
  HipDevice<> device;
  const auto pinned = device.staging_memory().acquire(4 * MiB, 256);
  Workspace<HipDevice<>> workspace{device, {.initial_bytes = 4 * MiB}};
  {
    auto scope = workspace.scope();
    const auto slice = scope.allocate(4 * MiB);
    device.copy_to_device(slice.address(), pinned.address(), 4 * MiB, workspace.stream());
  }
  workspace.reset_high_water();
  workspace.shrink_to_fit();
  CHECK(workspace.retired_bytes() == 4 * MiB);
  auto scope = workspace.scope();
  CHECK(scope.allocate(8 * MiB).bytes() == 8 * MiB);
  CHECK(workspace.retired_bytes() == 0);
}

TEST_CASE("whichever call of a workspace fails, nothing is lost or freed in flight") {
  fail_every_call(
      [] {
        HipDevice<> device;
        const auto pinned = device.staging_memory().acquire(64 * KiB, 256);
        Workspace<HipDevice<>> workspace{device, {.minimum_bytes = 4 * KiB}};
        compute(workspace, device, pinned.address());
        compute(workspace, device, pinned.address());
      },
      {"hipMalloc", "hipMemcpyAsync", "hipEventRecord", "hipEventQuery", "hipStreamCreateWithFlags",
       "hipEventCreateWithFlags", "hipStreamSynchronize", "hipFree"});
}
