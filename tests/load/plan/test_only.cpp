// SPDX-License-Identifier: MIT
// Plans of some of a model's tensors, and of memory besides the model's.
#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/load/load.hpp>
#include <allot/load/load_divided.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/pool/kv/kv_cache.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/models.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;

struct SomeOf {
  test::TemporaryFolder folder;
  gguf::File file{test::write_llama(folder.path() / "m.gguf")};

  [[nodiscard]] load::Plan plan(std::vector<std::string> only,
                                load::TransformOptions transforms = {}) const {
    load::PlanOptions options;
    options.only = std::move(only);
    options.transforms = std::move(transforms);
    return load::make_plan(file, options);
  }
};

}  // namespace

TEST_CASE_TEMPLATE("only the tensors that patterns name are planned and loaded", D, HostDevice,
                   StagedHostDevice) {
  const SomeOf some;
  const load::Plan plan = some.plan({"blk.[01].*", "output.weight"});
  std::uint64_t bytes = 0;
  for (const gguf::TensorInfo& tensor : some.file.tensors()) {
    if (tensor.name.starts_with("blk.0.") || tensor.name.starts_with("blk.1.") ||
        tensor.name == "output.weight") {
      bytes += tensor.bytes;
    }
  }
  CHECK(plan.tensor_count() == 13);
  CHECK(plan.left_out_count() == some.file.tensors().size() - 13);
  CHECK(plan.tensor_bytes() == bytes);
  CHECK(plan.total_bytes() == bytes);
  D device;
  const auto model = load::load(some.file, plan, device);
  CHECK(!load::verify(some.file, model, device));
  CHECK(model.report().bytes == bytes);
  CHECK(model["blk.1.attn_q.weight"].is_loaded());
  CHECK(model.find("blk.2.attn_q.weight") == nullptr);
  CHECK_THROWS_WITH_AS(static_cast<void>(model["blk.2.attn_q.weight"]),
                       "tensor blk.2.attn_q.weight is not loaded: it was released, or left out of "
                       "the plan (PlanOptions::only)",
                       std::out_of_range);
  CHECK(model.tensors().size() == some.file.tensors().size());
  CHECK(model.layers().size() == 2);
  std::size_t loaded = 0;
  for (const auto& tensor : model) {
    CHECK(tensor.is_loaded() == (tensor.bytes() != 0));
    loaded += tensor.is_loaded() ? 1 : 0;
  }
  CHECK(loaded == 13);
}

TEST_CASE("no patterns are all tensors, and patterns that leave none are refused") {
  const SomeOf some;
  CHECK(some.plan({}).left_out_count() == 0);
  CHECK(some.plan({"*"}).total_bytes() == some.plan({}).total_bytes());
  CHECK_THROWS_WITH_AS(static_cast<void>(some.plan({"absent", "blk.9.*"})),
                       "no tensor has a name like absent, blk.9.*, so nothing is left of 27 "
                       "tensors; use patterns such as blk.*.attn_*",
                       std::invalid_argument);
}

TEST_CASE("what is left out is neither transformed nor fused") {
  const SomeOf some;
  load::TransformOptions transforms;
  transforms.fuse.qkv = true;
  transforms.dequantize = {{"*", gguf::TensorType::F16, false}};
  const load::Plan plan = some.plan({"blk.0.*", "blk.1.attn_q.*", "blk.1.attn_k.*"}, transforms);
  REQUIRE(plan.fusions.size() == 2);
  CHECK(plan.fusions[0].name == "blk.0.attn_qkv.weight");
  CHECK(plan.fusions[1].name == "blk.1.attn_qk.weight");
  CHECK(plan.fusions[1].left_out.empty());
  CHECK(plan.fusions[1].reason == "attn_v.weight is left out");
  HostDevice device;
  CHECK(!load::verify(some.file, load::load(some.file, plan, device)));
}

TEST_CASE("a plan that says that a tensor is left out, but gives it bytes, is refused") {
  const SomeOf some;
  load::Plan plan = some.plan({"blk.0.*"});
  for (load::Item& item : plan.items) item.left_out = true;
  HostDevice device;
  CHECK_THROWS_AS(static_cast<void>(load::load(some.file, plan, device)), std::logic_error);
}

TEST_CASE_TEMPLATE("a KV cache is planned and reserved with the weights", D, HostDevice,
                   StagedHostDevice) {
  const SomeOf some;
  D device;
  const KvCacheConfig config{.shape = kv_shape_of(some.file)};
  const KvLayout layout{config.shape, config.block_tokens};
  load::PlanOptions options;
  options.reserved = {{"kv", layout.bytes_for(layout.blocks_for(500))}};
  const load::Plan plan = load::make_plan(some.file, options);
  CHECK(plan.arenas.size() == 1);
  CHECK(plan.total_bytes() == plan.tensor_bytes() + layout.bytes_for(32));
  KvCache<D> cache = [&] {
    const auto model = load::load(some.file, plan, device);
    CHECK(model.report().device_allocations == 1);
    return KvCache<D>{device, config, model["kv"].slice()};
  }();
  CHECK(cache.stats().capacity == 32);
  const auto [sequence, cached] = cache.start(std::vector<std::uint32_t>(500, 7));
  CHECK(sequence.tokens() == 500);
  CHECK(cache.validate());
}

TEST_CASE("memory is reserved on the device that it names, which then has less room for layers") {
  const SomeOf some;
  load::PlanOptions options;
  options.devices = {{.name = "gpu", .free_bytes = 5 * MiB},
                     {.name = "host", .free_bytes = 1 * GiB}};
  const auto on_gpu = [&] { return load::make_plan(some.file, options).bytes_on("gpu"); };
  CHECK(on_gpu() > 3 * MiB);
  options.reserved = {{"mine", 4 * MiB, "gpu"}};
  CHECK(on_gpu() <= 5 * MiB);
  CHECK(on_gpu() >= 4 * MiB);
  options.reserved = {{"mine", 4 * MiB, "host"}};
  CHECK(on_gpu() > 3 * MiB);
  options.reserved = {{"mine", 4, "hip:7"}};
  CHECK_THROWS_WITH_AS(static_cast<void>(on_gpu()),
                       "memory cannot be reserved on hip:7 (mine): the plan does not have that "
                       "device; add it",
                       std::invalid_argument);
  options.reserved = {{"output.weight", 4}};
  CHECK_THROWS_WITH_AS(static_cast<void>(on_gpu()),
                       "memory cannot be reserved as output.weight: the model has an item of that "
                       "name; choose another",
                       std::invalid_argument);
  options.reserved = {{"mine", 4, "gpu"}, {"mine", 8, "host"}};
  CHECK_THROWS_WITH_AS(static_cast<void>(on_gpu()),
                       "memory cannot be reserved as mine: other memory that the plan reserves has "
                       "that name; choose another",
                       std::invalid_argument);
  options.reserved = {{"scratch.1", 4}};
  CHECK(on_gpu() > 3 * MiB);
  options.scratch_bytes = 1;
  CHECK_THROWS_WITH_AS(static_cast<void>(on_gpu()), doctest::Contains("reserved as scratch.1"),
                       std::invalid_argument);
}

TEST_CASE("memory that is reserved besides takes whole blocks of the device's room") {
  const SomeOf some;
  load::PlanOptions options;
  options.devices = {{.name = "gpu", .free_bytes = 1 * GiB},
                     {.name = "host", .free_bytes = 1 * GiB}};
  const std::uint64_t whole = load::make_plan(some.file, options).bytes_on("gpu");
  for (const bool is_scratch : {false, true}) {
    load::PlanOptions besides = options;
    if (is_scratch) {
      besides.scratch_bytes = 1;
    } else {
      besides.reserved = {{"mine", 1, "gpu"}};
    }
    besides.devices[0].free_bytes = whole + 1;
    CHECK(load::make_plan(some.file, besides).bytes_on("gpu") <= whole + 1);
    besides.devices[0].free_bytes = whole + 256;
    CHECK(load::make_plan(some.file, besides).bytes_on("gpu") == whole + 256);
  }
}
