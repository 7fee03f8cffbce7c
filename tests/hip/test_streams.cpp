// SPDX-License-Identifier: MIT
// Stream sets, results behind events and readbacks on the simulated GPU: right in every order, and
// whichever call fails.
#include <allot/arena.hpp>
#include <allot/device/hip_device.hpp>
#include <allot/slice.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/stream/async_result.hpp>
#include <allot/stream/readback.hpp>
#include <allot/stream/stream_set.hpp>
#include <allot/synchronization/locked.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "hip/failing_calls.hpp"
#include "hip/simulation.hpp"
#include "hipsim/watched_memory.hpp"

namespace {

using namespace allot;
using GpuMemory = Shared<Arena<BestFit, AlignTo<256>, Locked<>, hipsim::WatchedMemory>>;
using Words = Readback<std::uint32_t, hipsim::WatchedDevice>;

/// Fills a slice with one number, through pinned memory.
void fill(hipsim::WatchedDevice& device, const GpuMemory::slice_type& slice, std::uint32_t number,
          hip::Stream& stream) {
  auto staging = device.staging_memory().acquire(slice.bytes(), 4096);
  auto* const words = static_cast<std::uint32_t*>(staging.address());
  std::fill(words, words + slice.bytes() / 4, number);
  device.copy_to_device(slice.address(), words, slice.bytes(), stream);
  try {
    device.synchronize(stream);
  } catch (...) {
    hipsim::stop_failing();
    device.synchronize(stream);  // or what it reads and writes is freed under it
    throw;
  }
}

/// Ten downloads, two under way at any time; each source is dropped as soon as it is begun.
void read_ten(hipsim::WatchedDevice& device) {
  GpuMemory memory{1 << 20, device.memory()};
  hip::Stream stream = device.make_stream();
  Words readback{device, 1000};
  for (std::uint32_t i = 0; i < 10; ++i) {
    {
      const auto source = memory.allocate(4000);
      fill(device, source, i, stream);
      readback.start(source, stream);
    }
    if (i == 0) continue;
    const auto words = readback.wait();
    REQUIRE(words.size() == 1000);
    REQUIRE(std::count(words.begin(), words.end(), i - 1) == 1000);
  }
}

/// Up, on, down and a result behind an event: on a stream for each role.
void run_pipeline(hipsim::WatchedDevice& device) {
  GpuMemory memory{1 << 20, device.memory()};
  const auto source = memory.allocate(4096);
  const auto target = memory.allocate(4096);
  auto pinned = device.staging_memory().acquire(8192, 4096);
  auto* const out = static_cast<unsigned char*>(pinned.address());
  auto* const back = out + 4096;
  std::memset(out, 7, 4096);
  StreamSet streams{device, {"upload", "compute", "readback"}, StreamChoice::least_outstanding};
  const auto copy = [&](const char* role, auto&& work) {
    streams.submit_to(streams.role(role), 4096, work);
  };
  copy("upload",
       [&](auto& on, auto& stream) { on.copy_to_device(source.address(), out, 4096, stream); });
  streams.wait(streams.role("compute"), streams.role("upload"));
  copy("compute", [&](auto& on, auto& stream) {
    on.copy_on_device(target.address(), source.address(), 4096, stream);
  });
  streams.wait(streams.role("readback"), streams.role("compute"));
  hip::Event event = device.make_event();
  copy("readback", [&](auto& on, auto& stream) {
    on.copy_to_host(back, target.address(), 4096, stream);
    on.record(event, stream);
  });
  const auto sum = when_done(device, std::move(event), [&] {
                     int total = 0;
                     for (int i = 0; i < 4096; ++i) total += back[i];
                     return total;
                   }).then([](int total) { return std::to_string(total); });
  const std::string& found = sum.wait();  // not in a REQUIRE: that would catch what it throws
  REQUIRE(found == std::to_string(7 * 4096));
  streams.synchronize();
  const std::uint64_t outstanding =
      streams.outstanding(0) + streams.outstanding(1) + streams.outstanding(2);
  REQUIRE(outstanding == 0);
}

}  // namespace

TEST_CASE(
    "downloads overlap in two pinned buffers, early or late, and no source is freed too soon") {
  for (const auto schedule : test::schedules) {
    const test::Simulation simulation{{.schedule = schedule}};
    hipsim::WatchedDevice device;
    read_ten(device);
  }
}

TEST_CASE("a readback that ends during its transfer waits for its memory") {
  const test::Simulation simulation{{.schedule = hipsim::Schedule::late}};
  hipsim::WatchedDevice device;
  hip::Stream stream = device.make_stream();
  std::optional<GpuMemory> memory{std::in_place, 1 << 20, device.memory()};
  std::optional<Words> readback{std::in_place, device, 1000};
  auto source = memory->allocate(4000);
  readback->start(source, stream);
  source = {};
  memory.reset();
  readback.reset();
}

TEST_CASE("whichever call of a readback fails, it ends in an error, and all is released") {
  test::fail_every_call(
      [] {
        hipsim::WatchedDevice device;
        read_ten(device);
      },
      {"hipMalloc", "hipHostMalloc", "hipMemcpyAsync", "hipEventRecord", "hipEventSynchronize"});
}

TEST_CASE("whichever call of a set of streams and its results fails, all is released") {
  test::fail_every_call(
      [] {
        hipsim::WatchedDevice device;
        run_pipeline(device);
      },
      {"hipMalloc", "hipHostMalloc", "hipMemcpyAsync", "hipEventRecord", "hipStreamWaitEvent",
       "hipEventSynchronize", "hipStreamSynchronize"});
}

TEST_CASE("a readback that ends during its transfer asks again where the first wait fails") {
  const test::Simulation simulation{{.schedule = hipsim::Schedule::late}};
  hipsim::WatchedDevice device;
  hip::Stream stream = device.make_stream();
  GpuMemory memory{1 << 20, device.memory()};
  const auto source = memory.allocate(4000);
  SUBCASE("in its destructor") {
    Words ends{device, 1000};
    ends.start(source, stream);
    hipsim::fail_call("hipEventSynchronize", 0, hipErrorUnknown);
  }
  SUBCASE("where the event cannot be recorded") {
    Words ends{device, 1000};
    hipsim::fail_call("hipEventRecord", 0, hipErrorUnknown);
    hipsim::fail_call("hipStreamSynchronize", 0, hipErrorUnknown);
    CHECK_THROWS_AS(ends.start(source, stream), hip::Error);
  }
}

TEST_CASE("streams by role, ordered by events, and results behind them") {
  for (const auto schedule : test::schedules) {
    const test::Simulation simulation{{.schedule = schedule}};
    hipsim::WatchedDevice device;
    run_pipeline(device);
  }
}

TEST_CASE("work is submitted with the set's device current, from any thread") {
  const test::Simulation simulation{{.devices = {{}, {}}}};
  HipDevice<> device{1};
  StreamSet streams{device, 2};
  const auto submit = [&] {
    for (const std::uint64_t bytes : {0U, 100U}) {
      CHECK(hip::current_device() == 0);
      streams.submit(bytes, [](auto&, auto&) { CHECK(hip::current_device() == 1); });
      CHECK(hip::current_device() == 0);
    }
  };
  submit();
  std::thread{submit}.join();
}

TEST_CASE("streams that wait for each other again and again use their events again") {
  const test::Simulation simulation;
  hipsim::WatchedDevice device;
  StreamSet streams{device, 2};
  for (int i = 0; i < 10; ++i) {
    streams.wait(0, 1);
    streams.wait(1, 0);
  }
  CHECK(hipsim::calls("hipEventCreateWithFlags") <= 2);
}

TEST_CASE("work whose end cannot be noted is done when the error is told") {
  const test::Simulation simulation{{.schedule = hipsim::Schedule::late}};
  hipsim::WatchedDevice device;
  GpuMemory memory{1 << 20, device.memory()};
  StreamSet streams{device, 1};
  auto pinned = device.staging_memory().acquire(4096, 4096);
  for (const char* const name : {"hipEventCreateWithFlags", "hipEventRecord"}) {
    const auto source = memory.allocate(4096);
    hipsim::fail_call(name, 0, hipErrorUnknown);
    CHECK_THROWS_AS(streams.submit_to(0, 4096,
                                      [&](auto& on, auto& stream) {
                                        on.copy_to_device(source.address(), pinned.address(), 4096,
                                                          stream);
                                      }),
                    hip::Error);
    CHECK(streams.outstanding(0) == 0);
  }
}
