// SPDX-License-Identifier: MIT
#include <allot/gguf/dequantize.hpp>
#include <allot/gguf/file.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <fstream>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "support/random.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
using gguf::TensorType;
namespace fs = std::filesystem;

std::vector<float> read_floats(const fs::path& path) {
  std::vector<float> values(fs::file_size(path) / sizeof(float));
  std::ifstream in{path, std::ios::binary};
  in.read(reinterpret_cast<char*>(values.data()),
          static_cast<std::streamsize>(values.size() * sizeof(float)));
  REQUIRE(in);
  return values;
}

bool is_same(float a, float b) {
  if (std::isnan(a) && std::isnan(b)) return true;
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

/// What ggml makes of each tensor, as the files beside it say.
void compare_with_ggml(const fs::path& base, std::size_t expected_types) {
  const gguf::File file{base.string() + ".gguf"};
  const std::vector<float> reference = read_floats(base.string() + ".f32");
  std::ifstream list{base.string() + ".csv"};
  std::string line;
  std::getline(list, line);
  std::size_t types = 0;
  while (std::getline(list, line)) {
    std::istringstream fields{line};
    std::vector<std::string> row;
    for (std::string field; std::getline(fields, field, ',');) row.push_back(field);
    REQUIRE(row.size() == 6);
    const gguf::TensorInfo* tensor = file.find(row[0]);
    REQUIRE(tensor != nullptr);
    INFO(row[0]);
    std::vector<float> values(tensor->shape.elements());
    if (row[5] == "0") {
      CHECK(!gguf::has_values(tensor->type));
      CHECK_THROWS_AS(gguf::dequantize(tensor->type, file.data(*tensor), std::span{values}),
                      std::invalid_argument);
      continue;
    }
    CHECK(gguf::has_values(tensor->type));
    gguf::dequantize(tensor->type, file.data(*tensor), std::span{values});
    const std::size_t first = std::stoul(row[4]);
    for (std::size_t i = 0; i < values.size(); ++i)
      REQUIRE(is_same(values[i], reference[first + i]));

    // To 16 bits: the same values, rounded.
    std::vector<gguf::Float16> halves(values.size());
    gguf::dequantize(tensor->type, file.data(*tensor), std::span{halves});
    std::vector<gguf::BFloat16> brains(values.size());
    gguf::dequantize(tensor->type, file.data(*tensor), std::span{brains});
    for (std::size_t i = 0; i < values.size(); ++i) {
      REQUIRE(halves[i] == gguf::to_float16(values[i]));
      REQUIRE(brains[i] == gguf::to_bfloat16(values[i]));
    }
    ++types;
  }
  CHECK(types == expected_types);
}

}  // namespace

TEST_CASE("every type has the values that ggml computes, to the bit") {
  const auto data = test::data_dir();
  if (!data) return;
  compare_with_ggml(*data / "dequant" / "alltypes", 33);
}

TEST_CASE("so has random data: NaN, infinity and subnormal scales in every block") {
  const auto data = test::data_dir();
  if (!data) return;
  compare_with_ggml(*data / "dequant" / "randbits", 27);
}

TEST_CASE("blocks need no alignment") {
  std::vector<std::byte> bytes(1 + 2 * 18, std::byte{0x5a});
  std::vector<float> aligned(64);
  std::vector<float> shifted(64);
  gguf::dequantize(TensorType::Q4_0, std::span{bytes}.first(36), std::span{aligned});
  gguf::dequantize(TensorType::Q4_0, std::span{bytes}.subspan(1), std::span{shifted});
  CHECK(aligned == shifted);
}

TEST_CASE("sizes that do not agree are refused with what a block is") {
  std::vector<std::byte> bytes(36);
  std::vector<float> values(64);
  const auto refuses = [&](std::size_t count, std::size_t elements) {
    CHECK_THROWS_WITH_AS(
        gguf::dequantize(TensorType::Q4_0, std::span{bytes}.first(count),
                         std::span{values}.first(elements)),
        (std::to_string(count) + " bytes of Q4_0 are not " + std::to_string(elements) +
         " elements: a block is 32 elements in 18 bytes")
            .c_str(),
        std::invalid_argument);
  };
  refuses(35, 64);
  refuses(36, 63);
  refuses(36, 32);
  refuses(18, 64);
  CHECK_NOTHROW(gguf::dequantize(TensorType::Q4_0, {}, std::span<float>{}));
}

TEST_CASE("every binary16 number goes to float and back unchanged") {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const gguf::Float16 half{static_cast<std::uint16_t>(bits)};
    const float value = gguf::to_float(half);
    if ((bits & 0x7c00) == 0x7c00 && (bits & 0x3ff) != 0) {
      REQUIRE(std::isnan(value));
      REQUIRE(std::isnan(gguf::to_float(gguf::to_float16(value))));
      continue;
    }
    REQUIRE(gguf::to_float16(value) == half);
    // By definition: mantissa times a power of two.
    const int exponent = static_cast<int>((bits >> 10) & 31);
    const auto mantissa = static_cast<float>(bits & 0x3ff);
    if (exponent == 31) continue;
    const float magnitude =
        exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(mantissa + 1024, exponent - 25);
    REQUIRE(is_same(value, (bits & 0x8000) != 0 ? -magnitude : magnitude));
  }
}

TEST_CASE("rounding to 16 bits is to nearest, ties to even") {
  // Between each two neighbours: just below the middle, the middle, just above.
  for (std::uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const float low = gguf::to_float(gguf::Float16{static_cast<std::uint16_t>(bits)});
    const float high = gguf::to_float(gguf::Float16{static_cast<std::uint16_t>(bits + 1)});
    const float middle = (low + high) / 2;
    REQUIRE(gguf::to_float16(middle).bits == bits + (bits & 1));
    REQUIRE(gguf::to_float16(std::nextafter(middle, low)).bits == bits);
    REQUIRE(gguf::to_float16(std::nextafter(middle, high)).bits == bits + 1);
  }
  CHECK(gguf::to_float16(65519.996F).bits == 0x7bff);
  CHECK(gguf::to_float16(65520.0F).bits == 0x7c00);
  CHECK(gguf::to_float16(-1e30F).bits == 0xfc00);
  CHECK(gguf::to_float16(std::numeric_limits<float>::infinity()).bits == 0x7c00);
  CHECK(gguf::to_float16(1e-30F).bits == 0);
  CHECK(gguf::to_float16(-0.0F).bits == 0x8000);

  CHECK(gguf::to_bfloat16(1.0F).bits == 0x3f80);
  CHECK(gguf::to_bfloat16(std::bit_cast<float>(0x3f808000U)).bits == 0x3f80);  // tie to even
  CHECK(gguf::to_bfloat16(std::bit_cast<float>(0x3f818000U)).bits == 0x3f82);
  CHECK(gguf::to_bfloat16(std::bit_cast<float>(0x3f808001U)).bits == 0x3f81);
  CHECK(gguf::to_bfloat16(std::numeric_limits<float>::max()).bits == 0x7f80);
  CHECK(std::isnan(gguf::to_float(gguf::to_bfloat16(std::bit_cast<float>(0x7f800001U)))));
}

TEST_CASE("random blocks of any type are decoded without touching a byte beside them") {
  std::mt19937_64 random{test::first_seed()};
  INFO("ALLOT_SEED=" << test::first_seed());
  for (const gguf::TypeInfo& info : gguf::tensor_types) {
    if (!gguf::has_values(info.type)) continue;
    for (const std::size_t blocks : {1U, 2U, 7U}) {
      std::vector<std::byte> bytes(blocks * info.block_bytes);
      for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
      std::vector<float> values(blocks * info.block_elements + 2, 12345.0F);
      const auto inside = std::span{values}.subspan(1, values.size() - 2);
      gguf::dequantize(info.type, bytes, inside);
      CHECK(values.front() == 12345.0F);
      CHECK(values.back() == 12345.0F);
    }
  }
}
