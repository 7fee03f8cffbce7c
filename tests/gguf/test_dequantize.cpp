// SPDX-License-Identifier: MIT
#include <allot/gguf/dequantize.hpp>
#include <allot/gguf/file.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "support/random.hpp"
#include "support/sanitizers.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
using gguf::TensorType;
using gguf::detail::Simd;
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

bool is_same(gguf::Float16 a, gguf::Float16 b) { return is_same(to_float(a), to_float(b)); }
bool is_same(gguf::BFloat16 a, gguf::BFloat16 b) { return is_same(to_float(a), to_float(b)); }

/// With the processor's vectors and with plain loops.
template <class Value>
void compare_paths(TensorType type, std::span<const std::byte> bytes, std::size_t elements) {
  std::vector<Value> plain(elements);
  std::vector<Value> best(elements);
  gguf::detail::dequantize(type, bytes, std::span{plain}, Simd::none);
  gguf::detail::dequantize(type, bytes, std::span{best}, gguf::detail::best_simd());
  std::size_t same = 0;  // one REQUIRE for each element would take most of the suite's time
  while (same < elements && is_same(plain[same], best[same])) ++same;
  INFO(gguf::type_name(type) << ", element " << same << " of " << elements);
  REQUIRE(same == elements);
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

    // Without the processor's vectors, too.
    std::vector<float> plain(values.size());
    gguf::detail::dequantize(tensor->type, file.data(*tensor), std::span{plain}, Simd::none);
    for (std::size_t i = 0; i < plain.size(); ++i) REQUIRE(is_same(plain[i], reference[first + i]));

    // To 16 bits: the same values, rounded.
    std::vector<gguf::Float16> halves(values.size());
    gguf::dequantize(tensor->type, file.data(*tensor), std::span{halves});
    std::vector<gguf::BFloat16> brains(values.size());
    gguf::dequantize(tensor->type, file.data(*tensor), std::span{brains});
    for (std::size_t i = 0; i < values.size(); ++i) {
      REQUIRE(is_same(halves[i], gguf::to_float16(values[i])));
      REQUIRE(is_same(brains[i], gguf::to_bfloat16(values[i])));
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

TEST_CASE("types without values are refused by name, and so are numbers that are not types") {
  std::vector<std::byte> bytes(36);
  std::vector<float> values(32);
  CHECK_THROWS_WITH_AS(gguf::dequantize(TensorType::Q8_1, bytes, std::span{values}),
                       "tensors of type Q8_1 hold intermediate results, not weights; they are not "
                       "dequantized",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(
      gguf::dequantize(static_cast<TensorType>(99), bytes, std::span{values}),
      "99 is not the number of a tensor type; check numbers from outside with `gguf::find_type`",
      std::invalid_argument);
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

TEST_CASE("the processor's vectors and plain loops have the same results for any bits") {
  if (gguf::detail::best_simd() == Simd::none)
    MESSAGE("this processor has no vectors that allot uses: nothing to compare");
  std::mt19937_64 random{test::first_seed()};
  INFO("ALLOT_SEED=" << test::first_seed());
  for (const gguf::TypeInfo& info : gguf::tensor_types) {
    if (!gguf::has_values(info.type)) continue;
    // Single elements: also counts that are not a multiple of a register's.
    const std::size_t most = info.block_elements == 1 ? 4099 : 130;
    for (const std::size_t blocks : {std::size_t{1}, std::size_t{2}, std::size_t{13}, most}) {
      std::vector<std::byte> bytes(blocks * info.block_bytes);
      for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
      const std::size_t elements = blocks * info.block_elements;
      compare_paths<float>(info.type, bytes, elements);
      compare_paths<gguf::Float16>(info.type, bytes, elements);
      compare_paths<gguf::BFloat16>(info.type, bytes, elements);
    }
  }
}

TEST_CASE("every scale of 8 and 16 bits is read the same by vectors and plain loops") {
  // As many blocks as scales, all other bytes of one pattern; NVFP4 has four scales in a block.
  for (const TensorType type : {TensorType::MXFP4, TensorType::NVFP4, TensorType::Q4_0,
                                TensorType::Q1_0, TensorType::Q2_0, TensorType::F16}) {
    const gguf::TypeInfo info = gguf::type_info(type);
    const bool is_byte = type == TensorType::MXFP4 || type == TensorType::NVFP4;
    const std::size_t apart = test::is_sanitized && !is_byte ? 13 : 1;
    const std::size_t scales = (is_byte ? 256 : 65536) / apart;
    std::vector<std::byte> bytes(scales * info.block_bytes, std::byte{0xe4});
    for (std::size_t i = 0; i < scales; ++i) {
      std::byte* const block = &bytes[i * info.block_bytes];
      block[0] = static_cast<std::byte>(i * apart & 255);
      if (!is_byte) block[1] = static_cast<std::byte>(i * apart >> 8);
      if (type == TensorType::NVFP4) block[3] = static_cast<std::byte>(255 - i);
    }
    compare_paths<float>(type, bytes, scales * info.block_elements);
  }
}

TEST_CASE("vectors round to 16 bits as single numbers are rounded") {
  // Every upper half with lower halves around ties: all exponents, NaN payloads, subnormals.
  std::vector<float> values;
  for (std::uint32_t high = 0; high < 0x10000; ++high) {
    for (const std::uint32_t low :
         {0x0000U, 0x0001U, 0x0fffU, 0x1000U, 0x1001U, 0x7fffU, 0x8000U, 0x8001U, 0xf000U, 0xffffU})
      values.push_back(std::bit_cast<float>(high << 16 | low));
  }
  values.resize(values.size() - 3);  // no multiple of a register
  const std::span<const std::byte> bytes = std::as_bytes(std::span{values});
  std::vector<gguf::Float16> halves(values.size());
  gguf::dequantize(TensorType::F32, bytes, std::span{halves});
  std::vector<gguf::BFloat16> brains(values.size());
  gguf::dequantize(TensorType::F32, bytes, std::span{brains});
  for (std::size_t i = 0; i < values.size(); ++i) {
    REQUIRE(halves[i] == gguf::to_float16(values[i]));
    REQUIRE(brains[i] == gguf::to_bfloat16(values[i]));
  }
}

TEST_CASE("floats of 16 bits as the same are copied, bit for bit, and need not be aligned") {
  std::vector<std::byte> bytes(1 + 2 * 0x10000);
  for (std::size_t i = 0; i < 0x10000; ++i) {
    bytes[1 + 2 * i] = static_cast<std::byte>(i & 255);
    bytes[2 + 2 * i] = static_cast<std::byte>(i >> 8);
  }
  const std::span<const std::byte> every = std::span{bytes}.subspan(1);
  std::vector<gguf::Float16> halves(0x10000);
  gguf::dequantize(TensorType::F16, every, std::span{halves});
  std::vector<gguf::BFloat16> brains(0x10000);
  gguf::dequantize(TensorType::BF16, every, std::span{brains});
  for (std::uint32_t i = 0; i < 0x10000; ++i) {
    REQUIRE(halves[i].bits == i);
    REQUIRE(brains[i].bits == i);
    // Through floats it is the same number.
    REQUIRE(is_same(gguf::to_float16(gguf::to_float(halves[i])), halves[i]));
    REQUIRE(is_same(gguf::to_bfloat16(gguf::to_float(brains[i])), brains[i]));
  }
}

TEST_CASE("floats that are not aligned round to 16 bits as aligned ones do") {
  std::vector<float> values;
  for (std::uint32_t i = 0; i < 1000; ++i)
    values.push_back(
        std::ldexp(1.0F + 0.001F * static_cast<float>(i), static_cast<int>(i % 60) - 30));
  std::vector<std::byte> bytes(1 + 4 * values.size());
  std::memcpy(bytes.data() + 1, values.data(), 4 * values.size());
  std::vector<gguf::Float16> halves(values.size());
  std::vector<gguf::BFloat16> brains(values.size());
  for (const Simd simd : {Simd::none, gguf::detail::best_simd()}) {
    const std::span<const std::byte> blocks = std::span{bytes}.subspan(1);
    gguf::detail::dequantize(TensorType::F32, blocks, std::span{halves}, simd);
    gguf::detail::dequantize(TensorType::F32, blocks, std::span{brains}, simd);
    for (std::size_t i = 0; i < values.size(); ++i) {
      REQUIRE(halves[i] == gguf::to_float16(values[i]));
      REQUIRE(brains[i] == gguf::to_bfloat16(values[i]));
    }
  }
}

TEST_CASE("zero elements need no work, for every type") {
  for (const gguf::TypeInfo& info : gguf::tensor_types) {
    if (!gguf::has_values(info.type)) continue;
    CHECK_NOTHROW(gguf::dequantize(info.type, {}, std::span<float>{}));
    CHECK_NOTHROW(gguf::dequantize(info.type, {}, std::span<gguf::Float16>{}));
  }
}

TEST_CASE(
    "floats of a row are where they are, or in the scratch memory; floats are stored as any "
    "float") {
  std::vector<float> scratch(32);
  const std::vector<float> floats{1, 2.5F, -3, 1e-3F};
  const auto* const bytes = reinterpret_cast<const std::byte*>(floats.data());
  CHECK(gguf::floats_of(TensorType::F32, bytes, std::span{scratch}.first(4)) == floats.data());
  std::vector<std::byte> block(34);
  block[1] = std::byte{0x3C};  // a scale of 1
  block[2] = std::byte{7};
  CHECK(gguf::floats_of(TensorType::Q8_0, block.data(), scratch) == scratch.data());
  CHECK(scratch[0] == 7);
  CHECK(scratch[1] == 0);
  CHECK_THROWS_AS(static_cast<void>(gguf::floats_of(TensorType::Q8_0, block.data(),
                                                    std::span{scratch}.first(31))),
                  std::invalid_argument);
  std::vector<float> same(4);
  gguf::store_floats(TensorType::F32, floats, reinterpret_cast<std::byte*>(same.data()));
  CHECK(same == floats);
  std::vector<gguf::Float16> halves(4);
  gguf::store_floats(TensorType::F16, floats, reinterpret_cast<std::byte*>(halves.data()));
  std::vector<gguf::BFloat16> brains(4);
  gguf::store_floats(TensorType::BF16, floats, reinterpret_cast<std::byte*>(brains.data()));
  for (std::size_t i = 0; i < floats.size(); ++i) {
    CHECK(is_same(halves[i], gguf::to_float16(floats[i])));
    CHECK(is_same(brains[i], gguf::to_bfloat16(floats[i])));
  }
  CHECK_THROWS_WITH_AS(gguf::store_floats(TensorType::Q8_0, floats, block.data()),
                       "floats are stored as F32, F16 or BF16, not as Q8_0", std::invalid_argument);
}
