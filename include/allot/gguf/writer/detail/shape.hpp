// SPDX-License-Identifier: MIT
/// \file
/// The shape and the bytes of a tensor to write.
#pragma once

#include <allot/gguf/limits.hpp>
#include <allot/gguf/tensor.hpp>
#include <allot/gguf/tensor_bytes.hpp>
#include <allot/gguf/tensor_type.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>

namespace allot::gguf::detail {

/// Throws: `std::invalid_argument`.
[[nodiscard]] inline Shape shape_of(const std::string& name,
                                    std::initializer_list<std::uint64_t> extents) {
  if (extents.size() > limits::dimensions)
    throw std::invalid_argument{"tensor " + name + " has more than 4 dimensions"};
  Shape shape;
  for (const std::uint64_t extent : extents) shape.extent[shape.rank++] = extent;
  return shape;
}

/// Returns the bytes of a tensor to write. Throws: `std::invalid_argument`.
[[nodiscard]] std::uint64_t bytes_of(const std::string& name, TensorType type,
                                     const std::same_as<Shape> auto& shape) {
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
  return checked_tensor_bytes(shape.extent, checked_type_info(type), fail);
}

}  // namespace allot::gguf::detail
