// SPDX-License-Identifier: MIT
#include <allot/gguf/file.hpp>
#include <allot/gguf/model_keys.hpp>
#include <allot/gguf/model_shape.hpp>
#include <allot/gguf/writer/writer.hpp>

#include <cstdint>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "support/test_data.hpp"

namespace {

using namespace allot;

gguf::ModelShape shape_of(const std::function<void(gguf::Writer&)>& fill) {
  const test::TemporaryFolder folder;
  gguf::Writer writer;
  fill(writer);
  writer.write(folder.path() / "m.gguf");
  const gguf::File file{folder.path() / "m.gguf"};
  return gguf::model_shape_of(file);
}

void add_layers(gguf::Writer& writer, std::uint32_t layers) {
  writer.add("general.architecture", "llama");
  writer.add("llama.block_count", layers);
}

}  // namespace

TEST_CASE("a model's shape is what its metadata say") {
  const gguf::ModelShape shape = shape_of([](gguf::Writer& writer) {
    add_layers(writer, 2);
    writer.add("llama.context_length", std::uint32_t{4096});
    writer.add("llama.vocab_size", std::uint32_t{777});
    writer.add("llama.embedding_length", std::uint32_t{256});
    writer.add("llama.attention.head_count", std::uint32_t{8});
    writer.add("llama.attention.head_count_kv", std::uint32_t{2});
  });
  CHECK(shape.architecture == "llama");
  CHECK(shape.block_count == 2);
  CHECK(shape.trained_context == 4096);
  CHECK(shape.vocabulary == 777);
  CHECK(shape.attention_problem.empty());
  REQUIRE(shape.attention.size() == 2);
  CHECK(shape.attention[1].heads == 8);
  CHECK(shape.attention[1].kv_heads == 2);
  CHECK(shape.attention[1].key_length == 32);
  CHECK(shape.attention[1].value_length == 32);
}

TEST_CASE("what the metadata do not say stays empty, and the first key that is missing is named") {
  const gguf::ModelShape shape = shape_of([](gguf::Writer&) {});
  CHECK(shape.architecture.empty());
  CHECK(!shape.block_count);
  CHECK(!shape.trained_context);
  CHECK(!shape.vocabulary);
  CHECK(shape.attention.empty());
  CHECK(shape.attention_problem == "general.architecture is missing");
}

TEST_CASE("the vocabulary is as large as the list of tokens if no key says its size") {
  const gguf::ModelShape shape = shape_of([](gguf::Writer& writer) {
    const std::vector<std::string_view> tokens{"a", "b", "c"};
    writer.add_array("tokenizer.ggml.tokens", std::span<const std::string_view>{tokens});
  });
  CHECK(shape.vocabulary == 3);
}

TEST_CASE("heads may differ from layer to layer and have sizes of their own") {
  const gguf::ModelShape shape = shape_of([](gguf::Writer& writer) {
    add_layers(writer, 3);
    writer.add("llama.attention.head_count", std::uint32_t{4});
    const std::vector<std::int32_t> heads{2, 0, 1};
    writer.add_array("llama.attention.head_count_kv", std::span<const std::int32_t>{heads});
    writer.add("llama.attention.key_length", std::uint32_t{192});
    writer.add("llama.attention.value_length", std::uint32_t{128});
  });
  REQUIRE(shape.attention.size() == 3);
  CHECK(shape.attention[0].kv_heads == 2);
  CHECK(shape.attention[1].kv_heads == 0);
  CHECK(shape.attention[2].kv_heads == 1);
  CHECK(shape.attention[2].key_length == 192);
  CHECK(shape.attention[2].value_length == 128);
  CHECK(shape.attention[0].keeps_the_same_as(shape.attention[0]));
  CHECK(!shape.attention[0].keeps_the_same_as(shape.attention[2]));
}

TEST_CASE("a key that is not a count for each layer is a problem that names it") {
  const auto problem_of = [](const std::function<void(gguf::Writer&)>& fill) {
    const gguf::ModelShape shape = shape_of([&](gguf::Writer& writer) {
      add_layers(writer, 3);
      fill(writer);
    });
    CHECK(shape.attention.empty());
    return shape.attention_problem;
  };
  const auto heads = [](auto... values) {
    return [... values = values](gguf::Writer& writer) {
      const std::vector<std::int32_t> list{values...};
      writer.add_array("llama.attention.head_count", std::span<const std::int32_t>{list});
      writer.add("llama.embedding_length", std::uint32_t{64});
    };
  };
  CHECK(problem_of([](gguf::Writer&) {}) == "llama.attention.head_count is missing");
  CHECK(problem_of(heads(1, 2)) ==
        "llama.attention.head_count has fewer elements than there are layers");
  CHECK(problem_of(heads(1, -2, 3)) == "llama.attention.head_count has a negative element");
  CHECK(problem_of([](gguf::Writer& writer) {
          writer.add("llama.attention.head_count", "many");
        }) == "llama.attention.head_count is not a count");
  CHECK(problem_of([](gguf::Writer& writer) {
          const std::vector<float> list{1, 2, 3};
          writer.add_array("llama.attention.head_count", std::span<const float>{list});
        }) == "llama.attention.head_count is not an array of counts");
  CHECK(problem_of([](gguf::Writer& writer) {
          writer.add("llama.attention.head_count", std::uint32_t{4});
        }) == "llama.embedding_length is missing");
}

TEST_CASE("more layers than a file can have are a problem") {
  const gguf::ModelShape shape =
      shape_of([](gguf::Writer& writer) { add_layers(writer, 1'000'000); });
  CHECK(shape.block_count == 1'000'000);
  CHECK(shape.attention_problem == "llama.block_count is more than the file has tensors");
}

TEST_CASE("a model's numbers are read in whatever type they have, or refused by name") {
  const test::TemporaryFolder folder;
  gguf::Writer writer;
  writer.add("general.architecture", "llama");
  writer.add("llama.embedding_length", std::uint64_t{256});
  writer.add("llama.width", std::int8_t{-1});
  writer.add("llama.name", "text");
  writer.add("llama.epsilon", 1e-5F);
  writer.add("llama.base", 1e6);
  writer.add("llama.scale", 0.0F);
  writer.write(folder.path() / "m.gguf");
  const gguf::File file{folder.path() / "m.gguf"};
  const gguf::ModelKeys keys{file};
  CHECK(keys.architecture() == "llama");
  CHECK(keys.find("name") != nullptr);
  CHECK(keys.find("embedding") == nullptr);
  CHECK(keys.count("embedding_length") == 256);
  CHECK(keys.count("heads", 8) == 8);
  CHECK(keys.number("epsilon") == static_cast<double>(1e-5F));
  CHECK(keys.number("base") == 1e6);
  CHECK(keys.number("factor", 2) == 2);
  const auto refuses = [](const auto& read, const char* why) {
    CHECK_THROWS_WITH_AS(static_cast<void>(read()), why, std::runtime_error);
  };
  refuses([&] { return keys.count("heads"); }, "metadata llama.heads is missing");
  refuses([&] { return keys.count("width", 8); },
          "metadata llama.width is not a whole number from 1 to 4294967295");
  refuses([&] { return keys.count("embedding_length", 0, 255); },
          "metadata llama.embedding_length is not a whole number from 1 to 255");
  refuses([&] { return keys.number("factor"); }, "metadata llama.factor is missing");
  refuses([&] { return keys.number("scale", 1); },
          "metadata llama.scale is not a finite number above 0");
  refuses([&] { return keys.number("name", 1); },
          "metadata llama.name is not a finite number above 0");
}
