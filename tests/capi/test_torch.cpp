// SPDX-License-Identifier: MIT
// What PyTorch's pluggable allocator calls, as PyTorch calls it, on hipsim: from several threads, on several
// streams, with every call to HIP failing once.
#include <allot_torch.h>

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "hip/failing_calls.hpp"
#include "hip/simulation.hpp"
#include "support/random.hpp"
#include "torch_allocator.hpp"

namespace {

using namespace allot;
using capi::TorchAllocator;
using capi::TorchOptions;

constexpr TorchOptions small{.capacity = 1 * MiB, .growth = 1 * MiB, .max_capacity = 4 * MiB};

/// A stream as PyTorch has one: made by someone else.
struct TorchStream {
  TorchStream() { REQUIRE(hipStreamCreateWithFlags(&handle, hipStreamNonBlocking) == hipSuccess); }
  TorchStream(const TorchStream&) = delete;
  TorchStream& operator=(const TorchStream&) = delete;
  ~TorchStream() {
    static_cast<void>(hipStreamSynchronize(handle));
    static_cast<void>(hipStreamDestroy(handle));
  }
  hipStream_t handle = nullptr;
};

/// Pinned memory that copies come from and go to.
struct HostBytes {
  HostBytes() { REQUIRE(hipHostMalloc(&address, bytes, 0) == hipSuccess); }
  HostBytes(const HostBytes&) = delete;
  HostBytes& operator=(const HostBytes&) = delete;
  ~HostBytes() {
    static_cast<void>(hipDeviceSynchronize());
    static_cast<void>(hipHostFree(address));
  }
  static constexpr std::size_t bytes = 4096;
  void* address = nullptr;
};

void write(void* to, const HostBytes& from, hipStream_t stream) {
  REQUIRE(hipMemcpyAsync(to, from.address, HostBytes::bytes, hipMemcpyHostToDevice, stream) ==
          hipSuccess);
}

}  // namespace

TEST_CASE("a buffer freed on one stream and given to another is ordered between them") {
  for (const auto schedule : test::schedules) {
    const test::Simulation simulation{{.schedule = schedule}};
    const TorchStream first;
    const TorchStream second;
    const HostBytes host;
    TorchAllocator allocator{small};
    void* before = allocator.allocate(HostBytes::bytes, 0, first.handle);
    for (int i = 0; i < 20; ++i) {
      const hipStream_t stream = i % 3 == 0 ? second.handle : first.handle;
      void* const buffer = allocator.allocate(HostBytes::bytes, 0, stream);
      write(buffer, host, stream);
      allocator.deallocate(std::exchange(before, buffer));
    }
    allocator.deallocate(before);
  }
}

TEST_CASE("a recorded stream is waited for; one that is not recorded is a race") {
  for (const bool is_recorded : {true, false}) {
    hipsim::reset({.schedule = hipsim::Schedule::late});
    {
      const TorchStream first;
      const TorchStream second;
      const HostBytes host;
      TorchAllocator allocator{small};
      void* const buffer = allocator.allocate(HostBytes::bytes, 0, first.handle);
      write(buffer, host, second.handle);
      if (is_recorded) allocator.record_stream(buffer, second.handle);
      allocator.deallocate(buffer);
      void* const next = allocator.allocate(HostBytes::bytes, 0, first.handle);
      CHECK((next == buffer) == !is_recorded);
      write(next, host, first.handle);
      allocator.deallocate(next);
      REQUIRE(hipDeviceSynchronize() == hipSuccess);
      // Its work is done now: it is given again.
      void* const again = allocator.allocate(HostBytes::bytes, 0, first.handle);
      void* const another = allocator.allocate(HostBytes::bytes, 0, first.handle);
      CHECK((again == buffer || another == buffer));
    }
    CHECK(hipsim::count(hipsim::Crime::race) == (is_recorded ? 0 : 1));
    hipsim::reset();
  }
}

TEST_CASE("what waits for other streams is waited for rather than refused") {
  const test::Simulation simulation{{.schedule = hipsim::Schedule::late}};
  const TorchStream first;
  const TorchStream second;
  const HostBytes host;
  TorchAllocator allocator{{.capacity = 1 * MiB, .growth = 0}};
  void* const buffer = allocator.allocate(900'000, 0, first.handle);
  write(buffer, host, second.handle);
  allocator.record_stream(buffer, second.handle);
  allocator.deallocate(buffer);
  CHECK(allocator.allocate(900'000, 0, first.handle) == buffer);
  allocator.deallocate(buffer);
}

TEST_CASE("no bytes are null, null is freed, and strangers are refused") {
  const test::Simulation simulation;
  TorchAllocator allocator{small};
  CHECK(allocator.allocate(0, 0, nullptr) == nullptr);
  CHECK(!allocator.stats(0));
  allocator.deallocate(nullptr);
  allocator.record_stream(nullptr, nullptr);
  int elsewhere = 0;
  CHECK_THROWS_AS(allocator.deallocate(&elsewhere), InvalidBlock);
  CHECK_THROWS_AS(allocator.record_stream(&elsewhere, nullptr), InvalidBlock);
  CHECK_THROWS_AS(static_cast<void>(allocator.allocate(1, 7, nullptr)), std::invalid_argument);
  void* const buffer = allocator.allocate(1, 0, nullptr);
  CHECK(reinterpret_cast<std::uintptr_t>(buffer) % 512 == 0);
  allocator.deallocate(buffer);
  CHECK_THROWS_AS(allocator.deallocate(buffer), InvalidBlock);
}

TEST_CASE("memory grows within its limit, refuses beyond it, and goes back on request") {
  const test::Simulation simulation;
  TorchAllocator allocator{small};
  std::vector<void*> buffers;
  for (int i = 0; i < 7; ++i) buffers.push_back(allocator.allocate(500'000, 0, nullptr));
  CHECK(allocator.stats(0)->capacity == 4 * MiB);
  CHECK_THROWS_AS(static_cast<void>(allocator.allocate(2 * MiB, 0, nullptr)), OutOfMemory);
  CHECK(allocator.stats(0)->in_use_buffers == 7);
  CHECK(!allocator.snapshot(1));
  const std::string snapshot = allocator.snapshot(0).value();
  CHECK(snapshot.starts_with("{\"allot\":\"buffer_pool\""));
  std::size_t used = 0;
  for (std::size_t at = 0; (at = snapshot.find("\"used\":true", at)) != snapshot.npos; ++at) ++used;
  CHECK(used == 7);
  for (void* const buffer : buffers) allocator.deallocate(buffer);
  allocator.empty_cache();
  CHECK(allocator.stats(0)->chunks == 0);
  CHECK(hipsim::used() == 0);
  allocator.deallocate(allocator.allocate(500'000, 0, nullptr));
}

TEST_CASE("whichever call fails, an allocation or a free ends in an error, and all is released") {
  test::fail_every_call(
      [] {
        const hip::Stream first{0};
        const hip::Stream second{0};
        TorchAllocator allocator{small};
        std::vector<void*> buffers;
        for (const hipStream_t stream : {first.get(), second.get(), first.get()})
          buffers.push_back(allocator.allocate(300'000, 0, stream));
        allocator.record_stream(buffers[0], second.get());
        for (void* const buffer : buffers) allocator.deallocate(buffer);
        for (const hipStream_t stream : {second.get(), first.get(), second.get()})
          allocator.deallocate(allocator.allocate(300'000, 0, stream));
        allocator.empty_cache();
      },
      {"hipMalloc", "hipEventRecord", "hipEventCreateWithFlags"});
}

TEST_CASE("threads on streams of their own, and of each other") {
  const test::Simulation simulation;
  const std::array<TorchStream, 3> streams;
  const HostBytes host;
  TorchAllocator allocator{small};
  std::vector<std::thread> threads;
  std::atomic<int> refused{0};
  for (std::size_t thread = 0; thread < 3; ++thread) {
    threads.emplace_back([&, thread] {
      std::mt19937_64 random{test::first_seed() + thread};
      std::vector<void*> mine;
      for (int step = 0; step < 150; ++step) {
        const hipStream_t stream = streams[random() % 4 == 0 ? random() % 3 : thread].handle;
        if (mine.size() < 4 || random() % 2 == 0) {
          try {
            mine.push_back(allocator.allocate(HostBytes::bytes + random() % 100'000, 0, stream));
            write(mine.back(), host, stream);
            if (random() % 4 == 0) allocator.record_stream(mine.back(), streams[0].handle);
          } catch (const OutOfMemory&) {
            ++refused;
          }
        } else {
          allocator.deallocate(mine.back());
          mine.pop_back();
        }
      }
      for (void* const buffer : mine) allocator.deallocate(buffer);
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(allocator.stats(0)->in_use_buffers <= 450U);
  REQUIRE(hipDeviceSynchronize() == hipSuccess);
  allocator.empty_cache();
  CHECK(allocator.stats(0)->in_use_buffers == 0);
}

TEST_CASE("sizes come from the environment, and a wrong one is named") {
  ::setenv("ALLOT_TORCH_BYTES", "3MiB", 1);
  ::setenv("ALLOT_TORCH_GROWTH", "4096", 1);
  CHECK(capi::torch_options_of_environment().capacity == 3 * MiB);
  CHECK(capi::torch_options_of_environment().growth == 4096);
  CHECK(capi::torch_options_of_environment().max_capacity == PoolOptions::unlimited);
  for (const char* const wrong : {"", "x", "3MB", "-1", "99999999999999GiB", "1.5GiB"}) {
    ::setenv("ALLOT_TORCH_BYTES", wrong, 1);
    CHECK_THROWS_WITH_AS(static_cast<void>(capi::torch_options_of_environment()),
                         doctest::Contains("ALLOT_TORCH_BYTES="), std::invalid_argument);
  }
  ::unsetenv("ALLOT_TORCH_BYTES");
  ::unsetenv("ALLOT_TORCH_GROWTH");
}

TEST_CASE("the functions that PyTorch is given") {
  hipsim::reset();
  ::setenv("ALLOT_TORCH_BYTES", "1MiB", 1);
  CHECK(allot_torch_alloc(0, 0, nullptr) == nullptr);
  CHECK(allot_torch_stats(0) == std::string{"null"});
  void* const buffer = allot_torch_alloc(1000, 0, nullptr);
  REQUIRE(buffer != nullptr);
  allot_torch_record_stream(buffer, nullptr);
  CHECK(std::string{allot_torch_stats(0)}.find("{\"hits\": 0, \"misses\": 1, ") == 0);
  CHECK_THROWS_AS(static_cast<void>(allot_torch_alloc(-1, 0, nullptr)), std::bad_alloc);
  allot_torch_free(buffer, 1000, 0, nullptr);
  allot_torch_free(buffer, 1000, 0, nullptr);  // prints, and changes nothing
  allot_torch_free(nullptr, 0, 0, nullptr);
  CHECK(allot_torch_empty_cache() == 0);
  CHECK(hipsim::used() == 0);
  ::unsetenv("ALLOT_TORCH_BYTES");
}
