// SPDX-License-Identifier: MIT
// Several files in one plan and one load, and the copy of a tied embedding.
#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/writer/writer.hpp>
#include <allot/load/load.hpp>
#include <allot/load/plan/model_files.hpp>
#include <allot/load/verify.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "support/models.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
namespace fs = std::filesystem;

/// A small file with other contents than any model's.
fs::path write_companion(const fs::path& path, const std::string& type,
                         const std::vector<std::string>& names) {
  gguf::Writer writer;
  writer.add("general.architecture", type == "mmproj" ? "clip" : "llama");
  writer.add("general.type", std::string_view{type});
  for (const std::string& name : names) {
    writer.add_tensor(name, gguf::TensorType::I8, {700}, [](std::uint64_t, auto piece) {
      std::fill(piece.begin(), piece.end(), std::byte{'a'});
    });
  }
  writer.write(path);
  return path;
}

/// A llama whose output has no weights of its own.
fs::path write_tied(const fs::path& path) {
  const fs::path whole = test::write_llama(path.string() + ".whole");
  const gguf::File file{whole};
  gguf::Writer writer;
  for (const gguf::Value& value : file.metadata()) writer.add(value);
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    if (tensor.name == "output.weight") continue;
    writer.add_tensor(std::string{tensor.name}, tensor.type, tensor.shape, test::fill_with_offsets);
  }
  writer.write(path);
  return path;
}

/// The host under another name.
struct NamedHost : HostDevice {
  std::string own_name;
  explicit NamedHost(std::string name) : own_name{std::move(name)} {}
  [[nodiscard]] std::string name() const { return own_name; }
};

}  // namespace

TEST_CASE("a file's kind is told from its metadata") {
  const test::TemporaryFolder folder;
  const auto kind = [&](const std::string& key, const std::string& value) {
    gguf::Writer writer;
    writer.add(key, std::string_view{value});
    writer.write(folder.path() / "k.gguf");
    return load::file_kind_of(gguf::File{folder.path() / "k.gguf"});
  };
  CHECK(kind("general.type", "mmproj") == load::FileKind::projector);
  CHECK(kind("general.type", "adapter") == load::FileKind::adapter);
  CHECK(kind("general.type", "model") == load::FileKind::model);
  CHECK(kind("general.architecture", "clip") == load::FileKind::projector);
  CHECK(kind("clip.projector_type", "mlp") == load::FileKind::projector);
  CHECK(kind("adapter.type", "lora") == load::FileKind::adapter);
  CHECK(kind("general.architecture", "llama") == load::FileKind::model);
}

TEST_CASE("a model, a projector, adapters and a draft are one plan, one allocation and one load") {
  const test::TemporaryFolder folder;
  const fs::path model = test::write_llama(folder.path() / "model.gguf");
  load::ModelFiles files{gguf::File{model}};
  files.add(
      gguf::File{write_companion(folder.path() / "p.gguf", "mmproj", {"v.blk.0.a", "mm.0.b"})});
  files.add(gguf::File{
      write_companion(folder.path() / "l.gguf", "adapter", {"blk.0.attn_q.weight.lora_a"})});
  files.add(gguf::File{
      write_companion(folder.path() / "l2.gguf", "adapter", {"blk.0.attn_q.weight.lora_a"})});
  files.add_draft(gguf::File{test::write_llama(folder.path() / "d.gguf", {.layers = 1})});
  REQUIRE(files.files().size() == 5);
  CHECK(files.files()[2].prefix == "lora:");
  CHECK(files.files()[3].prefix == "lora2:");
  CHECK(files.files()[1].tensors == 2);
  CHECK(files.files()[1].tensor_bytes == 1400);

  const load::PlanOptions options{.cache = load::CacheOptions{64}};
  const load::Plan alone = load::make_plan(gguf::File{model}, options);
  const load::Plan plan = load::make_plan(files, options);
  CHECK(plan.arenas.size() == 1);
  CHECK(plan.bytes_for(load::Purpose::cache) ==
        alone.bytes_for(load::Purpose::cache) / 4 * 5);  // of one layer more
  HostDevice host;
  StagedHostDevice staged;
  const auto loaded = load::load(files, plan, host);
  CHECK(!load::verify(files, loaded));
  const auto and_staged = load::load(files, plan, staged);
  CHECK(!load::verify(files, and_staged, staged));
  CHECK(loaded["mmproj:mm.0.b"].bytes() == 700);
  CHECK(*static_cast<const char*>(loaded["lora2:blk.0.attn_q.weight.lora_a"].address()) == 'a');
  CHECK(loaded["draft:blk.0.attn_q.weight"].bytes() == loaded["blk.0.attn_q.weight"].bytes());
  CHECK(loaded["draft:cache.0.k"].bytes() == loaded["cache.0.k"].bytes());

  load::ModelFiles moved = std::move(files);
  CHECK(moved.joined().find("lora:blk.0.attn_q.weight.lora_a") != nullptr);
  CHECK(moved.draft() != nullptr);
}

TEST_CASE("a file of the wrong kind, a second draft and a name that is taken are refused") {
  const test::TemporaryFolder folder;
  const fs::path model = test::write_llama(folder.path() / "model.gguf");
  load::ModelFiles files{gguf::File{model}};
  CHECK_THROWS_WITH_AS(files.add(gguf::File{model}), doctest::Contains("but a model"),
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(
      files.add_draft(gguf::File{write_companion(folder.path() / "l.gguf", "adapter", {"a"})}),
      doctest::Contains("an adapter"), std::invalid_argument);
  files.add_draft(gguf::File{model});
  CHECK_THROWS_WITH_AS(files.add_draft(gguf::File{model}), doctest::Contains("second draft"),
                       std::invalid_argument);
  CHECK(files.files().size() == 2);

  gguf::File joined{model};
  const std::size_t before = joined.tensors().size();
  CHECK_THROWS_WITH_AS(joined.add(gguf::File{model}, ""), doctest::Contains("another prefix"),
                       std::invalid_argument);
  CHECK(joined.tensors().size() == before);
  CHECK(joined.shards().size() == 1);
  const gguf::File changing{
      fs::copy_file(model, folder.path() / "c.gguf") ? folder.path() / "c.gguf" : fs::path{}};
  fs::resize_file(folder.path() / "c.gguf", 100);
  CHECK_THROWS_AS(joined.add(changing, "c:"), gguf::ParseError);
  CHECK(joined.find("c:token_embd.weight") == nullptr);
  joined.add(gguf::File{model}, "x:");
  REQUIRE(joined.find("x:blk.3.ffn_up.weight") != nullptr);
  CHECK(joined.origin_of(*joined.find("x:blk.3.ffn_up.weight")) == 1);
  CHECK(joined.origin_of(*joined.find("blk.3.ffn_up.weight")) == 0);
  CHECK(joined.data(*joined.find("x:blk.3.ffn_up.weight"))[5] == test::byte_at(5));
}

TEST_CASE("an output that shares the embedding's weights has a copy on its own device") {
  const test::TemporaryFolder folder;
  const gguf::File file{write_tied(folder.path() / "m.gguf")};
  const std::uint64_t embedding = file.find("token_embd.weight")->bytes;
  const load::Plan alone = load::make_plan(file);
  CHECK(alone.count_of(load::Purpose::copy) == 0);

  std::vector<NamedHost> devices{NamedHost{"a"}, NamedHost{"b"}};
  const load::PlanOptions two{.devices = {{.name = "a", .free_bytes = alone.total_bytes()},
                                          {.name = "b", .free_bytes = alone.total_bytes()}}};
  const load::Plan plan = load::make_plan(file, two);
  CHECK(plan.total_bytes() == alone.total_bytes() + embedding);
  CHECK(plan.tensor_count() == file.tensors().size());
  CHECK(plan.tensor_bytes() == alone.tensor_bytes());
  const auto model = load::load(file, plan, std::span{devices});
  CHECK(!load::verify(file, model));
  CHECK(!load::verify(file, model, std::span{devices}));
  const auto& first = model["token_embd.weight"];
  const auto& copy = model["output.weight"];
  CHECK(first.address() != copy.address());
  CHECK(std::memcmp(first.address(), copy.address(), embedding) == 0);
  CHECK(model.reserved().empty());
  static_cast<char*>(copy.address())[3] ^= 1;
  REQUIRE(load::verify(file, model));
  CHECK(load::verify(file, model)->tensor == "output.weight");

  // Both converted and through staging memory; and where all of it fits one device, no copy.
  load::PlanOptions converted = two;
  converted.transforms.dequantize = {{"*", gguf::TensorType::F16, false}};
  const load::Plan halves = load::make_plan(file, converted);
  const auto half = load::load(file, halves, std::span{devices});
  CHECK(!load::verify(file, half));
  CHECK(half["output.weight"].bytes() == embedding / 2);
  load::PlanOptions beside_host{.devices = {{.name = "gpu", .free_bytes = alone.total_bytes()},
                                            {.name = "host", .free_bytes = alone.total_bytes()}}};
  CHECK(load::make_plan(file, beside_host).count_of(load::Purpose::copy) == 0);
  beside_host.place = {{"token_embd.weight", "host"}};
  const load::Plan apart = load::make_plan(file, beside_host);
  CHECK(apart.bytes_on("host") == embedding);
  CHECK(apart.bytes_on("gpu") == alone.total_bytes());
}
