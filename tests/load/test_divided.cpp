// SPDX-License-Identifier: MIT
// One model on devices of different types: the staged host stands for a GPU.
#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/load_divided.hpp>
#include <allot/load/plan/make_plan.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/models.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;

/// A staged host with made-up free memory.
struct SmallGpu : StagedHostDevice {
  std::uint64_t free = 1 * GiB;
  std::string called = "gpu";
  [[nodiscard]] MemoryInfo memory_info() const { return {free, free}; }
  [[nodiscard]] std::string name() const { return called; }
};
static_assert(Device<SmallGpu>);

/// The llama of the tests, and a device pair of which the GPU holds about half of it.
struct Divided {
  test::TemporaryFolder folder;
  gguf::File file{test::write_llama(folder.path() / "m.gguf")};
  SmallGpu gpu;
  HostDevice host;

  /// A plan with as many layers on the GPU as fit, and the first ones on the host.
  [[nodiscard]] load::Plan plan(load::PlanOptions options = {}) {
    options.devices = {{.name = "gpu", .free_bytes = 5 * MiB, .transfer = load::Transfer::staged},
                       {.name = "host", .free_bytes = 5 * MiB}};
    return load::make_plan(file, options);
  }
};

}  // namespace

TEST_CASE("a model divided between two types of devices is one model, which equals its file") {
  Divided d;
  const load::Plan plan = d.plan();
  REQUIRE(plan.arenas.size() == 2);
  const load::DividedModel model = load::load(d.file, plan, load::devices(d.gpu, d.host));
  CHECK(!load::verify(d.file, model, load::devices(d.gpu, d.host)));
  CHECK(!load::verify(d.file, model, load::devices(d.host, d.gpu)));
  std::uint64_t on_gpu = 0;
  std::uint64_t on_host = 0;
  for (const gguf::TensorInfo& info : d.file.tensors()) {
    const load::DividedTensor& tensor = model[info.name];
    CHECK(tensor.bytes() == info.bytes);
    CHECK(tensor.address() != nullptr);
    CHECK(tensor.host_slice().has_value() == (tensor.device() == "host"));
    CHECK(tensor.device_slice().has_value() == (tensor.device() == "gpu"));
    if (const auto slice = tensor.host_slice()) {
      CHECK(slice->address() == tensor.address());
      CHECK(slice->span()[7] == test::byte_at(7));
      on_host += tensor.bytes();
    } else {
      on_gpu += tensor.bytes();
    }
  }
  CHECK(on_gpu != 0);
  CHECK(on_host != 0);
  REQUIRE(model.arenas().size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(model.arenas()[i]->device() == plan.arenas[i].device);
    CHECK(model.arenas()[i]->usage().used == plan.arenas[i].used);
  }
  CHECK(model.report().bytes == plan.tensor_bytes());
  CHECK(model.report().device_allocations == 2);
  CHECK(model.report().staging_bytes != 0);
  const auto layers = model.layers();
  REQUIRE(layers.size() == 4);
  CHECK(layers.front()["attn_q"].device() == "host");
  CHECK(layers.back()["attn_q"].device() == "gpu");
  CHECK(model.find("absent") == nullptr);
  static_assert(std::is_nothrow_move_constructible_v<load::DividedModel>);
}

TEST_CASE("a divided model outlives its devices, and its tensors the model") {
  std::optional<load::DividedTensor> kept;
  {
    std::optional<load::DividedModel> model;
    {
      Divided d;
      model.emplace(load::load(d.file, d.plan(), load::devices(d.gpu, d.host)));
    }
    const load::DividedModel moved = std::move(*model);
    kept = moved["token_embd.weight"];
  }
  REQUIRE(kept->host_slice());
  CHECK(kept->host_slice()->span()[9] == test::byte_at(9));
  std::thread{[tensor = std::move(*kept)] {}}.join();
}

TEST_CASE(
    "a divided load reports the progress of both parts as one, and can be cancelled in each") {
  Divided d;
  const load::Plan plan = d.plan();
  std::vector<std::uint64_t> seen;
  std::uint64_t total = 0;
  const auto watch = [&](const Progress& at) {
    seen.push_back(at.done);
    total = at.total;
  };
  static_cast<void>(load::load(d.file, plan, load::devices(d.gpu, d.host), watch));
  CHECK(seen.front() == 0);
  CHECK(seen.back() == total);
  CHECK(total == plan.tensor_bytes());
  for (std::size_t i = 1; i < seen.size(); ++i) CHECK(seen[i - 1] < seen[i]);
  for (const std::uint64_t stop : {std::uint64_t{0}, total / 4, total}) {
    CHECK_THROWS_AS(
        static_cast<void>(load::load(d.file, plan, load::devices(d.gpu, d.host),
                                     [&](const Progress& at) { return at.done < stop; })),
        Cancelled);
  }
}

TEST_CASE("a divided model may be transformed, fused, and have cache and scratch memory") {
  Divided d;
  load::PlanOptions options;
  options.transforms.fuse.qkv = true;
  options.transforms.dequantize = {{"*", gguf::TensorType::F16, false}};
  options.cache = load::CacheOptions{64};
  options.scratch_bytes = 1000;
  const load::Plan plan = d.plan(options);
  const auto both = load::devices(d.gpu, d.host);
  const load::DividedModel model = load::load(d.file, plan, both);
  CHECK(!load::verify(d.file, model, both));
  CHECK(model["scratch.0"].device() == "gpu");
  CHECK(model["scratch.1"].device() == "host");
  for (const auto& layer : model.layers()) {
    const load::DividedTensor& fused = layer["attn_qkv"];
    CHECK(layer["attn_q"].device() == fused.device());
    CHECK(layer["attn_q"].address() == fused.address());
    CHECK(layer["cache.k"].device() == fused.device());
  }
}

TEST_CASE("two devices of one type and the host share a model") {
  Divided d;
  std::vector<SmallGpu> gpus(2);
  gpus[0].called = "gpu:0";
  gpus[1].called = "gpu:1";
  const auto all = load::devices(std::span{gpus}, d.host);
  load::PlanOptions options;
  options.devices = all.planned();
  REQUIRE(options.devices.size() == 3);
  CHECK(options.devices[1].name == "gpu:1");
  CHECK(options.devices[1].transfer == load::Transfer::staged);
  CHECK(options.devices[2].transfer == load::Transfer::direct);
  for (load::PlannedDevice& device : options.devices) device.free_bytes = 3 * MiB;
  const load::Plan plan = load::make_plan(d.file, options);
  CHECK(plan.arenas.size() == 3);
  load::check(plan, all, load::NoMargin{});
  CHECK(!load::verify(d.file, load::load(d.file, plan, all), all));
}

TEST_CASE("devices that a plan does not know, and models without room, are refused by name") {
  Divided d;
  const load::Plan plan = d.plan();
  StagedHostDevice other;
  CHECK_THROWS_WITH_AS(static_cast<void>(load::load(d.file, plan, load::devices(other, d.host))),
                       "the plan has an arena on gpu, which is not among the devices given; load "
                       "onto those that it was made for",
                       std::logic_error);
  d.gpu.free = 1000;
  CHECK_THROWS_AS(load::check(plan, load::devices(d.gpu, d.host)), InsufficientMemory);
  const load::DividedModel model = load::load(d.file, plan, load::devices(d.gpu, d.host));
  CHECK_THROWS_AS(static_cast<void>(load::verify(d.file, model, load::devices(other, d.host))),
                  std::logic_error);
  const auto slice = model["token_embd.weight"].host_slice();
  REQUIRE(slice);
  slice->span()[70'000] ^= std::byte{1};
  const auto difference = load::verify(d.file, model, load::devices(d.gpu, d.host));
  REQUIRE(difference);
  CHECK(difference->tensor == "token_embd.weight");
  CHECK(difference->byte == 70'000);
}

TEST_CASE("a divided model without bytes makes no allocation") {
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_model(folder.path() / "m.gguf", {0})};
  SmallGpu gpu;
  HostDevice host;
  const auto both = load::devices(gpu, host);
  std::vector<Progress> seen;
  const load::DividedModel model =
      load::load(file, load::make_plan(file, {.devices = both.planned()}), both,
                 [&](const Progress& at) { seen.push_back(at); });
  CHECK(model.arenas().empty());
  CHECK(model["t0"].device().empty());
  CHECK(!model["t0"].host_slice());
  CHECK(!load::verify(file, model, both));
  CHECK(seen.size() == 1);
}
