// SPDX-License-Identifier: MIT
#include <allot/gguf/file.hpp>
#include <allot/gguf/writer/copy.hpp>
#include <allot/gguf/writer/writer.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "gguf/big_endian.hpp"
#include "gguf/files.hpp"
#include "gguf/values.hpp"
#include "support/patterns.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
using gguf::TensorType;
using test::files_in;
using test::read_file;
using test::write_file;
namespace fs = std::filesystem;

/// A writer with one value of each type, its least and its largest.
template <class T>
void add_numbers(gguf::Writer& writer, const std::string& name) {
  const T values[] = {std::numeric_limits<T>::lowest(), std::numeric_limits<T>::max(), T{1}};
  writer.add("one." + name, values[0]);
  writer.add("other." + name, values[1]);
  writer.add_array<T>("many." + name, values);
  writer.add_array<T>("none." + name, {});
}

gguf::Writer writer_of_every_value(std::uint32_t version) {
  gguf::Writer writer{version};
  add_numbers<std::uint8_t>(writer, "uint8");
  add_numbers<std::int8_t>(writer, "int8");
  add_numbers<std::uint16_t>(writer, "uint16");
  add_numbers<std::int16_t>(writer, "int16");
  add_numbers<std::uint32_t>(writer, "uint32");
  add_numbers<std::int32_t>(writer, "int32");
  add_numbers<std::uint64_t>(writer, "uint64");
  add_numbers<std::int64_t>(writer, "int64");
  add_numbers<float>(writer, "float32");
  add_numbers<double>(writer, "float64");
  add_numbers<bool>(writer, "bool");
  writer.add("one.string", "text");
  writer.add("empty.string", "");
  const std::string_view texts[] = {"", std::string_view{"a\0b", 3}, "\xff\xfe"};
  writer.add_array<std::string_view>("many.string", texts);
  writer.add_array<std::string_view>("none.string", {});
  const std::uint16_t numbers[] = {1, 2, 3};
  const gguf::NestedArray inner[] = {gguf::NestedArray{std::span{numbers}},
                                     gguf::NestedArray{std::span{texts}},
                                     gguf::NestedArray{std::span<const double>{}}};
  const gguf::NestedArray middle[] = {gguf::NestedArray{std::span{inner}},
                                      gguf::NestedArray{std::span<const gguf::NestedArray>{}}};
  const gguf::NestedArray outer[] = {gguf::NestedArray{std::span{middle}}};
  writer.add_array("nested", gguf::NestedArray{std::span{outer}});
  return writer;
}

}  // namespace

TEST_CASE("every type of value and array is read back as it was written, in every version") {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "model.gguf";
  std::vector<std::string> copies;
  for (const std::uint32_t version : {1U, 2U, 3U}) {
    writer_of_every_value(version).write(path);
    const gguf::File file{path};
    CHECK(file.version() == version);
    const auto& metadata = file.metadata();
    CHECK(metadata.size() == 11 * 4 + 5);
    CHECK(metadata["one.int64"].as<std::int64_t>() == std::numeric_limits<std::int64_t>::min());
    CHECK(metadata["other.float64"].as<double>() == std::numeric_limits<double>::max());
    CHECK(metadata["other.uint64"].as_count() == std::numeric_limits<std::uint64_t>::max());
    CHECK(metadata["one.int8"].as_count() == std::nullopt);
    CHECK(metadata["many.int16"].array().values<std::int16_t>().to_vector() ==
          std::vector<std::int16_t>{-32768, 32767, 1});
    CHECK(metadata["many.bool"].array().values<bool>()[1]);
    const auto shorts = metadata["many.int16"].array().values<std::int16_t>();
    CHECK(std::vector<std::int16_t>(shorts.begin(), shorts.end()) == shorts.to_vector());
    gguf::Writer again;
    again.add_array("many.int16", shorts);  // without a copy
    CHECK_THROWS_AS(again.add_array("many.int16", shorts), std::invalid_argument);
    CHECK(metadata["many.string"].array().strings()[1] == std::string_view{"a\0b", 3});
    CHECK(metadata["none.uint8"].array().size() == 0);
    CHECK(metadata["empty.string"].as<std::string_view>().empty());

    const gguf::Array outer = metadata["nested"].array();
    REQUIRE(outer.size() == 1);
    const gguf::Array middle = *outer.arrays().begin();
    REQUIRE(middle.size() == 2);
    const gguf::Array inner = *middle.arrays().begin();
    CHECK((*std::next(middle.arrays().begin())).arrays().empty());
    REQUIRE(inner.size() == 3);
    auto element = inner.arrays().begin();
    CHECK((*element).values<std::uint16_t>()[2] == 3);
    CHECK((*++element).strings()[2] == "\xff\xfe");
    CHECK((*++element).values<double>().size() == 0);

    // A copy to version 3 is the same whichever the version, also from big-endian.
    gguf::copy_of(file).write(folder.path() / "copy.gguf");
    copies.push_back(read_file(folder.path() / "copy.gguf"));
    write_file(folder.path() / "big.gguf", test::BigEndian::of(read_file(path)));
    const gguf::File big{folder.path() / "big.gguf"};
    CHECK(test::are_equal(big.metadata(), metadata));
    gguf::copy_of(big).write(folder.path() / "copy.gguf");
    copies.push_back(read_file(folder.path() / "copy.gguf"));
  }
  for (const std::string& copy : copies) CHECK(copy == copies.back());
}

TEST_CASE("arrays nest four deep, and no deeper") {
  gguf::Writer writer;
  const std::uint8_t numbers[] = {1};
  gguf::NestedArray array{std::span{numbers}};
  for (int depth = 2; depth <= 4; ++depth) {
    const gguf::NestedArray outer[] = {array};
    array = gguf::NestedArray{std::span{outer}};
  }
  writer.add_array("four", array);
  const gguf::NestedArray outer[] = {array};
  CHECK_THROWS_AS(gguf::NestedArray{std::span{outer}}, std::invalid_argument);
  const test::TemporaryFolder folder;
  writer.write(folder.path() / "model.gguf");
  const gguf::File file{folder.path() / "model.gguf"};
  CHECK(file.metadata()["four"].array().element_type() == gguf::ValueType::array);
}

TEST_CASE("tensors of every rank, type and alignment are read back as they were written") {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "model.gguf";
  for (std::uint32_t alignment = 1; alignment <= (1U << 20); alignment *= 4) {
    INFO("alignment " << alignment);
    gguf::Writer writer;
    writer.set_alignment(alignment);
    writer.add_tensor("scalar", TensorType::F64, std::initializer_list<std::uint64_t>{},
                      test::fill_with_offsets);
    writer.add_tensor("odd", TensorType::I8, {3, 1, 1, 1}, test::fill_with_offsets);
    writer.add_tensor("none", TensorType::F32, {4, 0}, test::fill_with_offsets);
    for (const gguf::TypeInfo& info : gguf::tensor_types) {
      writer.add_tensor(std::string{info.name}, info.type, {info.block_elements, 3},
                        test::fill_with_offsets);
    }
    writer.write(path);
    CHECK(fs::file_size(path) % alignment == 0);
    const gguf::File file{path};
    CHECK(file.alignment() == alignment);
    CHECK(file.find("scalar")->shape.rank == 0);
    CHECK(file.find("scalar")->shape.elements() == 1);
    CHECK(file.find("odd")->shape.rank == 4);
    CHECK(file.find("none")->bytes == 0);
    for (const gguf::TensorInfo& tensor : file.tensors()) {
      CHECK(tensor.offset % alignment == 0);
      std::vector<std::byte> expected(static_cast<std::size_t>(tensor.bytes));
      test::fill_with_offsets(0, expected);
      const auto bytes = file.data(tensor);
      CHECK(std::equal(bytes.begin(), bytes.end(), expected.begin(), expected.end()));
    }
    gguf::copy_of(file).write(folder.path() / "copy.gguf");
    CHECK(read_file(folder.path() / "copy.gguf") == read_file(path));
  }
}

TEST_CASE("every real file, written again, is the same byte for byte") {
  const auto data = test::data_dir();
  if (!data) return;
  // Bytes that belong to nothing are not kept: 9 and 64 of them after the metadata of files without
  // tensors, and padding in front of the tensor data that is not zero.
  const std::set<std::string> with_stray_bytes = {"gridcore_vocab-bpe-qwen2.gguf",
                                                  "turboquant_sample_trailing.gguf",
                                                  "weightless_tiny_f16.gguf"};
  const test::TemporaryFolder folder;
  const fs::path copy = folder.path() / "copy.gguf";
  std::size_t checked = 0;
  for (const char* kind : {"real", "generated"}) {
    for (const auto& entry : fs::directory_iterator{*data / "gguf" / kind}) {
      const std::string name = entry.path().filename().string();
      INFO(name);
      if (name.find("-of-") != std::string::npos) continue;       // shards: below
      if (name.find("bigendian") != std::string::npos) continue;  // little-endian is written
      ++checked;
      const gguf::File file{entry.path()};
      gguf::copy_of(file, file.version()).write(copy);
      const std::string original = read_file(entry.path());
      const std::string written = read_file(copy);
      CHECK((written == original) != with_stray_bytes.contains(name));
      if (written == original) continue;
      const gguf::File again{copy};
      CHECK(test::are_equal(again.metadata(), file.metadata()));
      CHECK(std::equal(again.tensors().begin(), again.tensors().end(), file.tensors().begin(),
                       file.tensors().end(),
                       [](const auto& x, const auto& y) { return test::are_equal(x, y); }));
      const auto data_offset = static_cast<std::size_t>(file.shards()[0].data_offset());
      CHECK(written.substr(data_offset) ==
            original.substr(data_offset, written.size() - data_offset));
    }
  }
  CHECK(checked == 14 + 10);
}

TEST_CASE("a big-endian model is written as its little-endian twin") {
  const auto data = test::data_dir();
  if (!data) return;
  const test::TemporaryFolder folder;
  const gguf::File big{*data / "gguf" / "generated" / "stories260K_v3_bigendian.gguf"};
  gguf::copy_of(big).write(folder.path() / "copy.gguf");
  const gguf::File copy{folder.path() / "copy.gguf"};
  const gguf::File little{*data / "gguf" / "real" / "stories260K.gguf"};
  CHECK(copy.byte_order() == std::endian::little);
  for (const gguf::TensorInfo& tensor : little.tensors()) {
    const auto expected = little.data(tensor);
    const auto bytes = copy.data(*copy.find(tensor.name));
    CHECK(std::equal(bytes.begin(), bytes.end(), expected.begin(), expected.end()));
  }
}

TEST_CASE("split files are those of gguf-split, byte for byte, and merge into the model again") {
  const auto data = test::data_dir();
  if (!data) return;
  const test::TemporaryFolder folder;
  const fs::path real = *data / "gguf" / "real" / "stories260K.gguf";
  const fs::path generated = *data / "gguf" / "generated";
  const gguf::File whole{real};
  const auto check = [&](const std::string& kind, const gguf::SplitOptions& options) {
    const auto paths =
        gguf::copy_of(whole).write_split(folder.path() / ("stories260K-" + kind), options);
    REQUIRE(paths.size() == 3);
    for (const fs::path path : paths)
      CHECK(read_file(path) == read_file(generated / path.filename()));
    const gguf::File split{paths[1]};
    gguf::copy_of(split).write(folder.path() / "merged.gguf");
    CHECK(read_file(folder.path() / "merged.gguf") == read_file(real));
  };
  gguf::SplitOptions sixteen;
  sixteen.max_tensors = 16;
  check("split", sixteen);
  gguf::SplitOptions two;
  two.max_tensors = 24;
  two.no_tensor_first_split = true;
  check("notensorfirst", two);
}

TEST_CASE("a shard is full if the next tensor, padded, would exceed the limit") {
  const test::TemporaryFolder folder;
  gguf::Writer writer;
  writer.add("general.architecture", "test");
  for (const char* name : {"a", "b", "c", "d"})
    writer.add_tensor(name, TensorType::I8, {100}, test::fill_with_offsets);
  writer.add_tensor("large", TensorType::I8, {1000}, test::fill_with_offsets);
  writer.add_tensor("e", TensorType::I8, {1}, test::fill_with_offsets);
  const auto counts = [&](std::uint64_t most, bool no_tensor_first) {
    gguf::SplitOptions options;
    options.max_bytes = most;
    options.no_tensor_first_split = no_tensor_first;
    const auto paths = writer.write_split(folder.path() / "m", options);
    std::string text;
    const gguf::File file{paths.back()};
    for (std::uint32_t i = 0; i < file.shards().size(); ++i) {
      text += std::to_string(std::count_if(file.tensors().begin(), file.tensors().end(),
                                           [&](const auto& t) { return t.shard == i; })) +
              " ";
    }
    CHECK(file.tensors().size() == 6);
    return text;
  };
  CHECK(counts(256, false) == "2 2 1 1 ");
  CHECK(counts(255, false) == "1 1 1 1 1 1 ");
  CHECK(counts(1, true) == "0 1 1 1 1 1 1 ");
  CHECK(counts(1024 + 32, true) == "0 4 2 ");
  CHECK(counts(~0ULL, false) == "6 ");
}

TEST_CASE("all shards keep the alignment that was asked for") {
  const test::TemporaryFolder folder;
  for (const std::uint32_t alignment : {1U, 4096U}) {
    gguf::Writer writer;
    writer.set_alignment(alignment);
    for (const char* name : {"a", "b", "c"})
      writer.add_tensor(name, TensorType::I8, {33}, test::fill_with_offsets);
    gguf::SplitOptions options;
    options.max_tensors = 2;
    const gguf::File file{writer.write_split(folder.path() / "m", options).front()};
    CHECK(file.alignment() == alignment);
    CHECK(file.shards().size() == 2);
    CHECK(file.shards()[1].data_offset() % alignment == 0);
    CHECK(file.find("b")->offset == (alignment == 1 ? 33 : 4096));
    gguf::copy_of(file).write(folder.path() / "merged.gguf");
    writer.write(folder.path() / "whole.gguf");
    CHECK(read_file(folder.path() / "merged.gguf") == read_file(folder.path() / "whole.gguf"));
  }
}

TEST_CASE("a model of over 65,535 shards is refused") {
  gguf::Writer writer;
  for (int i = 0; i < 65'536; ++i)
    writer.add_tensor(std::to_string(i), TensorType::I8, {1}, test::fill_with_offsets);
  gguf::SplitOptions options;
  options.max_bytes = 1;
  CHECK_THROWS_WITH_AS(writer.write_split("/nowhere/m", options),
                       "that makes 65536 shards; at most 65535 can be numbered",
                       std::invalid_argument);
}

TEST_CASE("a value that is refused leaves its key free") {
  gguf::Writer writer;
  // Never read: it is too long.
  const std::string_view text{"", (std::size_t{1} << 30) + 1};
  CHECK_THROWS_WITH_AS(writer.add("key", text), "a string of more than 2^30 bytes",
                       std::invalid_argument);
  const std::string_view texts[] = {"short", text};
  CHECK_THROWS_AS(writer.add_array("key", std::span<const std::string_view>{texts}),
                  std::invalid_argument);
  writer.add("key", 7);
  const test::TemporaryFolder folder;
  writer.write(folder.path() / "m.gguf");
  const gguf::File file{folder.path() / "m.gguf"};
  CHECK(file.metadata().size() == 1);
  CHECK(file.metadata()["key"].as<int>() == 7);
}

TEST_CASE("progress goes up to all of it, and may end the writing") {
  const test::TemporaryFolder folder;
  gguf::Writer writer;
  writer.add_tensor("a", TensorType::F32, {1000, 1000}, test::fill_with_offsets);
  writer.add_tensor("b", TensorType::I8, {5}, test::fill_with_offsets);
  std::uint64_t last = 0;
  std::uint64_t all = 0;
  const auto watch = [&](std::uint64_t done, std::uint64_t total) {
    CHECK(done >= last);
    last = done;
    all = total;
  };
  writer.write(folder.path() / "m.gguf", {.progress = watch});
  CHECK(last == 4'000'005);
  CHECK(all == 4'000'005);
  last = 0;
  gguf::SplitOptions options;
  options.max_bytes = 1;
  options.progress = watch;
  writer.write_split(folder.path() / "m", options);
  CHECK(last == 4'000'005);
  const auto stop = [](std::uint64_t, std::uint64_t) { throw std::runtime_error{"stopped"}; };
  CHECK_THROWS_WITH_AS(writer.write(folder.path() / "n.gguf", {.progress = stop}), "stopped",
                       std::runtime_error);
  CHECK(!fs::exists(folder.path() / "n.gguf"));
  const auto cancel = [](const Progress& at) { return at.done < 5; };
  CHECK_THROWS_AS(writer.write(folder.path() / "n.gguf", {.progress = cancel}), Cancelled);
  CHECK_THROWS_AS(writer.write_split(folder.path() / "n", {{.progress = cancel}}), Cancelled);
  CHECK(!fs::exists(folder.path() / "n.gguf"));
  CHECK(files_in(folder.path()) == 3);
}

TEST_CASE(
    "a progress callback takes a Progress or two numbers, and goes on unless it returns false") {
  Progress last{};
  const auto reports = [&](ProgressCallback callback) {
    last = {};
    callback.report({3, 4});
    return last.done == 3 && last.total == 4;
  };
  CHECK(reports([&](const Progress& at) { last = at; }));
  CHECK(reports([&](const Progress& at) { return last = at, true; }));
  CHECK(reports([&](std::uint64_t done, std::uint64_t total) { last = {done, total}; }));
  CHECK(reports([&](auto done, auto total) { return last = {done, total}, true; }));
  CHECK_THROWS_WITH_AS(ProgressCallback{[](auto, auto) { return false; }}.report({3, 4}),
                       "cancelled after 3 B of 4 B", Cancelled);
  CHECK(!ProgressCallback{});
  CHECK(!ProgressCallback{nullptr});
  CHECK(!ProgressCallback{static_cast<bool (*)(const Progress&)>(nullptr)});
  CHECK(!ProgressCallback{std::function<void(std::uint64_t, std::uint64_t)>{}});
  ProgressCallback{}.report({3, 4});
  CHECK(Progress{3, 4}.share() == doctest::Approx(0.75));
  CHECK(Progress{0, 0}.share() == 1);
  static_assert(!std::constructible_from<ProgressCallback, int>);
  static_assert(!std::constructible_from<ProgressCallback, void (*)(int*)>);
}

TEST_CASE("the writer refuses what the reader would") {
  gguf::Writer writer;
  const std::vector<std::byte> bytes(8);
  const auto add = [&](std::string name) {
    writer.add_tensor(std::move(name), gguf::TensorType::F32, {2}, bytes);
  };
  CHECK_THROWS_AS(writer.set_alignment(3), std::invalid_argument);
  CHECK_THROWS_AS(writer.set_alignment(1U << 21), std::invalid_argument);
  CHECK_THROWS_AS(writer.add("general.alignment", std::uint64_t{32}), std::invalid_argument);
  writer.set_alignment(64);
  CHECK_THROWS_AS(writer.set_alignment(64), std::invalid_argument);
  CHECK_THROWS_AS(writer.add("", 1), std::invalid_argument);
  CHECK_THROWS_AS(writer.add(std::string_view{"a\0b", 3}, 1), std::invalid_argument);
  CHECK_THROWS_AS(writer.add(std::string(65'536, 'k'), 1), std::invalid_argument);
  writer.add(std::string(65'535, 'k'), 1);
  add(std::string(64, 'n'));
  CHECK_THROWS_AS(add(std::string(64, 'n')), std::invalid_argument);
  CHECK_THROWS_AS(add(std::string(65, 'n')), std::invalid_argument);
  CHECK_THROWS_AS(add(""), std::invalid_argument);
  CHECK_THROWS_WITH_AS(writer.add_tensor("t", gguf::TensorType::F32, {3}, bytes),
                       "tensor t takes 12 bytes, but 8 are given", std::invalid_argument);
  CHECK_THROWS_AS(writer.add_tensor("t", gguf::TensorType::Q4_0, {33}, bytes),
                  std::invalid_argument);
  CHECK_THROWS_AS(writer.add_tensor("t", gguf::TensorType::F32, {1, 1, 1, 1, 1}, bytes),
                  std::invalid_argument);
  CHECK_THROWS_WITH_AS(
      writer.add_tensor("t", static_cast<TensorType>(99), {32}, test::fill_with_offsets),
      doctest::Contains("99 is not the number of a tensor type"), std::invalid_argument);
  CHECK_THROWS_AS(writer.add("general.alignment", std::uint32_t{32}), std::invalid_argument);
  const test::TemporaryFolder folder;
  writer.write(folder.path() / "model.gguf");
  const gguf::File file{folder.path() / "model.gguf"};
  CHECK(file.tensors().size() == 1);
  CHECK(file.metadata().size() == 2);
  CHECK(file.alignment() == 64);
}
