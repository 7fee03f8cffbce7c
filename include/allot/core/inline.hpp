// SPDX-License-Identifier: MIT
/// \file
/// `ALLOT_ALWAYS_INLINE`: inlined whatever its size, where the compiler optimizes. Elsewhere each use
/// would be compiled again, and for nothing.
#pragma once

#if defined(__OPTIMIZE__)
#define ALLOT_ALWAYS_INLINE [[gnu::always_inline]]
#else
#define ALLOT_ALWAYS_INLINE
#endif
