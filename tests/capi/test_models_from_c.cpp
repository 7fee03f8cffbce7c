// SPDX-License-Identifier: MIT
// GGUF files and models through the C interface, beside the C++ reader.
#include <allot.h>

#include <allot/gguf/file.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "support/models.hpp"
#include "support/test_data.hpp"

extern "C" const char* allot_test_from_c(const char* model_path);

namespace {

namespace gguf = allot::gguf;

/// A file that the C interface opened, closed at the end.
struct CFile {
  explicit CFile(const std::filesystem::path& path) {
    REQUIRE(allot_gguf_open(path.c_str(), &handle) == ALLOT_OK);
  }
  CFile(const CFile&) = delete;
  CFile& operator=(const CFile&) = delete;
  ~CFile() { allot_gguf_close(handle); }

  allot_gguf* handle = nullptr;
};

}  // namespace

TEST_CASE("a C11 program allocates, opens, loads, and sees its errors") {
  const allot::test::TemporaryFolder folder;
  const auto path = allot::test::write_llama(folder.path() / "m.gguf");
  const char* const wrong = allot_test_from_c(path.c_str());
  CHECK_MESSAGE(wrong == nullptr, std::string{wrong == nullptr ? "" : wrong});
}

TEST_CASE("a file says through C what it says through C++") {
  const allot::test::TemporaryFolder folder;
  const auto path = allot::test::write_llama(folder.path() / "m.gguf");
  const gguf::File expected{path};
  const CFile file{path};
  std::uint64_t count = 0;
  REQUIRE(allot_gguf_tensor_count(file.handle, &count) == ALLOT_OK);
  REQUIRE(count == expected.tensors().size());
  for (std::uint64_t i = 0; i < count; ++i) {
    const gguf::TensorInfo& tensor = expected.tensors()[i];
    allot_tensor_info info{};
    REQUIRE(allot_gguf_tensor(file.handle, i, &info) == ALLOT_OK);
    CHECK(info.name == std::string{tensor.name});
    CHECK(info.type == std::string{gguf::type_name(tensor.type)});
    CHECK(info.dimensions == tensor.shape.rank);
    CHECK(info.shape[0] * info.shape[1] * info.shape[2] * info.shape[3] == tensor.shape.elements());
    CHECK(info.bytes == tensor.bytes);
    CHECK(info.offset == tensor.offset);
    allot_tensor_info same{};
    REQUIRE(allot_gguf_find_tensor(file.handle, info.name, &same) == ALLOT_OK);
    CHECK(same.name == info.name);
  }
  std::uint64_t layers = 0;
  CHECK(allot_gguf_uint(file.handle, "llama.block_count", &layers) == ALLOT_OK);
  CHECK(layers == expected.metadata()["llama.block_count"].as_count());
  const char* text = nullptr;
  std::uint64_t bytes = 0;
  REQUIRE(allot_gguf_string(file.handle, "general.architecture", &text, &bytes) == ALLOT_OK);
  CHECK(std::string(text, bytes) == "llama");
}

TEST_CASE("values have their types, and what is missing is said") {
  const allot::test::TemporaryFolder folder;
  const auto path = folder.path() / "m.gguf";
  gguf::Writer writer;
  writer.add("a", 1.5F);
  writer.add("b", true);
  writer.add("c", std::int32_t{-1});
  writer.add("d", 2.25);
  writer.write(path);
  const CFile file{path};
  double number = 0;
  CHECK(allot_gguf_float(file.handle, "a", &number) == ALLOT_OK);
  CHECK(number == 1.5);
  CHECK(allot_gguf_float(file.handle, "d", &number) == ALLOT_OK);
  CHECK(number == 2.25);
  int flag = 0;
  CHECK(allot_gguf_bool(file.handle, "b", &flag) == ALLOT_OK);
  CHECK(flag == 1);
  std::uint64_t count = 7;
  CHECK(allot_gguf_uint(file.handle, "c", &count) == ALLOT_WRONG_TYPE);
  std::int64_t negative = 0;
  CHECK(allot_gguf_int(file.handle, "c", &negative) == ALLOT_OK);
  CHECK(negative == -1);
  CHECK(allot_gguf_int(file.handle, "b", &negative) == ALLOT_WRONG_TYPE);
  CHECK(allot_gguf_uint(file.handle, "a", &count) == ALLOT_WRONG_TYPE);
  CHECK(allot_gguf_bool(file.handle, "a", &flag) == ALLOT_WRONG_TYPE);
  CHECK(allot_gguf_float(file.handle, "b", &number) == ALLOT_WRONG_TYPE);
  CHECK(std::string{allot_last_error()}.find("the value b is bool") == 0);
  CHECK(allot_gguf_uint(file.handle, "e", &count) == ALLOT_NOT_FOUND);
  CHECK(std::string{allot_last_error()}.find("the file has no value e; ") == 0);
  CHECK(allot_gguf_uint(file.handle, nullptr, &count) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_gguf_uint(file.handle, "c", nullptr) == ALLOT_INVALID_ARGUMENT);
  CHECK(count == 7);
  allot_tensor_info tensor{};
  CHECK(allot_gguf_tensor(file.handle, 0, &tensor) == ALLOT_NOT_FOUND);
  CHECK(allot_gguf_find_tensor(file.handle, "t", &tensor) == ALLOT_NOT_FOUND);
}

TEST_CASE("keys are listed, and the elements of arrays have their types") {
  const allot::test::TemporaryFolder folder;
  const auto path = folder.path() / "m.gguf";
  gguf::Writer writer;
  writer.add_array<std::uint32_t>("counts", std::vector<std::uint32_t>{3, 4});
  writer.add_array<std::int64_t>("signed", std::vector<std::int64_t>{-5});
  writer.add_array<float>("floats", std::vector<float>{1.5F, 2.5F});
  writer.add_array<std::string_view>("texts", std::vector<std::string_view>{"one", "", "three"});
  writer.write(path);
  const CFile file{path};
  std::uint64_t count = 0;
  REQUIRE(allot_gguf_value_count(file.handle, &count) == ALLOT_OK);
  std::string keys;
  const char* text = nullptr;
  std::uint64_t bytes = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    REQUIRE(allot_gguf_key(file.handle, i, &text, &bytes) == ALLOT_OK);
    keys += std::string(text, bytes) + " ";
  }
  CHECK(keys.find("counts signed floats texts ") != std::string::npos);
  CHECK(allot_gguf_key(file.handle, count, &text, &bytes) == ALLOT_NOT_FOUND);

  std::uint64_t number = 0;
  std::int64_t signed_number = 0;
  double real = 0;
  int flag = 0;
  CHECK(allot_gguf_array_size(file.handle, "counts", &number) == ALLOT_OK);
  CHECK(number == 2);
  CHECK(allot_gguf_array_uint(file.handle, "counts", 1, &number) == ALLOT_OK);
  CHECK(number == 4);
  CHECK(allot_gguf_array_int(file.handle, "counts", 0, &signed_number) == ALLOT_OK);
  CHECK(signed_number == 3);
  CHECK(allot_gguf_array_int(file.handle, "signed", 0, &signed_number) == ALLOT_OK);
  CHECK(signed_number == -5);
  CHECK(allot_gguf_array_float(file.handle, "floats", 1, &real) == ALLOT_OK);
  CHECK(real == 2.5);
  REQUIRE(allot_gguf_array_string(file.handle, "texts", 2, &text, &bytes) == ALLOT_OK);
  CHECK(std::string(text, bytes) == "three");

  CHECK(allot_gguf_array_uint(file.handle, "signed", 0, &number) == ALLOT_WRONG_TYPE);
  CHECK(allot_gguf_array_uint(file.handle, "floats", 0, &number) == ALLOT_WRONG_TYPE);
  CHECK(allot_gguf_array_float(file.handle, "counts", 0, &real) == ALLOT_WRONG_TYPE);
  CHECK(allot_gguf_array_bool(file.handle, "counts", 0, &flag) == ALLOT_WRONG_TYPE);
  CHECK(allot_gguf_array_string(file.handle, "counts", 0, &text, &bytes) == ALLOT_WRONG_TYPE);
  CHECK(allot_gguf_uint(file.handle, "counts", &number) == ALLOT_WRONG_TYPE);
  CHECK(allot_gguf_array_uint(file.handle, "counts", 2, &number) == ALLOT_NOT_FOUND);
  CHECK(std::string{allot_last_error()}.find("the array counts has no element 2; it has 2") == 0);
  CHECK(allot_gguf_array_size(file.handle, "none", &number) == ALLOT_NOT_FOUND);
  CHECK(allot_gguf_array_size(file.handle, "counts", nullptr) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_gguf_array_size(nullptr, "counts", &number) == ALLOT_INVALID_HANDLE);
  CHECK(allot_gguf_value_count(nullptr, &count) == ALLOT_INVALID_HANDLE);
  CHECK(allot_gguf_value_count(file.handle, nullptr) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_gguf_key(nullptr, 0, &text, &bytes) == ALLOT_INVALID_HANDLE);
  CHECK(allot_gguf_key(file.handle, 0, nullptr, &bytes) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_gguf_array_uint(file.handle, nullptr, 0, &number) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_gguf_array_int(file.handle, "counts", 0, nullptr) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_gguf_array_float(nullptr, "floats", 0, &real) == ALLOT_INVALID_HANDLE);
  CHECK(allot_gguf_array_bool(nullptr, "counts", 0, &flag) == ALLOT_INVALID_HANDLE);
  CHECK(allot_gguf_array_string(file.handle, "texts", 0, nullptr, &bytes) ==
        ALLOT_INVALID_ARGUMENT);
  CHECK(number == 4);
}

TEST_CASE("files that are missing, damaged or none are errors that name them") {
  const allot::test::TemporaryFolder folder;
  allot_gguf* file = nullptr;
  CHECK(allot_gguf_open((folder.path() / "missing.gguf").c_str(), &file) != ALLOT_OK);
  CHECK(std::string{allot_last_error()}.find("missing.gguf") != std::string::npos);
  std::ofstream{folder.path() / "text.gguf"} << "this is not a model";
  CHECK(allot_gguf_open((folder.path() / "text.gguf").c_str(), &file) == ALLOT_PARSE_ERROR);
  CHECK(allot_gguf_open(nullptr, &file) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_gguf_open("x", nullptr) == ALLOT_INVALID_ARGUMENT);
  CHECK(file == nullptr);
  allot_gguf_close(nullptr);
  std::uint64_t count = 0;
  CHECK(allot_gguf_tensor_count(file, &count) == ALLOT_INVALID_HANDLE);
}

TEST_CASE("a plan is the tool's in short, and a model has the file's bytes") {
  const allot::test::TemporaryFolder folder;
  const auto path = allot::test::write_llama(folder.path() / "m.gguf");
  const gguf::File expected{path};
  allot_model* model = nullptr;
  {
    const CFile file{path};
    char* json = nullptr;
    REQUIRE(allot_gguf_plan(file.handle, &json) == ALLOT_OK);
    const std::string text = json;
    allot_string_free(json);
    CHECK(text.find("\"tensors\":" + std::to_string(expected.tensors().size())) !=
          std::string::npos);
    CHECK(text.find("\"alignment\":256,\"arenas\":[{\"device\":") != std::string::npos);
    REQUIRE(allot_model_load(file.handle, "host", nullptr, nullptr, &model) == ALLOT_OK);
  }  // the model outlives its file
  for (const gguf::TensorInfo& tensor : expected.tensors()) {
    void* address = nullptr;
    std::uint64_t bytes = 0;
    REQUIRE(allot_model_tensor(model, std::string{tensor.name}.c_str(), &address, &bytes) ==
            ALLOT_OK);
    REQUIRE(bytes == tensor.bytes);
    CHECK(std::memcmp(address, expected.data(tensor).data(), bytes) == 0);
  }
  void* address = nullptr;
  std::uint64_t bytes = 0;
  CHECK(allot_model_tensor(model, "none", &address, &bytes) == ALLOT_NOT_FOUND);
  CHECK(allot_model_tensor(model, nullptr, &address, &bytes) == ALLOT_INVALID_ARGUMENT);
  allot_model_free(model);
  CHECK(allot_model_tensor(model, "none", &address, &bytes) == ALLOT_INVALID_HANDLE);
}

TEST_CASE("a load is cancelled by its progress function, and other devices are refused") {
  const allot::test::TemporaryFolder folder;
  const CFile file{allot::test::write_llama(folder.path() / "m.gguf")};
  allot_model* model = nullptr;
  CHECK(allot_model_load(
            file.handle, "host", [](std::uint64_t, std::uint64_t, void*) { return 1; }, nullptr,
            &model) == ALLOT_CANCELLED);
  CHECK(allot_model_load(file.handle, "disk", nullptr, nullptr, &model) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_model_load(file.handle, nullptr, nullptr, nullptr, &model) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_gguf_check(file.handle, "host") == ALLOT_OK);
  CHECK(allot_gguf_check(file.handle, "disk") == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_gguf_check(nullptr, "host") == ALLOT_INVALID_HANDLE);
  CHECK(allot_model_load(nullptr, "host", nullptr, nullptr, &model) == ALLOT_INVALID_HANDLE);
  CHECK(model == nullptr);
}
