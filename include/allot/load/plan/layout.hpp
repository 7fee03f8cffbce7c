// SPDX-License-Identifier: MIT
/// \file
/// How tensors lie in memory: the bytes of a row, the distances between rows, the zeros behind
/// them, and what of that lies in one run in the file too.
///
/// These functions, and others that plan and load, are templates of nothing, on purpose: what they
/// instantiate is paid for when a plan is made, not when a header is included.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/tensor.hpp>
#include <allot/gguf/tensor_type.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/plan/transform.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace allot::load::detail {

template <class = void>
[[nodiscard]] bool has_own_elements(gguf::TensorType type) noexcept {
  return gguf::type_info(type).block_elements == 1;
}

template <class = void>
[[noreturn]] void throw_too_large() {
  throw std::length_error{"the model takes more than 2^64 bytes of memory"};
}

/// Throws: `std::length_error`.
template <class = void>
[[nodiscard]] std::uint64_t multiply_sizes(std::uint64_t a, std::uint64_t b) {
  if (const auto product = checked_multiply(a, b)) return *product;
  throw_too_large();
}

/// Throws: `std::length_error`.
template <class = void>
[[nodiscard]] std::uint64_t add_sizes(std::uint64_t a, std::uint64_t b) {
  if (const auto sum = checked_add(a, b)) return *sum;
  throw_too_large();
}

/// Bytes of a row of `elements` elements. Requires: whole blocks.
template <class = void>
[[nodiscard]] std::uint64_t bytes_of_row(gguf::TensorType type, std::uint64_t elements) {
  const gguf::TypeInfo info = gguf::type_info(type);
  return multiply_sizes(elements / info.block_elements, info.block_bytes);
}

/// From the first byte to the last, without what is behind the last row.
template <class = void>
[[nodiscard]] std::uint64_t extent_of(const gguf::Shape& shape, const Strides& strides,
                                      std::uint64_t row_bytes) {
  for (const std::uint64_t extent : shape.extent) {
    if (extent == 0) return 0;
  }
  std::uint64_t bytes = row_bytes;
  for (std::size_t d = 1; d < shape.extent.size(); ++d)
    bytes = add_sizes(bytes, multiply_sizes(shape.extent[d] - 1, strides[d]));
  return bytes;
}
template <class = void>
[[nodiscard]] std::uint64_t extent_of(const ItemLayout& item) {
  return extent_of(item.shape, item.strides, item.row_bytes);
}

/// What is to lie in memory.
struct Form {
  std::string name;
  gguf::TensorType type;  // in memory
  gguf::Shape shape;      // likewise
  Purpose purpose = Purpose::weight;
  bool transposed = false;
};

/// Elements of a row with the zeros behind it.
template <class = void>
[[nodiscard]] std::uint64_t row_elements(const Form& form, const RowPadding& padding) {
  const std::uint64_t own = form.shape.extent[0];
  const bool is_padded =
      padding.where == Padding::every_row && form.shape.rank >= 2 && !form.name.ends_with(".bias");
  if (!is_padded) return own;
  return multiply_sizes(own / padding.multiple + (own % padding.multiple != 0 ? 1 : 0),
                        padding.multiple);
}

/// Bytes of the zeros behind the last row.
template <class = void>
[[nodiscard]] std::uint64_t tail_of(const Form& form, const RowPadding& padding) {
  if (padding.where != Padding::last_row || has_own_elements(form.type)) return 0;
  const std::uint64_t over = form.shape.extent[0] % padding.multiple;
  return over == 0 ? 0 : bytes_of_row(form.type, padding.multiple - over);
}

/// How something lies in memory. Throws: `std::length_error`.
template <class = void>
[[nodiscard]] ItemLayout lay_out(Form form, const RowPadding& padding = {}) {
  const std::uint64_t row_bytes = bytes_of_row(form.type, row_elements(form, padding));
  Strides strides{gguf::type_info(form.type).block_bytes, row_bytes, 0, 0};
  for (std::size_t d = 2; d < strides.size(); ++d)
    strides[d] = multiply_sizes(strides[d - 1], form.shape.extent[d - 1]);
  const std::uint64_t extent = extent_of(form.shape, strides, row_bytes);
  const std::uint64_t bytes = extent == 0 ? 0 : add_sizes(extent, tail_of(form, padding));
  return {.name = std::move(form.name),
          .type = form.type,
          .shape = form.shape,
          .bytes = bytes,
          .purpose = form.purpose,
          .strides = strides,
          .row_bytes = row_bytes,
          .transposed = form.transposed};
}

/// Whether the words of a tensor are not in the machine's byte order.
template <class = void>
[[nodiscard]] bool is_swapped(const gguf::File& file, const gguf::TensorInfo& tensor) noexcept {
  return file.shards()[tensor.shard].byte_order() != std::endian::native;
}

/// The part of a tensor that lies in one run in file and memory, and how often.
struct Runs {
  std::uint64_t rows = 1;  // in a run
  std::size_t first = 1;   // the first dimension that counts runs
};

/// Requires: not transposed.
template <class = void>
[[nodiscard]] Runs runs_of(const ItemLayout& item) noexcept {
  Runs runs;
  while (runs.first < item.strides.size() &&
         (item.shape.extent[runs.first] == 1 ||
          item.strides[runs.first] == runs.rows * item.row_bytes)) {
    runs.rows *= item.shape.extent[runs.first++];
  }
  return runs;
}

}  // namespace allot::load::detail
