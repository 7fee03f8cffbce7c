// SPDX-License-Identifier: MIT
/// \file
/// What holds for a pool on every device, whatever its size classes are. A fixture names both:
/// `Device`, `Classes`, and a `Scope` that lives around each case.
#pragma once

#include <allot/pool/buffers/buffer_pool.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "support/patterns.hpp"

namespace allot::test {

struct NoScope {
  NoScope() noexcept {}
  ~NoScope() {}
};

template <class D, class C, class S = NoScope>
struct PoolOn {
  using Device = D;
  using Classes = C;
  using Scope = S;
  using Pool = BufferPool<D, C>;
  using Stream = SharedStream<D>;
};

template <class C>
[[nodiscard]] std::uint64_t class_bytes(std::uint64_t bytes) {
  return *C::round_up((bytes + 255) / 256) * 256;
}

/// Host memory that the device copies from and to.
template <class D>
class HostSide {
 public:
  HostSide(D& device, std::uint64_t bytes)
      : bytes_{bytes}, region_{device.staging_memory().acquire(bytes, 256)} {}

  [[nodiscard]] std::byte* address() const { return static_cast<std::byte*>(region_.address()); }
  void fill(int value) { std::memset(address(), value, bytes_); }
  [[nodiscard]] bool holds(int value) const {
    return all_are<std::byte>({address(), static_cast<std::size_t>(bytes_)}, std::byte(value));
  }

 private:
  std::uint64_t bytes_;
  typename D::staging_memory_type::Region region_;
};

}  // namespace allot::test

TEST_CASE_TEMPLATE_DEFINE("a buffer has what was asked for, aligned, apart from all others", T,
                          pool_buffers) {
  const typename T::Scope scope;
  typename T::Device device;
  typename T::Pool pool{device, 4 * allot::MiB};
  const typename T::Stream stream{device};
  std::vector<typename T::Pool::buffer_type> buffers;
  std::uint64_t requested = 0;
  std::uint64_t held = 0;
  for (const std::uint64_t bytes : {1U, 255U, 256U, 257U, 1000U, 4096U, 4097U, 100'000U, 1U}) {
    buffers.push_back(pool.acquire(bytes, stream));
    const auto& made = buffers.back();
    CHECK(made.size() == bytes);
    CHECK(made.capacity() == allot::test::class_bytes<typename T::Classes>(bytes));
    CHECK(reinterpret_cast<std::uintptr_t>(made.address()) % 256 == 0);
    requested += bytes;
    held += made.capacity();
  }
  std::vector<std::pair<std::uintptr_t, std::uintptr_t>> ranges;
  for (const auto& each : buffers) {
    const auto first = reinterpret_cast<std::uintptr_t>(each.address());
    ranges.emplace_back(first, first + each.capacity());
  }
  std::sort(ranges.begin(), ranges.end());
  for (std::size_t i = 1; i < ranges.size(); ++i) CHECK(ranges[i - 1].second <= ranges[i].first);

  auto stats = pool.stats();
  CHECK(stats.requested == requested);
  CHECK(stats.in_use == held);
  CHECK(stats.in_use_buffers == buffers.size());
  CHECK(stats.misses == buffers.size());
  CHECK(stats.hits + stats.cached + stats.cached_buffers == 0);
  CHECK(stats.capacity == 4 * allot::MiB);
  CHECK(stats.chunks == 1);
  CHECK(pool.validate());
  buffers.clear();
  stats = pool.stats();
  CHECK(stats.requested + stats.in_use + stats.in_use_buffers == 0);
  CHECK(stats.cached == held);
  CHECK(stats.peak_in_use == held);
  CHECK(stats.peak_held == held);
  CHECK(pool.validate());
  CHECK(pool.trim() == held);
  CHECK(pool.stats().cached == 0);
  CHECK(pool.stats().frees == 9);
  CHECK(pool.validate());
  const auto whole = pool.acquire(4 * allot::MiB, stream);  // nothing leaked, nothing stayed split
  CHECK(whole.capacity() == 4 * allot::MiB);
}

TEST_CASE_TEMPLATE_DEFINE("what is returned on a stream is used there again, at once", T,
                          pool_reuse) {
  const typename T::Scope scope;
  typename T::Device device;
  typename T::Pool pool{device, 4 * allot::MiB};
  const typename T::Stream stream{device};
  void* address = nullptr;
  {
    const auto first = pool.acquire(5000, stream);
    address = first.address();
  }
  for (int i = 0; i < 10; ++i) {
    const auto again = pool.acquire(5000 - static_cast<std::uint64_t>(i), stream);
    CHECK(again.address() == address);
  }
  const auto stats = pool.stats();
  CHECK(stats.misses == 1);
  CHECK(stats.hits == 10);
  CHECK(stats.hit_rate() == doctest::Approx(10.0 / 11));
  CHECK(stats.waits == 0);
  REQUIRE(stats.classes.size() == 1);
  CHECK(stats.classes[0] ==
        allot::PoolClassStats{.capacity = allot::test::class_bytes<typename T::Classes>(5000),
                              .hits = 10,
                              .misses = 1,
                              .in_use = 0,
                              .cached = 1});
}

TEST_CASE_TEMPLATE_DEFINE("another stream gets it after the work that was given to the first", T,
                          pool_order) {
  const typename T::Scope scope;
  typename T::Device device;
  constexpr std::uint64_t bytes = 1 * allot::MiB;
  allot::test::HostSide<typename T::Device> ones{device, bytes};
  allot::test::HostSide<typename T::Device> twos{device, bytes};
  allot::test::HostSide<typename T::Device> seen{device, bytes};
  ones.fill(1);
  twos.fill(2);
  for (const bool is_shared : {true, false}) {
    typename T::Pool pool{device, 2 * bytes, {.reuse = allot::Reuse::cached_first}};
    const typename T::Stream first{device};
    const typename T::Stream second{device};
    const auto acquire = [&](const typename T::Stream& stream) {
      return is_shared ? pool.acquire(bytes, stream) : pool.acquire(bytes, *stream);
    };
    void* address = nullptr;
    for (int round = 0; round < 5; ++round) {
      {
        const auto buffer = acquire(first);
        CHECK((address == nullptr || address == buffer.address()));
        address = buffer.address();
        device.copy_to_device(buffer.address(), ones.address(), bytes, *first);
        device.copy_to_host(seen.address(), buffer.address(), bytes, *first);
      }
      {
        const auto buffer = acquire(second);
        CHECK(buffer.address() == address);
        device.copy_to_device(buffer.address(), twos.address(), bytes, *second);
        device.synchronize(*first);
        CHECK(seen.holds(1));
        device.copy_to_host(seen.address(), buffer.address(), bytes, *second);
        device.synchronize(*second);
        CHECK(seen.holds(2));
      }
    }
    const bool has_streams = !std::is_empty_v<typename T::Device::stream_type>;
    if (!has_streams) CHECK(pool.stats().waits == 0);
    if (has_streams && is_shared) CHECK(pool.stats().waits == 9);
    // The pool forgets a stream that it has no part in, if its work is done when another comes.
    if (has_streams && !is_shared) CHECK(pool.stats().waits <= 9);
  }
}

TEST_CASE_TEMPLATE_DEFINE("a buffer of the same stream comes first, then one that is ready", T,
                          pool_choice) {
  const typename T::Scope scope;
  typename T::Device device;
  typename T::Pool pool{device, 4 * allot::MiB, {.reuse = allot::Reuse::cached_first}};
  const typename T::Stream first{device};
  const typename T::Stream second{device};
  pool.warm_up({4096, 4096, 4096});
  {
    auto on_first = pool.acquire(4096, first);
    auto on_second = pool.acquire(4096, second);
    void* const address = on_second.address();
    on_second.release();
    on_first.release();
    const auto again = pool.acquire(4096, second);
    constexpr bool has_streams = !std::is_empty_v<typename T::Device::stream_type>;
    CHECK((again.address() == address || !has_streams));
    const auto fresh = pool.acquire(4096, second);  // the one that was never used
    CHECK(pool.stats().waits == 0);
    const auto other = pool.acquire(4096, second);
    CHECK(pool.stats().waits == (has_streams ? 1 : 0));
  }
  CHECK(pool.stats().misses == 0);
}

TEST_CASE_TEMPLATE_DEFINE("a wait covers all that was returned before it", T, pool_waits) {
  const typename T::Scope scope;
  typename T::Device device;
  typename T::Pool pool{device, 4 * allot::MiB, {.reuse = allot::Reuse::cached_first}};
  const typename T::Stream first{device};
  const typename T::Stream second{device};
  { const std::array before{pool.acquire(4096, first), pool.acquire(4096, first)}; }
  const std::array after{pool.acquire(4096, second), pool.acquire(4096, second)};
  CHECK(pool.stats().hits == 2);
  CHECK(pool.stats().waits == (std::is_empty_v<typename T::Device::stream_type> ? 0 : 1));
}

TEST_CASE_TEMPLATE_DEFINE("a slice keeps its buffer out of the pool", T, pool_slices) {
  const typename T::Scope scope;
  typename T::Device device;
  std::optional<typename T::Pool> pool{std::in_place, device, 4 * allot::MiB};
  const typename T::Stream stream{device};
  auto buffer = pool->acquire(1000, stream);
  auto part = buffer.slice(100, 900);
  CHECK(part.bytes() == 900);
  CHECK(part.address() == static_cast<std::byte*>(buffer.address()) + 100);
  CHECK_THROWS_AS(static_cast<void>(buffer.slice(100, 901)), std::out_of_range);
  buffer.set_size(500);
  CHECK(buffer.slice().bytes() == 500);
  CHECK_THROWS_AS(buffer.set_size(buffer.capacity() + 1), std::out_of_range);
  buffer.release();
  CHECK(buffer.empty());
  CHECK(buffer.size() + buffer.capacity() == 0);
  CHECK(pool->stats().in_use_buffers == 1);
  part = {};
  CHECK(pool->stats().in_use_buffers == 0);
  CHECK(pool->stats().cached_buffers == 1);
}

TEST_CASE_TEMPLATE_DEFINE("a buffer can be returned on the stream that used it last", T,
                          pool_return_on) {
  const typename T::Scope scope;
  typename T::Device device;
  typename T::Pool pool{device, 4 * allot::MiB};
  const typename T::Stream first{device};
  const typename T::Stream second{device};
  auto buffer = pool.acquire(1000, first);
  buffer.release(second);
  const auto again = pool.acquire(1000, second);
  CHECK(pool.stats().hits == 1);
  CHECK(pool.stats().waits == 0);
}

TEST_CASE_TEMPLATE_DEFINE("if misses are errors, a loop that was warmed up has none", T,
                          pool_misses) {
  const typename T::Scope scope;
  typename T::Device device;
  typename T::Pool pool{device, 4 * allot::MiB};
  const typename T::Stream stream{device};
  pool.warm_up({1000, 1000, 60'000});
  CHECK(pool.stats().cached_buffers == 3);
  pool.warm_up({60'000, 1000});  // are there
  CHECK(pool.stats().cached_buffers == 3);
  CHECK(pool.stats().misses == 0);
  pool.on_miss(allot::Misses::are_errors);
  const auto a = pool.acquire(1000, stream);
  const auto b = pool.acquire(1000, stream);
  try {
    static_cast<void>(pool.acquire(1000, stream));
    FAIL("a miss was no error");
  } catch (const allot::PoolMiss& miss) {
    CHECK(miss.bytes() == 1000);
    CHECK(miss.capacity() == 1024);
    CHECK(std::string{miss.what()} ==
          "a miss, although misses are errors: no buffer for 1000 B (1000 bytes) is cached; 2 of "
          "its class, 1 KiB (1024 bytes), are in use; warm up one more of that size, or let misses "
          "allocate");
  }
  CHECK_THROWS_AS(static_cast<void>(pool.acquire(9, stream)), allot::PoolMiss);
  CHECK(pool.stats().misses == 2);
  CHECK(pool.stats().in_use_buffers == 2);
  pool.on_miss(allot::Misses::allocate);
  const auto c = pool.acquire(1000, stream);
  CHECK(pool.validate());
}

TEST_CASE_TEMPLATE_DEFINE("a warm-up makes all of its buffers or none", T, pool_warm_up) {
  const typename T::Scope scope;
  typename T::Device device;
  typename T::Pool pool{device, 1 * allot::MiB, {.max_cached = 768 * allot::KiB}};
  const typename T::Stream stream{device};
  CHECK_THROWS_AS(pool.warm_up({512 * allot::KiB, 512 * allot::KiB}), std::invalid_argument);
  const auto taken = pool.acquire(512 * allot::KiB, stream);
  CHECK_THROWS_AS(pool.warm_up({1, 256 * allot::KiB, 256 * allot::KiB}), allot::OutOfMemory);
  CHECK_THROWS_AS(pool.warm_up({1, 0}), std::invalid_argument);
  CHECK(pool.stats().cached_buffers == 0);
  CHECK(pool.validate());
  pool.warm_up({256 * allot::KiB, 256 * allot::KiB});
  CHECK(pool.stats().cached == 512 * allot::KiB);
}

TEST_CASE_TEMPLATE_DEFINE("sizes that cannot be are refused, and nothing changes", T,
                          pool_refusals) {
  const typename T::Scope scope;
  typename T::Device device;
  CHECK_THROWS_AS((typename T::Pool{device, 100}), std::invalid_argument);
  typename T::Pool pool{device, 1 * allot::MiB};
  const typename T::Stream stream{device};
  const auto before = pool.stats();
  CHECK_THROWS_AS(static_cast<void>(pool.acquire(0, stream)), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(pool.acquire(~std::uint64_t{0}, stream)),
                  std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(pool.acquire(~std::uint64_t{0} - 256, stream)), std::exception);
  const auto kept = pool.acquire(600'000, stream);
  try {
    static_cast<void>(pool.acquire(600'000, stream));
    FAIL("more than there is was granted");
  } catch (const allot::OutOfMemory& error) {
    CHECK(error.reason() == allot::RefusalReason::too_large);
    CHECK(error.requested() == 600'000);
    CHECK(error.capacity() == 1 * allot::MiB);
    CHECK(error.free() == 1 * allot::MiB - kept.capacity());
  }
  CHECK(pool.stats().in_use_buffers == before.in_use_buffers + 1);
  CHECK(pool.validate());
}

TEST_CASE_TEMPLATE_DEFINE("before it fails, a pool frees what is cached of other classes", T,
                          pool_own_memory) {
  const typename T::Scope scope;
  typename T::Device device;
  typename T::Pool pool{device, 1 * allot::MiB};
  const typename T::Stream stream{device};
  const auto kept = pool.acquire(1000, stream);
  {
    std::vector<typename T::Pool::buffer_type> many;
    for (int i = 0; i < 60; ++i) many.push_back(pool.acquire(16'000, stream));
  }
  const auto large = pool.acquire(512 * allot::KiB, stream);
  CHECK(pool.stats().frees > 0);
  CHECK(pool.stats().frees < 60);
  CHECK(pool.validate());
}

TEST_CASE_TEMPLATE_DEFINE("cached bytes stay under the cap, the oldest are freed first", T,
                          pool_cap) {
  const typename T::Scope scope;
  typename T::Device device;
  typename T::Pool pool{device, 4 * allot::MiB, {.max_cached = 64 * allot::KiB}};
  const typename T::Stream stream{device};
  {
    auto a = pool.acquire(32 * allot::KiB, stream);
    auto b = pool.acquire(16 * allot::KiB, stream);
    auto c = pool.acquire(32 * allot::KiB, stream);
    const void* const last = c.address();
    a.release();
    b.release();
    c.release();  // a goes
    CHECK(pool.stats().cached == 48 * allot::KiB);
    CHECK(pool.acquire(32 * allot::KiB, stream).address() == last);
    pool.acquire(65 * allot::KiB, stream).release();
    CHECK(pool.stats().cached == 0);
  }
  CHECK(pool.validate());
}

TEST_CASE_TEMPLATE_DEFINE("trimming frees down to a number of bytes, or what was idle for long", T,
                          pool_trim) {
  const typename T::Scope scope;
  typename T::Device device;
  typename T::Pool pool{device, 4 * allot::MiB, {.max_idle_ticks = 3}};
  const typename T::Stream stream{device};
  const auto fill = [&] { pool.warm_up({1024, 2048, 4096}); };
  fill();
  CHECK(pool.trim(5000) == 3072);
  CHECK(pool.stats().cached == 4096);
  CHECK(pool.trim(4096) == 0);
  fill();
  CHECK(pool.tick() == 0);
  CHECK(pool.tick() == 0);
  pool.acquire(2048, stream).release();
  CHECK(pool.tick() == 5120);
  CHECK(pool.stats().cached == 2048);
  CHECK(pool.trim_idle(2) == 0);
  CHECK(pool.trim_idle(1) == 2048);
  CHECK(pool.validate());
}

TEST_CASE_TEMPLATE_DEFINE("a pool grows if it was asked to, up to its limit", T, pool_growth) {
  const typename T::Scope scope;
  typename T::Device device;
  typename T::Pool pool{
      device, 1 * allot::MiB, {.growth = 1 * allot::MiB, .max_capacity = 5 * allot::MiB / 2}};
  const typename T::Stream stream{device};
  auto a = pool.acquire(1 * allot::MiB, stream);
  auto b = pool.acquire(1 * allot::MiB, stream);
  CHECK(pool.stats().chunks == 2);
  CHECK_THROWS_AS(static_cast<void>(pool.acquire(1 * allot::MiB, stream)), allot::OutOfMemory);
  auto c = pool.acquire(512 * allot::KiB, stream);
  CHECK(pool.stats().capacity == 5 * allot::MiB / 2);
  CHECK(pool.stats().chunks == 3);
  CHECK_THROWS_AS(static_cast<void>(pool.acquire(256, stream)), allot::OutOfMemory);
  CHECK(pool.validate());
}

TEST_CASE_TEMPLATE_DEFINE("a pool gives idle memory back if its device has too little", T,
                          pool_reclaim) {
  const typename T::Scope scope;
  typename T::Device device;
  const std::string name = device.name();
  const typename T::Stream stream{device};
  typename T::Pool pool{device, 1 * allot::MiB, {.growth = 1 * allot::MiB}};
  typename T::Pool kept{device, 1 * allot::MiB, {.reclaimable = false}};
  {
    auto a = pool.acquire(1 * allot::MiB, stream);
    auto b = pool.acquire(512 * allot::KiB, stream);
    a.release();
    CHECK(allot::reclaim_memory("another:7", allot::GiB) == 0);
    CHECK(allot::reclaim_memory(name, allot::GiB) == 1 * allot::MiB);
    CHECK(pool.stats().chunks == 1);
    CHECK(allot::reclaim_memory(name, allot::GiB) == 0);
  }
  CHECK(allot::reclaim_memory(name, 1) == 1 * allot::MiB);
  CHECK(pool.stats().chunks == 0);
  CHECK(pool.stats().cached == 0);
  CHECK(kept.stats().chunks == 1);
  const auto again = pool.acquire(1 * allot::MiB, stream);
  CHECK(pool.stats().chunks == 1);
  CHECK(pool.validate());
}

TEST_CASE_TEMPLATE_DEFINE("pool, device, streams and buffers go in any order", T, pool_ends) {
  std::array<int, 5> order{0, 1, 2, 3, 4};
  do {
    const typename T::Scope scope;
    std::optional<typename T::Device> device{std::in_place};
    std::optional<typename T::Pool> pool{std::in_place, *device, 1 * allot::MiB};
    std::optional<typename T::Stream> stream{*device};
    allot::test::HostSide<typename T::Device> host{*device, 4096};
    auto buffer = pool->acquire(4096, *stream);
    device->copy_to_device(buffer.address(), host.address(), 4096, **stream);
    auto cached = pool->acquire(4096, *stream);
    device->copy_to_device(cached.address(), host.address(), 4096, **stream);
    cached.release();
    auto slice = buffer.slice(16, 16);
    for (const int each : order) {
      if (each == 0) pool.reset();
      if (each == 1) device.reset();
      if (each == 2) stream.reset();
      if (each == 3) buffer.release();
      if (each == 4) std::thread{[gone = std::exchange(slice, {})]() mutable { gone = {}; }}.join();
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE_TEMPLATE_DEFINE("a pool and its last buffers go at once on three threads", T,
                          pool_at_once) {
  const typename T::Scope scope;
  typename T::Device device;
  const typename T::Stream stream{device};
  for (int round = 0; round < 100; ++round) {
    auto pool = std::make_unique<typename T::Pool>(device, 64 * allot::KiB);
    auto buffer = pool->acquire(4096, stream);
    auto slice = pool->acquire(4096, stream).slice();
    std::atomic<int> ready = 0;  // no latch: where it has no futex, libstdc++ 12's may wait forever
    const auto start = [&ready] {
      for (++ready; ready != 3;) std::this_thread::yield();
    };
    std::thread first{[&] {
      start();
      buffer.release();
    }};
    std::thread second{[&] {
      start();
      slice = {};
    }};
    start();
    pool.reset();
    first.join();
    second.join();
    CHECK(stream.owner().use_count() == 1);  // what they shared is gone, too
  }
}

TEST_CASE_TEMPLATE_DEFINE("streams that come and go leave nothing behind", T, pool_streams) {
  const typename T::Scope scope;
  typename T::Device device;
  allot::test::HostSide<typename T::Device> host{device, 4096};  // the pool keeps streams
  for (const allot::Reuse reuse : {allot::Reuse::cached_first, allot::Reuse::idle_first}) {
    typename T::Pool pool{device, 1 * allot::MiB, {.reuse = reuse}};
    for (int i = 0; i < 50; ++i) {
      if (i % 2 == 0) {
        const typename T::Stream stream{device};
        const auto buffer = pool.acquire(4096, stream);
        device.copy_to_device(buffer.address(), host.address(), 4096, *stream);
      } else {
        auto stream = device.make_stream();
        const auto buffer = pool.acquire(4096, stream);
        device.copy_to_device(buffer.address(), host.address(), 4096, stream);
      }
      if (i % 10 == 0) pool.tick();
    }
    if (reuse == allot::Reuse::cached_first) CHECK(pool.stats().misses == 1);
    CHECK(pool.validate());
  }
}

TEST_CASE_TEMPLATE_DEFINE("whatever is done to it, a pool keeps account", T, pool_random) {
  const typename T::Scope scope;
  typename T::Device device;
  std::mt19937_64 random{20};
  allot::test::HostSide<typename T::Device> host{device, 64};  // outlives the streams' copies
  typename T::Pool pool{device,
                        256 * allot::KiB,
                        {.max_cached = 200 * allot::KiB,
                         .growth = 64 * allot::KiB,
                         .max_capacity = 400 * allot::KiB,
                         .max_idle_ticks = 20}};
  const std::array<typename T::Stream, 3> streams{
      typename T::Stream{device}, typename T::Stream{device}, typename T::Stream{device}};
  std::vector<typename T::Pool::buffer_type> buffers;
  std::uint64_t acquired = 0;
  std::uint64_t refused = 0;
  for (int step = 0; step < 2000; ++step) {
    const auto& stream = streams[random() % 3];
    const std::uint64_t choice = random() % 100;
    if (choice < 50) {
      try {
        const std::uint64_t bytes = 64 + random() % (random() % 5 == 0 ? 40'000 : 2000);
        buffers.push_back(random() % 4 == 0 ? pool.acquire(bytes, *stream)
                                            : pool.acquire(bytes, stream));
        device.copy_to_device(buffers.back().address(), host.address(), 64, *stream);
      } catch (const allot::OutOfMemory&) {
        ++refused;
      }
      ++acquired;
    } else if (choice < 97 && !buffers.empty()) {
      std::swap(buffers[random() % buffers.size()], buffers.back());
      buffers.pop_back();
    } else if (choice == 97) {
      pool.trim(random() % 100'000);
    } else if (choice == 98) {
      pool.tick();
    } else if (choice == 99) {
      static_cast<void>(allot::reclaim_memory(device.name(), 1));
    }
    const auto stats = pool.stats();
    REQUIRE(stats.hits + stats.misses == acquired);
    REQUIRE(stats.in_use_buffers == buffers.size());
    REQUIRE(stats.cached <= 200 * allot::KiB);
    REQUIRE(stats.capacity <= 400 * allot::KiB);
    REQUIRE(stats.in_use + stats.cached <= stats.capacity);
    if (step % 50 == 0) REQUIRE(pool.validate());
  }
  CHECK(pool.stats().hits > 100);
}

TEST_CASE_TEMPLATE_DEFINE("two threads share a pool, and its figures are true", T, pool_threads) {
  const typename T::Scope scope;
  typename T::Device device;
  typename T::Pool pool{
      device, 512 * allot::KiB, {.growth = 64 * allot::KiB, .max_capacity = 1 * allot::MiB}};
  constexpr int rounds = 300;
  std::atomic<std::uint64_t> acquired{0};
  const auto work = [&](std::uint64_t seed) {
    std::mt19937_64 random{seed};
    const typename T::Stream stream{device};
    allot::test::HostSide<typename T::Device> host{device, 64};
    std::vector<typename T::Pool::buffer_type> buffers;
    for (int i = 0; i < rounds; ++i) {
      const std::uint64_t bytes = 64 + random() % 10'000;
      buffers.push_back(i % 3 == 0 ? pool.acquire(bytes, *stream) : pool.acquire(bytes, stream));
      ++acquired;
      device.copy_to_device(buffers.back().address(), host.address(), 64, *stream);
      if (buffers.size() > random() % 8) {
        std::swap(buffers[random() % buffers.size()], buffers.back());
        buffers.pop_back();
      }
      if (i % 100 == 99) pool.tick();
      if (i % 150 == 99) static_cast<void>(allot::reclaim_memory(device.name(), 1));
    }
    buffers.clear();
    device.synchronize(*stream);
  };
  std::thread other{work, 1};
  work(2);
  other.join();
  const auto stats = pool.stats();
  CHECK(stats.hits + stats.misses == acquired);
  CHECK(stats.in_use + stats.requested + stats.in_use_buffers == 0);
  CHECK(pool.validate());
}

/// All laws, for the fixtures given.
#define ALLOT_POOL_LAWS(...)                               \
  TEST_CASE_TEMPLATE_INVOKE(pool_buffers, __VA_ARGS__);    \
  TEST_CASE_TEMPLATE_INVOKE(pool_reuse, __VA_ARGS__);      \
  TEST_CASE_TEMPLATE_INVOKE(pool_order, __VA_ARGS__);      \
  TEST_CASE_TEMPLATE_INVOKE(pool_choice, __VA_ARGS__);     \
  TEST_CASE_TEMPLATE_INVOKE(pool_waits, __VA_ARGS__);      \
  TEST_CASE_TEMPLATE_INVOKE(pool_slices, __VA_ARGS__);     \
  TEST_CASE_TEMPLATE_INVOKE(pool_return_on, __VA_ARGS__);  \
  TEST_CASE_TEMPLATE_INVOKE(pool_misses, __VA_ARGS__);     \
  TEST_CASE_TEMPLATE_INVOKE(pool_warm_up, __VA_ARGS__);    \
  TEST_CASE_TEMPLATE_INVOKE(pool_refusals, __VA_ARGS__);   \
  TEST_CASE_TEMPLATE_INVOKE(pool_own_memory, __VA_ARGS__); \
  TEST_CASE_TEMPLATE_INVOKE(pool_cap, __VA_ARGS__);        \
  TEST_CASE_TEMPLATE_INVOKE(pool_trim, __VA_ARGS__);       \
  TEST_CASE_TEMPLATE_INVOKE(pool_growth, __VA_ARGS__);     \
  TEST_CASE_TEMPLATE_INVOKE(pool_reclaim, __VA_ARGS__);    \
  TEST_CASE_TEMPLATE_INVOKE(pool_ends, __VA_ARGS__);       \
  TEST_CASE_TEMPLATE_INVOKE(pool_at_once, __VA_ARGS__);    \
  TEST_CASE_TEMPLATE_INVOKE(pool_streams, __VA_ARGS__);    \
  TEST_CASE_TEMPLATE_INVOKE(pool_random, __VA_ARGS__);     \
  TEST_CASE_TEMPLATE_INVOKE(pool_threads, __VA_ARGS__)
