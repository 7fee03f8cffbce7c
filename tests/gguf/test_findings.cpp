// SPDX-License-Identifier: MIT
// What the fuzz targets of tests/fuzz found: a test case reproduces each finding.
#include <allot/gguf/file.hpp>
#include <allot/gguf/writer/writer.hpp>

#include <doctest/doctest.h>

#include <stdexcept>
#include <vector>

#include "support/test_data.hpp"

namespace {

using namespace allot;

void fill_nothing(std::uint64_t, std::span<std::byte>) {}

}  // namespace

TEST_CASE("the writer refuses dimensions that overflow, even beside one of zero") {
  constexpr std::uint64_t half = std::uint64_t{1} << 63;
  const std::vector<std::vector<std::uint64_t>> lists{
      {0, half}, {half, 0}, {half}, {0, half - 1, 2}, {std::uint64_t{1} << 62}};
  for (const auto& extents : lists) {
    gguf::Writer writer;
    gguf::Shape shape;
    for (const std::uint64_t extent : extents) shape.extent[shape.rank++] = extent;
    CHECK_THROWS_AS(writer.add_tensor("t", gguf::TensorType::F32, shape, fill_nothing),
                    std::invalid_argument);
  }
}

TEST_CASE("the largest dimensions beside zero that the writer takes are read back") {
  const test::TemporaryFolder folder;
  gguf::Writer writer;
  constexpr std::uint64_t most = (std::uint64_t{1} << 63) - 1;
  writer.add_tensor("t", gguf::TensorType::F32, {0, most}, fill_nothing);
  writer.write(folder.path() / "m.gguf");
  const gguf::File file{folder.path() / "m.gguf"};
  CHECK(file.tensors()[0].shape.extent[1] == most);
  CHECK(file.tensors()[0].bytes == 0);
}

TEST_CASE(
    "the writer refuses shapes that are none: over 4 dimensions, or extents beyond the rank") {
  gguf::Writer writer;
  gguf::Shape many;
  many.rank = 5;
  CHECK_THROWS_AS(writer.add_tensor("t", gguf::TensorType::F32, many, fill_nothing),
                  std::invalid_argument);
  gguf::Shape hidden;
  hidden.rank = 1;
  hidden.extent = {4, 2, 1, 1};
  CHECK_THROWS_AS(writer.add_tensor("t", gguf::TensorType::F32, hidden, fill_nothing),
                  std::invalid_argument);
}
