// SPDX-License-Identifier: MIT
/// \file
/// The bytes of a tensor out of its dimensions, for dimensions from outside.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/gguf/limits.hpp>
#include <allot/gguf/tensor.hpp>
#include <allot/gguf/tensor_type.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <stdexcept>
#include <string>

namespace allot::gguf::detail {

/// Calls `fail` with what is wrong, to be put behind the tensor's name; it must throw.
template <class Fail>
[[nodiscard]] std::uint64_t checked_tensor_bytes(const Shape& shape, const TypeInfo& type,
                                                 const Fail& fail) {
  constexpr std::uint64_t highest = std::numeric_limits<std::int64_t>::max();
  std::uint64_t product = 1;  // of the dimensions that are not zero: a zero hides no overflow
  bool empty = false;
  for (const std::uint64_t extent : shape.extent) {
    empty = empty || extent == 0;
    const auto next = checked_multiply(product, std::max<std::uint64_t>(extent, 1));
    if (!next || *next > highest) fail("has more than 2^63 - 1 elements");
    product = *next;
  }
  if (shape.extent[0] % type.block_elements != 0) {
    fail("has rows of " + std::to_string(shape.extent[0]) + " elements, no multiple of the " +
         std::to_string(type.block_elements) + " in a block of " + std::string{type.name});
  }
  if (empty) return 0;
  const auto bytes = checked_multiply(product / type.block_elements, type.block_bytes);
  if (!bytes || *bytes > highest) fail("has more than 2^63 - 1 bytes");
  return *bytes;
}

/// Throws: `std::invalid_argument`.
[[nodiscard]] inline Shape shape_of(const std::string& name,
                                    std::initializer_list<std::uint64_t> extents) {
  if (extents.size() > limits::dimensions)
    throw std::invalid_argument{"tensor " + name + " has over 4 dimensions"};
  Shape shape;
  for (const std::uint64_t extent : extents) shape.extent[shape.rank++] = extent;
  return shape;
}

/// For a tensor to write. Throws: `std::invalid_argument`.
[[nodiscard]] inline std::uint64_t bytes_of(const std::string& name, TensorType type,
                                            const Shape& shape) {
  const auto fail = [&name](const std::string& what) {
    throw std::invalid_argument{"tensor " + name + " " + what};
  };
  if (shape.rank > limits::dimensions)
    fail("has " + std::to_string(shape.rank) + " dimensions; at most 4 are allowed");
  for (std::size_t i = shape.rank; i < limits::dimensions; ++i) {
    if (shape.extent[i] != 1) {
      fail("has an extent of " + std::to_string(shape.extent[i]) + " beyond its " +
           std::to_string(shape.rank) + " dimensions");
    }
  }
  return checked_tensor_bytes(shape, checked_type_info(type), fail);
}

}  // namespace allot::gguf::detail
