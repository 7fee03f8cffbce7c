// SPDX-License-Identifier: MIT
// Files as they lie about: of a newer format, cut by size, named in other ways, not models at all.
#include <allot/gguf/file.hpp>
#include <allot/gguf/writer/copy.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "gguf/files.hpp"
#include "gguf/refusals.hpp"
#include "support/patterns.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
using gguf::Reading;
using test::read_file;
using test::write_file;
namespace fs = std::filesystem;

/// Writes containers that `gguf::Writer` refuses.
class RawModel {
 public:
  template <class Number>
  RawModel& put(Number number) {
    bytes_.append(reinterpret_cast<const char*>(&number), sizeof number);
    return *this;
  }
  RawModel& put_text(const std::string& text) {
    put(std::uint64_t{text.size()});
    bytes_ += text;
    return *this;
  }
  void begin(std::uint64_t tensors) {
    bytes_ = "GGUF";
    put(std::uint32_t{3}).put(tensors).put(std::uint64_t{0});
  }
  void add_tensor(const std::string& name, const std::vector<std::uint64_t>& dimensions,
                  std::uint32_t type, std::uint64_t offset) {
    put_text(name).put(static_cast<std::uint32_t>(dimensions.size()));
    for (const std::uint64_t dimension : dimensions) put(dimension);
    put(type).put(offset);
  }
  fs::path write(const fs::path& path, std::size_t data_bytes) {
    bytes_.resize((bytes_.size() + 31) / 32 * 32, '\0');
    bytes_.append(data_bytes, 'd');
    write_file(path, bytes_);
    return path;
  }

 private:
  std::string bytes_;
};

std::string error_of(const fs::path& path, Reading reading = Reading::strict) {
  try {
    gguf::File{path, reading};
    return "";
  } catch (const gguf::ParseError& error) {
    return error.what();
  }
}

bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a lenient file lists what it cannot describe whole, and refuses only that") {
  const test::TemporaryFolder folder;
  RawModel raw;
  raw.begin(5);
  raw.add_tensor("plain", {4}, 0, 0);
  raw.add_tensor("newer", {100, 7}, 99, 32);
  raw.add_tensor("five", {3, 2, 2, 2, 2}, 0, 64);
  raw.add_tensor("five_blocks", {32, 1, 1, 1, 1, 2}, 2, 256);
  raw.add_tensor(std::string(200, 'n'), {4}, 0, 320);
  const fs::path path = raw.write(folder.path() / "m.gguf", 352);
  CHECK(says(error_of(path), "tensor newer has type 99, which is unknown"));

  const gguf::File file{path, Reading::lenient};
  REQUIRE(file.tensors().size() == 2);
  CHECK(file.tensors()[1].name == std::string(200, 'n'));
  REQUIRE(file.partial_tensors().size() == 3);
  const gguf::PartialTensor& newer = file.partial_tensors()[0];
  CHECK(newer.name == "newer");
  CHECK(newer.type == 99);
  CHECK(newer.dimensions == std::vector<std::uint64_t>{100, 7});
  CHECK(newer.offset == 32);
  CHECK(!newer.bytes);
  CHECK(file.partial_tensors()[1].bytes == 3 * 16 * 4);
  CHECK(file.partial_tensors()[1].dimensions.size() == 5);
  CHECK(file.partial_tensors()[2].bytes == 36);
  CHECK(file.find("plain") == &file.tensors()[0]);
  CHECK(file.find("five") == nullptr);
  CHECK(file.data(file.tensors()[0]).size() == 16);
  CHECK_THROWS_WITH_AS((void)file.data(newer), doctest::Contains("tensor newer has type 99"),
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)file.data(file.partial_tensors()[1]),
                       doctest::Contains("tensor five has 5 dimensions"), std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)gguf::copy_of(file), doctest::Contains("tensor newer"),
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(gguf::require_complete(file), doctest::Contains("tensor newer"),
                       std::invalid_argument);

  gguf::Writer writer;
  writer.add_tensor("a", gguf::TensorType::I8, {10}, test::fill_with_offsets);
  writer.write(folder.path() / "whole.gguf");
  gguf::File whole{folder.path() / "whole.gguf", Reading::lenient};
  CHECK(whole.partial_tensors().empty());
  CHECK_NOTHROW(gguf::require_complete(whole));
  CHECK_THROWS_WITH_AS(whole.add(file, "x:"), doctest::Contains("tensor newer"),
                       std::invalid_argument);
  CHECK(whole.find("x:plain") == nullptr);
}

TEST_CASE("a file that was replaced or changed its size is not opened again") {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "m.gguf";
  const auto write = [](const fs::path& to, const std::string& name, std::uint64_t size) {
    gguf::Writer writer;
    writer.add_tensor(name, gguf::TensorType::I8, {size}, test::fill_with_offsets);
    writer.write(to);
  };
  write(path, "a", 10);
  const gguf::File file{path};
  CHECK(file.shards()[0].opened_again().size() == file.shards()[0].size());
  const auto error_of_opening = [&] {
    try {
      static_cast<void>(file.shards()[0].opened_again());
      return std::string{};
    } catch (const gguf::ParseError& error) {
      return std::string{error.what()};
    }
  };
  const auto has = [](const std::string& text, const char* what) {
    INFO(text);
    return text.find(what) != std::string::npos;
  };

  fs::create_hard_link(path, folder.path() / "same.gguf");
  write(path, "b", 10);  // replaces it: a file of the same size under its name
  REQUIRE(fs::file_size(path) == file.shards()[0].size());
  CHECK(has(error_of_opening(), "was replaced"));
  write(folder.path() / "joined.gguf", "c", 10);
  gguf::File joined{folder.path() / "joined.gguf"};
  CHECK_THROWS_WITH_AS(joined.add(file, "x:"), doctest::Contains("was replaced"), gguf::ParseError);
  CHECK(joined.find("x:a") == nullptr);
  CHECK(joined.shards().size() == 1);

  fs::rename(folder.path() / "same.gguf", path);
  CHECK(error_of_opening().empty());
  fs::resize_file(path, 100);
  CHECK(has(error_of_opening(), "100 bytes"));
  fs::remove(path);
  CHECK(has(error_of_opening(), "No such file"));
}

TEST_CASE("a lenient file is checked as far as it can be") {
  const test::TemporaryFolder folder;
  const std::uint64_t huge = std::uint64_t{1} << 40;
  struct Case {
    std::string what;
    std::vector<std::uint64_t> dimensions;
    std::uint32_t type;
    std::uint64_t offset;
  };
  const Case cases[] = {
      {"which was removed from GGUF", {4}, 4, 0},
      {"which was removed from GGUF", {4, 1, 1, 1, 1}, 37, 0},
      {"has more than 2^63 - 1 elements", {huge, huge}, 99, 0},
      {"has more than 2^63 - 1 elements", {huge, 1, 1, 1, huge}, 0, 0},
      {"has more than 2^63 - 1 elements", {0, huge, huge}, 99, 0},
      {"has more than 2^63 - 1 bytes", {std::uint64_t{1} << 62, 1, 1, 1, 1}, 0, 0},
      {"not a multiple of the 32 in a block of Q4_0", {33, 1, 1, 1, 1}, 2, 0},
      {"beyond the 352 bytes of tensor data", {100, 1, 1, 1, 1}, 0, 0},
      {"beyond the 352 bytes of tensor data", {4}, 99, 352},
      {"beyond the 352 bytes of tensor data", {4}, 99, huge},
      {"not a multiple of 32", {4}, 99, 33},
      {"not a multiple of 32", {1, 1, 1, 1, 1}, 0, 4},
      {"overlaps tensor plain", {4}, 99, 64},
      {"overlaps tensor plain", {1, 1, 1, 1, 1}, 0, 64},
  };
  for (const Case& each : cases) {
    INFO(each.what);
    RawModel raw;
    raw.begin(2);
    raw.add_tensor("plain", {40}, 0, 0);
    raw.add_tensor("odd", each.dimensions, each.type, each.offset);
    const std::string error = error_of(raw.write(folder.path() / "m.gguf", 352), Reading::lenient);
    CHECK_MESSAGE(says(error, each.what), error);
  }
  RawModel twice;
  twice.begin(2);
  twice.add_tensor("same", {4}, 0, 0);
  twice.add_tensor("same", {4}, 99, 32);
  CHECK(
      says(error_of(twice.write(folder.path() / "m.gguf", 64), Reading::lenient), "occurs twice"));
  RawModel many;  // of dimensions that are not there
  many.begin(1);
  many.put_text("many").put(std::uint32_t{0xffffffff});
  CHECK(says(error_of(many.write(folder.path() / "m.gguf", 64), Reading::lenient), "dimension"));
}

TEST_CASE("what a strict file refuses for another reason, a lenient one refuses, too") {
  const auto data = test::data_dir();
  if (!data) return;
  for (const test::Refusal& refusal : test::refusals) {
    const std::string name{refusal.file};
    INFO(name);
    const std::string rule{refusal.rule};
    const bool is_ggmls = says(rule, "dimensions; at most 4") ||
                          says(rule, "which is unknown, so") ||
                          says(rule, "at most 64 are allowed");
    CHECK(error_of(*data / "gguf" / "malformed" / name, Reading::lenient).empty() == is_ggmls);
  }
}

TEST_CASE("shards are found by their siblings' own spelling") {
  const test::TemporaryFolder folder;
  gguf::Writer writer;
  for (const char* const name : {"a", "b", "c"})
    writer.add_tensor(name, gguf::TensorType::I8, {10}, test::fill_with_offsets);
  gguf::SplitOptions options;
  options.max_tensors = 1;
  const std::vector<std::vector<std::string>> spellings = {
      {"-00001-of-00003.GGUF", "-00002-of-00003.GGUF", "-00003-of-00003.GGUF"},
      {"-00001-of-00003.Gguf", "-00002-of-00003.Gguf", "-00003-of-00003.Gguf"},
      {"-00001-OF-00003.GGUF", "-00002-OF-00003.GGUF", "-00003-OF-00003.GGUF"},
      {"-00001-of-00003.gguf", "-00002-of-00003.GGUF", "-00003-of-00003.gGUF"},
  };
  for (const auto& spelling : spellings) {
    const std::string prefix = (folder.path() / ("m" + spelling[1].substr(1, 14))).string();
    const std::vector<std::string> written = writer.write_split(prefix, options);
    for (std::size_t i = 0; i < 3; ++i) fs::rename(written[i], prefix + "~" + std::to_string(i));
    for (std::size_t i = 0; i < 3; ++i)
      fs::rename(prefix + "~" + std::to_string(i), prefix + spelling[i]);
    for (std::size_t i = 0; i < 3; ++i) {
      INFO(spelling[i]);
      const gguf::File file{prefix + spelling[i]};
      CHECK(file.tensors().size() == 3);
      CHECK(file.shards()[1].path() == prefix + spelling[1]);
    }
    fs::remove(prefix + spelling[1]);
    const std::string error = error_of(prefix + spelling[2]);
    CHECK_MESSAGE(says(error, "these are missing beside it"), error);
  }
  // Another model's prefix is not a spelling of this one's.
  const std::vector<std::string> upper = writer.write_split(folder.path() / "X", options);
  fs::rename(upper[1], folder.path() / "x-00002-of-00003.gguf");
  CHECK(says(error_of(upper[0]), "missing beside it: X-00002-of-00003.gguf"));
}

TEST_CASE("a part of a file that was cut by size is recognized, with how to join the parts") {
  gguf::Writer writer;
  writer.add_tensor("a", gguf::TensorType::I8, {3000}, test::fill_with_offsets);
  const std::vector<std::vector<std::string>> spellings = {
      {"m.gguf.part1of3", "m.gguf.part2of3", "m.gguf.part3of3"},
      {"m.Q8_0.gguf.Part1Of3", "m.Q8_0.gguf.Part2Of3", "m.Q8_0.gguf.Part3Of3"},
      {"m.gguf-part-1-of-3", "m.gguf-part-2-of-3", "m.gguf-part-3-of-3"},
      {"m.gguf-split-a", "m.gguf-split-b", "m.gguf-split-c"},
      {"m.gguf.split-aa", "m.gguf.split-ab", "m.gguf.split-ac"},
      {"m.gguf.001", "m.gguf.002", "m.gguf.003"},
      {"m.001", "m.002", "m.003"},
      {"m.gguf.00", "m.gguf.01", "m.gguf.02"},
      {"m.gguf.1", "m.gguf.2", "m.gguf.3"},
      {"m.gguf.part0", "m.gguf.part1", "m.gguf.part2"},
      {"m.gguf.part_aa", "m.gguf.part_ab", "m.gguf.part_ac"},
      {"m.part1.gguf", "m.part2.gguf", "m.part3.gguf"},
      {"m-part-a.gguf", "m-part-b.gguf", "m-part-c.gguf"},
      {"m.part01of03.gguf", "m.part02of03.gguf", "m.part03of03.gguf"},
      {"m.ggufaa", "m.ggufab", "m.ggufac"},
      {"m.gguf.aa", "m.gguf.ab", "m.gguf.ac"},
      {"m's own.gguf.part1of3", "m's own.gguf.part2of3", "m's own.gguf.part3of3"},
  };
  for (const auto& names : spellings) {
    const test::TemporaryFolder folder;
    const fs::path whole = folder.path() / "whole";
    writer.write(whole);
    const std::string bytes = read_file(whole);
    for (std::size_t i = 0; i < 3; ++i) {
      write_file(
          folder.path() / names[i],
          bytes.substr(i * bytes.size() / 3, (i + 1) * bytes.size() / 3 - i * bytes.size() / 3));
    }
    for (const std::string& name : names) {
      INFO(name);
      const std::string error = error_of(folder.path() / name);
      CHECK_MESSAGE(says(error, "a part of a file that was cut by size"), error);
      const std::size_t at = error.find("cat ");
      REQUIRE(at != std::string::npos);
      // What it says to do makes the model.
      REQUIRE(std::system(error.substr(at).c_str()) == 0);
      const std::string joined = error.substr(error.find(" > ") + 3);
      REQUIRE(std::system(("mv " + joined + " " + (folder.path() / "joined").string()).c_str()) ==
              0);
      CHECK(read_file(folder.path() / "joined") == bytes);
      CHECK(gguf::File{folder.path() / "joined"}.tensors().size() == 1);
      fs::remove(folder.path() / "joined");
    }
    fs::remove(folder.path() / names[0]);
    const std::string error = error_of(folder.path() / names[1]);
    CHECK_MESSAGE(says(error, "missing beside it: " + names[0]), error);
    CHECK(!says(error, "cat "));
  }
}

TEST_CASE("what only looks like a part is not said to be one") {
  const test::TemporaryFolder folder;
  for (const char* const name :
       {"m.gguf", "m.gguf.bak", "m.gguf.zip", "model.v1", "m.7b", "split", "part", "m.gguf.old",
        "m.partial", "x-part-one.gguf", "y.part.of.gguf", "m-counterpart.gguf", "m.2024"}) {
    write_file(folder.path() / name, "nothing of GGUF");
    CHECK_MESSAGE(!says(error_of(folder.path() / name), "cut by size"), name);
  }
}

TEST_CASE("what is another format, or no model at all, is named") {
  const test::TemporaryFolder folder;
  const std::pair<std::string, const char*> files[] = {
      {"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"},
      {"<!DOCTYPE html><html>", "an HTML page"},
      {"<html lang=\"en\">", "an HTML page"},
      {std::string("PK\x03\x04", 4) + "abcdefgh", "a ZIP archive"},
      {std::string("\x1f\x8b\x08\x00", 4) + "abcdefgh", "compressed with gzip"},
      {"\x28\xb5\x2f\xfd" + std::string("abcdefgh"), "compressed with zstd"},
      {std::string("\xfd"
                   "7zXZ\x00",
                   6) +
           "abcdefgh",
       "compressed with xz"},
      {"7z\xbc\xaf\x27\x1c" + std::string("abcdefgh"), "a 7z archive"},
      {"lmgg" + std::string("abcdefgh"), "a model of before GGUF"},
      {"fmgg" + std::string("abcdefgh"), "a model of before GGUF"},
      {"tjgg" + std::string("abcdefgh"), "a model of before GGUF"},
      {std::string("\x10\0\0\0\0\0\0\0", 8) + "{\"weight\":{}}   ", "safetensors"},
      {std::string(64, '\0'), "begins with zeros"},
      {"{\"error\": \"not found\"}", "a JSON text"},
      {"something else entirely", "the magic is not GGUF"},
  };
  for (const auto& each : files) {
    write_file(folder.path() / "m.gguf", each.first);
    const std::string error = error_of(folder.path() / "m.gguf");
    CHECK_MESSAGE(says(error, each.second), each.second << ": " << error);
  }
  CHECK(says(error_of(folder.path()), "a folder"));
}
