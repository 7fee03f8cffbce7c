// SPDX-License-Identifier: MIT
#include <allot/gguf/file.hpp>
#include <allot/gguf/writer/copy.hpp>

#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include "gguf/files.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
namespace fs = std::filesystem;

/// A file of version 3 with two tensors and holes for data, of 32 bytes and of `bytes`.
void write_sparse(const fs::path& path, std::uint64_t extent, std::uint64_t rows,
                  std::uint64_t missing) {
  std::string bytes = "GGUF";
  const auto put = [&](auto value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  const auto put_tensor = [&](char name, std::uint64_t ne0, std::uint64_t ne1, std::uint64_t at) {
    put(std::uint64_t{1});
    bytes += name;
    put(std::uint32_t{2});
    put(ne0);
    put(ne1);
    put(static_cast<std::uint32_t>(gguf::TensorType::I8));
    put(at);
  };
  put(std::uint32_t{3});
  put(std::uint64_t{2});
  put(std::uint64_t{0});
  put_tensor('a', 32, 1, 0);
  put_tensor('b', extent, rows, 32);
  bytes.resize((bytes.size() + 31) / 32 * 32);
  const std::uint64_t whole = bytes.size() + 32 + extent * rows;
  test::write_file(path, bytes);
  fs::resize_file(path, whole - missing);
}

}  // namespace

TEST_CASE("a tensor past 2^32 elements and 100 GB is read with its exact size") {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "large.gguf";
  constexpr std::uint64_t rows = 384'016'682;
  constexpr std::uint64_t extent = 272;
  write_sparse(path, extent, rows, 0);
  {
    const gguf::File file{path};
    const gguf::TensorInfo& tensor = *file.find("b");
    CHECK(tensor.shape.elements() == extent * rows);
    CHECK(tensor.bytes == extent * rows);
    CHECK(tensor.bytes > 100'000'000'000);
    std::byte last{1};
    file.shards()[0].read(file.shards()[0].data_offset() + tensor.offset + tensor.bytes - 1,
                          {&last, 1});
    CHECK(last == std::byte{0});
    CHECK(file.data(tensor).size() == tensor.bytes);
    const auto paths = gguf::copy_of(file).split_paths("m", {{}, 1000});
    CHECK(paths.size() == 2);
  }
  write_sparse(path, extent, rows, 1);
  CHECK_THROWS_AS(gguf::File{path}, gguf::ParseError);
}
