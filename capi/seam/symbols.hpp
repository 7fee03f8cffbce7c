// SPDX-License-Identifier: MIT
/// \file
/// `dlsym`: this library's stands in front of the dynamic linker's, so that a program that asks for HIP's functions
/// by name is given those that stand in front of them.
#pragma once

namespace allot::seam {

/// The dynamic linker's own. For `RTLD_NEXT` the library after this one.
[[nodiscard]] void* linker_symbol(void* handle, const char* name) noexcept;

}  // namespace allot::seam
