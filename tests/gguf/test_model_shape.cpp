// SPDX-License-Identifier: MIT
#include <allot/gguf/decoder_shape.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/model_keys.hpp>
#include <allot/gguf/model_shape.hpp>
#include <allot/gguf/vocabulary.hpp>
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
  CHECK(keys.text("name", "none") == "text");
  CHECK(keys.text("scaling", "none") == "none");
  CHECK_THROWS_AS(static_cast<void>(keys.text("scale", "none")), std::invalid_argument);
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

namespace {

using Fill = std::function<void(gguf::Writer&)>;

/// Returns the shape of a small decoder, with what is added to it, or why there is none.
gguf::DecoderShape decoder_of(const Fill& fill, std::uint32_t heads = 4, bool embeds = true) {
  const test::TemporaryFolder folder;
  gguf::Writer writer;
  add_layers(writer, 2);
  writer.add("llama.embedding_length", std::uint32_t{24});
  writer.add("llama.feed_forward_length", std::uint32_t{40});
  writer.add("llama.attention.head_count", heads);
  fill(writer);
  const std::vector<std::byte> rows(24 * 5 * 4);
  if (embeds)
    writer.add_tensor("token_embd.weight", gguf::TensorType::F32, {24, 5}, std::span{rows});
  writer.write(folder.path() / "m.gguf");
  return gguf::decoder_shape_of(gguf::File{folder.path() / "m.gguf"});
}

std::string decoder_problem(const Fill& fill, std::uint32_t heads = 4, bool embeds = true) {
  try {
    static_cast<void>(decoder_of(fill, heads, embeds));
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a decoder's numbers are those of its file, with llama.cpp's where it says nothing") {
  const gguf::DecoderShape plain = decoder_of([](gguf::Writer&) {});
  CHECK(plain.architecture == "llama");
  CHECK(plain.layers == 2);
  CHECK(plain.width == 24);
  CHECK(plain.hidden == 40);
  CHECK(plain.vocabulary == 5);
  CHECK(plain.heads == 4);
  CHECK(plain.kv_heads == 4);
  CHECK(plain.key_length == 6);
  CHECK(plain.value_length == 6);
  CHECK(plain.rope_dimensions == 6);
  CHECK(plain.rope_base == 10000);
  CHECK(plain.rope_factor == 1);
  CHECK(plain.epsilon == 1e-5);
  CHECK(plain.attention_scale == doctest::Approx(0.408248));
  const gguf::DecoderShape full = decoder_of([](gguf::Writer& writer) {
    writer.add("llama.attention.head_count_kv", std::uint32_t{2});
    writer.add("llama.attention.key_length", std::uint32_t{8});
    writer.add("llama.attention.value_length", std::uint32_t{3});
    writer.add("llama.attention.scale", 0.5F);
    writer.add("llama.attention.layer_norm_rms_epsilon", 0.25F);
    writer.add("llama.rope.dimension_count", std::uint32_t{4});
    writer.add("llama.rope.freq_base", 500.0F);
    writer.add("llama.rope.scaling.type", "linear");
    writer.add("llama.rope.scaling.factor", 8.0F);
  });
  CHECK(full.queries() == 32);
  CHECK(full.keys() == 16);
  CHECK(full.values() == 6);
  CHECK(full.attended() == 12);
  CHECK(full.rope_dimensions == 4);
  CHECK(full.rope_base == 500);
  CHECK(full.rope_factor == 8);
  CHECK(full.epsilon == 0.25);
  CHECK(full.attention_scale == 0.5);
}

TEST_CASE("a decoder that cannot be computed is refused with the key, or the numbers") {
  const auto problem = [](const char* key, auto value) {
    return decoder_problem([&](gguf::Writer& writer) { writer.add(key, value); });
  };
  const Fill nothing = [](gguf::Writer&) {};
  CHECK(decoder_problem(nothing, 4, false) == "tensor token_embd.weight is missing");
  CHECK(decoder_problem(nothing, 0).find("is 0; those of a decoder are from 1 to 16777216") !=
        std::string::npos);
  CHECK(problem("llama.attention.key_length", std::uint32_t{1} << 25)
            .find("is 33554432; those of a decoder") != std::string::npos);
  CHECK(problem("llama.attention.head_count_kv", std::uint32_t{3}) ==
        "4 heads cannot share 3 KV heads evenly");
  CHECK(problem("llama.attention.key_length", "text") ==
        "llama.attention.key_length is not a count");
  CHECK(problem("llama.rope.dimension_count", std::uint32_t{8}) ==
        "metadata llama.rope.dimension_count is not a whole number from 1 to 6");
  CHECK(problem("llama.rope.dimension_count", std::uint32_t{5}) ==
        "of each head 5 elements turn with the position; they must be pairs");
  CHECK(problem("llama.rope.scaling.type", "yarn") ==
        "positions are scaled by \"yarn\"; a decoder's at most linearly");
  const std::vector<std::uint32_t> differing{4, 2};
  CHECK(decoder_problem([&](gguf::Writer& writer) {
          writer.add_array("llama.attention.head_count_kv",
                           std::span<const std::uint32_t>{differing});
        }).starts_with("layers of the model have different heads"));
}

TEST_CASE("a vocabulary has each token's piece, score, type and text, and finds pieces") {
  const auto data = test::data_dir();
  if (!data) return;
  const gguf::File file{*data / "gguf" / "real" / "stories260K.gguf"};
  const gguf::Vocabulary vocabulary{file};
  CHECK(vocabulary.model() == "llama");
  CHECK(vocabulary.size() == 512);
  CHECK(vocabulary.special("bos") == 1);
  CHECK(vocabulary.special("eos") == 2);
  CHECK(!vocabulary.special("mask"));
  CHECK(vocabulary.flag("add_space_prefix", true));
  CHECK(!vocabulary.flag("add_space_prefix", false));
  const auto scores = file.metadata()["tokenizer.ggml.scores"].array().values<float>();
  const auto pieces = file.metadata()["tokenizer.ggml.tokens"].array().strings();
  for (std::uint32_t token = 0; token < vocabulary.size(); ++token) {
    CHECK(vocabulary.piece(token) == pieces[token]);
    CHECK(vocabulary.score(token) == scores[token]);
    const auto found = vocabulary.find(vocabulary.piece(token));
    CHECK((found && vocabulary.piece(*found) == pieces[token] && *found <= token));
  }
  CHECK(!vocabulary.find("no such piece"));
  CHECK(vocabulary.type(1) == gguf::TokenType::control);
  CHECK(vocabulary.text(1).empty());
  for (const unsigned byte : {0x0AU, 0xC3U, 0xFFU}) {
    const auto token = vocabulary.find_byte(static_cast<std::byte>(byte));
    REQUIRE(token);
    CHECK(vocabulary.type(*token) == gguf::TokenType::byte);
    CHECK(vocabulary.text(*token) == std::string(1, static_cast<char>(byte)));
  }
  const auto spaced = vocabulary.find("\xe2\x96\x81the");
  REQUIRE(spaced);
  CHECK(vocabulary.text(*spaced) == " the");
}

TEST_CASE("the text of a token is found in linear time, however many spaces it has") {
  std::string piece = "a";
  constexpr std::size_t spaces = 300'000;  // moving what follows each would take long
  for (std::size_t i = 0; i < spaces; ++i) piece += "\xe2\x96\x81";
  piece += "b\xe2\x96";
  const std::string_view pieces[] = {piece, ""};
  const test::TemporaryFolder folder;
  gguf::Writer writer;
  writer.add_array("tokenizer.ggml.tokens", std::span<const std::string_view>{pieces});
  writer.write(folder.path() / "m.gguf");
  const gguf::File file{folder.path() / "m.gguf"};
  const gguf::Vocabulary vocabulary{file};
  CHECK(vocabulary.text(0) == "a" + std::string(spaces, ' ') + "b\xe2\x96");
  CHECK(vocabulary.text(1).empty());
}

TEST_CASE("a vocabulary need not be there; one whose parts do not belong together is refused") {
  const test::TemporaryFolder folder;
  int files = 0;
  const auto opened = [&](const Fill& fill) {
    gguf::Writer writer;
    fill(writer);
    const auto path = folder.path() / (std::to_string(++files) + ".gguf");  // others are open
    writer.write(path);
    return gguf::File{path};
  };
  const gguf::File none = opened([](gguf::Writer&) {});
  CHECK(gguf::Vocabulary{none}.model().empty());
  CHECK(gguf::Vocabulary{none}.size() == 0);
  CHECK(!gguf::Vocabulary{none}.find("a"));
  CHECK(!gguf::Vocabulary{none}.find_byte(std::byte{7}));
  const std::vector<std::string_view> pieces{"a", "<0x0b>", "a"};
  const auto add_pieces = [&](gguf::Writer& writer) {
    writer.add_array("tokenizer.ggml.tokens", std::span<const std::string_view>{pieces});
  };
  const gguf::File plain = opened([&](gguf::Writer& writer) {
    add_pieces(writer);
    writer.add("tokenizer.ggml.unknown_token_id", std::uint32_t{2});
    writer.add("tokenizer.ggml.eos_token_id", std::uint64_t{1} << 32);
  });
  const gguf::Vocabulary vocabulary{plain};
  CHECK(vocabulary.find("a") == 0);
  CHECK(vocabulary.score(2) == 0);
  CHECK(vocabulary.type(2) == gguf::TokenType::normal);
  CHECK(vocabulary.find_byte(std::byte{0x0A}) == 2);  // the unknown one
  CHECK(!vocabulary.special("eos"));
  const gguf::File broken = opened([&](gguf::Writer& writer) {
    add_pieces(writer);
    const std::vector<float> scores{1, 2};
    writer.add_array("tokenizer.ggml.scores", std::span<const float>{scores});
  });
  CHECK_THROWS_WITH_AS(gguf::Vocabulary{broken},
                       "the vocabulary has 3 tokens, but 2 of tokenizer.ggml.scores; correct the "
                       "file, or use token ids instead of text",
                       std::runtime_error);
}
