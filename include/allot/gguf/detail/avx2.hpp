// SPDX-License-Identifier: MIT
/// \file
/// The decoders of blocks.hpp with x86-64 vector instructions: avx2/ has a header for each one in
/// blocks/. And `avx2::decoder_of`.
///
/// The results are identical bit for bit: the same products and sums, each rounded once. A compiler
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
#include <allot/gguf/detail/blocks.hpp>
#include <allot/gguf/tensor_type.hpp>

#ifdef ALLOT_HAS_AVX2

namespace allot::gguf::detail::avx2 {

/// Returns null for types without a decoder here: their plain loops are as fast as memory.
template <class = void>
[[nodiscard]] Decode decoder_of(TensorType type) noexcept {
  if (type == TensorType::F16) return decode_f16;
  if (type == TensorType::BF16) return decode_bf16;
  return with_decoder(type,
                      []<class Decoder>() -> Decode { return decode_all<Vectorized<Decoder>>; });
}

}  // namespace allot::gguf::detail::avx2

#endif
