// SPDX-License-Identifier: MIT
/// \file
/// Which version of allot this is, and the language that it needs.
#pragma once

#if __cplusplus < 202002
// Not #error, after which a compiler goes on to hundreds of errors. That this file is missing ends it.
#define ALLOT_MISSING "allot needs C++20: compile with -std=c++20 or later"
#include ALLOT_MISSING
#endif

/// Raised by changes to names or meanings that are stable, from 1.0 on.
#define ALLOT_VERSION_MAJOR 0
/// Raised by what is new; before 1.0 also by changes.
#define ALLOT_VERSION_MINOR 1
/// Raised by what is mended.
#define ALLOT_VERSION_PATCH 0

/// The version as a number to compare: 10000 for each major version, 100 for each minor one.
#define ALLOT_VERSION \
  (ALLOT_VERSION_MAJOR * 10000 + ALLOT_VERSION_MINOR * 100 + ALLOT_VERSION_PATCH)

/// The version as text.
#define ALLOT_VERSION_TEXT "0.1.0"

namespace allot {

/// Returns `ALLOT_VERSION`: that of the headers this was compiled with.
[[nodiscard]] constexpr int version() noexcept { return ALLOT_VERSION; }

}  // namespace allot
