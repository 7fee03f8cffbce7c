// SPDX-License-Identifier: MIT
/// \file
/// What a transformed tensor must look like in memory, computed as plainly as possible: row by row
/// from the file, without tiles, threads or steps. `verify` compares with it.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/byte_order.hpp>
#include <allot/gguf/dequantize.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/plan/layout.hpp>
#include <allot/load/plan/plan.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace allot::load::detail {

/// Returns true if the tensor lies in memory as it does in the file.
template <class Owner = void>
[[nodiscard]] bool is_as_in_file(const gguf::File& file, const gguf::TensorInfo& tensor,
                                 const Item& item) {
  return !item.transposed && !item.cut && item.type == tensor.type && item.bytes == tensor.bytes &&
         !is_swapped(file, tensor) && runs_of(item).first == item.strides.size() &&
         item.row_bytes == bytes_of_row(tensor.type, tensor.shape.extent[0]);
}

/// The place in the file's tensor of what an item has of it.
struct Picked {
  const TensorCut* cut;  // null: everything

  /// \param dimension  of the tensor in the file
  /// \param place      in the item, along that dimension
  template <class Owner = void>
  [[nodiscard]] std::uint64_t operator()(std::uint32_t dimension,
                                         std::uint64_t place) const noexcept {
    return cut != nullptr && cut->dimension == dimension ? deferred<Owner>(*cut).in_tensor(place)
                                                         : place;
  }
};

/// Returns the elements of a row that an item has; `elements` of them.
/// Requires: those of columns are one range, in whole blocks.
template <class Owner = void>
[[nodiscard]] DeferredVector<std::byte, Owner> picked_elements(DeferredVector<std::byte, Owner> row,
                                                               const Picked& picked,
                                                               gguf::TensorType type,
                                                               std::uint64_t elements) {
  if (picked.cut == nullptr || picked.cut->dimension != 0) return row;
  DeferredVector<std::byte, Owner> made;
  const gguf::TypeInfo info = gguf::type_info(type);
  for (std::uint64_t i = 0; i < elements; i += info.block_elements) {
    const auto at = row.begin() + static_cast<std::ptrdiff_t>(picked(0, i) / info.block_elements *
                                                              info.block_bytes);
    made.insert(made.end(), at, at + static_cast<std::ptrdiff_t>(info.block_bytes));
  }
  return made;
}

/// Returns a row of the file's tensor, in the type that it has in memory.
template <class Owner = void>
[[nodiscard]] DeferredVector<std::byte, Owner> reference_row(const gguf::File& file,
                                                             const gguf::TensorInfo& tensor,
                                                             gguf::TensorType to,
                                                             std::uint64_t row) {
  const gguf::Shard& shard = file.shards()[tensor.shard];
  const auto elements = static_cast<std::size_t>(tensor.shape.extent[0]);
  DeferredVector<std::byte, Owner> stored(
      static_cast<std::size_t>(bytes_of_row(tensor.type, elements)));
  shard.read(shard.data_offset() + tensor.offset + row * stored.size(), stored);
  if (is_swapped(file, tensor)) gguf::swap_byte_order(tensor.type, stored);
  if (to == tensor.type) return stored;
  DeferredVector<std::byte, Owner> made(static_cast<std::size_t>(bytes_of_row(to, elements)));
  const auto store = [&]<class Number>(std::vector<Number> values) {
    gguf::dequantize(tensor.type, stored, std::span{values});
    std::memcpy(made.data(), values.data(), made.size());
  };
  if (to == gguf::TensorType::F32) store(DeferredVector<float, Owner>(elements));
  if (to == gguf::TensorType::F16) store(DeferredVector<gguf::Float16, Owner>(elements));
  if (to == gguf::TensorType::BF16) store(DeferredVector<gguf::BFloat16, Owner>(elements));
  return made;
}

/// Returns true if all bytes are 0.
template <class Owner = void>
[[nodiscard]] bool are_zeros(const std::byte* first, std::uint64_t bytes) noexcept {
  return bytes == 0 || (*first == std::byte{0} &&
                        std::memcmp(first, first + 1, static_cast<std::size_t>(bytes - 1)) == 0);
}

/// Finds the first byte that differs from the file, or that is not 0 in the padding.
/// \param memory  the whole item
template <class Owner = void>
[[nodiscard]] std::optional<std::uint64_t> compare_item(
    const gguf::File& file, const gguf::TensorInfo& tensor, const Item& item,
    DeferredSpan<const std::byte, Owner> memory) {
  const auto differs = [&](std::uint64_t at, const std::byte* expected,
                           std::uint64_t bytes) -> std::optional<std::uint64_t> {
    const std::byte* const found = memory.data() + at;
    if (expected == nullptr ? are_zeros(found, bytes)
                            : std::memcmp(found, expected, static_cast<std::size_t>(bytes)) == 0)
      return std::nullopt;
    for (std::uint64_t i = 0; i < bytes; ++i) {
      const std::byte wanted = expected == nullptr ? std::byte{0} : expected[i];
      if (found[i] != wanted) return at + i;
    }
    return std::nullopt;
  };
  auto extent = item.shape.extent;
  if (item.transposed) std::swap(extent[0], extent[1]);
  const auto& [columns, rows, matrices, batches] = extent;
  const Picked picked{item.cut ? &*item.cut : nullptr};
  const std::uint64_t size = gguf::type_info(item.type).block_bytes;
  for (std::uint64_t l = 0; l < batches; ++l) {
    for (std::uint64_t k = 0; k < matrices; ++k) {
      const std::uint64_t matrix = l * item.strides[3] + k * item.strides[2];
      for (std::uint64_t j = 0; j < rows; ++j) {
        const std::uint64_t matrix_in_file = l * tensor.shape.extent[2] + picked(2, k);
        const std::uint64_t row = matrix_in_file * tensor.shape.extent[1] + picked(1, j);
        const DeferredVector<std::byte, Owner> expected = picked_elements(
            reference_row(file, tensor, item.type, row), picked, item.type, columns);
        if (!item.transposed) {
          const std::uint64_t at = matrix + j * item.strides[1];
          if (const auto byte = differs(at, expected.data(), expected.size())) return byte;
          if (const auto byte =
                  differs(at + expected.size(), nullptr, item.row_bytes - expected.size()))
            return byte;
          continue;
        }
        for (std::uint64_t i = 0; i < columns; ++i) {
          const std::uint64_t at = matrix + i * item.strides[1] + j * size;
          if (const auto byte = differs(at, expected.data() + i * size, size)) return byte;
        }
      }
      for (std::uint64_t i = 0; item.transposed && i < columns; ++i) {
        const std::uint64_t at = matrix + i * item.strides[1] + rows * size;
        if (const auto byte = differs(at, nullptr, item.row_bytes - rows * size)) return byte;
      }
    }
  }
  if (item.part_of) return std::nullopt;
  const std::uint64_t end = extent_of(item);
  return differs(end, nullptr, item.bytes - end);
}

/// The same for the zeros after a fused tensor; the rest belongs to its parts.
template <class Owner = void>
[[nodiscard]] std::optional<std::uint64_t> compare_tail(
    const Item& item, DeferredSpan<const std::byte, Owner> memory) {
  const std::uint64_t end = extent_of(item);
  if (end >= item.bytes || are_zeros(memory.data() + end, item.bytes - end)) return std::nullopt;
  for (std::uint64_t i = end; i < item.bytes; ++i) {
    if (memory[static_cast<std::size_t>(i)] != std::byte{0}) return i;
  }
  return std::nullopt;
}

}  // namespace allot::load::detail
