// SPDX-License-Identifier: MIT
#include <allot/gguf/file.hpp>
#include <allot/gguf/writer/writer.hpp>

#include <doctest/doctest.h>
#if !defined(_WIN32)
#include <sys/stat.h>
#endif

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "gguf/files.hpp"
#include "gguf/refusals.hpp"
#include "support/patterns.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
using test::read_csv;
using test::read_file;
using test::write_file;
namespace fs = std::filesystem;

/// A small model with every kind of value.
gguf::Writer small_model() {
  gguf::Writer writer;
  writer.set_alignment(64);
  writer.add("general.architecture", "test");
  writer.add("test.u8", std::uint8_t{8});
  writer.add("test.i64", std::int64_t{-64});
  writer.add("test.f32", 1.5F);
  writer.add("test.yes", true);
  const std::int32_t numbers[] = {-1, 0, 1};
  writer.add_array<std::int32_t>("test.numbers", numbers);
  const std::string_view words[] = {"a", "", "longer"};
  writer.add_array<std::string_view>("test.words", words);
  writer.add_tensor("odd", gguf::TensorType::F32, {7, 3}, test::fill_with_offsets);
  writer.add_tensor("none", gguf::TensorType::F16, {0, 5}, test::fill_with_offsets);
  writer.add_tensor("blocks", gguf::TensorType::Q4_0, {64, 2}, test::fill_with_offsets);
  return writer;
}

}  // namespace

TEST_CASE("what the writer writes, the reader reads") {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "small.gguf";
  small_model().write(path);
  const gguf::File file{path};
  CHECK(file.version() == 3);
  CHECK(file.alignment() == 64);
  CHECK(file.metadata().size() == 8);
  CHECK(file.metadata()["general.architecture"].as<std::string_view>() == "test");
  CHECK(file.metadata()["test.u8"].as<std::uint8_t>() == 8);
  CHECK(file.metadata()["test.i64"].as<std::int64_t>() == -64);
  CHECK(file.metadata()["test.f32"].as<float>() == 1.5F);
  CHECK(file.metadata()["test.yes"].as<bool>());
  CHECK(file.metadata()["test.numbers"].array().values<std::int32_t>().to_vector() ==
        std::vector<std::int32_t>{-1, 0, 1});
  CHECK(file.metadata()["test.words"].array().strings().to_vector() ==
        std::vector<std::string_view>{"a", "", "longer"});
  REQUIRE(file.tensors().size() == 3);
  const gguf::TensorInfo& odd = *file.find("odd");
  CHECK(odd.bytes == 84);
  CHECK(odd.shape.rank == 2);
  CHECK(odd.shape.elements() == 21);
  CHECK(file.find("none")->bytes == 0);
  CHECK(file.find("blocks")->bytes == 72);
  CHECK(file.find("absent") == nullptr);
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    std::vector<std::byte> expected(static_cast<std::size_t>(tensor.bytes));
    test::fill_with_offsets(0, expected);
    const auto mapped = file.data(tensor);
    CHECK(std::equal(mapped.begin(), mapped.end(), expected.begin(), expected.end()));
    std::vector<std::byte> read(expected.size());
    file.shards()[0].read(file.shards()[0].data_offset() + tensor.offset, read);
    CHECK(read == expected);
  }
}

TEST_CASE("a value read as another type is an error that names both") {
  const test::TemporaryFolder folder;
  small_model().write(folder.path() / "small.gguf");
  const gguf::File file{folder.path() / "small.gguf"};
  const auto& metadata = file.metadata();
  CHECK_THROWS_WITH_AS(static_cast<void>(metadata["test.u8"].as<std::uint32_t>()),
                       "metadata test.u8 is uint8, not uint32", std::invalid_argument);
  CHECK_THROWS_WITH_AS(static_cast<void>(metadata["test.u8"].array()),
                       "metadata test.u8 is uint8, not array", std::invalid_argument);
  CHECK_THROWS_WITH_AS(static_cast<void>(metadata["test.numbers"].array().strings()),
                       "metadata test.numbers is an array of int32, not of string",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(static_cast<void>(metadata["nowhere"]), "the file has no metadata nowhere",
                       std::out_of_range);
  CHECK(metadata.find("nowhere") == nullptr);
}

TEST_CASE("a file cut off at any byte of its metadata or data is an error, never a crash") {
  const test::TemporaryFolder folder;
  const fs::path whole = folder.path() / "whole.gguf";
  const fs::path cut = folder.path() / "cut.gguf";
  small_model().write(whole, {.pad_last_tensor = false});
  const std::string bytes = read_file(whole);
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    write_file(cut, bytes.substr(0, length));
    CHECK_THROWS_AS(gguf::File{cut}, gguf::ParseError);
  }
}

TEST_CASE("a file with any one byte changed is read or refused, never a crash") {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "changed.gguf";
  small_model().write(path);
  const std::string bytes = read_file(path);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::string changed = bytes;
    for (const char value : {'\0', '\x7f', '\xff'}) {
      changed[at] = value;
      write_file(path, changed);
      try {
        const gguf::File file{path};
        for (const gguf::TensorInfo& tensor : file.tensors())
          CHECK(file.data(tensor).size() == tensor.bytes);
      } catch (const gguf::ParseError&) {
      }
    }
  }
}

TEST_CASE("a file that is not GGUF is reported as what it is") {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "model.gguf";
  const auto rule_of = [&](const std::string& bytes) {
    write_file(path, bytes);
    try {
      gguf::File{path};
    } catch (const gguf::ParseError& error) {
      CHECK(error.path() == path);
      CHECK(std::string{error.what()}.find(path.string()) != std::string::npos);
      return error.rule();
    }
    return std::string{};
  };
  CHECK(rule_of("version https://git-lfs.github.com/spec/v1\n").find("git lfs pull") !=
        std::string::npos);
  CHECK(rule_of("FUGG----").find("FUGG") != std::string::npos);
  CHECK(rule_of("PK\3\4 a zip").find("magic") != std::string::npos);
  CHECK_THROWS_AS(gguf::File{folder.path() / "absent.gguf"}, gguf::ParseError);
  CHECK_THROWS_AS(gguf::File{folder.path()}, gguf::ParseError);
}

TEST_CASE("all missing shards are named in one error") {
  const test::TemporaryFolder folder;
  gguf::Writer writer;
  writer.add("split.no", std::uint16_t{1});
  writer.add("split.count", std::uint16_t{4});
  writer.add("split.tensors.count", std::int32_t{0});
  writer.write(folder.path() / "m-00002-of-00004.gguf");
  try {
    gguf::File{folder.path() / "m-00002-of-00004.gguf"};
    FAIL("it was read");
  } catch (const gguf::ParseError& error) {
    for (const char* name : {"m-00001-of-00004", "m-00003-of-00004", "m-00004-of-00004"}) {
      CHECK(error.rule().find(name) != std::string::npos);
    }
  }
}

TEST_CASE("every tensor type has the block that ggml's table gives it") {
  const auto data = test::data_dir();
  if (!data) return;
  std::size_t live = 0;
  for (auto& row : read_csv(*data / "ggml_types.csv")) {
    const auto id = static_cast<std::uint32_t>(std::stoul(row["id"]));
    const auto type = gguf::find_type(id);
    CHECK(type.has_value() == row["status"].starts_with("live"));
    CHECK(gguf::is_removed_type(id) == !type.has_value());
    if (!type) continue;
    ++live;
    CHECK(type->name == row["name"]);
    CHECK(std::to_string(type->block_elements) == row["block_elems"]);
    CHECK(std::to_string(type->block_bytes) == row["block_bytes"]);
  }
  CHECK(live == gguf::tensor_types.size());
  CHECK(!gguf::find_type(43));
}

TEST_CASE(
    "a number that is not a tensor type has no information, and is an error where it is checked") {
  for (const gguf::TypeInfo& info : gguf::tensor_types) {
    CHECK(gguf::type_info(info.type).name == info.name);
    CHECK(gguf::checked_type_info(info.type).block_bytes == info.block_bytes);
  }
  for (const std::uint32_t id : {4U, 38U, 43U, 255U, 256U, 0xffffffffU}) {
    CHECK(!gguf::find_type(id));
    CHECK(gguf::type_name(static_cast<gguf::TensorType>(id)) == "?");
    CHECK_THROWS_WITH_AS(
        (void)gguf::checked_type_info(static_cast<gguf::TensorType>(id)),
        doctest::Contains((std::to_string(id) + " is not the number of a tensor type").c_str()),
        std::invalid_argument);
  }
}

TEST_CASE("every malformed file has the verdict that is expected of it, by the rule it breaks") {
  const auto data = test::data_dir();
  if (!data) return;
  const fs::path folder = *data / "gguf" / "malformed";
  std::size_t accepted = 0;
  std::size_t rejected = 0;
  for (auto& row : read_csv(folder / "EXPECT.csv")) {
    INFO(row["file"]);
    if (row["verdict"] == "shard") continue;  // read through its first shard
    if (row["verdict"] == "accept") {
      ++accepted;
      CHECK_NOTHROW(gguf::File{folder / row["file"]});
      continue;
    }
    ++rejected;
    const auto refusal =
        std::find_if(std::begin(test::refusals), std::end(test::refusals),
                     [&](const test::Refusal& r) { return row["file"] == r.file; });
    REQUIRE(refusal != std::end(test::refusals));
    try {
      gguf::File{folder / row["file"]};
      FAIL("it was read");
    } catch (const gguf::ParseError& error) {
      CHECK(error.offset() == refusal->byte);
      CHECK(error.rule() == refusal->rule);
    }
  }
  CHECK(accepted == 14);
  CHECK(rejected == std::size(test::refusals));
}

TEST_CASE("a file that cannot be opened is named with the reason, without a byte") {
  const test::TemporaryFolder folder;
  const std::string path = (folder.path() / "none.gguf").string();
  CHECK_THROWS_WITH_AS(gguf::File{path},
                       (path + ": cannot open: No such file or directory").c_str(),
                       gguf::ParseError);
}

#if !defined(_WIN32)
TEST_CASE("what is not a regular file is refused, and a pipe does not block") {
  const test::TemporaryFolder folder;
  const fs::path pipe = folder.path() / "pipe.gguf";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK_THROWS_WITH_AS(gguf::File{pipe}, doctest::Contains("not a regular file"), gguf::ParseError);
  CHECK_THROWS_AS(gguf::File{"/dev/zero"}, gguf::ParseError);
}
#endif

TEST_CASE("a file that is replaced while it is open is still read as it was") {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "model.gguf";
  small_model().write(path);
  const gguf::File file{path};
  write_file(folder.path() / "other", "short");
  fs::rename(folder.path() / "other", path);
  const gguf::TensorInfo& odd = *file.find("odd");
  std::vector<std::byte> expected(84);
  test::fill_with_offsets(0, expected);
  const auto mapped = file.data(odd);
  CHECK(std::equal(mapped.begin(), mapped.end(), expected.begin(), expected.end()));
}

TEST_CASE("every real file reads with the counts of the manifest, every rejected one is refused") {
  const auto data = test::data_dir();
  if (!data) return;
  std::size_t checked = 0;
  for (auto& row : read_csv(*data / "gguf" / "MANIFEST.csv")) {
    const fs::path path = *data / "gguf" / row["file"];
    INFO(path.string());
    ++checked;
    if (row["expected"] == "reject") {
      CHECK_THROWS_AS(gguf::File{path}, gguf::ParseError);
      continue;
    }
    const gguf::File file{path};
    CHECK(std::to_string(file.version()) == row["version"]);
    CHECK(std::to_string(file.metadata().size()) == row["n_kv"]);
    CHECK(std::to_string(file.tensors().size()) == row["n_tensors"]);
    CHECK(std::to_string(file.alignment()) == row["alignment"]);
    if (const gguf::Value* value = file.metadata().find("general.architecture")) {
      CHECK(value->as<std::string_view>() == row["arch"]);
    }
    for (const gguf::TensorInfo& tensor : file.tensors()) {
      CHECK(file.data(tensor).size() == tensor.bytes);
    }
  }
  CHECK(checked == 23);
}

TEST_CASE("a split model reads the same from every one of its shards") {
  const auto data = test::data_dir();
  if (!data) return;
  const gguf::File whole{*data / "gguf" / "real" / "stories260K.gguf"};
  for (const std::string kind : {"split", "notensorfirst"}) {
    for (int shard = 1; shard <= 3; ++shard) {
      const gguf::File file{
          *data / "gguf" / "generated" /
          ("stories260K-" + kind + "-0000" + std::to_string(shard) + "-of-00003.gguf")};
      CHECK(file.shards().size() == 3);
      REQUIRE(file.tensors().size() == whole.tensors().size());
      for (const gguf::TensorInfo& tensor : whole.tensors()) {
        const gguf::TensorInfo* other = file.find(tensor.name);
        REQUIRE(other != nullptr);
        const auto expected = whole.data(tensor);
        const auto bytes = file.data(*other);
        CHECK(std::equal(bytes.begin(), bytes.end(), expected.begin(), expected.end()));
      }
    }
  }
}

TEST_CASE("versions 1, 2 and 3 of a file hold the same tensors") {
  const auto data = test::data_dir();
  if (!data) return;
  const gguf::File v3{*data / "gguf" / "real" / "stories260K.gguf"};
  for (const char* name : {"stories260K_v1.gguf", "stories260K_v2.gguf"}) {
    const gguf::File file{*data / "gguf" / "generated" / name};
    for (const gguf::TensorInfo& tensor : v3.tensors()) {
      const auto a = v3.data(tensor);
      const auto b = file.data(*file.find(tensor.name));
      CHECK(std::equal(a.begin(), a.end(), b.begin(), b.end()));
    }
    CHECK(file.metadata()["tokenizer.ggml.tokens"].array().strings().to_vector() ==
          v3.metadata()["tokenizer.ggml.tokens"].array().strings().to_vector());
  }
}
