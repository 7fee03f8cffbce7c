// SPDX-License-Identifier: MIT
// Ways out of a model's one allocation: released tensors, and copies that the caller owns.
#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/load.hpp>
#include <allot/load/load_divided.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/load/verify.hpp>
#include <allot/memory/free_pages.hpp>
#include <allot/stream/readback.hpp>

#include <doctest/doctest.h>

#if !defined(_WIN32)
#include <sys/mman.h>
#endif

#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <vector>

#include "support/models.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;

#if !defined(_WIN32)  // which drops pages only when it needs them
/// The pages of a range that are in memory.
std::size_t resident_pages(const void* address, std::uint64_t bytes) {
  constexpr std::uint64_t page = 4096;
  const std::uint64_t start = (reinterpret_cast<std::uintptr_t>(address) + page - 1) / page * page;
  const std::uint64_t end = (reinterpret_cast<std::uintptr_t>(address) + bytes) / page * page;
  std::vector<unsigned char> is_there((end - start) / page);
  REQUIRE(::mincore(reinterpret_cast<void*>(start), end - start, is_there.data()) == 0);
  std::size_t count = 0;
  for (const unsigned char each : is_there) count += each & 1U;
  return count;
}
#endif

struct OddModel {
  test::TemporaryFolder folder;
  gguf::File file{test::write_model(folder.path() / "m.gguf", test::odd_sizes)};  // t5: 9,000,001
};

}  // namespace

TEST_CASE_TEMPLATE("a released tensor's bytes can be used again in the arena", D, HostDevice,
                   StagedHostDevice) {
  const OddModel odd;
  D device;
  auto model = load::load(odd.file, load::make_plan(odd.file), device);
  const Usage before = model.arenas().front().usage();
  std::optional kept = model["t5"];
  model.release("t5");
  CHECK(model.arenas().front().usage() == before);  // another slice of it is left
  kept.reset();
  const Usage after = model.arenas().front().usage();
  CHECK(after.live_blocks == before.live_blocks - 1);
  CHECK(after.largest_free >= 9'000'001);
  CHECK(model.find("t5") == nullptr);
  CHECK(!model.tensors()[5].is_loaded());
  CHECK_THROWS_AS(model.release("t5"), std::out_of_range);
  CHECK_THROWS_AS(model.release("absent"), std::out_of_range);
  CHECK(model["t6"].bytes() == 4097);
  auto arena = model.arenas().front();
  CHECK(arena.allocate(9'000'001).bytes() == 9'000'001);
}

#if !defined(_WIN32)
TEST_CASE("pages of a released tensor go back to the system, and those beside it stay") {
  const OddModel odd;
  HostDevice device{HostMemory::Options{}};
  auto model = load::load(odd.file, load::make_plan(odd.file), device);
  void* const address = model["t5"].address();
  const auto neighbor = model["t6"];
  CHECK(resident_pages(address, 9'000'001) > 2000);
  model.release("t5");
  CHECK(resident_pages(address, 9'000'001) <= 1);  // one is shared with a neighbor
  for (std::uint64_t i = 0; i < neighbor.bytes(); ++i)
    CHECK(neighbor.slice().span()[i] == test::byte_at(i));
  auto arena = model.arenas().front();
  const auto again = arena.allocate(9'000'001);
  again.span()[5'000'000] = std::byte{1};
  CHECK(again.address() == address);
}

TEST_CASE("pages of free blocks are returned on request, and only of those") {
  static_assert(ReturnsPages<HostMemory> && !ReturnsPages<OffsetsOnly>);
  Arena<BestFit, AlignTo<256>, Unsynchronized, HostMemory> arena{4 * MiB};
  const Block first = arena.allocate(1 * MiB);
  const Block second = arena.allocate(1 * MiB);
  std::memset(arena.address(first), 1, 1 * MiB);
  std::memset(arena.address(second), 2, 1 * MiB);
  void* const freed = arena.address(first);
  arena.deallocate(first);
  CHECK(resident_pages(freed, 1 * MiB) == 256);
  return_free_pages(arena);
  CHECK(resident_pages(freed, 1 * MiB) == 0);
  CHECK(resident_pages(arena.address(second), 1 * MiB) == 256);
  CHECK(static_cast<char*>(arena.address(second))[77] == 2);
}
#endif

TEST_CASE_TEMPLATE("a taken tensor is a copy that outlives the model", D, HostDevice,
                   StagedHostDevice) {
  const OddModel odd;
  D device;
  const auto copy = [&] {
    const auto model = load::load(odd.file, load::make_plan(odd.file), device);
    auto taken = model.take("t5", device);
    CHECK(taken.address() != model["t5"].address());
    CHECK(taken.name() == "t5");
    CHECK(taken.shape() == model["t5"].shape());
    CHECK(model.take("t4", device).bytes() == 0);
    CHECK_THROWS_AS(static_cast<void>(model.take("absent", device)), std::out_of_range);
    CHECK(!load::verify(odd.file, model, device));
    return taken;
  }();
  REQUIRE(copy.bytes() == 9'000'001);
  auto stream = device.make_stream();
  Readback<std::byte, D> readback{device, copy.bytes()};
  readback.start(copy.slice(), stream);
  const auto bytes = readback.wait();
  CHECK(test::are_model_bytes(bytes));
}

TEST_CASE("tensors of a divided model are released and taken, also to another device") {
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_llama(folder.path() / "m.gguf")};
  StagedHostDevice gpu;
  HostDevice host;
  load::PlanOptions options;
  options.devices = {{.name = "staged-host", .free_bytes = 5 * MiB}, {.name = "host"}};
  auto model = load::load(file, load::make_plan(file, options), load::devices(gpu, host));
  REQUIRE(model["token_embd.weight"].device() == "host");
  REQUIRE(model["output.weight"].device() == "staged-host");
  const auto on_host = model.take("token_embd.weight", host);
  const auto on_gpu = model.take("token_embd.weight", gpu);
  const auto output = model.take("output.weight", gpu);
  CHECK_THROWS_WITH_AS(static_cast<void>(model.take("output.weight", host)),
                       "tensor output.weight is not on host, nor where the host may touch it; take "
                       "it with its own device",
                       std::invalid_argument);
  CHECK(on_host.slice().span()[99] == test::byte_at(99));
  auto stream = gpu.make_stream();
  Readback<std::byte, StagedHostDevice> readback{gpu, on_gpu.bytes()};
  for (const auto* tensor : {&on_gpu, &output}) {
    readback.start(tensor->slice(), stream);
    CHECK(readback.wait()[12'345] == test::byte_at(12'345));
  }
  const std::uint64_t used = model.arenas()[1]->usage().used + model.arenas()[0]->usage().used;
  model.release("token_embd.weight");
  model.release("output.weight");
  CHECK(model.find("token_embd.weight") == nullptr);
  CHECK(model.arenas()[1]->usage().used + model.arenas()[0]->usage().used ==
        used - on_gpu.bytes() - output.bytes());
}
