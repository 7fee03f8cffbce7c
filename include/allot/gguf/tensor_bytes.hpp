// SPDX-License-Identifier: MIT
/// \file
/// Computes a tensor's bytes from its dimensions, which may come from outside.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/gguf/tensor_type.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace allot::gguf::detail {

/// Calls `fail` with what is wrong, to be appended to the tensor's name; it must throw.
/// \param extents  the first varies fastest; a tensor without any has one element
template <class Fail>
[[nodiscard]] std::uint64_t checked_tensor_bytes(std::span<const std::uint64_t> extents,
                                                 const TypeInfo& type, const Fail& fail) {
  constexpr std::uint64_t highest = largest_of<std::int64_t>;
  std::uint64_t product = 1;  // of the nonzero dimensions: a zero does not hide an overflow
  bool empty = false;
  for (const std::uint64_t extent : extents) {
    empty = empty || extent == 0;
    const auto next = checked_multiply(product, larger<std::uint64_t>(extent, 1));
    if (!next || *next > highest) fail("has more than 2^63 - 1 elements");
    product = *next;
  }
  const std::uint64_t row = extents.empty() ? 1 : extents[0];
  if (row % type.block_elements != 0) {
    fail("has rows of " + std::to_string(row) + " elements, not a multiple of the " +
         std::to_string(type.block_elements) + " in a block of " + std::string{type.name});
  }
  if (empty) return 0;
  const auto bytes = checked_multiply(product / type.block_elements, type.block_bytes);
  if (!bytes || *bytes > highest) fail("has more than 2^63 - 1 bytes");
  return *bytes;
}

}  // namespace allot::gguf::detail
