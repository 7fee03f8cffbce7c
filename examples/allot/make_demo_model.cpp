// SPDX-License-Identifier: MIT
// Writes a GGUF file with the tensor table of Qwen2.5-0.5B-Instruct Q4_K_M and random contents.
#include <allot/gguf/writer/writer.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace gguf = allot::gguf;
using gguf::TensorType;

/// xorshift64: fast, and the same bytes everywhere.
class RandomBytes {
 public:
  explicit RandomBytes(std::uint64_t seed) : state_{seed * 0x9e3779b97f4a7c15U + 1} {}

  void operator()(std::uint64_t, std::span<std::byte> piece) {
    while (!piece.empty()) {
      state_ ^= state_ << 13;
      state_ ^= state_ >> 7;
      state_ ^= state_ << 17;
      const std::size_t count = std::min(piece.size(), sizeof state_);
      std::memcpy(piece.data(), &state_, count);
      piece = piece.subspan(count);
    }
  }

 private:
  std::uint64_t state_;
};

class DemoModel {
 public:
  DemoModel() {
    metadata();
    add("output.weight", TensorType::Q8_0, {embedding, vocabulary});
    add("token_embd.weight", TensorType::Q5_0, {embedding, vocabulary});
    for (std::uint64_t place = 0; place < layers; ++place) add_layer(place);
    add("output_norm.weight", TensorType::F32, {embedding});
  }

  void write(const std::filesystem::path& path) const { writer_.write(path); }

 private:
  static constexpr std::uint64_t layers = 24;
  static constexpr std::uint64_t embedding = 896;
  static constexpr std::uint64_t feed_forward = 4864;
  static constexpr std::uint64_t key_value = 128;
  static constexpr std::uint64_t vocabulary = 151936;

  void metadata() {
    writer_.add("general.architecture", "qwen2");
    writer_.add("general.name", "Random weights in the layout of Qwen2.5-0.5B-Instruct");
    writer_.add("general.file_type", std::uint32_t{15});
    writer_.add("general.quantization_version", std::uint32_t{2});
    writer_.add("qwen2.block_count", static_cast<std::uint32_t>(layers));
    writer_.add("qwen2.context_length", std::uint32_t{32768});
    writer_.add("qwen2.embedding_length", static_cast<std::uint32_t>(embedding));
    writer_.add("qwen2.feed_forward_length", static_cast<std::uint32_t>(feed_forward));
    writer_.add("qwen2.attention.head_count", std::uint32_t{14});
    writer_.add("qwen2.attention.head_count_kv", std::uint32_t{2});
    std::vector<std::string> texts;
    for (std::uint64_t i = 0; i < vocabulary; ++i) texts.push_back("token" + std::to_string(i));
    const std::vector<std::string_view> tokens(texts.begin(), texts.end());
    writer_.add_array<std::string_view>("tokenizer.ggml.tokens", tokens);
    const std::vector<std::int32_t> kinds(vocabulary, 1);
    writer_.add_array<std::int32_t>("tokenizer.ggml.token_type", kinds);
    std::vector<std::string> pairs;
    for (std::uint64_t i = 256; i < vocabulary; ++i) pairs.push_back("t " + texts[i]);
    const std::vector<std::string_view> merges(pairs.begin(), pairs.end());
    writer_.add_array<std::string_view>("tokenizer.ggml.merges", merges);
  }

  /// Layers come in the order of their numbers as text; every third of the middle ones, counted in
  /// that order, has more bits, as llama.cpp's Q4_K_M gives them.
  void add_layer(std::uint64_t place) {
    static constexpr int order[layers] = {0, 1,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
                                          2, 20, 21, 22, 23, 3,  4,  5,  6,  7,  8,  9};
    const bool more_bits = place < 3 || place >= 21 || (place - 3) % 3 == 2;
    const std::string prefix = "blk." + std::to_string(order[place]) + ".";
    add(prefix + "attn_norm.weight", TensorType::F32, {embedding});
    add(prefix + "ffn_down.weight", more_bits ? TensorType::Q6_K : TensorType::Q4_K,
        {feed_forward, embedding});
    add(prefix + "ffn_gate.weight", TensorType::Q5_0, {embedding, feed_forward});
    add(prefix + "ffn_up.weight", TensorType::Q5_0, {embedding, feed_forward});
    add(prefix + "ffn_norm.weight", TensorType::F32, {embedding});
    add(prefix + "attn_k.bias", TensorType::F32, {key_value});
    add(prefix + "attn_k.weight", TensorType::Q5_0, {embedding, key_value});
    add(prefix + "attn_output.weight", TensorType::Q5_0, {embedding, embedding});
    add(prefix + "attn_q.bias", TensorType::F32, {embedding});
    add(prefix + "attn_q.weight", TensorType::Q5_0, {embedding, embedding});
    add(prefix + "attn_v.bias", TensorType::F32, {key_value});
    add(prefix + "attn_v.weight", more_bits ? TensorType::Q8_0 : TensorType::Q5_0,
        {embedding, key_value});
  }

  void add(const std::string& name, TensorType type, std::initializer_list<std::uint64_t> extents) {
    writer_.add_tensor(name, type, extents, RandomBytes{++seed_});
  }

  gguf::Writer writer_;
  std::uint64_t seed_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const bool asks_for_help = argc == 2 && std::string_view{argv[1]} == "--help";
  if (argc != 2 || asks_for_help) {
    fmt::print(asks_for_help ? stdout : stderr,
               "Usage: make_demo_model OUT.gguf\n\n"
               "Writes a model of about 490 MB: random weights, and the tensor table of\n"
               "Qwen2.5-0.5B-Instruct in Q4_K_M.\n");
    return asks_for_help ? 0 : 2;
  }
  try {
    const std::filesystem::path path{argv[1]};
    fmt::print("Writing {} ...\n", path.string());
    std::fflush(stdout);
    DemoModel{}.write(path);
    fmt::print("Wrote {} bytes\n", std::filesystem::file_size(path));
  } catch (const std::exception& error) {
    fmt::print(stderr, "make_demo_model: {}\n", error.what());
    return 1;
  }
}
