// SPDX-License-Identifier: MIT
/// \file
/// Converts the blocks of each tensor type to floats, on any processor. Products and sums are
/// rounded one by one, in ggml's order, so that the results are identical bit for bit.
///
/// | header | types |
/// |---|---|
/// | blocks/numbers.hpp | F32 F16 BF16 F64 I8 to I64 |
/// | blocks/simple.hpp | Q1_0 Q2_0 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 |
/// | blocks/k.hpp | Q2_K to Q6_K |
/// | blocks/iq.hpp | IQ1_S IQ1_M, IQ2_XXS to IQ2_S, IQ3_XXS IQ3_S |
/// | blocks/levels.hpp | IQ4_NL IQ4_XS MXFP4 NVFP4 |
/// | blocks/ternary.hpp | TQ1_0 TQ2_0 |
///
/// Source of the formats: ggml, src/ggml-common.h and src/ggml-quants.c.
#pragma once

#include <allot/gguf/detail/blocks/block.hpp>
#include <allot/gguf/detail/blocks/iq.hpp>
#include <allot/gguf/detail/blocks/k.hpp>
#include <allot/gguf/detail/blocks/levels.hpp>
#include <allot/gguf/detail/blocks/numbers.hpp>
#include <allot/gguf/detail/blocks/simple.hpp>
#include <allot/gguf/detail/blocks/ternary.hpp>
#include <allot/gguf/tensor_type.hpp>

namespace allot::gguf::detail {

/// Calls `pick` with the decoder of one type.
template <TensorType type, class Decoder, class Pick>
[[nodiscard]] Decode picked(const Pick& pick) noexcept {
  static_assert(Decoder::elements == type_info(type).block_elements &&
                    Decoder::bytes == type_info(type).block_bytes,
                "a decoder's block must be that of `tensor_types`");
  return pick.template operator()<Decoder>();
}

/// Returns `pick.operator()<Decoder>()` for the decoder of a type whose blocks have several
/// elements; null for other types.
template <class Pick>
[[nodiscard]] Decode with_decoder(TensorType type, Pick pick) noexcept {
  switch (type) {
    case TensorType::Q1_0:
      return picked<TensorType::Q1_0, Q1_0>(pick);
    case TensorType::Q2_0:
      return picked<TensorType::Q2_0, Q2_0>(pick);
    case TensorType::Q4_0:
      return picked<TensorType::Q4_0, Q4_0>(pick);
    case TensorType::Q4_1:
      return picked<TensorType::Q4_1, Q4_1>(pick);
    case TensorType::Q5_0:
      return picked<TensorType::Q5_0, Q5_0>(pick);
    case TensorType::Q5_1:
      return picked<TensorType::Q5_1, Q5_1>(pick);
    case TensorType::Q8_0:
      return picked<TensorType::Q8_0, Q8_0>(pick);
    case TensorType::Q2_K:
      return picked<TensorType::Q2_K, Q2_K>(pick);
    case TensorType::Q3_K:
      return picked<TensorType::Q3_K, Q3_K>(pick);
    case TensorType::Q4_K:
      return picked<TensorType::Q4_K, Q4_K>(pick);
    case TensorType::Q5_K:
      return picked<TensorType::Q5_K, Q5_K>(pick);
    case TensorType::Q6_K:
      return picked<TensorType::Q6_K, Q6_K>(pick);
    case TensorType::IQ1_S:
      return picked<TensorType::IQ1_S, IQ1_S>(pick);
    case TensorType::IQ1_M:
      return picked<TensorType::IQ1_M, IQ1_M>(pick);
    case TensorType::IQ2_XXS:
      return picked<TensorType::IQ2_XXS, IQ2_XXS>(pick);
    case TensorType::IQ2_XS:
      return picked<TensorType::IQ2_XS, IQ2_XS>(pick);
    case TensorType::IQ2_S:
      return picked<TensorType::IQ2_S, IQ2_S>(pick);
    case TensorType::IQ3_XXS:
      return picked<TensorType::IQ3_XXS, IQ3_XXS>(pick);
    case TensorType::IQ3_S:
      return picked<TensorType::IQ3_S, IQ3_S>(pick);
    case TensorType::IQ4_NL:
      return picked<TensorType::IQ4_NL, IQ4_NL>(pick);
    case TensorType::IQ4_XS:
      return picked<TensorType::IQ4_XS, IQ4_XS>(pick);
    case TensorType::TQ1_0:
      return picked<TensorType::TQ1_0, TQ1_0>(pick);
    case TensorType::TQ2_0:
      return picked<TensorType::TQ2_0, TQ2_0>(pick);
    case TensorType::MXFP4:
      return picked<TensorType::MXFP4, MXFP4>(pick);
    case TensorType::NVFP4:
      return picked<TensorType::NVFP4, NVFP4>(pick);
    default:
      return nullptr;
  }
}

}  // namespace allot::gguf::detail
