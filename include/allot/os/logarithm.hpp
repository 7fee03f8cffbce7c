// SPDX-License-Identifier: MIT
/// \file
/// The binary logarithm and its inverse, by the compiler's own functions, without the special functions
/// that are most of `<cmath>`.
#pragma once

namespace allot::os {

/// Returns the logarithm to base 2.
[[nodiscard]] inline double log2(double value) noexcept { return __builtin_log2(value); }
/// Returns 2 to that power.
[[nodiscard]] inline double exp2(double value) noexcept { return __builtin_exp2(value); }

}  // namespace allot::os
