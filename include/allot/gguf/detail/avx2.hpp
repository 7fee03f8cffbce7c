// SPDX-License-Identifier: MIT
/// \file
/// The decoders of blocks.hpp again, with the vectors of x86-64: a header in avx2/ for each one in
/// blocks/, and `avx2::decoder_of`.
///
/// The results are the same to the bit: the same products and sums, each rounded once. A compiler
/// may fuse a product and a sum: here every such product is exact (17 bits of scale, 5 of level),
/// so that fusing them rounds once either way.
#pragma once

#include <allot/gguf/detail/avx2/iq.hpp>
#include <allot/gguf/detail/avx2/k.hpp>
#include <allot/gguf/detail/avx2/levels.hpp>
#include <allot/gguf/detail/avx2/numbers.hpp>
#include <allot/gguf/detail/avx2/simple.hpp>
#include <allot/gguf/detail/avx2/ternary.hpp>
#include <allot/gguf/detail/avx2/vectors.hpp>
#include <allot/gguf/detail/blocks/block.hpp>
#include <allot/gguf/tensor_type.hpp>

#ifdef ALLOT_HAS_AVX2

namespace allot::gguf::detail::avx2 {

/// Null for types that have none here: their plain loops move memory as fast.
[[nodiscard]] inline Decode decoder_of(TensorType type) noexcept {
  switch (type) {
    case TensorType::F16:
      return decode_f16;
    case TensorType::BF16:
      return decode_bf16;
    case TensorType::Q1_0:
      return decode_all<Q1_0>;
    case TensorType::Q2_0:
      return decode_all<Q2_0>;
    case TensorType::Q4_0:
      return decode_all<Q4_0>;
    case TensorType::Q4_1:
      return decode_all<Q4_1>;
    case TensorType::Q5_0:
      return decode_all<Q5_0>;
    case TensorType::Q5_1:
      return decode_all<Q5_1>;
    case TensorType::Q8_0:
      return decode_all<Q8_0>;
    case TensorType::Q2_K:
      return decode_all<Q2_K>;
    case TensorType::Q3_K:
      return decode_all<Q3_K>;
    case TensorType::Q4_K:
      return decode_all<Q4_K>;
    case TensorType::Q5_K:
      return decode_all<Q5_K>;
    case TensorType::Q6_K:
      return decode_all<Q6_K>;
    case TensorType::IQ1_S:
      return decode_all<IQ1_S>;
    case TensorType::IQ1_M:
      return decode_all<IQ1_M>;
    case TensorType::IQ2_XXS:
      return decode_all<IQ2_XXS>;
    case TensorType::IQ2_XS:
      return decode_all<IQ2_XS>;
    case TensorType::IQ2_S:
      return decode_all<IQ2_S>;
    case TensorType::IQ3_XXS:
      return decode_all<IQ3_XXS>;
    case TensorType::IQ3_S:
      return decode_all<IQ3_S>;
    case TensorType::IQ4_NL:
      return decode_all<IQ4_NL>;
    case TensorType::IQ4_XS:
      return decode_all<IQ4_XS>;
    case TensorType::TQ1_0:
      return decode_all<TQ1_0>;
    case TensorType::TQ2_0:
      return decode_all<TQ2_0>;
    case TensorType::MXFP4:
      return decode_all<MXFP4>;
    case TensorType::NVFP4:
      return decode_all<NVFP4>;
    default:
      return nullptr;
  }
}

}  // namespace allot::gguf::detail::avx2

#endif
