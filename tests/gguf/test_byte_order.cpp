// SPDX-License-Identifier: MIT
#include <allot/gguf/byte_order.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/writer/writer.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "gguf/big_endian.hpp"
#include "gguf/files.hpp"
#include "gguf/refusals.hpp"
#include "gguf/values.hpp"
#include "support/random.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
using gguf::TensorType;
namespace fs = std::filesystem;

std::vector<std::byte> copy(std::span<const std::byte> bytes) {
  return {bytes.begin(), bytes.end()};
}

/// The bytes of one block, 0, 1, 2 ..., that swapping moves, as `from -> to` pairs in order.
std::string moved_bytes(TensorType type) {
  const gguf::TypeInfo info = gguf::type_info(type);
  std::vector<std::byte> block(info.block_bytes);
  // Twice, as a block may have more than 256 bytes: the low and the high bytes of the place.
  std::vector<std::size_t> places(block.size());
  for (const unsigned shift : {0U, 8U}) {
    for (std::size_t i = 0; i < block.size(); ++i) block[i] = static_cast<std::byte>(i >> shift);
    gguf::swap_byte_order(type, block);
    for (std::size_t i = 0; i < block.size(); ++i)
      places[i] |= std::to_integer<std::size_t>(block[i]) << shift;
  }
  std::string text;
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (places[i] != i) text += std::to_string(places[i]) + ">" + std::to_string(i) + " ";
  }
  return text;
}

}  // namespace

TEST_CASE("a big-endian file reads as its little-endian twin, tensor data swapped by type") {
  const auto data = test::data_dir();
  if (!data) return;
  const gguf::File little{*data / "gguf" / "real" / "stories260K.gguf"};
  const gguf::File big{*data / "gguf" / "generated" / "stories260K_v3_bigendian.gguf"};
  CHECK(little.byte_order() == std::endian::little);
  CHECK(big.byte_order() == std::endian::big);
  CHECK(big.shards()[0].byte_order() == std::endian::big);
  CHECK(big.version() == 3);
  CHECK(big.alignment() == little.alignment());
  CHECK(big.metadata().size() == little.metadata().size());
  for (const gguf::Value& value : little.metadata()) {
    INFO(std::string{value.key()});
    REQUIRE(big.metadata().find(value.key()) != nullptr);
    CHECK(test::are_equal(value, big.metadata()[value.key()]));
  }
  REQUIRE(big.tensors().size() == little.tensors().size());
  for (const gguf::TensorInfo& tensor : little.tensors()) {
    const gguf::TensorInfo* other = big.find(tensor.name);
    REQUIRE(other != nullptr);
    CHECK(other->type == tensor.type);
    CHECK(other->shape == tensor.shape);
    std::vector<std::byte> bytes = copy(big.data(*other));
    CHECK(bytes != copy(little.data(tensor)));
    gguf::swap_byte_order(tensor.type, bytes);
    CHECK(bytes == copy(little.data(tensor)));
  }
}

TEST_CASE("swapping twice is the identity, for every type, on random blocks at any address") {
  std::mt19937_64 random{test::first_seed()};
  INFO("ALLOT_SEED=" << test::first_seed());
  for (const gguf::TypeInfo& info : gguf::tensor_types) {
    INFO(std::string{info.name});
    std::vector<std::byte> bytes(1 + 33 * info.block_bytes);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    const std::vector<std::byte> before = bytes;
    gguf::swap_byte_order(info.type, std::span{bytes}.subspan(1));
    const bool has_words = info.type != TensorType::I8 && info.type != TensorType::MXFP4 &&
                           info.type != TensorType::NVFP4;
    CHECK((bytes != before) == has_words);
    gguf::swap_byte_order(info.type, std::span{bytes}.subspan(1));
    CHECK(bytes == before);
    gguf::swap_byte_order(info.type, {});
  }
}

TEST_CASE("what is swapped of a block is each number of several bytes, and nothing else") {
  const auto range = [](std::size_t first, std::size_t count, std::size_t width,
                        std::size_t stride) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) {
      for (std::size_t k = 0; k < width; ++k) {
        text += std::to_string(first + i * stride + width - 1 - k) + ">" +
                std::to_string(first + i * stride + k) + " ";
      }
    }
    return text;
  };
  CHECK(moved_bytes(TensorType::F64) == range(0, 1, 8, 8));
  CHECK(moved_bytes(TensorType::BF16) == range(0, 1, 2, 2));
  CHECK(moved_bytes(TensorType::Q4_0) == range(0, 1, 2, 2));
  CHECK(moved_bytes(TensorType::Q4_1) == range(0, 2, 2, 2));
  CHECK(moved_bytes(TensorType::Q5_0) == range(0, 1, 2, 2) + range(2, 1, 4, 4));
  CHECK(moved_bytes(TensorType::Q5_1) == range(0, 2, 2, 2) + range(4, 1, 4, 4));
  CHECK(moved_bytes(TensorType::Q2_K) == range(80, 2, 2, 2));
  CHECK(moved_bytes(TensorType::Q3_K) == range(108, 1, 2, 2));
  CHECK(moved_bytes(TensorType::Q6_K) == range(208, 1, 2, 2));
  CHECK(moved_bytes(TensorType::Q8_K) == range(0, 1, 4, 4) + range(260, 16, 2, 2));
  CHECK(moved_bytes(TensorType::IQ1_S) == range(0, 1, 2, 2) + range(34, 8, 2, 2));
  CHECK(moved_bytes(TensorType::IQ1_M) == range(48, 4, 2, 2));
  CHECK(moved_bytes(TensorType::IQ2_XXS) == range(0, 1, 2, 2) + range(6, 8, 4, 8));
  CHECK(moved_bytes(TensorType::IQ2_XS) == range(0, 33, 2, 2));
  CHECK(moved_bytes(TensorType::IQ3_XXS) == range(0, 1, 2, 2) + range(66, 8, 4, 4));
  CHECK(moved_bytes(TensorType::IQ4_XS) == range(0, 2, 2, 2));
  CHECK(moved_bytes(TensorType::TQ1_0) == range(52, 1, 2, 2));
  CHECK(moved_bytes(TensorType::TQ2_0) == range(64, 1, 2, 2));
  CHECK(moved_bytes(TensorType::MXFP4).empty());
}

TEST_CASE("bytes that are not whole blocks are refused, and nothing is changed") {
  std::vector<std::byte> bytes(19, std::byte{1});
  bytes[1] = std::byte{2};
  const std::vector<std::byte> before = bytes;
  CHECK_THROWS_WITH_AS(gguf::swap_byte_order(TensorType::Q4_0, bytes),
                       "19 bytes are not whole blocks of Q4_0, which have 18 bytes",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(gguf::swap_byte_order(static_cast<TensorType>(99), bytes),
                       doctest::Contains("99 is not the number of a tensor type"),
                       std::invalid_argument);
  CHECK(bytes == before);
}

TEST_CASE(
    "a malformed big-endian file is refused at the byte and for the reason of its little-endian "
    "twin") {
  const auto data = test::data_dir();
  if (!data) return;
  const fs::path folder = *data / "gguf" / "malformed";
  const test::TemporaryFolder turned;
  std::size_t checked = 0;
  const auto rows = test::read_csv(folder / "EXPECT.csv");
  for (const auto& row : rows) {
    const std::string bytes = test::read_file(folder / row.at("file"));
    test::write_file(turned.path() / row.at("file"), test::BigEndian::of(bytes));
  }
  for (const auto& row : rows) {
    const std::string& name = row.at("file");
    // Those that are about the first eight bytes are not turned around.
    if (row.at("verdict") == "shard" || name.starts_with("h_bad") ||
        name.starts_with("h_version") || name == "h_trunc_05.gguf" || name == "h_trunc_07.gguf" ||
        name == "h_empty_file.gguf" || name == "h_3_bytes.gguf")
      continue;
    INFO(name);
    ++checked;
    if (row.at("verdict") == "accept") {
      const gguf::File little{folder / name};
      const gguf::File big{turned.path() / name};
      CHECK(big.byte_order() == std::endian::big);
      CHECK(test::are_equal(big.metadata(), little.metadata()));
      CHECK(std::equal(big.tensors().begin(), big.tensors().end(), little.tensors().begin(),
                       little.tensors().end(),
                       [](const auto& a, const auto& b) { return test::are_equal(a, b); }));
      continue;
    }
    const auto refusal = std::find_if(std::begin(test::refusals), std::end(test::refusals),
                                      [&](const test::Refusal& r) { return name == r.file; });
    REQUIRE(refusal != std::end(test::refusals));
    try {
      gguf::File{turned.path() / name};
      FAIL("it was read");
    } catch (const gguf::ParseError& error) {
      CHECK(error.offset() == refusal->byte);
      CHECK(error.rule() == refusal->rule);
    }
  }
  CHECK(checked > 70);
}

TEST_CASE("every real file, turned around, has the same metadata and tensors") {
  const auto data = test::data_dir();
  if (!data) return;
  const test::TemporaryFolder folder;
  for (const auto& entry : fs::directory_iterator{*data / "gguf" / "real"}) {
    INFO(entry.path().string());
    test::write_file(folder.path() / "big.gguf",
                     test::BigEndian::of(test::read_file(entry.path())));
    const gguf::File big{folder.path() / "big.gguf"};
    const gguf::File little{entry.path()};
    CHECK(big.byte_order() == std::endian::big);
    CHECK(big.version() == little.version());
    CHECK(test::are_equal(big.metadata(), little.metadata()));
    CHECK(std::equal(big.tensors().begin(), big.tensors().end(), little.tensors().begin(),
                     little.tensors().end(),
                     [](const auto& a, const auto& b) { return test::are_equal(a, b); }));
  }
}

TEST_CASE("a big-endian file whose magic was turned around, too, is read") {
  const test::TemporaryFolder folder;
  gguf::Writer writer;
  writer.add("a.key", std::uint32_t{7});
  writer.write(folder.path() / "little.gguf");
  std::string bytes = test::BigEndian::of(test::read_file(folder.path() / "little.gguf"));
  std::reverse(bytes.begin(), bytes.begin() + 4);
  test::write_file(folder.path() / "big.gguf", bytes);
  const gguf::File file{folder.path() / "big.gguf"};
  CHECK(file.byte_order() == std::endian::big);
  CHECK(file.metadata()["a.key"].as<std::uint32_t>() == 7);
}

TEST_CASE("shards of both byte orders are not a model") {
  const auto data = test::data_dir();
  if (!data) return;
  const test::TemporaryFolder folder;
  const std::string first = "s_ok-00001-of-00002.gguf";
  const std::string second = "s_ok-00002-of-00002.gguf";
  fs::copy(*data / "gguf" / "malformed" / first, folder.path() / first);
  test::write_file(folder.path() / second,
                   test::BigEndian::of(test::read_file(*data / "gguf" / "malformed" / second)));
  CHECK_THROWS_WITH_AS(gguf::File{folder.path() / first},
                       (folder.path() / second)
                           .string()
                           .append(": byte 4: the shard is big-endian, but " + first +
                                   " is not; convert one of them")
                           .c_str(),
                       gguf::ParseError);
}
