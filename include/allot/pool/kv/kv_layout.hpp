// SPDX-License-Identifier: MIT
/// \file
/// `KvLayout`: the bytes of a paged KV cache, from a model's plain numbers.
///
/// A block holds the keys and values of some tokens for all layers:
///
///     block: | layer 0: keys, values | layer 1: keys, values | ...     each part from a multiple
///     keys:  | token 0: head 0, head 1, ... | token 1: ... | ...       of 256 bytes on
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/readable_bytes.hpp>
#include <allot/core/units.hpp>

#include <cstdint>
#include <optional>
#include <stdexcept>

namespace allot {

/// The size of elements: `bytes` for `elements` of them. `{2, 1}`: 16-bit floats; `{34, 32}`: Q8_0.
struct ElementSize {
  std::uint64_t bytes = 2;     ///< of that many elements
  std::uint64_t elements = 1;  ///< of one block
};

/// What a model's metadata says about its attention.
struct KvShape {
  std::uint64_t layers;           ///< `*.block_count`: those that have attention
  std::uint64_t kv_heads;         ///< `*.attention.head_count_kv`: not the query heads
  std::uint64_t key_dimension;    ///< `*.attention.key_length`: of one head
  std::uint64_t value_dimension;  ///< `*.attention.value_length`: of one head
  ElementSize key_element{};      ///< of keys
  ElementSize value_element{};    ///< of values
  bool keeps_values = true;       ///< false: a row of keys alone, from which values are made
};

/// The number of a layer, from 0. Explicit, so that a block's or a token's number cannot pass for it.
struct KvLayer {
  /// Takes the number.
  constexpr explicit KvLayer(std::uint64_t layer) noexcept : number{layer} {}

  std::uint64_t number;  ///< from 0
};

/// The offsets in a block. All in bytes.
class KvLayout {
 public:
  static constexpr std::uint64_t alignment = 256;  ///< bytes, of a layer's keys and of its values

  /// Throws: `std::invalid_argument` for zeros, for heads that are not a whole number of element
  /// blocks, for blocks of 2^32 tokens or more, and for sizes that exceed 64 bits.
  KvLayout(const KvShape& shape, std::uint64_t block_tokens)
      : layers_{shape.layers}, block_tokens_{block_tokens} {
    if (shape.layers == 0 || shape.kv_heads == 0 || block_tokens == 0) throw_empty(shape);
    if (block_tokens > largest_of<std::uint32_t>) {
      throw std::invalid_argument{(FixedText<128>{}
                                   << "a KV block of " << block_tokens
                                   << " tokens is too large; use at most 2^32 - 1, such as 16")
                                      .c_str()};
    }
    key_bytes_ = row_bytes("key", shape.key_dimension, shape.kv_heads, shape.key_element);
    if (shape.keeps_values)
      value_bytes_ = row_bytes("value", shape.value_dimension, shape.kv_heads, shape.value_element);
    const auto keys = part_bytes(key_bytes_);
    const auto values = part_bytes(value_bytes_);
    const auto layer = keys && values ? checked_add(*keys, *values) : std::nullopt;
    const auto block = layer ? checked_multiply(*layer, layers_) : std::nullopt;
    if (!block) throw std::invalid_argument{"a KV block exceeds 2^64 bytes; check the shape"};
    value_offset_ = *keys;
    layer_bytes_ = *layer;
    block_bytes_ = *block;
  }

  /// Returns the number of layers.
  [[nodiscard]] std::uint64_t layers() const noexcept { return layers_; }
  /// Returns the tokens of a block.
  [[nodiscard]] std::uint64_t block_tokens() const noexcept { return block_tokens_; }
  /// Bytes of one token in one layer: all its heads.
  [[nodiscard]] std::uint64_t key_bytes() const noexcept { return key_bytes_; }
  /// Bytes of one token's values in one layer; 0 if none are kept.
  [[nodiscard]] std::uint64_t value_bytes() const noexcept { return value_bytes_; }
  /// Bytes of one token in all layers, without padding for alignment.
  [[nodiscard]] std::uint64_t token_bytes() const noexcept {
    return (key_bytes_ + value_bytes_) * layers_;
  }
  /// Returns the bytes of one layer in a block, with padding.
  [[nodiscard]] std::uint64_t layer_bytes() const noexcept { return layer_bytes_; }
  /// Returns the bytes of a block: all layers.
  [[nodiscard]] std::uint64_t block_bytes() const noexcept { return block_bytes_; }

  /// Returns where the key, or the value, of a token of a block begins in the block.
  /// Requires: the layer and the token exist.
  [[nodiscard]] std::uint64_t key_offset(KvLayer layer, std::uint64_t token) const noexcept {
    return layer.number * layer_bytes_ + token * key_bytes_;
  }
  /// Returns where the value of a token begins in the block. Requires: as `key_offset`.
  [[nodiscard]] std::uint64_t value_offset(KvLayer layer, std::uint64_t token) const noexcept {
    return layer.number * layer_bytes_ + value_offset_ + token * value_bytes_;
  }

  /// Returns the number of blocks that a budget holds. Throws: `std::invalid_argument` if that is
  /// 0.
  [[nodiscard]] std::uint64_t blocks_in(std::uint64_t budget_bytes) const {
    if (budget_bytes / block_bytes_ != 0) return budget_bytes / block_bytes_;
    throw std::invalid_argument{(FixedText<256>{}
                                 << "a KV cache of " << ReadableBytes{budget_bytes}.c_str()
                                 << " is less than one block of " << block_tokens_ << " tokens, "
                                 << ReadableBytes{block_bytes_}.c_str() << " (" << block_bytes_
                                 << " bytes); give it more, or blocks of fewer tokens")
                                    .c_str()};
  }

  /// Returns the bytes of a cache of `blocks` blocks: for `PlanOptions::reserved`.
  /// Throws: `std::length_error` if they exceed 2^64.
  [[nodiscard]] std::uint64_t bytes_for(std::uint64_t blocks) const {
    if (const auto bytes = checked_multiply(blocks, block_bytes_)) return *bytes;
    throw std::length_error{"a KV cache would take more than 2^64 bytes; use fewer blocks"};
  }

  /// Returns the number of blocks for `tokens` tokens of one sequence.
  [[nodiscard]] std::uint64_t blocks_for(std::uint64_t tokens) const noexcept {
    return tokens / block_tokens_ + (tokens % block_tokens_ != 0 ? 1 : 0);
  }

 private:
  [[nodiscard]] std::optional<std::uint64_t> part_bytes(std::uint64_t row) const noexcept {
    const auto bytes = checked_multiply(row, block_tokens_);
    return bytes ? checked_align_up(*bytes, alignment) : std::nullopt;
  }

  [[nodiscard]] static std::uint64_t row_bytes(const char* what, std::uint64_t dimension,
                                               std::uint64_t heads, const ElementSize& element) {
    if (dimension == 0 || element.bytes == 0 || element.elements == 0 ||
        dimension % element.elements != 0) {
      throw std::invalid_argument{
          (FixedText<256>{}
           << "a " << what << " head of " << dimension << " elements of " << element.bytes
           << " bytes for " << element.elements
           << " is not a whole number of element blocks; choose another element type")
              .c_str()};
    }
    const auto head = checked_multiply(dimension / element.elements, element.bytes);
    const auto row = head ? checked_multiply(*head, heads) : std::nullopt;
    if (!row) throw std::invalid_argument{"a KV block exceeds 2^64 bytes; check the shape"};
    return *row;
  }

  [[noreturn]] void throw_empty(const KvShape& shape) const {
    throw std::invalid_argument{(FixedText<192>{}
                                 << "a KV cache of " << shape.layers << " layers, "
                                 << shape.kv_heads << " KV heads and blocks of " << block_tokens_
                                 << " tokens holds nothing; give at least one of each")
                                    .c_str()};
  }

  std::uint64_t layers_;
  std::uint64_t block_tokens_;
  std::uint64_t key_bytes_ = 0;
  std::uint64_t value_bytes_ = 0;
  std::uint64_t value_offset_ = 0;
  std::uint64_t layer_bytes_ = 0;
  std::uint64_t block_bytes_ = 0;
};

}  // namespace allot
