// SPDX-License-Identifier: MIT
// What must hold on any HIP device: run against hipsim by scripts/test, against a real GPU by
// scripts/gpu-test. It knows HIP and allot only.
#include <allot/arena.hpp>
#include <allot/device/hip_device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/hip/ipc.hpp>
#include <allot/load/check.hpp>
#include <allot/load/load.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/load/verify.hpp>
#include <allot/memory/hip.hpp>
#include <allot/slice.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/synchronization/locked.hpp>

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <functional>
#include <numeric>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "support/models.hpp"
#include "support/random.hpp"
#include "support/sanitizers.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
namespace fs = std::filesystem;

template <class M, std::uint64_t Bytes = 256>
using ArenaOn = Arena<BestFit, AlignTo<Bytes>, Locked<>, M>;
using SharedDevice = Shared<ArenaOn<hip::DeviceMemory>>;
using DeviceSlice = Slice<DeviceAccessible>;

/// Pinned memory and a stream, to look into device memory with.
class Window {
 public:
  explicit Window(std::uint64_t bytes, int device = 0)
      : region_{hip::PinnedMemory{device}.acquire(bytes, 1)}, stream_{device} {}

  [[nodiscard]] std::span<std::byte> bytes() const {
    return {static_cast<std::byte*>(region_.address()), region_.bytes()};
  }
  void write(void* to, std::uint64_t count) {
    stream_.copy(to, region_.address(), count, hipMemcpyHostToDevice);
    stream_.synchronize();
  }
  std::span<const std::byte> read(const void* from, std::uint64_t count) {
    std::memset(region_.address(), 0xEE, count);
    stream_.copy(region_.address(), from, count, hipMemcpyDeviceToHost);
    stream_.synchronize();
    return bytes().first(count);
  }

 private:
  hip::PinnedMemory::Region region_;
  hip::Stream stream_;
};

/// Whether the device's bytes are those of a tensor of the test models, from `first` on.
bool holds_model_bytes(Window& window, const void* address, std::uint64_t bytes,
                       std::uint64_t first = 0) {
  return test::are_model_bytes(window.read(address, bytes), first);
}

}  // namespace

TEST_CASE("a device says what it is, and what it has free") {
  const HipDevice<> device;
  CHECK(!device.properties().name.empty());
  CHECK(device.properties().total_bytes > 0);
  CHECK(device.name() == "hip:0");
  const MemoryInfo info = device.memory_info();
  CHECK(info.free > 0);
  CHECK(info.free <= info.total);
  CHECK(hip::device_count() >= 1);
}

TEST_CASE("a device that is not there is refused, with those that are") {
  CHECK_THROWS_AS(HipDevice<>{hip::device_count()}, std::invalid_argument);
  CHECK_THROWS_AS(HipDevice<>{-1}, std::invalid_argument);
}

TEST_CASE_TEMPLATE("memory of every kind holds what it is given", M, hip::DeviceMemory,
                   hip::PinnedMemory, hip::ManagedMemory, hip::PooledMemory) {
  const HipDevice<> device;
  if (std::is_same_v<M, hip::PooledMemory> && !device.properties().has_memory_pools) return;
  if (std::is_same_v<M, hip::ManagedMemory> && !device.properties().has_managed_memory) return;
  ArenaOn<M> arena{1 * MiB, M{0}};
  const Block first = arena.allocate(1000);
  const Block second = arena.allocate(300'000);
  if constexpr (M::host_accessible) {
    auto* const bytes = static_cast<std::byte*>(arena.address(second));
    std::fill_n(bytes, 300'000, std::byte{42});
    CHECK(bytes[299'999] == std::byte{42});
  } else {
    Window window{300'000};
    test::fill_with_offsets(0, window.bytes());
    window.write(arena.address(second), 300'000);
    CHECK(holds_model_bytes(window, arena.address(second), 300'000));
  }
  arena.deallocate(first);
  arena.deallocate(second);
  CHECK(arena.validate());
}

TEST_CASE_TEMPLATE("an arena's alignment holds for real addresses", A,
                   std::integral_constant<std::uint64_t, 1>,
                   std::integral_constant<std::uint64_t, 4096>,
                   std::integral_constant<std::uint64_t, (2 << 20)>,
                   std::integral_constant<std::uint64_t, (16 << 20)>) {
  ArenaOn<hip::DeviceMemory, A::value> arena{3 * std::max<std::uint64_t>(A::value, 4096),
                                             hip::DeviceMemory{0}};
  const Block block = arena.allocate(A::value);
  CHECK(reinterpret_cast<std::uintptr_t>(arena.address(block)) % A::value == 0);
  Window window{4096};
  test::fill_with_offsets(0, window.bytes());
  const std::uint64_t bytes = std::min<std::uint64_t>(A::value, 4096);
  window.write(arena.address(block), bytes);
  CHECK(holds_model_bytes(window, arena.address(block), bytes));
}

TEST_CASE("more than a device has is out of memory, with HIP's own error nested") {
  const std::uint64_t total = hip::memory_info(0).total;
  try {
    hip::DeviceMemory memory{0};
    static_cast<void>(memory.acquire(2 * total, 256));
    FAIL("it was granted");
  } catch (const OutOfMemory& error) {
    CHECK(error.reason() == RefusalReason::source);
    CHECK(error.requested() == 2 * total);
    try {
      std::rethrow_if_nested(error);
      FAIL("nothing is nested");
    } catch (const hip::Error& nested) {
      CHECK(nested.code() == hipErrorOutOfMemory);
      CHECK(std::string{nested.call()} == "hipMalloc");
    }
  }
  hip::DeviceMemory memory{0};
  CHECK_NOTHROW(static_cast<void>(memory.acquire(4096, 256)));
}

TEST_CASE("any part of any slice reads back, at any offset, size and alignment") {
  std::mt19937_64 random{test::first_seed()};
  INFO("ALLOT_SEED=" << test::first_seed());
  SharedDevice arena{4 * MiB, hip::DeviceMemory{0}};
  Window window{1 * MiB};
  std::vector<DeviceSlice> slices;
  for (const std::uint64_t bytes : {1U, 255U, 256U, 257U, 4095U, 100'003U, 1'000'000U}) {
    slices.push_back(arena.allocate(bytes));
    test::fill_with_offsets(0, window.bytes().first(bytes));
    window.write(slices.back().address(), bytes);
  }
  for (int i = 0; i < 300; ++i) {
    const DeviceSlice& slice = slices[random() % slices.size()];
    const std::uint64_t offset = random() % slice.bytes();
    const std::uint64_t bytes =
        1 + random() % std::min<std::uint64_t>(slice.bytes() - offset, 70'000);
    const DeviceSlice part = slice.part(offset, bytes);
    REQUIRE(holds_model_bytes(window, part.address(), bytes, offset));
  }
}

TEST_CASE("a tensor reads back after model, arena and file are gone, in every order") {
  // What a prior system took for a driver's fault was this order, and memory it had freed itself.
  const test::TemporaryFolder folder;
  const fs::path path = test::write_model(folder.path() / "m.gguf", test::odd_sizes);
  HipDevice<> device;
  std::vector<int> order{0, 1, 2, 3, 4};
  Window window{10'000'000};
  int number = 0;
  do {
    if (test::has_thread_sanitizer && number++ % 7 != 0) continue;
    std::optional<gguf::File> file{path};
    const load::Plan plan = load::make_plan(*file);
    auto made = load::load(*file, plan, device);
    using ModelType = decltype(made);
    std::optional<ModelType> model{std::move(made)};
    std::optional<typename ModelType::tensor_type> large{(*model)["t5"]};
    std::optional<DeviceSlice> small{(*model)["t3"].slice()};
    std::optional<DeviceSlice> part{(*model)["t5"].slice().part(8'000'003, 999'998)};
    const std::function<void()> drops[] = {[&] { file.reset(); }, [&] { model.reset(); },
                                           [&] { large.reset(); }, [&] { small.reset(); },
                                           [&] { part.reset(); }};
    for (std::size_t i = 0; i < order.size(); ++i) {
      const auto& drop = drops[static_cast<std::size_t>(order[i])];
      if (i % 2 == 0) {
        drop();
      } else {
        std::thread{drop}.join();
      }
      if (large) REQUIRE(holds_model_bytes(window, large->address(), 5000));
      if (small) REQUIRE(holds_model_bytes(window, small->address(), 257));
      if (part) REQUIRE(holds_model_bytes(window, part->address(), part->bytes(), 8'000'003));
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("a block is freed on another thread, and memory with it") {
  std::optional<SharedDevice> arena{std::in_place, 1 * MiB, hip::DeviceMemory{0}};
  std::optional<DeviceSlice> slice{arena->allocate(1000)};
  arena.reset();
  std::thread{[&] { slice.reset(); }}.join();
  CHECK(hip::current_device() == 0);
}

TEST_CASE("work of one stream waits for an event of another") {
  HipDevice<> device;
  auto first = device.make_stream();
  auto second = device.make_stream();
  auto event = device.make_event();
  CHECK(device.is_done(event));
  device.synchronize(event);  // never recorded: done
  SharedDevice arena{16 * MiB, hip::DeviceMemory{0}};
  const auto from = arena.allocate(4 * MiB);
  const auto to = arena.allocate(4 * MiB);
  auto staging = device.staging_memory().acquire(4 * MiB, 256);
  const std::span<std::byte> bytes{static_cast<std::byte*>(staging.address()),
                                   static_cast<std::size_t>(4 * MiB)};
  for (int round = 0; round < 20; ++round) {
    std::fill(bytes.begin(), bytes.end(), static_cast<std::byte>(round));
    device.copy_to_device(from.address(), bytes.data(), bytes.size(), first);
    device.record(event, first);
    device.wait(second, event);
    device.copy_on_device(to.address(), from.address(), bytes.size(), second);
    device.copy_to_host(bytes.data(), to.address(), bytes.size(), second);
    device.synchronize(second);
    REQUIRE(test::all_are<std::byte>(bytes, static_cast<std::byte>(round)));
  }
}

TEST_CASE("another process reads a block: the handle carries its offset") {
  if (const char* const hex = std::getenv("ALLOT_IPC_HANDLE")) {
    // This is that process.
    hip::IpcHandle handle{};
    auto* const bytes = reinterpret_cast<unsigned char*>(&handle);
    for (std::size_t i = 0; i < sizeof handle; ++i) {
      const std::string digits{hex + 2 * i, 2};
      bytes[i] = static_cast<unsigned char>(std::stoul(digits, nullptr, 16));
    }
    const hip::ImportedMemory memory{handle, 0};
    REQUIRE(memory.bytes() == 3072);
    Window window{4096};
    REQUIRE(holds_model_bytes(window, memory.address(), 3000));
    return;
  }
  ArenaOn<hip::DeviceMemory, 1024> arena{1 * MiB, hip::DeviceMemory{0}};
  static_cast<void>(arena.allocate(5000));
  const Block block = arena.allocate(3000);
  REQUIRE(block.offset != 0);
  Window window{4096};
  test::fill_with_offsets(0, window.bytes().first(3000));
  window.write(arena.address(block), 3000);
  const hip::IpcHandle handle = hip::export_block(arena, block);
  std::string hex;
  const auto* const bytes = reinterpret_cast<const unsigned char*>(&handle);
  for (std::size_t i = 0; i < sizeof handle; ++i) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", bytes[i]);
    hex += digits;
  }
  const std::string program = fs::read_symlink("/proc/self/exe").string();
  const std::string command = "ALLOT_IPC_HANDLE=" + hex + " '" + program +
                              "' -tc='another process reads a block*' >/dev/null 2>&1";
  const int status = std::system(command.c_str());
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  Block stale = block;
  arena.deallocate(block);
  CHECK_THROWS_AS(static_cast<void>(hip::export_block(arena, stale)), InvalidBlock);
}

TEST_CASE("every real and generated file loads with one allocation and equals itself") {
  const auto data = test::data_dir();
  if (!data) return;
  std::size_t loaded = 0;
  for (const char* kind : {"real", "generated"}) {
    for (const auto& entry : fs::directory_iterator{*data / "gguf" / kind}) {
      if (entry.path().string().find("bigendian") != std::string::npos) continue;
      if (entry.path().extension() != ".gguf") continue;
      INFO(entry.path().string());
      const gguf::File file{entry.path()};
      HipDevice<> device;
      const load::Plan plan = load::make_plan(file, {.devices = {load::planned_device(device)}});
      load::check(plan, device);
      const auto model = load::load(file, plan, device);
      CHECK(!load::verify(file, model, device));
      CHECK(model.report().device_allocations == (plan.tensor_bytes() == 0 ? 0 : 1));
      CHECK(model.report().fallbacks.empty());
      ++loaded;
    }
  }
  CHECK(loaded > 25);
}

TEST_CASE("slots, streams, readers and ways to read change nothing but the time") {
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_model(folder.path() / "m.gguf", test::odd_sizes)};
  HipDevice<> device;
  const load::Plan plan = load::make_plan(file);
  for (const std::uint64_t slot : {4 * KiB, 12 * KiB + 512, 1 * MiB, 64 * MiB}) {
    for (const std::uint32_t slots : {1U, 2U, 5U}) {
      for (const std::uint32_t streams : {1U, 3U}) {
        if (slot < 1 * MiB && (slots != 5 || streams != 3)) continue;
        if (test::has_thread_sanitizer && (slot > 1 * MiB || streams != 3)) continue;
        load::LoadOptions options{.slot_bytes = slot, .slots = slots, .streams = streams};
        options.readers = slots;
        options.stream_choice =
            streams == 3 ? load::StreamChoice::least_outstanding : load::StreamChoice::round_robin;
        options.direct_io = slots == 2;
        INFO("slot " << slot << ", slots " << slots << ", streams " << streams);
        const auto model = load::load(file, plan, device, {}, options);
        REQUIRE(!load::verify(file, model, device));
      }
    }
  }
}

TEST_CASE("managed memory is read into straight") {
  HipDevice<hip::ManagedMemory> device;
  if (!device.properties().has_managed_memory) return;
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_model(folder.path() / "m.gguf", test::odd_sizes)};
  const load::Plan plan = load::make_plan(file, {.devices = {load::planned_device(device)}});
  CHECK(plan.arenas[0].transfer == load::Transfer::direct);
  const auto model = load::load(file, plan, device);
  CHECK(model.report().staging_bytes == 0);
  CHECK(!load::verify(file, model));
  CHECK(!load::verify(file, model, device));  // as the device sees it
}
