// SPDX-License-Identifier: MIT
// What becomes of tensors on their way, compared element by element with the whole file
// dequantized.
#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/gguf/byte_order.hpp>
#include <allot/gguf/dequantize.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/writer/writer.hpp>
#include <allot/load/load.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/load/verify.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "support/random.hpp"
#include "support/sanitizers.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
using gguf::TensorType;
using load::Fusion;
using load::Item;
using load::Padding;
using load::Plan;
using load::TransformOptions;

/// One element of an item, or one of its blocks, as bytes.
struct Cell {
  std::uint64_t at;
  std::uint64_t bytes;
};

/// Where element (or block) `i` of row `j` of a matrix of the file is in its item.
Cell cell_of(const Item& item, std::uint64_t i, std::uint64_t j, std::uint64_t k, std::uint64_t l) {
  if (item.transposed) std::swap(i, j);
  const auto& s = item.strides;
  return {i * s[0] + j * s[1] + k * s[2] + l * s[3], gguf::type_info(item.type).block_bytes};
}

/// The tensor's bytes as the machine has them.
std::vector<std::byte> native_bytes(const gguf::File& file, const gguf::TensorInfo& tensor) {
  const auto data = file.data(tensor);
  std::vector<std::byte> bytes{data.begin(), data.end()};
  if (file.byte_order() != std::endian::native) gguf::swap_byte_order(tensor.type, bytes);
  return bytes;
}

/// All cells of a tensor in the type that the item has, in the file's order.
std::vector<std::byte> expected_cells(const gguf::File& file, const gguf::TensorInfo& tensor,
                                      TensorType to) {
  const std::vector<std::byte> bytes = native_bytes(file, tensor);
  if (to == tensor.type) return bytes;
  const auto elements = static_cast<std::size_t>(tensor.shape.elements());
  const auto made = [&]<class T>(std::vector<T> values) {
    gguf::dequantize(tensor.type, bytes, std::span{values});
    std::vector<std::byte> cells(values.size() * sizeof(T));
    if (!cells.empty()) std::memcpy(cells.data(), values.data(), cells.size());
    return cells;
  };
  if (to == TensorType::F32) return made(std::vector<float>(elements));
  if (to == TensorType::F16) return made(std::vector<gguf::Float16>(elements));
  return made(std::vector<gguf::BFloat16>(elements));
}

/// Compares an item's memory with the file, cell by cell; all other bytes of an item with memory of
/// its own are 0.
void check_item(const gguf::File& file, const gguf::TensorInfo& tensor, const Item& item,
                std::span<const std::byte> memory) {
  INFO("tensor " << item.name);
  const std::vector<std::byte> cells = expected_cells(file, tensor, item.type);
  std::vector<unsigned char> covered(memory.size());
  const auto& extent = tensor.shape.extent;
  const std::uint64_t blocks = extent[0] / gguf::type_info(item.type).block_elements;
  // Cells of a row lie one behind the other, unless it has become a column.
  const std::uint64_t cells_at_once = item.transposed ? 1 : blocks;
  std::uint64_t from = 0;
  std::uint64_t wrong = 0;
  for (std::uint64_t l = 0; l < extent[3]; ++l) {
    for (std::uint64_t k = 0; k < extent[2]; ++k) {
      for (std::uint64_t j = 0; j < extent[1]; ++j) {
        for (std::uint64_t i = 0; i < blocks; i += cells_at_once) {
          const Cell cell = cell_of(item, i, j, k, l);
          const std::uint64_t bytes = cell.bytes * cells_at_once;
          if (cell.at + bytes > memory.size()) {
            ++wrong;
            continue;
          }
          if (std::memcmp(memory.data() + cell.at, cells.data() + from, bytes) != 0) ++wrong;
          std::memset(covered.data() + cell.at, 1, bytes);
          from += bytes;
        }
      }
    }
  }
  CHECK(wrong == 0);
  if (item.part_of) return;
  const unsigned char* const is_covered = covered.data();  // indexing a vector takes longer
  const std::byte* const bytes = memory.data();
  for (std::size_t i = 0, size = memory.size(); i < size; ++i) {
    if (is_covered[i] == 0 && bytes[i] != std::byte{0}) ++wrong;
  }
  CHECK(wrong == 0);
}

template <class Model>
void check_parts(const Model& model) {
  const Plan& plan = model.plan();
  for (std::size_t i = 0; i < plan.items.size(); ++i) {
    const Item& item = plan.items[i];
    if (!item.part_of || item.bytes == 0) continue;
    const auto& whole = model.planned()[item.part_of->item];
    CHECK(static_cast<char*>(model.planned()[i].address()) ==
          static_cast<char*>(whole.address()) + item.part_of->offset);
    CHECK(model.planned()[i].strides() == item.strides);
  }
}

// Under the thread sanitizer what one thread computes needs no second look, and one size is enough.
const std::vector<std::uint64_t> usual_slot_sizes =
    test::has_thread_sanitizer ? std::vector<std::uint64_t>{70'001}
                               : std::vector<std::uint64_t>{4 * KiB, 70'001, 16 * MiB};

/// Loads onto the host and onto a device of staged memory, with slots of several sizes.
void check_everywhere(const gguf::File& file, const TransformOptions& transforms,
                      const std::vector<std::uint64_t>& slot_sizes = usual_slot_sizes) {
  const Plan plan = load::make_plan(file, {.transforms = transforms});
  HostDevice host;
  const auto model = load::load(file, plan, host);
  REQUIRE(!load::verify(file, model));
  CHECK(model.report().bytes == load::detail::bytes_of(plan.steps));
  CHECK(model.report().bytes >= plan.tensor_bytes());  // what lies between tensors travels along
  check_parts(model);
  for (std::size_t i = 0; i < file.tensors().size() && !test::has_thread_sanitizer; ++i)
    check_item(file, file.tensors()[i], plan.items[i], model.tensors()[i].slice().span());
  for (std::size_t i = file.tensors().size(); i < plan.items.size(); ++i) {
    const auto memory = model.planned()[i].slice().span();
    const auto zeros = memory.subspan(load::detail::extent_of(plan.items[i]));
    CHECK(std::count(zeros.begin(), zeros.end(), std::byte{0}) ==
          static_cast<std::ptrdiff_t>(zeros.size()));
  }

  StagedHostDevice staged;
  const Plan there =
      load::make_plan(file, {.devices = {load::planned_device(staged)}, .transforms = transforms});
  for (const std::uint64_t slot : slot_sizes) {
    load::LoadOptions options{.slot_bytes = slot};
    options.readers = 3;
    options.direct_io = slot == 16 * MiB;
    std::uint64_t last = 0;
    const auto loaded = load::load(
        file, there, staged,
        [&](const load::Progress& progress) {
          last = progress.done;
          return true;
        },
        options);
    CHECK(last == load::detail::bytes_of(there.steps));
    check_parts(loaded);
    REQUIRE(!load::verify(file, loaded, staged));
  }
}

/// Returns what fills a tensor with numbers below 64: no infinities among the scales.
auto fill_from(std::uint64_t seed) {
  return [seed](std::uint64_t offset, std::span<std::byte> piece) {
    std::byte* const first = piece.data();
    for (std::size_t i = 0, size = piece.size(); i < size; ++i)
      first[i] = static_cast<std::byte>((offset + i + seed) * 0x9E3779B97F4A7C15ULL >> 58);
  };
}

/// A layer of each kind: attention with biases, merged experts with biases, a plain feed-forward
/// whose types differ, names that are none.
std::filesystem::path write_layers(const std::filesystem::path& path) {
  gguf::Writer writer;
  std::mt19937_64 random{7};
  const auto add = [&](const std::string& name, TensorType type,
                       std::initializer_list<std::uint64_t> extent) {
    const std::uint64_t seed = random();
    writer.add_tensor(name, type, extent, fill_from(seed));
  };
  add("blk.0.attn_q.weight", TensorType::Q8_0, {64, 96});
  add("blk.0.attn_k.weight", TensorType::Q8_0, {64, 32});
  add("blk.0.attn_v.weight", TensorType::Q8_0, {64, 32});
  add("blk.0.attn_q.bias", TensorType::F32, {96});
  add("blk.0.attn_k.bias", TensorType::F32, {32});
  add("blk.0.attn_v.bias", TensorType::F32, {32});
  add("blk.0.ffn_gate_exps.weight", TensorType::Q4_0, {64, 10, 3});
  add("blk.0.ffn_up_exps.weight", TensorType::Q4_0, {64, 10, 3});
  add("blk.0.ffn_gate_exps.bias", TensorType::F32, {10, 3});
  add("blk.0.ffn_up_exps.bias", TensorType::F32, {10, 3});
  add("blk.1.attn_q.weight", TensorType::Q4_0, {64, 64});
  add("blk.1.attn_k.weight", TensorType::Q4_0, {64, 32});
  add("blk.1.attn_v.weight", TensorType::Q5_0, {64, 32});
  add("blk.1.ffn_gate.weight", TensorType::Q4_0, {64, 33});
  add("blk.1.ffn_up.weight", TensorType::F16, {64, 33});
  add("blk.2.attn_k.weight", TensorType::BF16, {70, 5});
  add("blk.2.attn_v.weight", TensorType::BF16, {70, 3});
  add("blk.2.ffn_gate.weight", TensorType::F16, {70, 11});
  add("blk.2.ffn_up.weight", TensorType::F16, {70, 12});
  add("vector", TensorType::Q8_0, {32});
  add("scalars", TensorType::I64, {37, 3, 2, 2});
  add("bytes", TensorType::I8, {101, 7});
  add("doubles", TensorType::F64, {5, 130});
  add("empty", TensorType::F32, {0, 4});
  add("long_row", TensorType::F16, {20'000});
  add("wide", TensorType::F32, {3000, 2});
  add("tall", TensorType::F16, {2, 9000});
  add("output.weight", TensorType::Q6_K, {256, 40});
  writer.write(path);
  return path;
}

const Fusion* fusion_of(const Plan& plan, const std::string& name) {
  const auto found = std::find_if(plan.fusions.begin(), plan.fusions.end(),
                                  [&](const Fusion& fusion) { return fusion.name == name; });
  return found == plan.fusions.end() ? nullptr : &*found;
}

const Item& item_of(const Plan& plan, const std::string& name) {
  const auto found = std::find_if(plan.items.begin(), plan.items.end(),
                                  [&](const Item& item) { return item.name == name; });
  REQUIRE(found != plan.items.end());
  return *found;
}

using Names = std::vector<std::string>;

constexpr load::FuseOptions everything{.qkv = true, .gate_up = true};

}  // namespace

TEST_CASE("every transform, and all together, give what the file dequantized as a whole gives") {
  const test::TemporaryFolder folder;
  const gguf::File file{write_layers(folder.path() / "m.gguf")};
  TransformOptions options;
  SUBCASE("none") {}
  SUBCASE("to F32") { options.dequantize = {{"*", TensorType::F32}}; }
  SUBCASE("to F16, floats too") { options.dequantize = {{"*", TensorType::F16, false}}; }
  SUBCASE("to BF16 by rule") {
    options.dequantize = {{"*attn*", TensorType::BF16}, {"output.*", TensorType::F32}};
  }
  SUBCASE("fused") { options.fuse = everything; }
  SUBCASE("fused in one type") {
    options.fuse = everything;
    options.dequantize = {{"*.weight", TensorType::F16, false}};
  }
  SUBCASE("last row padded") { options.padding = {Padding::last_row, 512}; }
  SUBCASE("every row padded") { options.padding = {Padding::every_row, 256}; }
  SUBCASE("transposed") {
    options.dequantize = {{"output.*", TensorType::F32}, {"*attn*", TensorType::F16}};
    options.transpose = {"output.*", "*attn*", "scalars", "bytes", "doubles", "wide", "tall"};
  }
  SUBCASE("transposed, rows padded") {
    options.dequantize = {{"*", TensorType::F16}};
    options.transpose = {"*"};
    options.padding = {Padding::every_row, 1024};
  }
  SUBCASE("transposed, with more zeros than a slot holds") {
    options.transpose = {"scalars", "wide"};
    options.padding = {Padding::every_row, 4096};
  }
  SUBCASE("all together") {
    options.dequantize = {{"output.*", TensorType::F32}, {"*exps*", TensorType::BF16}};
    options.transpose = {"output.*", "tall"};
    options.fuse = everything;
    options.padding = {Padding::every_row, 512};
  }
  SUBCASE("all together, zeros behind the last row") {
    options.dequantize = {{"output.*", TensorType::F32}};
    options.transpose = {"output.*"};
    options.fuse = everything;
    options.padding = {Padding::last_row, 512};
  }
  check_everywhere(file, options);
}

TEST_CASE("a few long rows are transposed in whole blocks") {
  const test::TemporaryFolder folder;
  gguf::Writer writer;
  writer.add_tensor("three", TensorType::Q8_0, {65'536, 3}, [](std::uint64_t at, auto piece) {
    for (std::byte& byte : piece) byte = static_cast<std::byte>(at++ * 0x9E3779B9U >> 26 & 0x3F);
  });
  writer.add_tensor("five", TensorType::Q4_0, {30'016, 5}, [](std::uint64_t at, auto piece) {
    for (std::byte& byte : piece) byte = static_cast<std::byte>(at++ * 0x9E3779B9U >> 26 & 0x3F);
  });
  writer.write(folder.path() / "m.gguf");
  const gguf::File file{folder.path() / "m.gguf"};
  check_everywhere(file, {.dequantize = {{"*", TensorType::F32}}, .transpose = {"*"}});
}

TEST_CASE("any shapes in any form come out right") {
  constexpr TensorType types[] = {TensorType::F32,  TensorType::F16,  TensorType::BF16,
                                  TensorType::I8,   TensorType::I64,  TensorType::Q4_0,
                                  TensorType::Q8_0, TensorType::Q6_K, TensorType::IQ4_NL};
  constexpr const char* names[] = {"attn_q",    "attn_k",       "attn_v",         "ffn_gate",
                                   "ffn_up",    "attn_output",  "ffn_gate_exps",  "ffn_up_exps",
                                   "attn_qkv2", "ffn_up_shexp", "ffn_gate_shexp", "x"};
  const std::uint64_t rounds = test::operations(test::is_sanitized ? 8 : 30);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const std::uint64_t seed = test::first_seed() + round;
    INFO("ALLOT_SEED=" << seed << " ALLOT_OPERATIONS=1");
    std::mt19937_64 random{seed};
    const test::TemporaryFolder folder;
    gguf::Writer writer;
    const bool alike = random() % 2 == 0;  // tensors of one type and row length can be fused
    TensorType type = types[random() % 9];
    std::uint64_t columns = (random() % (alike ? 3 : 9) + 1) * (random() % 3 == 0 ? 256 : 32);
    for (const char* const name : names) {
      if (random() % 8 == 0) continue;
      if (!alike) type = types[random() % 9];
      const std::uint64_t block = gguf::type_info(type).block_elements;
      if (!alike) columns = random() % (random() % 4 == 0 ? 9000 : 300) + 1;
      columns = (columns + block - 1) / block * block;
      const bool is_long = !alike && random() % 5 == 0;
      const std::uint64_t rows = random() % (is_long ? 3000 : 40) / (columns > 1000 ? 8 : 1) + 1;
      gguf::Shape shape{.extent = {columns, rows, random() % 3 + 1, random() % 2 + 1}};
      shape.rank = random() % 2 == 0 ? 2 : static_cast<std::uint32_t>(random() % 4 + 1);
      std::fill(shape.extent.begin() + shape.rank, shape.extent.end(), 1);
      writer.add_tensor("blk.0." + std::string{name} + ".weight", type, shape, fill_from(seed));
    }
    writer.write(folder.path() / "m.gguf");
    const gguf::File file{folder.path() / "m.gguf"};
    TransformOptions options;
    constexpr TensorType floats[] = {TensorType::F32, TensorType::F16, TensorType::BF16};
    if (random() % 2 == 0) options.dequantize = {{"*", floats[random() % 3], random() % 2 == 0}};
    if (random() % 3 == 0) {
      if (options.dequantize.empty()) options.dequantize = {{"*", floats[random() % 3]}};
      options.transpose = {random() % 2 == 0 ? "*" : "*attn_[kvo]*"};
    }
    if (random() % 2 == 0) options.fuse = everything;
    options.padding = {static_cast<Padding>(random() % 3), (random() % 8 + 1) * 256};
    check_everywhere(file, options);
  }
}

TEST_CASE("rows of tensors of other ranks are fused with the zeros that rows have") {
  const test::TemporaryFolder folder;
  gguf::Writer writer;
  const std::vector<std::byte> bytes(4096, std::byte{0x21});
  for (const char* const name : {"attn_q", "attn_v"}) {
    writer.add_tensor("blk.0." + std::string{name} + ".weight", TensorType::F32, {8},
                      std::span{bytes}.first(32));
  }
  writer.add_tensor("blk.0.attn_k.weight", TensorType::F32, {8, 2}, std::span{bytes}.first(64));
  for (const char* const name : {"ffn_gate", "ffn_up"}) {
    writer.add_tensor("blk.0." + std::string{name} + ".weight", TensorType::F32, {8},
                      std::span{bytes}.first(32));
  }
  writer.write(folder.path() / "m.gguf");
  const gguf::File file{folder.path() / "m.gguf"};
  const TransformOptions options{.fuse = everything, .padding = {Padding::every_row, 256}};
  const Plan plan = load::make_plan(file, {.transforms = options});
  CHECK(item_of(plan, "blk.0.ffn_gate_up.weight").shape.rank == 2);
  CHECK(item_of(plan, "blk.0.ffn_up.weight").strides[1] == 1024);
  std::uint64_t written = 0;
  for (const load::Step& step : plan.steps) written += step.arena_bytes;
  CHECK(written == plan.tensor_bytes());
  check_everywhere(file, options);
}

TEST_CASE("real files in every quantised form come out as their floats say") {
  const auto data = test::data_dir();
  if (!data) return;
  Names paths;
  for (const auto& entry : std::filesystem::directory_iterator{*data / "gguf" / "generated"})
    paths.push_back(entry.path().string());
  paths.push_back((*data / "gguf" / "real" / "stories260K.gguf").string());
  std::sort(paths.begin(), paths.end());
  TransformOptions all{.dequantize = {{"*", TensorType::F16}},
                       .transpose = {"token_embd.*"},
                       .fuse = everything,
                       .padding = {Padding::every_row, 256}};
  all.dequantize.insert(all.dequantize.begin(), {"token_embd.*", TensorType::F32});
  for (const std::string& path : paths) {
    INFO(path);
    const gguf::File file{path};
    check_everywhere(file, all, {70'001});
    check_everywhere(file, {.fuse = everything, .padding = {Padding::last_row, 512}}, {});
  }
}

TEST_CASE("a big-endian file comes into memory as its twin does") {
  const auto data = test::data_dir();
  if (!data) return;
  const gguf::File big{*data / "gguf" / "generated" / "stories260K_v3_bigendian.gguf"};
  const gguf::File little{*data / "gguf" / "real" / "stories260K.gguf"};
  REQUIRE(big.byte_order() == std::endian::big);
  HostDevice device;
  const auto one = load::load(big, load::make_plan(big), device);
  const auto two = load::load(little, load::make_plan(little), device);
  REQUIRE(one.tensors().size() == two.tensors().size());
  for (const auto& tensor : two) {
    const auto bytes = tensor.slice().span();
    const auto other = one[tensor.name()].slice().span();
    CHECK(std::equal(bytes.begin(), bytes.end(), other.begin(), other.end()));
  }
}

TEST_CASE("rows of one type and length are fused, and a plan says what was not and why") {
  const test::TemporaryFolder folder;
  const gguf::File file{write_layers(folder.path() / "m.gguf")};
  const Plan plan = load::make_plan(file, {.transforms = {.fuse = everything}});

  const Fusion* qkv = fusion_of(plan, "blk.0.attn_qkv.weight");
  REQUIRE(qkv != nullptr);
  CHECK(qkv->layer == "blk.0");
  CHECK(qkv->parts == Names{"blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight"});
  CHECK(qkv->left_out.empty());
  CHECK(qkv->reason.empty());
  const Item& fused = item_of(plan, "blk.0.attn_qkv.weight");
  CHECK(fused.purpose == load::Purpose::fused);
  CHECK(fused.shape.extent == std::array<std::uint64_t, 4>{64, 160, 1, 1});
  CHECK(fused.bytes == 160 * 68);
  CHECK(item_of(plan, "blk.0.attn_v.weight").part_of->offset == 128 * 68);
  CHECK(item_of(plan, "blk.0.attn_qkv.bias").shape.extent[0] == 160);
  CHECK(item_of(plan, "blk.0.attn_v.bias").part_of->offset == 128 * 4);

  // Expert by expert: gate and up of one lie behind each other.
  const Item& experts = item_of(plan, "blk.0.ffn_gate_up_exps.weight");
  CHECK(experts.shape.extent == std::array<std::uint64_t, 4>{64, 20, 3, 1});
  const Item& up = item_of(plan, "blk.0.ffn_up_exps.weight");
  CHECK(up.part_of->offset == 10 * 36);
  CHECK(up.strides[2] == 20 * 36);
  CHECK(item_of(plan, "blk.0.ffn_gate_up_exps.bias").shape.extent[0] == 20);

  const Fusion* part = fusion_of(plan, "blk.1.attn_qk.weight");
  REQUIRE(part != nullptr);
  CHECK(part->left_out == Names{"blk.1.attn_v.weight"});
  CHECK(part->reason == "attn_k.weight is Q4_0, attn_v.weight Q5_0");

  const auto apart = std::find_if(
      plan.fusions.begin(), plan.fusions.end(),
      [](const Fusion& fusion) { return fusion.layer == "blk.1" && fusion.name.empty(); });
  REQUIRE(apart != plan.fusions.end());
  CHECK(apart->reason == "ffn_gate.weight is Q4_0, ffn_up.weight F16");
  CHECK(apart->left_out == Names{"blk.1.ffn_gate.weight", "blk.1.ffn_up.weight"});

  const Fusion* kv = fusion_of(plan, "blk.2.attn_kv.weight");
  REQUIRE(kv != nullptr);
  CHECK(kv->reason == "there is no attn_q.weight");
  CHECK(plan.fusions.size() == 6);
  CHECK(plan.tensor_bytes() == load::make_plan(file).tensor_bytes());

  // In one type all of them can be.
  const Plan same = load::make_plan(
      file, {.transforms = {.dequantize = {{"*", TensorType::F16}}, .fuse = everything}});
  CHECK(fusion_of(same, "blk.1.attn_qkv.weight") != nullptr);
  CHECK(fusion_of(same, "blk.1.ffn_gate_up.weight") != nullptr);
}

TEST_CASE("biases stay apart where not every part has one, and what is fused already stays") {
  const test::TemporaryFolder folder;
  const std::vector<std::byte> bytes(4096);
  gguf::Writer writer;
  const auto add = [&](const char* name, std::initializer_list<std::uint64_t> extent,
                       std::size_t size) {
    writer.add_tensor(name, TensorType::F32, extent, std::span{bytes}.first(size));
  };
  add("blk.0.attn_q.weight", {4, 4}, 64);
  add("blk.0.attn_k.weight", {4, 4}, 64);
  add("blk.0.attn_v.weight", {4, 4}, 64);
  add("blk.0.attn_q.bias", {4}, 16);
  add("blk.1.attn_q.weight", {4, 4}, 64);
  add("blk.1.attn_k.weight", {4, 4}, 64);
  add("blk.1.attn_v.weight", {4, 4}, 64);
  add("blk.1.attn_qkv.weight", {4, 4}, 64);
  add("blk.2.attn_qkv.weight", {4, 4}, 64);
  writer.write(folder.path() / "m.gguf");
  const gguf::File file{folder.path() / "m.gguf"};
  const Plan plan = load::make_plan(file, {.transforms = {.fuse = everything}});
  REQUIRE(plan.fusions.size() == 2);
  CHECK(plan.fusions[0].name == "blk.0.attn_qkv.weight");
  CHECK(plan.fusions[0].left_out == Names{"blk.0.attn_q.bias"});
  CHECK(plan.fusions[0].reason == "not every part has a bias");
  CHECK(plan.fusions[1].name.empty());
  CHECK(plan.fusions[1].reason == "the file has a tensor blk.1.attn_qkv.weight already");
}

TEST_CASE("zeros lie where kernels read beyond a row") {
  const test::TemporaryFolder folder;
  const gguf::File file{write_layers(folder.path() / "m.gguf")};
  const Plan tail = load::make_plan(file, {.transforms = {.padding = {Padding::last_row, 512}}});
  // As ggml: behind a quantised tensor, what completes its last row.
  CHECK(item_of(tail, "blk.0.attn_q.weight").bytes == 96 * 68 + 14 * 34);
  CHECK(item_of(tail, "blk.0.attn_q.weight").strides[1] == 68);
  CHECK(item_of(tail, "output.weight").bytes == 40 * 210 + 210);
  CHECK(item_of(tail, "wide").bytes == 24'000);
  CHECK(item_of(tail, "vector").bytes == 34 + 15 * 34);
  const Plan rows = load::make_plan(file, {.transforms = {.padding = {Padding::every_row, 512}}});
  CHECK(item_of(rows, "blk.0.attn_q.weight").strides[1] == 16 * 34);
  CHECK(item_of(rows, "blk.0.attn_q.weight").bytes == 96 * 16 * 34);
  CHECK(item_of(rows, "blk.0.attn_q.bias").bytes == 96 * 4);
}

TEST_CASE("what cannot be done is refused by name") {
  const test::TemporaryFolder folder;
  const gguf::File file{write_layers(folder.path() / "m.gguf")};
  const auto planned = [&](const TransformOptions& options) {
    return load::make_plan(file, {.transforms = options});
  };
  CHECK_THROWS_WITH_AS(static_cast<void>(planned({.transpose = {"output.*"}})),
                       doctest::Contains("output.weight is Q6_K"), std::invalid_argument);
  CHECK_THROWS_WITH_AS(static_cast<void>(planned({.dequantize = {{"*", TensorType::Q8_0}}})),
                       doctest::Contains("use F32, F16 or BF16"), std::invalid_argument);
  CHECK_THROWS_WITH_AS(static_cast<void>(planned({.padding = {Padding::every_row, 100}})),
                       doctest::Contains("100 elements; use a multiple of 256"),
                       std::invalid_argument);
}

TEST_CASE("a flipped byte of a transformed tensor is found, in data and in zeros") {
  const test::TemporaryFolder folder;
  const gguf::File file{write_layers(folder.path() / "m.gguf")};
  const TransformOptions options{.dequantize = {{"output.*", TensorType::F32}},
                                 .transpose = {"output.*"},
                                 .fuse = everything,
                                 .padding = {Padding::every_row, 512}};
  HostDevice device;
  const auto model = load::load(file, load::make_plan(file, {.transforms = options}), device);
  std::mt19937_64 random{test::first_seed()};
  INFO("ALLOT_SEED=" << test::first_seed());
  for (const auto& tensor : model.planned()) {
    if (tensor.bytes() == 0) continue;
    for (int i = 0; i < 4; ++i) {
      const auto memory = tensor.slice().span();
      std::byte& byte = memory[random() % memory.size()];
      byte ^= std::byte{0x10};
      CHECK(load::verify(file, model));
      byte ^= std::byte{0x10};
    }
  }
  CHECK(!load::verify(file, model));
}

TEST_CASE("a plan whose steps write the same bytes is refused") {
  const test::TemporaryFolder folder;
  const gguf::File file{write_layers(folder.path() / "m.gguf")};
  Plan plan = load::make_plan(file, {.transforms = {.dequantize = {{"*", TensorType::F32}}}});
  REQUIRE(plan.steps.size() > 1);
  plan.steps.front().arena_offset = plan.steps.back().arena_offset;
  HostDevice device;
  CHECK_THROWS_WITH_AS(static_cast<void>(load::load(file, plan, device)),
                       doctest::Contains("two steps write byte"), std::logic_error);
}

TEST_CASE("a plan that was changed is refused before anything is written") {
  const test::TemporaryFolder folder;
  const gguf::File file{write_layers(folder.path() / "m.gguf")};
  const TransformOptions options{
      .dequantize = {{"*", TensorType::F32}}, .transpose = {"output.*"}, .fuse = everything};
  // Without the largest tensors, which have nothing that others do not have.
  const Plan plan =
      load::make_plan(file, {.only = {"blk.*", "output.*", "[bdesv]*"}, .transforms = options});
  HostDevice device;
  std::mt19937_64 random{test::first_seed()};
  INFO("ALLOT_SEED=" << test::first_seed());
  for (int round = 0; round < (test::has_thread_sanitizer ? 200 : 2000); ++round) {
    Plan changed = plan;
    load::Step& step = changed.steps[random() % changed.steps.size()];
    Item& item = changed.items[random() % changed.items.size()];
    const std::uint64_t value = random() >> random() % 64;
    switch (random() % 10) {
      case 0:
        step.file_offset = value;
        break;
      case 1:
        step.bytes = value;
        break;
      case 2:
        step.arena_offset = value;
        break;
      case 3:
        step.arena_bytes = value;
        break;
      case 4:
        step.transform = static_cast<load::Transform>(value % 4);
        break;
      case 5:
        step.item = static_cast<std::uint32_t>(value);
        break;
      case 6:
        item.row_bytes = value;
        break;
      case 7:
        item.strides[value % 4] = random() >> random() % 64;
        break;
      case 8:
        item.bytes = value;
        break;
      default:
        item.transposed = !item.transposed;
        break;
    }
    try {
      const auto model = load::load(file, changed, device, {}, {.readers = 1});
      static_cast<void>(load::verify(file, model));
    } catch (const std::logic_error&) {
    } catch (const std::runtime_error&) {
    } catch (const OutOfMemory&) {  // an item larger than its arena
    }
  }
  CHECK(!load::verify(file, load::load(file, plan, device)));
}
