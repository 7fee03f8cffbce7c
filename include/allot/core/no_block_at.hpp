// SPDX-License-Identifier: MIT
/// \file
/// `no_block_at`: the error for a block that was looked up by its address.
#pragma once

#include <allot/core/errors.hpp>
#include <allot/core/units.hpp>

#include <cstddef>
#include <cstdint>

namespace allot {

/// Returns the error to throw if no live block starts at an address.
template <class Address>
[[nodiscard]] InvalidBlock no_block_at(const Address* address) {
  const auto number = reinterpret_cast<std::uintptr_t>(address);
  char digits[2 * sizeof number + 1] = {};
  for (std::size_t i = 0; i < 2 * sizeof number; ++i)
    digits[i] = "0123456789abcdef"[number >> (8 * sizeof number - 4 * (i + 1)) & 15];
  FixedText<128> text;
  text << "no live block starts at address 0x" << digits
       << "; free each block once, in the arena that made it";
  return {BlockDefect::foreign, text.c_str()};
}

}  // namespace allot
