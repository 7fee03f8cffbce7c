// SPDX-License-Identifier: MIT
/// \file
/// Checks that a plan can be carried out: it is a plain value, and may belong to another file.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/dequantize.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/plan/layout.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/plan/sort.hpp>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace allot::load::detail {

/// Returns true if a cut is a part of a tensor, in whole blocks.
template <class = void>
[[nodiscard]] bool is_part_of(const TensorCut& cut, const gguf::TensorInfo& tensor) noexcept {
  const bool is_vector = cut.dimension == 0 && tensor.shape.rank < 2;
  const bool is_matrix = tensor.shape.extent[2] == 1 && tensor.shape.extent[3] == 1;
  if (cut.dimension > 2 || cut.ranges.empty()) return false;
  if (cut.ranges.size() > 1 && cut.dimension != 1 && !is_vector) return false;
  if (cut.dimension == 0 ? !is_matrix : cut.dimension == 2 && tensor.shape.extent[3] != 1)
    return false;
  const std::uint64_t block =
      cut.dimension == 0 ? gguf::type_info(tensor.type).block_elements : std::uint64_t{1};
  std::uint64_t end = 0;
  for (const CutRange& range : cut.ranges) {
    const std::uint64_t extent = tensor.shape.extent[cut.dimension];
    if (range.count == 0 || range.first < end || range.first > extent ||
        range.count > extent - range.first)
      return false;
    if (range.first % block != 0 || range.count % block != 0) return false;
    end = range.first + range.count;
  }
  return true;
}

/// Returns true if a tensor can become the item, and the item's rows lie within its bytes.
/// Throws: `std::length_error` if they would end beyond 2^64.
template <class Owner = void>
[[nodiscard]] bool can_become(const gguf::TensorInfo& tensor, const Item& item) {
  auto extent = item.shape.extent;
  if (item.transposed) std::swap(extent[0], extent[1]);
  const bool is_decoded = item.type == gguf::TensorType::F32 ||
                          item.type == gguf::TensorType::F16 || item.type == gguf::TensorType::BF16;
  const bool is_it = item.purpose == Purpose::copy ||
                     (item.purpose == Purpose::weight && item.name == tensor.name);
  auto expected = tensor.shape.extent;
  if (item.cut) {
    const bool is_of_rows = item.cut->dimension == 1;
    if (!is_part_of(*item.cut, tensor) ||
        (item.transposed && !is_of_rows && item.cut->ranges.size() != 1))
      return false;
    expected[item.cut->dimension] = item.cut->extent();
  }
  return is_it && extent == expected &&
         (item.type == tensor.type || (is_decoded && gguf::has_values(tensor.type))) &&
         (!item.transposed || has_own_elements(item.type)) &&
         (item.left_out
              ? item.bytes == 0
              : (item.bytes == 0) == (tensor.bytes == 0) && extent_of(item) <= item.bytes) &&
         item.row_bytes >= bytes_of_row(item.type, item.shape.extent[0]);
}

/// Returns true if a step that transforms makes as many bytes from its tensor as it states.
template <class Owner = void>
[[nodiscard]] bool is_consistent(const Step& step, const gguf::File& file, const Plan& plan) {
  if (step.transform == Transform::none) return step.arena_bytes == step.bytes;
  if (step.item >= plan.items.size()) return false;
  if (step.transform == Transform::zero) return step.bytes == 0;
  const std::uint32_t source = plan.source_of(step.item);
  if (source >= file.tensors().size() || file.tensors()[source].bytes == 0) return false;
  const gguf::TensorInfo& tensor = file.tensors()[source];
  const Item& item = plan.items[step.item];
  const bool is_transposed = step.transform == Transform::transpose;
  if (cuts_vector(item, tensor)) {
    const std::uint64_t size = gguf::type_info(tensor.type).block_bytes;
    return !is_transposed && !item.transposed && step.bytes % size == 0 &&
           checked_multiply(step.bytes / size, item.strides[0]) == step.arena_bytes;
  }
  const std::uint64_t file_row = bytes_of_row(tensor.type, elements_read(item, tensor));
  if (item.transposed != is_transposed || file_row == 0 || step.bytes % file_row != 0) return false;
  const std::uint64_t rows =
      is_transposed ? item.shape.extent[1] * item.shape.extent[2] * item.shape.extent[3]
                    : step.bytes / file_row;
  return item.row_bytes >= bytes_of_row(item.type, item.shape.extent[0]) &&
         (!is_transposed || step.bytes == bytes_read(item, tensor)) &&
         checked_multiply(rows, item.row_bytes) == step.arena_bytes;
}

/// Returns the bytes of the file from a step's first to its last: of columns, and of rows that are
/// transposed, also those between them. The most there can be, if it is more.
template <class = void>
[[nodiscard]] std::uint64_t bytes_passed(const Step& step, const gguf::File& file,
                                         const Plan& plan) {
  const bool transforms =
      step.transform == Transform::convert || step.transform == Transform::transpose;
  if (!transforms || step.item >= plan.items.size()) return step.bytes;
  const std::uint32_t source = plan.source_of(step.item);
  if (source >= file.tensors().size()) return step.bytes;
  const gguf::TensorInfo& tensor = file.tensors()[source];
  const auto& cut = plan.items[step.item].cut;
  if (step.transform == Transform::transpose && cut && cut->dimension == 1) {
    const auto& extent = tensor.shape.extent;
    const CutRange& last = cut->ranges.back();
    const std::uint64_t others = (extent[2] * extent[3] - 1) * extent[1];  // of other matrices
    return (others + last.first + last.count - cut->ranges.front().first) *
           bytes_of_row(tensor.type, extent[0]);
  }
  if (!cuts_columns(plan.items[step.item], tensor)) return step.bytes;
  const std::uint64_t part = bytes_of_row(tensor.type, plan.items[step.item].cut->extent());
  if (part == 0 || step.bytes == 0) return step.bytes;
  const auto rows =
      checked_multiply(step.bytes / part - 1, bytes_of_row(tensor.type, tensor.shape.extent[0]));
  return rows ? checked_add(*rows, part).value_or(largest_of<std::uint64_t>)
              : largest_of<std::uint64_t>;
}

/// Throws: `std::logic_error` unless the step lies inside its shard and its arena.
/// Requires: `check_items` found the plan's items right.
template <class Owner = void>
void check_step(const Step& step, const gguf::File& file, const Plan& plan) {
  const auto file_end = checked_add(step.file_offset, bytes_passed(step, file, plan));
  const auto arena_end = checked_add(step.arena_offset, step.arena_bytes);
  const bool reads = step.transform != Transform::zero;
  const bool fits = step.arena < plan.arenas.size() && arena_end &&
                    *arena_end <= plan.arenas[step.arena].capacity &&
                    (!reads || (step.shard < file.shards().size() && file_end &&
                                *file_end <= file.shards()[step.shard].size()));
  if (!fits || !is_consistent(step, file, plan)) {
    throw std::logic_error{"a step of " + std::to_string(step.bytes) + " bytes at " +
                           std::to_string(step.file_offset) + " of shard " +
                           std::to_string(step.shard) +
                           " lies outside the file or its arena; "
                           "load the file that the plan was made for"};
  }
}

/// Throws: `std::logic_error` if two steps write the same byte: threads carry them out
/// concurrently.
/// Requires: `check_step` found each of them right. Complexity: O(n log n) in the steps.
/// \tparam Steps  a range of `Step`; as a parameter, so that this is compiled only where it is called
template <class Steps>
void check_apart(const Steps& steps) {
  DeferredVector<const Step*, Steps> sorted;
  for (const auto& step : steps) {
    if (step.arena_bytes != 0) sorted.push_back(&step);
  }
  sort_stably(sorted, [](const Step* a, const Step* b) {
    return a->arena != b->arena ? a->arena < b->arena : a->arena_offset < b->arena_offset;
  });
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    const Step& first = *sorted[i - 1];
    const Step& second = *sorted[i];
    if (first.arena != second.arena ||
        second.arena_offset - first.arena_offset >= first.arena_bytes)
      continue;
    throw std::logic_error{"two steps write byte " + std::to_string(second.arena_offset) +
                           " of arena " + std::to_string(second.arena) +
                           "; load a plan that make_plan made, unchanged"};
  }
}

/// Throws: `std::logic_error` unless the plan's tensors are those of the file.
template <class Owner = void>
void check_items(const Plan& plan, const gguf::File& file) {
  const auto& tensors = file.tensors();
  const auto has_place = [&](const Item& item) {
    const bool is_copy = item.purpose == Purpose::copy;
    if (is_copy != item.copy_of.has_value()) return false;
    if (is_copy && (*item.copy_of >= tensors.size() || !can_become(tensors[*item.copy_of], item))) {
      return false;
    }
    if (item.part_of)
      return item.part_of->item < plan.items.size() &&
             plan.items[item.part_of->item].has_own_memory();
    return item.bytes == 0 || item.arena < plan.arenas.size();
  };
  bool fits =
      plan.count_of(Purpose::weight) == tensors.size() && plan.items.size() >= tensors.size();
  for (std::size_t i = 0; fits && i < tensors.size(); ++i)
    fits = can_become(tensors[i], plan.items[i]);
  for (const Item& item : plan.items) fits = fits && has_place(item);
  if (fits) return;
  throw std::logic_error{
      "the plan's tensors are not those of the file; load the file that the plan was made for"};
}

/// Throws: `std::logic_error` unless the plan can be carried out with the file.
template <class Owner = void>
void check_plan(const Plan& plan, const gguf::File& file) {
  gguf::require_complete(file);
  check_items(plan, file);
  for (const Step& step : plan.steps) check_step(step, file, plan);
  check_apart(plan.steps);
}

}  // namespace allot::load::detail
