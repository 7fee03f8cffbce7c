// SPDX-License-Identifier: MIT
/// \file
/// Counts the mappings that this program makes: what devices of host memory allocate.
#pragma once

#include <cstdint>

namespace allot::test {

[[nodiscard]] std::uint64_t device_allocations() noexcept;

}  // namespace allot::test
