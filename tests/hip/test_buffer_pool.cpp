// SPDX-License-Identifier: MIT
// The pool on simulated GPUs: the laws, what it asks of the driver, and what happens when a call
// fails.
#include <allot/device/hip_device.hpp>
#include <allot/pool/buffers/buffer_pool.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "hip/simulation.hpp"
#include "hipsim/watched_memory.hpp"
#include "laws/system_allocations.hpp"
#include "pool/buffers/pool_laws.hpp"
#include "support/in_child.hpp"

namespace {

using namespace allot;

struct Late : test::Simulation {
  Late() : Simulation{{.schedule = hipsim::Schedule::late}} {}
};

template <class C, class S = test::Simulation>
struct OnHip : test::PoolOn<hipsim::WatchedDevice, C, S> {};

/// A buffer of a layer: taken at one step, returned at another.
struct LayerBuffer {
  std::uint64_t bytes;
  int first;
  int last;
};

/// A transformer layer for 256 tokens of 2048 numbers, 16 heads, 2 bytes each.
constexpr std::array<LayerBuffer, 9> layer_buffers{{
    {256 * 2048 * 2, 0, 8},              // residual
    {256 * 2048 * 2, 0, 2},              // normed
    {256 * (2048 + 2 * 512) * 2, 1, 4},  // q, k, v
    {16 * 256 * 256 * 2, 2, 4},          // scores
    {256 * 2048 * 2, 4, 5},              // attended
    {256 * 2048 * 2, 5, 7},              // normed again
    {256 * 5632 * 2, 6, 8},              // gate
    {256 * 5632 * 2, 6, 8},              // up
    {256 * 4, 0, 1},                     // positions
}};

template <class Pool, class Stream>
void run_layer(Pool& pool, Stream& stream) {
  std::array<typename Pool::buffer_type, layer_buffers.size()> buffers;
  for (int step = 0; step <= 8; ++step) {
    for (std::size_t i = 0; i < layer_buffers.size(); ++i) {
      if (layer_buffers[i].first == step) buffers[i] = pool.acquire(layer_buffers[i].bytes, stream);
    }
    for (std::size_t i = 0; i < layer_buffers.size(); ++i) {
      if (layer_buffers[i].last == step) buffers[i].release();
    }
  }
}

/// All that a pool does with a device, on streams of both kinds.
void use_everything(HipDevice<>& device, Reuse reuse) {
  test::HostSide<HipDevice<>> host{device, 4096};  // the pool keeps streams that copy from it
  BufferPool pool{
      device,
      256 * KiB,
      {.max_cached = 192 * KiB, .growth = 64 * KiB, .max_capacity = 512 * KiB, .reuse = reuse}};
  const SharedStream first{device};
  auto second = device.make_stream();
  for (int i = 0; i < 2; ++i) {
    pool.warm_up({4096, 10'000});
    auto a = pool.acquire(4096, first);
    device.copy_to_device(a.address(), host.address(), 4096, *first);
    a.release();
    auto b = pool.acquire(4096, second);
    auto c = pool.acquire(100'000, second);
    auto d = pool.acquire(200'000, first);
    device.copy_to_device(b.address(), host.address(), 4096, second);
    device.copy_to_device(c.address(), host.address(), 4096, second);
    device.copy_to_device(d.address(), host.address(), 4096, *first);
    const auto slice = b.slice();
    b.release();
    c.release(first);
    d.release();
    pool.tick();
    pool.trim(10'000);
    static_cast<void>(reclaim_memory("hip:0", 64 * KiB));
  }
  REQUIRE(pool.validate());
}

}  // namespace

ALLOT_POOL_LAWS(OnHip<PowersOfTwo>, OnHip<FourSteps>, OnHip<ExactSizes>, OnHip<FourSteps, Late>);

TEST_CASE("ten thousand layers: no miss, no call to the driver or the system allocator") {
  const test::Simulation simulation;
  hipsim::WatchedDevice device;
  const SharedStream stream{device};
  BufferPool pool{device, 64 * MiB};
  run_layer(pool, stream);  // warms up
  const std::uint64_t misses = pool.stats().misses;
  pool.on_miss(Misses::are_errors);
  CHECK(hipsim::calls("hipMalloc") == 1);
  const std::uint64_t driver = hipsim::calls();
  const std::uint64_t system = test::system_allocator_calls();
  for (int i = 0; i < 10'000; ++i) run_layer(pool, stream);
  CHECK(test::system_allocator_calls() == system);
  CHECK(hipsim::calls() == driver);
  CHECK(pool.stats().misses == misses);
  CHECK(pool.stats().hits >= 10'000 * layer_buffers.size());
  CHECK(pool.stats().waits == 0);
}

TEST_CASE("on two streams, events are recorded and waited for, and nothing is made") {
  const test::Simulation simulation;
  hipsim::WatchedDevice device;
  const SharedStream first{device};
  const SharedStream second{device};
  BufferPool pool{device, 64 * MiB, {.reuse = Reuse::cached_first}};
  for (int i = 0; i < 2; ++i) {
    run_layer(pool, first);
    run_layer(pool, second);
  }
  pool.on_miss(Misses::are_errors);
  const std::vector<std::string> before = hipsim::call_names();
  for (int i = 0; i < 1000; ++i) run_layer(pool, i % 2 == 0 ? first : second);
  const std::vector<std::string> after = hipsim::call_names();
  const std::set<std::string> names{after.begin() + static_cast<std::ptrdiff_t>(before.size()),
                                    after.end()};
  CHECK(names == std::set<std::string>{"hipEventRecord", "hipGetDevice", "hipStreamWaitEvent"});
}

TEST_CASE("on two streams that have warmed up, each has its own buffers, and nothing is called") {
  const test::Simulation simulation;
  hipsim::WatchedDevice device;
  const std::array streams{SharedStream{device}, SharedStream{device}};
  BufferPool pool{device, 64 * MiB};
  for (int i = 0; i < 2; ++i) {  // with work that goes on, so that neither takes the other's
    std::array<std::array<PooledBuffer<hipsim::WatchedDevice>, layer_buffers.size()>, 2> held;
    for (std::size_t j = 0; j < 2; ++j) {
      for (std::size_t k = 0; k < layer_buffers.size(); ++k)
        held[j][k] = pool.acquire(layer_buffers[k].bytes, streams[j]);
    }
  }
  pool.on_miss(Misses::are_errors);
  const std::uint64_t calls = hipsim::calls();
  for (std::size_t i = 0; i < 1000; ++i) run_layer(pool, streams[i % 2]);
  CHECK(hipsim::calls() == calls);
  CHECK(pool.stats().waits == 0);
}

TEST_CASE("on a stream that is not shared, returns record an event, and nothing else is called") {
  const test::Simulation simulation;
  hipsim::WatchedDevice device;
  auto stream = device.make_stream();
  BufferPool pool{device, 64 * MiB};
  run_layer(pool, stream);
  const std::uint64_t records = hipsim::calls("hipEventRecord");
  const std::uint64_t device_asked = hipsim::calls("hipGetDevice");
  const std::uint64_t all = hipsim::calls();
  for (int i = 0; i < 100; ++i) run_layer(pool, stream);
  CHECK(hipsim::calls("hipEventRecord") - records == 100 * layer_buffers.size());
  CHECK(hipsim::calls() - all ==
        hipsim::calls("hipEventRecord") - records + hipsim::calls("hipGetDevice") - device_asked);
}

TEST_CASE("a pool works on streams of an engine's own, the default one too, and destroys none") {
  const test::Simulation simulation;
  hipsim::WatchedDevice device;
  hipStream_t made = nullptr;
  REQUIRE(hipStreamCreateWithFlags(&made, hipStreamNonBlocking) == hipSuccess);
  {
    BufferPool pool{device, 64 * MiB, {.reuse = Reuse::cached_first}};
    const auto share = [](hipStream_t stream) {
      return SharedStream<hipsim::WatchedDevice>{hip::Stream::borrow(stream, 0)};
    };
    // Two objects for one stream are one stream: no event, no wait.
    auto first = share(made);
    auto same = share(made);
    auto default_one = share(nullptr);
    for (int i = 0; i < 3; ++i) run_layer(pool, i % 2 == 0 ? first : same);
    CHECK(hipsim::calls("hipEventRecord") == 0);
    CHECK(pool.stats().waits == 0);
    // The default stream is another one: it waits for what that used, and the other way round.
    for (int i = 0; i < 3; ++i) {
      run_layer(pool, default_one);
      run_layer(pool, first);
    }
    CHECK(pool.stats().waits > 0);
    CHECK(pool.validate());
    hip::Stream moved = hip::Stream::borrow(nullptr, 0);
    const hip::Stream to = std::move(moved);
    CHECK(to.key() != nullptr);
    CHECK_THROWS_AS(static_cast<void>(pool.acquire(1, moved)), std::invalid_argument);
  }
  CHECK(hipsim::calls("hipStreamDestroy") == 0);
  CHECK(hipsim::live().streams == 1);
  CHECK(hipStreamDestroy(made) == hipSuccess);
}

TEST_CASE("a pool's idle memory serves another allocation of the device") {
  const test::Simulation simulation{{.devices = {{.memory = 64 * MiB}}}};
  hipsim::WatchedDevice device;
  const SharedStream stream{device};
  BufferPool pool{device, 40 * MiB};
  pool.acquire(20 * MiB, stream).release();
  {
    const auto region = hip::DeviceMemory{0}.acquire(50 * MiB, 256);
    CHECK(pool.stats().chunks == 0);
    CHECK_THROWS_AS(static_cast<void>(pool.acquire(20 * MiB, stream)), OutOfMemory);
  }
  const auto again = pool.acquire(20 * MiB, stream);
  CHECK_THROWS_AS(static_cast<void>(hip::DeviceMemory{0}.acquire(50 * MiB, 256)), OutOfMemory);
  CHECK(pool.stats().in_use_buffers == 1);
}

TEST_CASE("a pool that grows is given what another pool, and itself, has idle") {
  const test::Simulation simulation{{.devices = {{.memory = 64 * MiB}}}};
  hipsim::WatchedDevice device;
  const SharedStream stream{device};
  BufferPool other{device, 24 * MiB};
  BufferPool pool{device, 8 * MiB, {.growth = 16 * MiB}};
  const auto small = pool.acquire(8 * MiB, stream);
  pool.acquire(16 * MiB, stream).release();
  const auto large = pool.acquire(48 * MiB, stream);
  CHECK(other.stats().chunks == 0);
  CHECK(pool.stats().chunks == 2);
  CHECK(pool.validate());
}

TEST_CASE("a pool that cannot grow by as much as it would grows by what is needed") {
  const test::Simulation simulation{{.devices = {{.memory = 10 * MiB}}}};
  HipDevice<> device;
  const SharedStream stream{device};
  BufferPool pool{device, 4 * MiB, {.growth = 8 * MiB}};
  const auto first = pool.acquire(4 * MiB, stream);
  const auto second = pool.acquire(2 * MiB, stream);
  CHECK(pool.stats().capacity == 6 * MiB);
  CHECK(pool.stats().chunks == 2);
  CHECK_THROWS_AS(static_cast<void>(pool.acquire(5 * MiB, stream)), OutOfMemory);
  CHECK(pool.validate());
}

TEST_CASE("a hit whose wait fails leaves the buffer where it was") {
  const test::Simulation simulation;
  hipsim::WatchedDevice device;
  for (const char* name : {"hipEventRecord", "hipStreamWaitEvent"}) {
    BufferPool pool{device, 1 * MiB, {.reuse = Reuse::cached_first}};
    const SharedStream first{device};
    const SharedStream second{device};
    pool.acquire(4096, first).release();
    pool.acquire(100, second).release();
    hipsim::fail_call(name, 0, hipErrorUnknown);
    CHECK_THROWS_AS(static_cast<void>(pool.acquire(4096, second)), hip::Error);
    CHECK(pool.stats().in_use_buffers == 0);
    CHECK(pool.stats().cached_buffers == 2);
    CHECK(pool.validate());
    CHECK(!pool.acquire(4096, second).empty());
    CHECK(pool.stats().hits == 1);
  }
}

TEST_CASE("a return whose event cannot be recorded is waited for") {
  const test::Simulation simulation;
  hipsim::WatchedDevice device;
  test::HostSide<hipsim::WatchedDevice> host{device, 4096};
  BufferPool pool{device, 1 * MiB, {.reuse = Reuse::cached_first}};
  auto first = device.make_stream();
  auto second = device.make_stream();
  for (const bool cannot_wait : {false, true}) {
    {
      const auto buffer = pool.acquire(4096, first);
      device.copy_to_device(buffer.address(), host.address(), 4096, first);
      hipsim::fail_call("hipEventRecord", 0, hipErrorUnknown);
      for (const std::uint64_t attempt : {0U, 1U})
        if (cannot_wait) hipsim::fail_call("hipStreamSynchronize", attempt, hipErrorUnknown);
    }
    // Where nothing could tell that its stream is done with it, no other stream gets it.
    const std::uint64_t misses = pool.stats().misses;
    const auto buffer = pool.acquire(4096, second);
    device.copy_to_device(buffer.address(), host.address(), 4096, second);
    CHECK(pool.stats().misses == misses + (cannot_wait ? 1 : 0));
    CHECK(pool.trim() == 0);
  }
  pool.acquire(1, first).release();  // its event covers the earlier return
  CHECK(pool.trim() > 4096);
  CHECK(pool.stats().cached == 0);
}

TEST_CASE("what nothing can tell the end of does not make younger buffers idle") {
  const test::Simulation simulation;
  hipsim::WatchedDevice device;
  BufferPool pool{device, 1 * MiB, {.max_idle_ticks = 2}};
  auto first = device.make_stream();
  const SharedStream second{device};
  auto buffer = pool.acquire(4096, first);
  hipsim::fail_call("hipEventRecord", 0, hipErrorUnknown);
  for (const std::uint64_t attempt : {0U, 1U})
    hipsim::fail_call("hipStreamSynchronize", attempt, hipErrorUnknown);
  buffer.release();
  CHECK(pool.tick() == 0);
  CHECK(pool.tick() == 0);
  pool.acquire(1024, second).release();
  CHECK(pool.tick() == 0);
  CHECK(pool.tick() == 1024);
  pool.acquire(256, first).release();  // its event covers the earlier return
  CHECK(pool.trim_idle(1) == 4096);
  CHECK(pool.trim() == 256);
}

TEST_CASE("whichever call fails, a pool ends in an error or goes on, and all is released") {
  std::size_t errors = 0;
  for (const Reuse reuse : {Reuse::cached_first, Reuse::idle_first}) {
    // What events say when they are asked must be the same each time.
    const hipsim::Options options{.schedule = reuse == Reuse::idle_first ? hipsim::Schedule::late
                                                                         : hipsim::Schedule::eager};
    std::vector<std::string> names;
    {
      const test::Simulation simulation{options};
      HipDevice<> device;
      const std::uint64_t before = hipsim::calls();
      use_everything(device, reuse);
      names = hipsim::call_names();
      names.erase(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(before));
    }
    REQUIRE(names.size() > 60);
    for (const hipError_t code : {hipErrorUnknown, hipErrorOutOfMemory}) {
      for (std::uint64_t call = 0; call < names.size(); ++call) {
        INFO("call " << call << ", " << names[call] << ", " << std::string{hipGetErrorName(code)});
        hipsim::reset(options);
        test::CleanUpErrors told;
        HipDevice<> device;
        const std::uint64_t before = hipsim::calls();
        hipsim::fail_call(call, code);
        try {
          use_everything(device, reuse);
        } catch (const hip::Error&) {
          ++errors;
        } catch (const OutOfMemory&) {
          ++errors;
        }
        hipsim::stop_failing();
        const std::string name = hipsim::call_names().at(before + call);
        for (const auto& record : hipsim::crimes()) REQUIRE_MESSAGE(false, record.text);
        const hipsim::Live left = hipsim::live();
        const std::size_t lost =
            left.device_allocations + left.pinned_allocations + left.streams + left.events;
        REQUIRE(lost == (test::is_clean_up(name) ? 1 : 0));
      }
    }
  }
  hipsim::reset();
  CHECK(errors > 80);
}

TEST_CASE("if HIP has been shut down, what is left goes without a word") {
  test::CleanUpErrors told;
  hipsim::reset();
  {
    HipDevice<> device;
    std::optional<BufferPool<HipDevice<>>> pool{std::in_place, device, 1 * MiB};
    const SharedStream first{device};
    auto second = device.make_stream();
    auto event = device.make_event();
    const auto pinned = device.staging_memory().acquire(4096, 256);
    auto used = pool->acquire(4096, second);
    device.copy_to_device(used.address(), pinned.address(), 4096, second);
    pool->acquire(4096, first).release();
    device.record(event, second);
    const std::vector<std::string> names = hipsim::call_names();
    for (const std::string& name : std::set<std::string>{names.begin(), names.end()})
      hipsim::fail_always(name, hipErrorDeinitialized);
    for (const char* name : {"hipFree", "hipHostFree", "hipStreamDestroy", "hipEventDestroy",
                             "hipStreamSynchronize", "hipEventSynchronize", "hipDeviceSynchronize",
                             "hipSetDevice", "hipEventQuery", "hipStreamWaitEvent"})
      hipsim::fail_always(name, hipErrorDeinitialized);
  }
  CHECK(test::CleanUpErrors::texts() == std::vector<std::string>{});
  hipsim::reset();
}

TEST_CASE("in a forked child HIP of the parent is an error, and is dropped without a call") {
  const test::Simulation simulation;
  HipDevice<> device;
  std::optional<BufferPool<HipDevice<>>> pool{std::in_place, device, 1 * MiB};
  auto stream = std::make_optional(device.make_stream());
  auto event = std::make_optional(device.make_event());
  auto used = pool->acquire(4096, *stream);
  const auto refuses = [](auto&& f) {
    try {
      f();
    } catch (const hip::Forked&) {
      return true;
    }
    return false;
  };
  CHECK(test::in_child([&] {
    const std::uint64_t calls = hipsim::calls();
    const bool all = refuses([] { HipDevice<>{}; }) &&
                     refuses([&] { static_cast<void>(device.make_stream()); }) &&
                     refuses([&] { device.record(*event, *stream); }) &&
                     refuses([&] { device.synchronize(*stream); }) &&
                     refuses([&] { static_cast<void>(device.is_done(*event)); }) &&
                     refuses([&] { static_cast<void>(device.memory().acquire(4096, 256)); });
    used.release();
    pool.reset();
    stream.reset();
    event.reset();
    return all && hipsim::calls() == calls;
  }));
}
