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

#include <allot/gguf/tensor_type.hpp>

#include <cstdint>
#include <string>
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
/// two or more dimensions that are not biases.
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

}  // namespace allot::load
