// SPDX-License-Identifier: MIT
// The HIP layer and its memory, on the simulated runtime.
#include <allot/device/hip_device.hpp>
#include <allot/hip/ipc.hpp>
#include <allot/memory/hip.hpp>
#include <allot/memory/reclaimer.hpp>
#include <allot/slice.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/synchronization/locked.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "hip/simulation.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;

template <class M>
using BestFitOn = Arena<BestFit, AlignTo<256>, Locked<>, M>;

}  // namespace

TEST_CASE("errors say the call, the code, and what was being done") {
  const test::Simulation simulation;
  hipsim::fail_call("hipStreamSynchronize", 0, hipErrorUnknown);
  const hip::Stream stream{0};
  try {
    stream.synchronize();
    FAIL("it went well");
  } catch (const hip::Error& error) {
    CHECK(error.code() == hipErrorUnknown);
    CHECK(std::string{error.call()} == "hipStreamSynchronize");
    CHECK(std::string{error.what()} ==
          "hipStreamSynchronize failed with hipErrorUnknown (999) while waiting for a stream");
  }
  CHECK(hipGetLastError() == hipSuccess);
}

TEST_CASE("no device is one clear error, whatever is tried first") {
  const test::Simulation simulation{{.devices = {}}};
  const auto is_clear = [](auto&& attempt) {
    try {
      attempt();
      return false;
    } catch (const hip::NoDevice& error) {
      return std::string{error.what()}.starts_with("no HIP device: ") &&
             std::string{error.what()}.find("/dev/kfd") != std::string::npos;
    }
  };
  CHECK(is_clear([] { HipDevice<> device; }));
  CHECK(is_clear([] { hip::DeviceMemory memory; }));
  CHECK(is_clear([] { static_cast<void>(hip::device_count()); }));
}

TEST_CASE("memory is of the device that was current, and is freed with any other current") {
  const test::Simulation simulation{{.devices = {{}, {}}}};
  REQUIRE(hipSetDevice(1) == hipSuccess);
  std::optional<BestFitOn<hip::DeviceMemory>> arena{std::in_place, 1 * MiB};
  CHECK(hipsim::used(1) == 1 * MiB);
  REQUIRE(hipSetDevice(0) == hipSuccess);
  arena.reset();
  CHECK(hipsim::used(1) == 0);
  CHECK(hip::current_device() == 0);
  arena.emplace(1 * MiB, hip::DeviceMemory{1});
  CHECK(hipsim::used(1) == 1 * MiB);
  CHECK(hip::current_device() == 0);
  std::thread{[&] { arena.reset(); }}.join();
  CHECK(hipsim::used(1) == 0);
}

TEST_CASE("pools are refused if the device has none, and keep their stream alive") {
  {
    const test::Simulation simulation{{.devices = {{.has_pools = false}}}};
    CHECK_THROWS_AS(hip::PooledMemory{0}, hip::Error);
  }
  const test::Simulation simulation;
  std::optional<BestFitOn<hip::PooledMemory>> arena;
  {
    const hip::PooledMemory memory{0};
    arena.emplace(1 * MiB, memory);
  }
  CHECK(hipsim::live().pools == 1);
  arena.reset();
  CHECK(hipsim::live().pools == 0);
}

TEST_CASE("what runs out of memory asks the reclaimers, and then the device once more") {
  const test::Simulation simulation{{.devices = {{.memory = 10 * MiB}}}};
  std::optional<BestFitOn<hip::DeviceMemory>> cache{std::in_place, 8 * MiB, hip::DeviceMemory{0}};
  std::vector<std::string> asked;
  {
    const Reclaimer reclaimer{[&](std::string_view device, std::uint64_t bytes) -> std::uint64_t {
      asked.push_back(std::string{device} + " " + std::to_string(bytes));
      if (!cache) return 0;
      const std::uint64_t freed = cache->capacity();
      cache.reset();
      return freed;
    }};
    const BestFitOn<hip::DeviceMemory> arena{5 * MiB, hip::DeviceMemory{0}};
    CHECK(asked == std::vector<std::string>{"hip:0 " + std::to_string(5 * MiB)});
    // Nothing left to give: refused after one attempt.
    const std::uint64_t before = hipsim::calls("hipMalloc");
    CHECK_THROWS_AS((BestFitOn<hip::DeviceMemory>{6 * MiB, hip::DeviceMemory{0}}), OutOfMemory);
    CHECK(asked.size() == 2);
    CHECK(hipsim::calls("hipMalloc") == before + 1);
  }
  CHECK_THROWS_AS((BestFitOn<hip::DeviceMemory>{20 * MiB, hip::DeviceMemory{0}}), OutOfMemory);
  CHECK(asked.size() == 2);
}

TEST_CASE("a reclaimer may unregister itself while it runs") {
  const std::string name = "a name that is long enough to be on the heap";
  std::optional<Reclaimer> reclaimer;
  std::size_t seen = 0;
  reclaimer.emplace([&reclaimer, &seen, name](std::string_view, std::uint64_t) -> std::uint64_t {
    reclaimer.reset();
    seen = name.size();
    return 1;
  });
  CHECK(reclaim_memory("hip:0", 1) == 1);
  CHECK(seen == name.size());
  CHECK(reclaim_memory("hip:0", 1) == 0);
}

TEST_CASE("a reclaimer that is registered by another one is called the next time") {
  std::vector<std::unique_ptr<Reclaimer>> added;
  int calls = 0;
  const Reclaimer reclaimer{[&](std::string_view, std::uint64_t) -> std::uint64_t {
    added.push_back(std::make_unique<Reclaimer>([&](std::string_view, std::uint64_t) {
      ++calls;
      return std::uint64_t{0};
    }));
    return 0;
  }};
  CHECK(reclaim_memory("hip:0", 1) == 0);
  CHECK(calls == 0);
  CHECK(reclaim_memory("hip:0", 1) == 0);
  CHECK(calls == 1);
}

TEST_CASE("pinned memory that is refused asks for the host's, and says nothing of the device's") {
  const test::Simulation simulation;
  std::vector<std::string> asked;
  const Reclaimer reclaimer{[&](std::string_view owner, std::uint64_t) -> std::uint64_t {
    asked.emplace_back(owner);
    return 0;
  }};
  hipsim::fail_always("hipHostMalloc", hipErrorOutOfMemory);
  try {
    static_cast<void>(hip::PinnedMemory{0}.acquire(64 * MiB, 256));
    FAIL("it was granted");
  } catch (const OutOfMemory& error) {
    CHECK(error.capacity() == 0);
    CHECK(std::string{error.what()}.find("free ") >
          std::string{error.what()}.find("system refused"));
  }
  CHECK(asked == std::vector<std::string>{"host"});
}

TEST_CASE("a pool gives back what it keeps when memory is needed") {
  const test::Simulation simulation{{.devices = {{.memory = 10 * MiB}}}};
  HipDevice<hip::PooledMemory> device;
  { const BestFitOn<hip::PooledMemory> arena{4 * MiB, device.memory()}; }
  CHECK(hipsim::calls("hipMemPoolCreate") == 1);
  CHECK_THROWS_AS((BestFitOn<hip::DeviceMemory>{20 * MiB, hip::DeviceMemory{0}}), OutOfMemory);
  CHECK(hipsim::calls("hipMemPoolTrimTo") == 1);
}

TEST_CASE("a pool is not trimmed while it is destroyed, or if it could not be made") {
  const test::Simulation simulation;
  static std::uint64_t reports;
  reports = 0;
  const auto before = hip::set_clean_up_error_handler([](const hip::Error&) {
    ++reports;
    static_cast<void>(reclaim_memory("hip:0", 1));
  });
  hipsim::fail_always("hipMemPoolDestroy", hipErrorUnknown);
  { const hip::PooledMemory memory{0}; }
  CHECK(reports == 1);
  hipsim::fail_always("hipMemPoolSetAttribute", hipErrorUnknown);
  CHECK_THROWS_AS(hip::PooledMemory{0}, hip::Error);
  CHECK(reports == 2);
  CHECK(hipsim::calls("hipMemPoolTrimTo") == 0);
  hip::set_clean_up_error_handler(before);
  hipsim::reset();  // forgets the pools that could not be destroyed
}

TEST_CASE("a failure of clean-up is passed to the handler, and the rest is released") {
  const test::Simulation simulation;
  test::CleanUpErrors told;
  {
    const hip::Stream stream{0};
    const hip::Event event{0};
    hipsim::fail_call("hipEventDestroy", 0, hipErrorUnknown);
  }
  CHECK(told.count() == 1);
  CHECK(hipsim::live().streams == 0);
  CHECK(hipsim::live().events == 1);  // what could not be released
  hipsim::reset();
}

TEST_CASE("a stream that cannot be waited for has its device waited for") {
  const test::Simulation simulation{{.schedule = hipsim::Schedule::late}};
  test::CleanUpErrors told;
  auto pinned = hip::PinnedMemory{0}.acquire(4096, 256);
  auto memory = hip::DeviceMemory{0}.acquire(4096, 256);
  {
    const hip::Stream stream{0};
    stream.copy(memory.address(), pinned.address(), 4096, hipMemcpyHostToDevice);
    hipsim::fail_call("hipStreamSynchronize", 0, hipErrorUnknown);
  }
  CHECK(told.count() == 1);
  CHECK(hipsim::calls("hipDeviceSynchronize") == 1);
}

TEST_CASE("HIP's own handle of an interior address opens at the base; ours does not") {
  const test::Simulation simulation;
  BestFitOn<hip::DeviceMemory> arena{64 * KiB, hip::DeviceMemory{0}};
  const Block first = arena.allocate(4096);
  const Block second = arena.allocate(4096);
  hipIpcMemHandle_t of_base{};
  hipIpcMemHandle_t of_inside{};
  REQUIRE(hipIpcGetMemHandle(&of_base, arena.base_address()) == hipSuccess);
  REQUIRE(hipIpcGetMemHandle(&of_inside, arena.address(second)) == hipSuccess);
  CHECK(std::memcmp(&of_base, &of_inside, sizeof of_base) == 0);
  CHECK(hip::export_block(arena, first).offset == 0);
  CHECK(hip::export_block(arena, second).offset == second.offset);
  CHECK(hip::export_block(arena, second).bytes == 4096);
  CHECK_THROWS_AS((hip::ImportedMemory{hip::export_block(arena, first), 0}), hip::Error);
}

TEST_CASE("a handle of an arena that HIP's alignment does not do for has the true offset") {
  const test::Simulation simulation;
  static_cast<void>(hip::DeviceMemory{0}.acquire(4096, 256));  // moves what comes after it
  Arena<BestFit, AlignTo<64 * MiB>, Locked<>, hip::DeviceMemory> arena{64 * MiB,
                                                                       hip::DeviceMemory{0}};
  const Block block = arena.allocate(1);
  hipDeviceptr_t base = nullptr;
  std::size_t bytes = 0;
  REQUIRE(hipMemGetAddressRange(&base, &bytes, arena.address(block)) == hipSuccess);
  const auto offset = static_cast<std::byte*>(arena.address(block)) - static_cast<std::byte*>(base);
  CHECK(hip::export_block(arena, block).offset == static_cast<std::uint64_t>(offset));
}

TEST_CASE("a GPU's free memory is the least of what HIP and the kernel say, each by its name") {
  const test::Simulation simulation;
  const test::TemporaryFolder folder;
  const hip::DeviceProperties properties = hip::properties(0);
  CHECK(properties.pci_name == "0000:00:00.0");
  const MemoryInfo info = hip::memory_info(0);
  CHECK(hip::memory_sources(properties, folder.path()).size() == 1);
  std::filesystem::create_directory(folder.path() / properties.pci_name);
  std::ofstream{folder.path() / properties.pci_name / "mem_info_vram_total"} << info.total << "\n";
  std::ofstream{folder.path() / properties.pci_name / "mem_info_vram_used"} << info.total - 4096;
  const auto sources = hip::memory_sources(properties, folder.path());
  REQUIRE(sources.size() == 2);
  CHECK(sources[0].source == "hipMemGetInfo");
  CHECK(sources[0].bytes == info.free);
  CHECK(sources[1].bytes == 4096);
  CHECK(host_memory_info::least_of(sources) == 4096);
}
