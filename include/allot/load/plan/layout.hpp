// SPDX-License-Identifier: MIT
/// \file
/// How tensors lie in memory: the bytes of a row, the distances between rows, the zeros after
/// them, and the parts that are contiguous in the file too.
///
/// These functions, and others that plan and load, are templates without a real parameter, on
/// purpose: code that makes no plan does not pay for their instantiation, only for the header.
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

/// Returns the bytes of a row of `elements` elements. Requires: whole blocks.
template <class = void>
[[nodiscard]] std::uint64_t bytes_of_row(gguf::TensorType type, std::uint64_t elements) {
  const gguf::TypeInfo info = gguf::type_info(type);
  return multiply_sizes(elements / info.block_elements, info.block_bytes);
}

/// Returns the bytes from the first to the last, without what follows the last row.
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

/// A description of what is to lie in memory.
struct Form {
  std::string name;
  gguf::TensorType type;  // in memory
  gguf::Shape shape;      // likewise
  Purpose purpose = Purpose::weight;
  bool transposed = false;
};

/// Returns the elements of a row, including the zeros after it.
template <class = void>
[[nodiscard]] std::uint64_t row_elements(const Form& form, const RowPadding& padding) {
  const std::uint64_t own = form.shape.extent[0];
  const bool is_padded =
      padding.where == Padding::every_row && form.shape.rank >= 2 && !form.name.ends_with(".bias");
  if (!is_padded) return own;
  return multiply_sizes(own / padding.multiple + (own % padding.multiple != 0 ? 1 : 0),
                        padding.multiple);
}

/// Returns the bytes of the zeros after the last row.
template <class = void>
[[nodiscard]] std::uint64_t tail_of(const Form& form, const RowPadding& padding) {
  if (padding.where != Padding::last_row || has_own_elements(form.type)) return 0;
  const std::uint64_t over = form.shape.extent[0] % padding.multiple;
  return over == 0 ? 0 : bytes_of_row(form.type, padding.multiple - over);
}

/// Returns how something lies in memory. Throws: `std::length_error`.
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

/// Returns true if the words of a tensor are not in the machine's byte order.
template <class = void>
[[nodiscard]] bool is_swapped(const gguf::File& file, const gguf::TensorInfo& tensor) noexcept {
  return file.shards()[tensor.shard].byte_order() != std::endian::native;
}

/// Returns true for a part of a vector.
template <class = void>
[[nodiscard]] bool cuts_vector(const ItemLayout& item, const gguf::TensorInfo& tensor) noexcept {
  return item.cut && item.cut->dimension == 0 && tensor.shape.rank < 2;
}

/// Returns true for a part that is whole rows, or of a vector: a range of it is a range of the file.
template <class = void>
[[nodiscard]] bool cuts_rows(const ItemLayout& item, const gguf::TensorInfo& tensor) noexcept {
  return item.cut && (item.cut->dimension == 1 || cuts_vector(item, tensor));
}

/// Returns true for a part of the columns of a matrix: each of its rows is a range of the file.
template <class = void>
[[nodiscard]] bool cuts_columns(const ItemLayout& item, const gguf::TensorInfo& tensor) noexcept {
  return item.cut && item.cut->dimension == 0 && tensor.shape.rank >= 2;
}

/// Returns the elements of a row in the file that an item is made from.
template <class = void>
[[nodiscard]] std::uint64_t elements_read(const ItemLayout& item,
                                          const gguf::TensorInfo& tensor) noexcept {
  return item.cut && item.cut->dimension == 0 ? item.cut->extent() : tensor.shape.extent[0];
}

/// Returns the bytes of the file that an item is made from.
template <class = void>
[[nodiscard]] std::uint64_t bytes_read(const ItemLayout& item, const gguf::TensorInfo& tensor) {
  if (!item.cut) return tensor.bytes;
  std::uint64_t bytes = bytes_of_row(tensor.type, elements_read(item, tensor));
  for (std::size_t d = 1; d < tensor.shape.extent.size(); ++d) {
    const bool is_cut = item.cut->dimension == d;
    bytes = multiply_sizes(bytes, is_cut ? item.cut->extent() : tensor.shape.extent[d]);
  }
  return bytes;
}

/// Returns the place in a tensor of the first byte of a cut's first range.
template <class = void>
[[nodiscard]] std::uint64_t first_byte_of(const TensorCut& cut, const gguf::TensorInfo& tensor) {
  std::uint64_t bytes = bytes_of_row(
      tensor.type, cut.dimension == 0 ? cut.ranges.front().first : tensor.shape.extent[0]);
  for (std::uint32_t d = 1; d <= cut.dimension; ++d)
    bytes *= d == cut.dimension ? cut.ranges.front().first : tensor.shape.extent[d];
  return bytes;
}

/// The part of a tensor that is contiguous in file and memory, and how often it occurs.
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
