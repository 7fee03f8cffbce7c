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
