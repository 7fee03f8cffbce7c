// SPDX-License-Identifier: MIT
/// \file
/// How tensors are transformed on their way into memory: options of `make_plan`. Reader threads
/// carry them out before the bytes reach the device. Nothing is read back.
///
/// | option       | what it does                                                                 |
/// |--------------|------------------------------------------------------------------------------|
/// | `dequantize` | stores tensors as F32, F16 or BF16; the first rule that matches applies      |
/// | `transpose`  | exchanges the first two dimensions of tensors with plain elements            |
/// | `fuse`       | joins Q, K, V (gate, up) of a layer into one tensor                          |
/// | `padding`    | adds zeros after each row, or after the last, for kernels that read in tiles |
///
/// The bytes of big-endian files are always converted to the machine's order.
#pragma once

#include <allot/gguf/tensor_type.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace allot::load {

/// Tensors to dequantize, and the type to store them as.
struct DequantizeRule {
  std::string names = "*";                      ///< a shell pattern: `blk.*.ffn_*.weight`
  gguf::TensorType to = gguf::TensorType::F16;  ///< F32, F16 or BF16
  bool quantized_only = true;  ///< false: also those with plain elements, such as F32
};

/// Where to add zeros.
enum class Padding {
  none,
  last_row,   ///< after a tensor whose rows are not a multiple: as ggml's kernels need
  every_row,  ///< each row begins at a multiple
};

/// `last_row` is for quantized tensors, as ggml's GPU code allocates them; `every_row` for those of
/// two or more dimensions that are not biases.
struct RowPadding {
  Padding where = Padding::none;  ///< which rows get zeros
  std::uint64_t multiple = 512;   ///< elements
};

/// Tensors to fuse, if all agree in type and row length; `Plan::fusions` lists those that cannot
/// be. Biases follow their weights. The parts remain, as views of the fused tensor.
struct FuseOptions {
  bool qkv = false;      ///< `attn_q`, `attn_k`, `attn_v` become `attn_qkv`
  bool gate_up = false;  ///< `ffn_gate`, `ffn_up` become `ffn_gate_up`; experts one by one
};

/// How tensors are transformed on their way. The default: not at all.
struct TransformOptions {
  std::vector<DequantizeRule> dequantize{};  ///< the first rule that matches a name holds
  std::vector<std::string> transpose{};      ///< patterns of names
  FuseOptions fuse{};                        ///< which tensors become one
  RowPadding padding{};                      ///< where to add zeros
};

}  // namespace allot::load
