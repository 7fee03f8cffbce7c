// SPDX-License-Identifier: MIT
/// \file
/// `ALLOT_ALWAYS_INLINE`: inlines a function of any size, if the compiler optimizes. Otherwise each
/// use would only be compiled again, for no gain.
#pragma once

#if defined(__OPTIMIZE__)
#define ALLOT_ALWAYS_INLINE [[gnu::always_inline]]
#else
#define ALLOT_ALWAYS_INLINE
#endif
