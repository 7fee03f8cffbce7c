// SPDX-License-Identifier: MIT
/// \file
/// How the blocks of each tensor type become floats, on any processor. Products and sums are
/// rounded one by one, in the order in which ggml computes them, so that the results are the same
/// to the bit.
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

/// What `pick.operator()<Decoder>()` makes of the decoder of a type whose blocks are of several
/// elements; null for other types.
template <class Pick>
[[nodiscard]] Decode with_decoder(TensorType type, Pick pick) noexcept {
  switch (type) {
    case TensorType::Q1_0:
      return pick.template operator()<Q1_0>();
    case TensorType::Q2_0:
      return pick.template operator()<Q2_0>();
    case TensorType::Q4_0:
      return pick.template operator()<Q4_0>();
    case TensorType::Q4_1:
      return pick.template operator()<Q4_1>();
    case TensorType::Q5_0:
      return pick.template operator()<Q5_0>();
    case TensorType::Q5_1:
      return pick.template operator()<Q5_1>();
    case TensorType::Q8_0:
      return pick.template operator()<Q8_0>();
    case TensorType::Q2_K:
      return pick.template operator()<Q2_K>();
    case TensorType::Q3_K:
      return pick.template operator()<Q3_K>();
    case TensorType::Q4_K:
      return pick.template operator()<Q4_K>();
    case TensorType::Q5_K:
      return pick.template operator()<Q5_K>();
    case TensorType::Q6_K:
      return pick.template operator()<Q6_K>();
    case TensorType::IQ1_S:
      return pick.template operator()<IQ1_S>();
    case TensorType::IQ1_M:
      return pick.template operator()<IQ1_M>();
    case TensorType::IQ2_XXS:
      return pick.template operator()<IQ2_XXS>();
    case TensorType::IQ2_XS:
      return pick.template operator()<IQ2_XS>();
    case TensorType::IQ2_S:
      return pick.template operator()<IQ2_S>();
    case TensorType::IQ3_XXS:
      return pick.template operator()<IQ3_XXS>();
    case TensorType::IQ3_S:
      return pick.template operator()<IQ3_S>();
    case TensorType::IQ4_NL:
      return pick.template operator()<IQ4_NL>();
    case TensorType::IQ4_XS:
      return pick.template operator()<IQ4_XS>();
    case TensorType::TQ1_0:
      return pick.template operator()<TQ1_0>();
    case TensorType::TQ2_0:
      return pick.template operator()<TQ2_0>();
    case TensorType::MXFP4:
      return pick.template operator()<MXFP4>();
    case TensorType::NVFP4:
      return pick.template operator()<NVFP4>();
    default:
      return nullptr;
  }
}

}  // namespace allot::gguf::detail
