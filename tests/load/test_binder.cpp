// SPDX-License-Identifier: MIT
// What an engine takes of a model: its tensors by name and shape, and the use of its memory.
#include <allot/device/host_device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/writer/writer.hpp>
#include <allot/load/binder.hpp>
#include <allot/load/load.hpp>
#include <allot/load/memory_use.hpp>
#include <allot/load/plan/make_plan.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/models.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
using gguf::TensorType;

/// Three layers: one that is fused with its biases, one of two types, one with a single bias.
struct ThreeLayers {
  test::TemporaryFolder folder;
  gguf::File file{write(folder.path() / "layers.gguf")};

  static std::filesystem::path write(const std::filesystem::path& path) {
    gguf::Writer writer;
    const auto add = [&](const char* name, TensorType type,
                         std::initializer_list<std::uint64_t> extent) {
      writer.add_tensor(name, type, extent, test::fill_with_offsets);
    };
    add("norm.weight", TensorType::F32, {4});
    add("half.weight", TensorType::F16, {4});
    add("sums.weight", TensorType::Q8_K, {256});
    add("blk.0.attn_q.weight", TensorType::F32, {4, 4});
    add("blk.0.attn_k.weight", TensorType::F32, {4, 2});
    add("blk.0.attn_v.weight", TensorType::F32, {4, 3});
    add("blk.0.attn_q.bias", TensorType::F32, {4});
    add("blk.0.attn_k.bias", TensorType::F32, {2});
    add("blk.0.attn_v.bias", TensorType::F32, {3});
    add("blk.1.attn_q.weight", TensorType::F32, {4, 4});
    add("blk.1.attn_k.weight", TensorType::F16, {4, 2});
    add("blk.1.attn_v.weight", TensorType::F16, {4, 3});
    add("blk.2.attn_q.weight", TensorType::F32, {4, 4});
    add("blk.2.attn_k.weight", TensorType::F32, {4, 2});
    add("blk.2.attn_v.weight", TensorType::F32, {4, 3});
    add("blk.2.attn_q.bias", TensorType::F32, {4});
    writer.write(path);
    return path;
  }

  [[nodiscard]] load::Plan plan(bool fuses) const {
    return load::make_plan(file, {.transforms = {.fuse = {.qkv = fuses}}});
  }
};

std::vector<load::Matrix> projections_of(load::Binder& tensors, std::uint64_t layer) {
  return tensors.matrices("blk." + std::to_string(layer) + ".", 4,
                          {{"attn_q", 4}, {"attn_k", 2}, {"attn_v", 3}});
}

/// Returns the numbers of rows of each.
std::vector<std::uint64_t> rows_of(const std::vector<load::Matrix>& matrices) {
  std::vector<std::uint64_t> rows;
  for (const load::Matrix& matrix : matrices) rows.push_back(matrix.rows);
  return rows;
}

using RowCounts = std::vector<std::uint64_t>;

}  // namespace

TEST_CASE(
    "a binder joins the matrices that are fused, and their biases, and gives the file's rows") {
  const ThreeLayers three;
  HostDevice device;
  for (const bool fuses : {true, false}) {
    CAPTURE(fuses);
    const load::Plan plan = three.plan(fuses);
    const auto model = load::load(three.file, plan, device);
    load::Binder tensors{model};
    load::Binder planned{plan};
    for (const std::uint64_t layer : {0U, 1U, 2U}) {
      CAPTURE(layer);
      const auto matrices = projections_of(tensors, layer);
      const RowCounts fused[] = {{9}, {4, 5}, {4, 5}};
      CHECK(rows_of(matrices) == (fuses ? fused[layer] : RowCounts{4, 2, 3}));
      CHECK(rows_of(projections_of(planned, layer)) == rows_of(matrices));
      CHECK((matrices.front().bias != nullptr) == (layer != 1));
      CHECK((matrices.back().bias != nullptr) == (layer == 0));
      std::size_t matrix = 0;
      std::uint64_t row = 0;
      for (const char* const part : {"attn_q", "attn_k", "attn_v"}) {
        const std::string name = "blk." + std::to_string(layer) + "." + part;
        const gguf::TensorInfo& tensor = *three.file.find(name + ".weight");
        if (row == matrices[matrix].rows) {
          ++matrix;
          row = 0;
        }
        const load::Matrix& found = matrices[matrix];
        CHECK(found.type == tensor.type);
        CHECK(found.columns == 4);
        CHECK(found.row_bytes * tensor.shape.extent[1] == tensor.bytes);
        CHECK(std::memcmp(found.address + row * found.row_bytes, three.file.data(tensor).data(),
                          tensor.bytes) == 0);
        if (const gguf::TensorInfo* const bias = three.file.find(name + ".bias"))
          CHECK(std::memcmp(found.bias + row, three.file.data(*bias).data(), bias->bytes) == 0);
        row += tensor.shape.extent[1];
      }
    }
    const auto norm = three.file.data(*three.file.find("norm.weight"));
    CHECK(std::memcmp(tensors.floats("norm.weight", 4), norm.data(), norm.size()) == 0);
    CHECK(tensors.optional_floats("other.weight", 4) == nullptr);
    CHECK(planned.floats("norm.weight", 4) == nullptr);
    CHECK(projections_of(planned, 0).front().address == nullptr);
  }
}

TEST_CASE("what an engine expects and a model does not have is refused by name") {
  const ThreeLayers three;
  const load::Plan plan = three.plan(true);
  load::Binder tensors{plan};
  const auto refuses = [](const auto& take, const char* why) {
    CHECK_THROWS_WITH_AS(static_cast<void>(take()), why, std::runtime_error);
  };
  CHECK(tensors.has("norm.weight"));
  CHECK(!tensors.has("blk.0.attn_qkv.weight"));  // not the file's
  refuses([&] { return tensors.floats("norm", 4); }, "tensor norm is missing");
  refuses([&] { return tensors.floats("norm.weight", 5); },
          "tensor norm.weight has the shape 4 x 1 x 1 x 1; expected is 5 x 1");
  refuses([&] { return tensors.optional_floats("half.weight", 4); },
          "tensor half.weight is F16, not F32; give the plan a rule that makes it so "
          "(TransformOptions::dequantize)");
  refuses(
      [&] {
        return tensors.matrices("", 256, {{"sums", 1}});
      },
      "tensor sums.weight is Q8_K, a type for intermediate results, not for weights");
  refuses(
      [&] {
        return tensors.matrices("blk.0.", 4, {{"attn_q", 4}, {"attn_o", 4}});
      },
      "tensor blk.0.attn_o.weight is missing");
  static_cast<void>(tensors.floats("norm.weight", 4));
  static_cast<void>(tensors.floats("norm.weight", 4));  // as often as wanted
  for (const std::uint64_t layer : {0U, 1U, 2U}) static_cast<void>(projections_of(tensors, layer));
  CHECK_THROWS_WITH_AS(tensors.require_all_taken(),
                       "this engine does not use the model's tensor half.weight and 1 more; it "
                       "would compute another model",
                       std::runtime_error);

  load::PlanOptions options;
  options.only = {"norm.weight"};
  const load::Plan small = load::make_plan(three.file, options);
  load::Binder left{small};
  refuses([&] { return projections_of(left, 0); }, "tensor blk.0.attn_q.weight is missing");
  static_cast<void>(left.floats("norm.weight", 4));
  CHECK_NOTHROW(left.require_all_taken());
}

TEST_CASE("what is reserved beside a model has its own arenas, whose use is reported by name") {
  const ThreeLayers three;
  HostDevice device;
  load::PlanOptions options;
  options.reserved = {{"cache", 1000}, {"activations", 512}};
  options.scratch_bytes = 256;
  const load::Plan plan = load::make_plan(three.file, options, load::ReservedApart{});
  REQUIRE(plan.arenas.size() == 4);
  const auto planned = load::memory_use(plan);
  REQUIRE(planned.size() == 4);
  std::uint64_t total = 0;
  for (const load::MemoryUse& one : planned) {
    total += one.planned;
    CHECK(one.reserved == 0);
    CHECK(one.used == 0);
  }
  CHECK(total == plan.total_bytes());
  CHECK(planned[0].name == "weights");
  CHECK(planned[0].planned >= plan.tensor_bytes());
  CHECK(planned[1].name == "cache");
  CHECK(planned[1].planned >= 1000);
  CHECK(planned[2].name == "activations");
  CHECK(planned[2].planned == 512);
  CHECK(planned[3].name == "scratch");

  auto model = load::load(three.file, plan, device);
  for (const load::MemoryUse& one : load::memory_use(plan, model)) {
    CHECK(one.reserved == one.planned);
    CHECK(one.used == one.planned);
  }
  model.release("activations");
  CHECK(load::memory_use(plan, model)[2].used == 0);
  CHECK(load::memory_use(plan, model)[2].reserved == 512);
  // Arenas of one rule are one row.
  const load::Plan chunks = load::make_plan(three.file, {}, load::ChunkedArenas<256>{});
  REQUIRE(chunks.arenas.size() > 1);
  const auto rows = load::memory_use(chunks, load::load(three.file, chunks, device));
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].planned == chunks.total_bytes());
  CHECK(rows[0].reserved == chunks.total_bytes());
  // Nothing reserved.
  CHECK(load::make_plan(three.file, {}, load::ReservedApart{}).arenas.size() == 1);
}
