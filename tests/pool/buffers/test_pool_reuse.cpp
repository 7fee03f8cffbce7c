// SPDX-License-Identifier: MIT
// Which buffer a stream gets, on a device whose work ends when the test says so: costs are counted.
#include <allot/pool/buffers/buffer_pool.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

#include "support/manual_device.hpp"

namespace {

using namespace allot;
using test::ManualDevice;
using Pool = BufferPool<ManualDevice>;
using Stream = SharedStream<ManualDevice>;

/// A pool with a buffer of 4 KiB that each of these streams returned with work still to be done.
struct Busy {
  explicit Busy(const PoolOptions& options = {}, std::uint64_t capacity = 1 * MiB,
                bool is_shared = true)
      : pool{device, capacity, options} {
    auto a = is_shared ? pool.acquire(4096, first) : pool.acquire(4096, *first);
    auto b = is_shared ? pool.acquire(4096, second) : pool.acquire(4096, *second);
    first_address = a.address();
    second_address = b.address();
    ManualDevice::give(*first);
    ManualDevice::give(*second);
    a.release();
    b.release();
  }

  ManualDevice device;
  Stream first{device};  // before the pool, which looks at their events when it goes
  Stream second{device};
  Stream third{device};
  Pool pool;
  void* first_address = nullptr;
  void* second_address = nullptr;
};

}  // namespace

TEST_CASE("a buffer whose work is done comes before one that is busy, without a wait") {
  for (const bool is_shared : {true, false}) {
    Busy at{{}, 1 * MiB, is_shared};
    ManualDevice::finish(*at.second);
    const auto buffer = at.pool.acquire(4096, at.third);
    CHECK(buffer.address() == at.second_address);
    CHECK(at.device.counts().waits == 0);
    CHECK(at.device.counts().host_waits == 0);
    CHECK(at.device.counts().queries <= 2);  // one for each stream that has a buffer
    CHECK(at.pool.stats().hits == 1);
    CHECK(at.pool.stats().waits == 0);
  }
}

TEST_CASE("if all are busy, memory that is free comes before a wait") {
  Busy at;
  const auto buffer = at.pool.acquire(4096, at.third);
  CHECK(buffer.address() != at.first_address);
  CHECK(buffer.address() != at.second_address);
  CHECK(at.device.counts().waits == 0);
  CHECK(at.pool.stats().misses == 3);
  CHECK(at.pool.stats().cached_buffers == 2);
  CHECK(at.pool.validate());
}

TEST_CASE("a busy one is waited for on the device if no memory is left, and nothing is freed") {
  Busy at{{}, 8192};
  const auto buffer = at.pool.acquire(4096, at.third);
  CHECK(buffer.address() == at.first_address);  // returned longest ago
  CHECK((*at.third)->waits_for(*(*at.first).get(), 1));
  CHECK(at.device.counts().waits == 1);
  CHECK(at.device.counts().host_waits == 0);
  CHECK(at.pool.stats().frees == 0);
  CHECK(at.pool.stats().hits == 1);
  CHECK(at.pool.stats().waits == 1);
}

TEST_CASE("new memory instead of a wait stays within both limits") {
  {
    Busy at{{.growth = 4096, .max_capacity = 12'288}, 8192};
    const auto grown = at.pool.acquire(4096, at.third);
    CHECK(at.pool.stats().misses == 3);
    CHECK(at.pool.stats().capacity == 12'288);
    const auto waited = at.pool.acquire(4096, at.third);
    CHECK(at.pool.stats().waits == 1);
    CHECK(at.pool.stats().capacity == 12'288);
  }
  {
    Busy at{{.max_cached = 8192}};
    const auto waited = at.pool.acquire(4096, at.third);
    CHECK(at.pool.stats().misses == 2);
    CHECK(at.pool.stats().waits == 1);
  }
}

TEST_CASE("a stream's own buffer costs no query, and neither does one whose order is known") {
  Busy at;
  CHECK(at.pool.acquire(4096, at.first).address() == at.first_address);
  CHECK(at.device.counts().calls == at.device.counts().events);  // made for each stream
  // The third waits for the first, by a buffer of another class.
  at.pool.on_miss(Misses::are_errors);
  CHECK(at.pool.acquire(4096, at.third).address() != nullptr);
  at.pool.on_miss(Misses::allocate);
  const std::uint64_t queries = at.device.counts().queries;
  const auto own = at.pool.acquire(4096, at.third);
  const auto before = at.device.counts().calls;
  CHECK(at.device.counts().queries == queries);
  CHECK(at.device.counts().calls == before);
}

TEST_CASE("if misses are errors, a busy one comes before a miss, and an idle one before it") {
  Busy at;
  at.pool.on_miss(Misses::are_errors);
  ManualDevice::finish(*at.second);
  const auto idle = at.pool.acquire(4096, at.third);
  CHECK(idle.address() == at.second_address);
  CHECK(at.pool.stats().waits == 0);
  const auto busy = at.pool.acquire(4096, at.third);
  CHECK(busy.address() == at.first_address);
  CHECK(at.pool.stats().waits == 1);
  CHECK_THROWS_AS(static_cast<void>(at.pool.acquire(4096, at.third)), PoolMiss);
}

TEST_CASE("after a warm-up a busy one comes before a miss, and an idle one before it") {
  Busy at;
  at.pool.warm_up({4096, 4096});  // are there
  ManualDevice::finish(*at.second);
  const auto idle = at.pool.acquire(4096, at.third);
  CHECK(idle.address() == at.second_address);
  const auto busy = at.pool.acquire(4096, at.third);
  CHECK(busy.address() == at.first_address);
  CHECK(at.pool.stats().waits == 1);
  CHECK(at.pool.stats().misses == 2);
  const auto fresh = at.pool.acquire(4096, at.third);  // nothing is cached
  CHECK(at.pool.stats().misses == 3);
}

TEST_CASE("cached first: the one that was returned longest ago, with a wait and no query") {
  Busy at{{.reuse = Reuse::cached_first}};
  ManualDevice::finish(*at.second);
  const auto buffer = at.pool.acquire(4096, at.third);
  CHECK(buffer.address() == at.first_address);
  CHECK(at.device.counts().queries == 0);
  CHECK(at.pool.stats().waits == 1);
  CHECK(at.pool.stats().misses == 2);
}

TEST_CASE("streams in turn settle at a buffer of their own each, and call the device no more") {
  ManualDevice device;
  Pool pool{device, 1 * MiB};
  const Stream first{device};
  const Stream second{device};
  std::uint64_t calls = 0;
  for (int i = 0; i < 100; ++i) {
    const Stream& stream = i % 2 == 0 ? first : second;
    const auto buffer = pool.acquire(4096, stream);
    ManualDevice::give(*stream);
    if (i == 1) calls = device.counts().calls;
  }
  CHECK(pool.stats().misses == 2);
  CHECK(pool.stats().waits == 0);
  CHECK(device.counts().calls == calls);
}

TEST_CASE("a query that fails leaves the pool as it was") {
  Busy at;
  for (std::uint64_t call = 1; call <= 4; ++call) {
    at.device.counts().failing_call = call;
    try {
      const auto buffer = at.pool.acquire(4096, at.third);
    } catch (const std::runtime_error&) {
      CHECK(at.pool.stats().in_use_buffers == 0);
      CHECK(at.pool.stats().cached_buffers == 2);
    }
    at.device.counts().failing_call = 0;
    CHECK(at.pool.validate());
  }
}

TEST_CASE("whichever stream is slow, others never wait while there is memory for them") {
  for (int slow = 0; slow < 4; ++slow) {
    ManualDevice device;
    Pool pool{device, 16 * MiB};
    const std::vector<Stream> streams{Stream{device}, Stream{device}, Stream{device},
                                      Stream{device}};
    std::uint64_t state = 1;
    for (int i = 0; i < 400; ++i) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      const auto at = static_cast<std::size_t>(state >> 62);
      const auto buffer = pool.acquire(1 + (state >> 40) % 100'000, streams[at]);
      ManualDevice::give(*streams[at]);
      for (int j = 0; j < 4; ++j) {
        if (j != slow) ManualDevice::finish(*streams[static_cast<std::size_t>(j)]);
      }
    }
    CHECK(pool.stats().waits == 0);
    CHECK(device.counts().host_waits == 0);
    CHECK(pool.validate());
  }
}
