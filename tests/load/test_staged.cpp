// SPDX-License-Identifier: MIT
// The pipeline on the host, behaving like a discrete device.
#include <allot/device/staged_host_device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/writer/writer.hpp>
#include <allot/load/check.hpp>
#include <allot/load/load.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/load/verify.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/models.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
namespace fs = std::filesystem;

static_assert(!StagedHostDevice::memory_type::host_accessible);

/// Refuses staging memory, or what is larger than a limit, as a device may.
struct ReluctantDevice : StagedHostDevice {
  struct memory_type : StagedHostMemory {
    std::uint64_t largest = ~std::uint64_t{0};
    Region acquire(std::uint64_t bytes, std::uint64_t alignment) {
      if (bytes > largest) throw OutOfMemory{RefusalReason::source, bytes, alignment, 0, 0, 0};
      return StagedHostMemory::acquire(bytes, alignment);
    }
  };
  std::uint64_t largest = ~std::uint64_t{0};

  memory_type memory() {
    memory_type made;
    made.largest = largest;
    return made;
  }
};
static_assert(Device<ReluctantDevice>);

}  // namespace

TEST_CASE("what is staged equals the file, with rings and streams of every size") {
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_model(folder.path() / "m.gguf", test::odd_sizes)};
  StagedHostDevice device;
  const load::Plan plan = load::make_plan(file, {.devices = {load::planned_device(device)}});
  CHECK(plan.arenas[0].transfer == load::Transfer::staged);
  for (const std::uint64_t slot : {4 * KiB, 100'000 * std::uint64_t{1}, 4 * MiB}) {
    for (const std::uint32_t slots : {1U, 4U}) {
      for (const bool direct : {false, true}) {
        load::LoadOptions options{.slot_bytes = slot, .slots = slots, .streams = 1 + slots / 2};
        options.direct_io = direct;
        options.readers = 3;
        const auto model = load::load(file, plan, device, {}, options);
        REQUIRE(!load::verify(file, model, device));
        CHECK(model.report().staging_bytes <= (slot + 12 * KiB) * slots);
      }
    }
  }
}

TEST_CASE("every real and generated file is staged and equals itself") {
  const auto data = test::data_dir();
  if (!data) return;
  for (const char* kind : {"real", "generated"}) {
    for (const auto& entry : fs::directory_iterator{*data / "gguf" / kind}) {
      if (entry.path().string().find("bigendian") != std::string::npos) continue;
      if (entry.path().extension() != ".gguf") continue;
      INFO(entry.path().string());
      const gguf::File file{entry.path()};
      StagedHostDevice device;
      const auto model = load::load(file, load::make_plan(file), device);
      CHECK(!load::verify(file, model, device));
    }
  }
}

TEST_CASE("direct reads that a file system refuses are reads through the page cache, and said") {
  const fs::path memory_folder = "/dev/shm";  // tmpfs has no direct reads before Linux 6.6
  if (!fs::is_directory(memory_folder)) return;
  const fs::path path = memory_folder / ("allot-test-" + std::to_string(::getpid()) + ".gguf");
  const gguf::File file{test::write_model(path, test::odd_sizes)};
  StagedHostDevice device;
  load::LoadOptions options;
  options.direct_io = true;
  const auto model = load::load(file, load::make_plan(file), device, {}, options);
  fs::remove(path);
  CHECK(!load::verify(file, model, device));
  CHECK(model.report().direct_io == model.report().fallbacks.empty());
}

TEST_CASE("options that cannot be are refused before anything is reserved") {
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_model(folder.path() / "m.gguf", {100})};
  StagedHostDevice device;
  const load::Plan plan = load::make_plan(file);
  for (const load::LoadOptions options :
       {load::LoadOptions{.slot_bytes = 4095}, load::LoadOptions{.slot_bytes = ~std::uint64_t{0}},
        load::LoadOptions{.slots = 0}, load::LoadOptions{.slots = 5000},
        load::LoadOptions{.streams = 0}, load::LoadOptions{.streams = 1000}}) {
    CHECK_THROWS_AS(static_cast<void>(load::load(file, plan, device, {}, options)),
                    std::invalid_argument);
  }
}

TEST_CASE("cache and scratch are reserved beside the weights, in the same allocation") {
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_llama(folder.path() / "m.gguf", {.layers = 2})};
  StagedHostDevice device;
  const load::Plan plan =
      load::make_plan(file, {.cache = load::CacheOptions{100}, .scratch_bytes = 5000});
  const auto model = load::load(file, plan, device);
  CHECK(model.arenas().size() == 1);
  CHECK(model.tensors().size() == file.tensors().size());
  REQUIRE(model.reserved().size() == 5);
  CHECK(model["cache.1.v"].bytes() == 100 * 64 * 2);
  CHECK(model["scratch"].bytes() == 5000);
  CHECK(model.arenas()[0].usage().used == plan.arenas[0].used);
}

TEST_CASE("an allocation that is refused although memory is free is divided, down to 16 MiB") {
  const test::TemporaryFolder folder;
  const gguf::File file{
      test::write_model(folder.path() / "m.gguf", {20'000'000, 20'000'000, 20'000'000})};
  ReluctantDevice device;
  device.largest = 21'000'000;
  const auto model = load::load(file, load::make_plan(file), device);
  CHECK(model.report().device_allocations == 3);
  CHECK(model.report().fallbacks.size() >= 1);
  CHECK(!load::verify(file, model, device));
  device.largest = 19'000'000;
  CHECK_THROWS_AS(static_cast<void>(load::load(file, load::make_plan(file), device)), OutOfMemory);
}

TEST_CASE("a divided plan is checked again: its steps are made from items that may be wrong") {
  const test::TemporaryFolder folder;
  gguf::Writer writer;
  writer.add_tensor("turned", gguf::TensorType::F32, {3000, 3000}, test::fill_with_offsets);
  writer.add_tensor("a", gguf::TensorType::I8, {20'000'000}, test::fill_with_offsets);
  writer.add_tensor("b", gguf::TensorType::I8, {20'000'000}, test::fill_with_offsets);
  writer.write(folder.path() / "m.gguf");
  const gguf::File file{folder.path() / "m.gguf"};
  load::Plan plan = load::make_plan(file, {.transforms = {.transpose = {"turned"}}});
  load::Item& turned = plan.items[0];
  turned.strides = {4, 0, 0, 0};  // every row in one place
  turned.bytes = turned.row_bytes;
  ReluctantDevice device;
  device.largest = 21'000'000;
  CHECK_THROWS_AS(static_cast<void>(load::load(file, plan, device)), std::logic_error);
}
