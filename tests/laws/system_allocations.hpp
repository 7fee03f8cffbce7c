// SPDX-License-Identifier: MIT
/// \file
/// Counts what this program asks the system allocator for.
#pragma once

#include <cstdint>

namespace allot::test {

/// Calls of `operator new`, `operator delete`, `malloc` and `realloc` so far, by this thread.
[[nodiscard]] std::uint64_t system_allocator_calls() noexcept;

}  // namespace allot::test
