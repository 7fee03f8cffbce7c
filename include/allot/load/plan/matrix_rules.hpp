// SPDX-License-Identifier: MIT
/// \file
/// `MatrixRules`: a classifier for `Selective`.
#pragma once

#include <allot/core/units.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/model_shape.hpp>
#include <allot/load/plan/grouping.hpp>
#include <allot/load/plan/plan.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace allot::load {

/// Three kinds of tensors that an engine may want to replace one by one: large ones, those it would
/// transpose (a matrix with the vocabulary as a dimension, the embedding, the output), and the
/// query, key and value projections, which it would fuse. `rule_of` names the first rule that
/// holds.
struct MatrixRules {
  std::uint64_t large_above =
      32 * MiB;  ///< bytes as stored; a tensor of exactly that many is not large
  std::optional<std::uint64_t> vocabulary{};  ///< elements; empty: no tensor counts as having it
  bool transposed = true;                     ///< name those that an engine would transpose
  bool qkv = true;                            ///< name the projections

  /// Returns rules with the vocabulary's size from the file: `ARCHITECTURE.vocab_size`, or the
  /// number of tokens.
  template <class = void>
  [[nodiscard]] static MatrixRules of(const gguf::File& file) {
    MatrixRules rules;
    rules.vocabulary = gguf::model_shape_of(file).vocabulary;
    return rules;
  }

  /// Returns `large`, `transposed` or `qkv`; empty for other items.
  [[nodiscard]] std::string_view rule_of(const ItemLayout& item) const {
    if (item.purpose != Purpose::weight) return {};
    if (item.bytes > large_above) return "large";
    if (transposed && is_transposed(item)) return "transposed";
    if (qkv && is_projection(item)) return "qkv";
    return {};
  }

 private:
  [[nodiscard]] bool is_transposed(const ItemLayout& item) const {
    if (item.shape.rank != 2) return false;
    if (vocabulary &&
        (item.shape.extent[0] == *vocabulary || item.shape.extent[1] == *vocabulary)) {
      return true;
    }
    return item.name.starts_with("token_embd.") || item.name.starts_with("output.");
  }

  [[nodiscard]] static bool is_projection(const ItemLayout& item) {
    if (item.shape.rank != 2) return false;
    constexpr std::string_view names[] = {".attn_q.", ".attn_k.", ".attn_v.", ".attn_qkv.",
                                          ".q_proj.", ".k_proj.", ".v_proj."};
    for (const std::string_view name : names) {
      if (item.name.find(name) != std::string::npos) return true;
    }
    return false;
  }
};

static_assert(Classifier<MatrixRules> && GroupingPolicy<Selective<MatrixRules>>);

}  // namespace allot::load
