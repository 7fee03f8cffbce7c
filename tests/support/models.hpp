// SPDX-License-Identifier: MIT
/// \file
/// Small GGUF files whose every byte is known.
#pragma once

#include <allot/gguf/file.hpp>
#include <allot/gguf/writer/writer.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <vector>

#include "support/patterns.hpp"

namespace allot::test {

/// A file with a tensor `t0`, `t1`, ... for each size, in bytes.
inline std::filesystem::path write_model(const std::filesystem::path& path,
                                         const std::vector<std::uint64_t>& sizes) {
  gguf::Writer writer;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    writer.add_tensor("t" + std::to_string(i), gguf::TensorType::I8, {sizes[i]}, fill_with_offsets);
  }
  writer.write(path);
  return path;
}

/// Sizes that are not multiples of anything, an empty tensor, and one larger than a slot.
inline const std::vector<std::uint64_t> odd_sizes{1, 100, 256, 257, 0, 9'000'001, 4097, 63};

/// A model in the form of a llama: layers with projections, and the metadata that a cache needs.
struct LlamaShape {
  std::uint32_t layers = 4;
  std::uint32_t heads = 8;
  std::uint32_t kv_heads = 2;
  std::uint32_t embedding = 256;
  std::uint32_t vocabulary = 1000;
  gguf::TensorType type = gguf::TensorType::F32;  // of its matrices
  bool joined_qkv = false;                        // one matrix for all three
};
inline std::filesystem::path write_llama(const std::filesystem::path& path,
                                         const LlamaShape& shape = {}) {
  gguf::Writer writer;
  writer.add("general.architecture", "llama");
  writer.add("llama.block_count", shape.layers);
  writer.add("llama.context_length", std::uint32_t{4096});
  writer.add("llama.embedding_length", shape.embedding);
  writer.add("llama.attention.head_count", shape.heads);
  writer.add("llama.attention.head_count_kv", shape.kv_heads);
  writer.add("llama.vocab_size", shape.vocabulary);
  const auto add = [&](const std::string& name, std::initializer_list<std::uint64_t> extent) {
    const bool is_matrix = extent.size() > 1;
    writer.add_tensor(name, is_matrix ? shape.type : gguf::TensorType::F32, extent,
                      fill_with_offsets);
  };
  const std::uint64_t width = shape.embedding;
  const std::uint64_t kv_width = width / shape.heads * shape.kv_heads;
  add("token_embd.weight", {width, shape.vocabulary});
  for (std::uint32_t i = 0; i < shape.layers; ++i) {
    const std::string layer = "blk." + std::to_string(i) + ".";
    add(layer + "attn_norm.weight", {width});
    if (shape.joined_qkv) {
      add(layer + "attn_qkv.weight", {width, width + 2 * kv_width});
    } else {
      add(layer + "attn_q.weight", {width, width});
      add(layer + "attn_k.weight", {width, kv_width});
      add(layer + "attn_v.weight", {width, kv_width});
    }
    add(layer + "attn_output.weight", {width, width});
    add(layer + "ffn_up.weight", {width, 4 * width});
  }
  add("output_norm.weight", {width});
  add("output.weight", {width, shape.vocabulary});
  writer.write(path);
  return path;
}

}  // namespace allot::test
