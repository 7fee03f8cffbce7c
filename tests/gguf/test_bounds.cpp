// SPDX-License-Identifier: MIT
// What opening a file may take, whatever the file holds: memory, reads and comparisons in
// proportion to its size. Counted, not timed.
#include <allot/gguf/file.hpp>
#include <allot/gguf/writer/writer.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gguf/work.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
namespace fs = std::filesystem;
using test::Work;

/// A file, byte by byte.
class Bytes {
 public:
  explicit Bytes(std::uint32_t version, std::uint64_t tensors, std::uint64_t pairs)
      : wide_{version >= 2} {
    text_ = "GGUF";
    number(version);
    length(tensors);
    length(pairs);
  }
  template <class T>
  Bytes& number(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Bytes& length(std::uint64_t value) {
    return wide_ ? number(value) : number(static_cast<std::uint32_t>(value));
  }
  Bytes& text(std::string_view value) {
    length(value.size());
    text_ += value;
    return *this;
  }
  Bytes& raw(std::size_t count, char value) {
    text_.append(count, value);
    return *this;
  }
  /// A pair that takes no more room than its key needs.
  Bytes& pair(std::string_view key) {
    return text(key).number(std::uint32_t{0}).number(std::uint8_t{1});
  }
  /// A tensor without dimensions, of one byte.
  Bytes& tensor(std::string_view name, std::uint64_t offset) {
    return text(name).number(std::uint32_t{0}).number(std::uint32_t{24}).number(offset);
  }
  /// The start of a pair whose value is an array.
  Bytes& array(std::string_view key, std::uint32_t type, std::uint64_t count) {
    return text(key).number(std::uint32_t{9}).number(type).length(count);
  }
  [[nodiscard]] const std::string& str() const noexcept { return text_; }

 private:
  bool wide_;
  std::string text_;
};

/// Three letters and more that name a number, shortest first.
std::string name_of(std::uint64_t number) {
  std::string name;
  for (std::size_t i = 0; i < 3 || number != 0; ++i, number /= 60)
    name += static_cast<char>('A' + number % 60);
  return name;
}

struct Opened {
  Work work;
  std::optional<std::string> refusal;
};

/// Opens a file, and counts.
Opened open_counted(const fs::path& path) {
  const Work before = test::work_so_far();
  try {
    const gguf::File file{path};
    return {test::work_so_far() - before, std::nullopt};
  } catch (const gguf::ParseError& error) {
    return {test::work_so_far() - before, error.rule()};
  }
}

class Bounds {
 public:
  Opened open(const std::string& bytes, const char* name = "m.gguf") {
    const fs::path path = folder_.path() / name;
    std::ofstream{path, std::ios::binary} << bytes;
    return open_counted(path);
  }

 private:
  test::TemporaryFolder folder_;
};

/// Names of 16 bytes that all have one value of the standard library's hash (libstdc++'s on
/// 64 bits: MurmurHash64A with a known seed). Every step of it can be undone, so that for any first
/// half there is a second one that leads to the same state.
class CollidingNames {
 public:
  [[nodiscard]] std::string next() {
    for (;;) {
      std::string first = "AAAA" + name_of(number_++);
      first.resize(8, '_');
      std::uint64_t half = 0;
      std::memcpy(&half, first.data(), sizeof half);
      const std::uint64_t state = ((seed ^ 16 * factor) ^ mix(half)) * factor;
      const std::uint64_t other = unmix(goal * inverse ^ state);
      std::string name = first + std::string(8, '\0');
      std::memcpy(name.data() + 8, &other, sizeof other);
      if (name.find('\0') == std::string::npos) return name;
    }
  }

 private:
  static constexpr std::uint64_t seed = 0xc70f6907;
  static constexpr std::uint64_t factor = 0xc6a4a7935bd1e995;
  static constexpr std::uint64_t inverse = [] {
    std::uint64_t found = factor;  // Newton's iteration doubles the bits that are right
    for (int i = 0; i < 6; ++i) found *= 2 - factor * found;
    return found;
  }();
  static_assert(factor * inverse == 1);
  static constexpr std::uint64_t goal = 42;

  [[nodiscard]] static constexpr std::uint64_t fold(std::uint64_t v) { return v ^ v >> 47; }
  [[nodiscard]] static constexpr std::uint64_t mix(std::uint64_t v) {
    return fold(v * factor) * factor;
  }
  [[nodiscard]] static constexpr std::uint64_t unmix(std::uint64_t v) {
    return fold(v * inverse) * inverse;
  }

  std::uint64_t number_ = 0;
};

constexpr std::uint64_t spare = 64 * KiB;

/// Each byte is read once, in large pieces, but for the few that tell what a file is.
void check_reads(const Opened& opened, std::uint64_t file_bytes) {
  CHECK(opened.work.read <= file_bytes + 64);
  CHECK(opened.work.reads <= 3 + file_bytes / (64 * KiB));
}

}  // namespace

TEST_CASE("opening any file of the test data allocates a small multiple of its size") {
  const auto data = test::data_dir();
  if (!data) return;
  for (const auto& entry : fs::recursive_directory_iterator{*data / "gguf"}) {
    if (entry.path().extension() != ".gguf") continue;
    const bool is_shard = entry.path().string().find("-of-") != std::string::npos;
    const std::uint64_t size = entry.file_size() * (is_shard ? 4 : 1);
    const Opened opened = open_counted(entry.path());
    INFO(entry.path().string());
    CHECK(opened.work.allocated <= 4 * size + spare);
    if (!is_shard) check_reads(opened, size);
  }
}

TEST_CASE("each shard of a split model is read once, whichever of them is named") {
  const test::TemporaryFolder folder;
  gguf::Writer writer;
  writer.add("general.architecture", "x");
  const std::string bytes(64, 'x');
  for (int i = 0; i < 3; ++i) {
    writer.add_tensor("t" + std::to_string(i), gguf::TensorType::I8, {64},
                      std::as_bytes(std::span{bytes}));
  }
  gguf::SplitOptions options;
  options.max_tensors = 1;
  const std::vector<std::string> paths = writer.write_split(folder.path() / "m", options);
  REQUIRE(paths.size() == 3);
  for (const std::string& path : paths) {
    INFO(path);
    const Opened opened = open_counted(path);
    CHECK(!opened.refusal);
    CHECK(opened.work.reads == 3);
  }
}

TEST_CASE("files of the smallest possible parts allocate a small multiple of their size") {
  constexpr std::uint64_t count = 50'000;
  for (const std::uint32_t version : {1U, 3U}) {
    Bounds bounds;
    INFO(version);
    std::vector<std::string> files;

    Bytes pairs{version, 0, count};
    for (std::uint64_t i = 0; i < count; ++i) pairs.pair(name_of(i));
    files.push_back(pairs.str());

    Bytes tensors{version, count, 0};
    for (std::uint64_t i = 0; i < count; ++i) tensors.tensor(name_of(i), i * 32);
    files.push_back(tensors.raw(count * 32 + 32, '\0').str());

    Bytes texts{version, 0, 1};
    texts.array("texts", 8, 10 * count).raw(10 * count * (version == 1 ? 4 : 8), '\0');
    files.push_back(texts.str());

    Bytes arrays{version, 0, 1};
    arrays.array("arrays", 9, 10 * count);
    for (std::uint64_t i = 0; i < 10 * count; ++i) arrays.number(std::uint32_t{0}).length(0);
    files.push_back(arrays.str());

    for (const std::string& file : files) {
      const Opened opened = bounds.open(file);
      INFO("file of " << file.size() << " bytes");
      CHECK(!opened.refusal);
      CHECK(opened.work.allocated <= 40 * file.size() + spare);
      CHECK(opened.work.comparisons <= 4 * count);
      check_reads(opened, file.size());
    }
  }
}

TEST_CASE("counts that a file claims and does not hold allocate nothing for them") {
  Bounds bounds;
  constexpr std::uint64_t rest = 1 << 20;
  for (const char filling : {'\0', '\1', '\xff'}) {
    const std::string files[] = {
        Bytes{3, rest / 24, 0}.raw(rest, filling).str(),
        Bytes{3, 0, rest / 13}.raw(rest, filling).str(),
        Bytes{1, rest / 20, 0}.raw(rest, filling).str(),
        Bytes{1, 0, rest / 9}.raw(rest, filling).str(),
        Bytes{3, 0, 1}.array("a", 8, rest / 8).raw(rest, filling).str(),
        Bytes{3, 0, 1}.array("a", 9, rest / 12).raw(rest, filling).str(),
        Bytes{3, 0, 1}.array("a", 12, rest / 8).raw(rest, filling).str(),
    };
    for (const std::string& file : files) {
      const Opened opened = bounds.open(file);
      CHECK(opened.work.allocated <= 2 * file.size() + spare);
      check_reads(opened, file.size());
    }
  }
}

TEST_CASE("a few bytes that claim 65,535 shards cost a few") {
  Bounds bounds;
  const std::string file = Bytes{3, 0, 1}
                               .text("split.count")
                               .number(std::uint32_t{2})
                               .number(std::uint16_t{65535})
                               .str();
  const Opened opened = bounds.open(file, "m-00001-of-65535.gguf");
  REQUIRE(opened.refusal);
  INFO(opened.refusal->substr(0, 1000));
  CHECK(opened.refusal->size() < 2000);
  CHECK(opened.work.allocated <= spare);
}

TEST_CASE("arrays are nested four deep at the most, however deep a file claims") {
  Bounds bounds;
  for (const std::size_t depth : {1U, 4U, 5U, 100'000U}) {
    Bytes bytes{3, 0, 1};
    bytes.text("a").number(std::uint32_t{9});
    for (std::size_t i = 0; i + 1 < depth; ++i) bytes.number(std::uint32_t{9}).length(1);
    bytes.number(std::uint32_t{0}).length(0);
    const Opened opened = bounds.open(bytes.str());
    INFO(depth);
    CHECK(opened.refusal.value_or("") == (depth <= 4 ? "" : "arrays are nested more than 4 deep"));
  }
}

TEST_CASE("names that are made to collide take no more comparisons than others") {
#if defined(__GLIBCXX__) && defined(__x86_64__)
  CollidingNames twins;
  CHECK(std::hash<std::string>{}(twins.next()) == std::hash<std::string>{}(twins.next()));
#endif
  constexpr std::uint64_t count = 4000;
  Bounds bounds;
  CollidingNames names;
  Bytes pairs{3, 0, count};
  for (std::uint64_t i = 0; i < count; ++i) pairs.pair(names.next());
  Bytes tensors{3, count, 0};
  for (std::uint64_t i = 0; i < count; ++i) tensors.tensor(names.next(), i * 32);
  tensors.raw(32 * count + 32, '\0');
  for (const std::string& file : {pairs.str(), tensors.str()}) {
    const Opened opened = bounds.open(file);
    CHECK(!opened.refusal);
    CHECK(opened.work.comparisons <= 8 * count);
  }
}
