// SPDX-License-Identifier: MIT
/// \file
/// What becomes of tensors on their way into memory: options of `make_plan`, carried out by the
/// threads that read, before the bytes reach the device. Nothing is read back.
///
/// | option       | what it does                                                                 |
/// |--------------|------------------------------------------------------------------------------|
/// | `dequantize` | stores tensors as F32, F16 or BF16; the first rule that matches holds        |
/// | `transpose`  | exchanges the first two dimensions of tensors with elements of their own     |
/// | `fuse`       | puts Q, K, V (gate, up) of a layer one behind the other, as one tensor       |
/// | `padding`    | zeros behind each row, or behind the last, for kernels that read in tiles    |
///
/// Bytes of big-endian files become those of the machine in any case.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/gguf/dequantize.hpp>
#include <allot/gguf/tensor.hpp>
#include <allot/gguf/tensor_type.hpp>
#include <allot/load/plan/plan.hpp>

#include <fnmatch.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace allot::load {

/// Which tensors are stored as what.
struct DequantizeRule {
  std::string names = "*";                      ///< a pattern as the shell's: `blk.*.ffn_*.weight`
  gguf::TensorType to = gguf::TensorType::F16;  ///< F32, F16 or BF16
  bool quantized_only = true;  ///< false: also those that have elements of their own, such as F32
};

/// Where zeros go.
enum class Padding {
  none,
  last_row,   ///< behind a tensor whose rows are no multiple: what ggml's kernels want
  every_row,  ///< rows begin at multiples
};

/// `last_row` is for quantised tensors, as ggml's GPU code allocates them; `every_row` for those of
/// two or more dimensions that are no biases.
struct RowPadding {
  Padding where = Padding::none;
  std::uint64_t multiple = 512;  ///< elements
};

/// What is fused where all agree in type and row length; what cannot be is in `Plan::fusions`.
/// Biases follow their weights. The parts remain: views of the fused tensor.
struct FuseOptions {
  bool qkv = false;      ///< `attn_q`, `attn_k`, `attn_v` become `attn_qkv`
  bool gate_up = false;  ///< `ffn_gate`, `ffn_up` become `ffn_gate_up`; experts one by one
};

struct TransformOptions {
  std::vector<DequantizeRule> dequantize{};
  std::vector<std::string> transpose{};  ///< patterns of names
  FuseOptions fuse{};
  RowPadding padding{};
};

namespace detail {

[[nodiscard]] inline bool matches(const std::string& pattern, const std::string& name) noexcept {
  return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

[[nodiscard]] inline bool has_own_elements(gguf::TensorType type) noexcept {
  return gguf::type_info(type).block_elements == 1;
}

[[noreturn]] inline void throw_too_large() {
  throw std::length_error{"the model takes more than 2^64 bytes of memory"};
}

/// Throws: `std::length_error`.
[[nodiscard]] inline std::uint64_t multiply_sizes(std::uint64_t a, std::uint64_t b) {
  if (const auto product = checked_multiply(a, b)) return *product;
  throw_too_large();
}

/// Bytes of a row of so many elements. Requires: whole blocks.
[[nodiscard]] inline std::uint64_t bytes_of_row(gguf::TensorType type, std::uint64_t elements) {
  const gguf::TypeInfo info = gguf::type_info(type);
  return multiply_sizes(elements / info.block_elements, info.block_bytes);
}

/// From the first byte to the last, without what is behind the last row.
[[nodiscard]] inline std::uint64_t extent_of(const Item& item) {
  const auto& extent = item.shape.extent;
  if (std::find(extent.begin(), extent.end(), 0U) != extent.end()) return 0;
  std::uint64_t bytes = item.row_bytes;
  for (std::size_t d = 1; d < extent.size(); ++d) {
    const auto sum = checked_add(bytes, multiply_sizes(extent[d] - 1, item.strides[d]));
    if (!sum) throw_too_large();
    bytes = *sum;
  }
  return bytes;
}

/// Zeros behind a tensor, in bytes.
[[nodiscard]] inline std::uint64_t tail_of(const Item& item, const RowPadding& padding) {
  if (padding.where != Padding::last_row || has_own_elements(item.type)) return 0;
  const std::uint64_t over = item.shape.extent[0] % padding.multiple;
  return over == 0 ? 0 : bytes_of_row(item.type, padding.multiple - over);
}

/// Lays a tensor out: rows, strides, bytes. Type and shape are set.
inline void lay_out(Item& item, const RowPadding& padding) {
  const auto& extent = item.shape.extent;
  std::uint64_t row = extent[0];
  if (padding.where == Padding::every_row && item.shape.rank >= 2 && !item.name.ends_with(".bias"))
    row = multiply_sizes(extent[0] / padding.multiple + (extent[0] % padding.multiple != 0 ? 1 : 0),
                         padding.multiple);
  item.row_bytes = bytes_of_row(item.type, row);
  item.strides[0] = gguf::type_info(item.type).block_bytes;
  item.strides[1] = item.row_bytes;
  for (std::size_t d = 2; d < extent.size(); ++d)
    item.strides[d] = multiply_sizes(item.strides[d - 1], extent[d - 1]);
  item.bytes = extent_of(item);
  if (item.bytes == 0) return;
  const auto bytes = checked_add(item.bytes, tail_of(item, padding));
  if (!bytes) throw_too_large();
  item.bytes = *bytes;
}

/// Throws: `std::invalid_argument`.
inline void check_transforms(const TransformOptions& options) {
  for (const DequantizeRule& rule : options.dequantize) {
    if (rule.to != gguf::TensorType::F32 && rule.to != gguf::TensorType::F16 &&
        rule.to != gguf::TensorType::BF16) {
      throw std::invalid_argument{"tensors cannot be stored as " +
                                  std::string{gguf::type_name(rule.to)} + " (" + rule.names +
                                  "); use F32, F16 or BF16"};
    }
  }
  const std::uint64_t multiple = options.padding.multiple;
  if (options.padding.where != Padding::none &&
      (multiple == 0 || multiple % 256 != 0 || multiple > 65'536)) {
    throw std::invalid_argument{"rows cannot be padded to a multiple of " +
                                std::to_string(multiple) +
                                " elements; use a multiple of 256 (a block) up to 65536"};
  }
}

/// Sets type, shape and layout of the file's tensors.
/// Throws: `std::invalid_argument` for a tensor that cannot become what is asked for.
inline void transform_items(std::vector<Item>& items, const TransformOptions& options) {
  check_transforms(options);
  for (Item& item : items) {
    for (const DequantizeRule& rule : options.dequantize) {
      if (!matches(rule.names, item.name)) continue;
      if (rule.quantized_only && has_own_elements(item.type)) continue;
      if (item.type != rule.to && !gguf::has_values(item.type)) {
        throw std::invalid_argument{"tensor " + item.name + " is " +
                                    std::string{gguf::type_name(item.type)} +
                                    ", which holds intermediate results and cannot be dequantized; "
                                    "leave it out of the rule " +
                                    rule.names};
      }
      item.type = rule.to;
      break;
    }
    const bool is_transposed =
        item.shape.rank >= 2 &&
        std::any_of(options.transpose.begin(), options.transpose.end(),
                    [&](const std::string& pattern) { return matches(pattern, item.name); });
    if (is_transposed) {
      if (!has_own_elements(item.type)) {
        throw std::invalid_argument{"tensor " + item.name + " is " +
                                    std::string{gguf::type_name(item.type)} +
                                    ", whose blocks run along its rows: it can be transposed only "
                                    "where it is dequantized too"};
      }
      item.transposed = true;
      std::swap(item.shape.extent[0], item.shape.extent[1]);
    }
    lay_out(item, options.padding);
  }
}

}  // namespace detail

}  // namespace allot::load
