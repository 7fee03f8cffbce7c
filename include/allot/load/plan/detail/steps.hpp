// SPDX-License-Identifier: MIT
/// \file
/// The last of a plan's four steps: maps bytes of the file to places in arenas.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/plan/detail/place.hpp>
#include <allot/load/plan/layout.hpp>
#include <allot/load/plan/plan.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace allot::load::detail {

/// Returns true if `next` continues `step`: the same distance in the file as in the arena, and only
/// the padding of the block before, which ends at `granted_end`, in between.
template <class Owner = void>
[[nodiscard]] bool continues(const Step& step, const Step& next,
                             std::uint64_t granted_end) noexcept {
  if (step.transform != Transform::none || next.transform != Transform::none) return false;
  if (next.shard != step.shard || next.file_offset < step.file_offset + step.bytes) return false;
  if (next.arena != step.arena || next.arena_offset < step.arena_offset) return false;
  if (next.arena_offset > granted_end) return false;
  return next.file_offset - step.file_offset == next.arena_offset - step.arena_offset;
}

/// Makes the steps one after another: each may continue the one before.
template <class Owner = void>
class StepMaker {
 public:
  StepMaker(const gguf::File& file, DeferredSpan<const PlacedItem, Owner> items)
      : file_{file}, items_{items} {}

  [[nodiscard]] DeferredVector<Step, Owner> run() {
    for (std::uint32_t i = 0; i < file_.tensors().size(); ++i) {
      if (items_[i].item.bytes != 0) tensor(i);
    }
    for (std::uint32_t i = 0; i < items_.size(); ++i) {
      if (items_[i].item.copy_of && items_[i].item.bytes != 0) tensor(i);
    }
    for (std::uint32_t i = 0; i < items_.size(); ++i) {
      const Item& item = items_[i].item;
      if (item.strides[0] != 0 && item.has_own_memory()) tail(i);
    }
    return std::move(steps_);
  }

 private:
  void tensor(std::uint32_t index) {
    const Item& item = items_[index].item;
    const gguf::TensorInfo& tensor = file_.tensors()[item.copy_of.value_or(index)];
    const std::uint64_t file_row = bytes_of_row(tensor.type, tensor.shape.extent[0]);
    Step step{.shard = tensor.shard,
              .file_offset = file_.shards()[tensor.shard].data_offset() + tensor.offset,
              .bytes = bytes_read(item, tensor),
              .arena = item.arena,
              .arena_offset = item.offset,
              .arena_bytes = extent_of(item),
              .transform = Transform::transpose,
              .item = index};
    const bool in_ranges = cuts_rows(item, tensor) && !item.transposed;
    if (item.cut && !in_ranges) step.file_offset += first_byte_of(*item.cut, tensor);
    if (item.transposed) {
      steps_.push_back(step);
      return;
    }
    const bool is_plain = item.type == tensor.type && !is_swapped(file_, tensor) &&
                          !cuts_columns(item, tensor) &&
                          (cuts_vector(item, tensor) || item.row_bytes == file_row);
    step.transform = is_plain ? Transform::none : Transform::convert;
    const std::uint64_t granted_end =
        is_plain && extent_of(item) == item.bytes ? items_[index].granted_end : 0;
    if (in_ranges) {
      rows_of_cut(item, tensor, step, granted_end);
      return;
    }
    const Runs runs = runs_of(item);
    step.bytes = runs.rows * bytes_of_row(tensor.type, elements_read(item, tensor));
    step.arena_bytes = runs.rows * item.row_bytes;
    each_run(item, runs.first, item.shape.extent.size() - 1, step, granted_end);
  }

  /// Adds a step for each range of rows of a cut, in each matrix. A vector's elements count as rows.
  void rows_of_cut(const Item& item, const gguf::TensorInfo& tensor, Step& step,
                   std::uint64_t granted_end) {
    const bool is_vector = item.cut->dimension == 0;
    const std::uint64_t file_row =
        bytes_of_row(tensor.type, is_vector ? 1 : tensor.shape.extent[0]);
    const std::uint64_t arena_row = is_vector ? item.strides[0] : item.row_bytes;
    const std::uint64_t file_matrix =
        bytes_of_row(tensor.type, tensor.shape.extent[0]) * tensor.shape.extent[1];
    const std::uint64_t file_start = step.file_offset;
    for (std::uint64_t l = 0; l < item.shape.extent[3]; ++l) {
      for (std::uint64_t k = 0; k < item.shape.extent[2]; ++k) {
        const std::uint64_t matrix = l * item.shape.extent[2] + k;
        step.arena_offset = item.offset + l * item.strides[3] + k * item.strides[2];
        for (const CutRange& range : item.cut->ranges) {
          step.file_offset = file_start + matrix * file_matrix + range.first * file_row;
          step.bytes = range.count * file_row;
          step.arena_bytes = range.count * arena_row;
          add(step, granted_end);
          step.arena_offset += step.arena_bytes;
        }
      }
    }
  }

  /// Adds a step for each run of the dimensions from `first` to `last`.
  void each_run(const Item& item, std::size_t first, std::size_t last, Step& step,
                std::uint64_t granted_end) {
    if (last < first) {
      add(step, granted_end);
      step.file_offset += step.bytes;
      return;
    }
    const std::uint64_t start = step.arena_offset;
    for (std::uint64_t i = 0; i < item.shape.extent[last]; ++i) {
      step.arena_offset = start + i * item.strides[last];
      each_run(item, first, last - 1, step, granted_end);
    }
    step.arena_offset = start;
  }

  /// \param granted_end  the last offset at which the next may begin to share the step with this
  ///                     one
  void add(const Step& step, std::uint64_t granted_end) {
    if (!steps_.empty() && continues(steps_.back(), step, granted_end_)) {
      Step& last = steps_.back();
      last.bytes = step.arena_offset + step.bytes - last.arena_offset;
      last.arena_bytes = last.bytes;
    } else {
      steps_.push_back(step);
    }
    granted_end_ = granted_end != 0 ? granted_end : step.arena_offset + step.arena_bytes;
  }

  /// Adds the zeros after a tensor.
  void tail(std::uint32_t index) {
    const Item& item = items_[index].item;
    const std::uint64_t extent = extent_of(item);
    if (extent == item.bytes) return;
    steps_.push_back({.shard = 0,
                      .file_offset = 0,
                      .bytes = 0,
                      .arena = item.arena,
                      .arena_offset = item.offset + extent,
                      .arena_bytes = item.bytes - extent,
                      .transform = Transform::zero,
                      .item = index});
  }

  const gguf::File& file_;
  DeferredSpan<const PlacedItem, Owner> items_;
  DeferredVector<Step, Owner> steps_;
  std::uint64_t granted_end_ = 0;
};

/// Returns the complete plan.
template <class Owner>
[[nodiscard]] Deferred<Plan, Owner> with_steps(const gguf::File& file, Placed<Owner> placed) {
  Deferred<Plan, Owner> plan{.arenas = std::move(placed.arenas),
                             .items = {},
                             .steps = StepMaker<Owner>{file, placed.items}.run(),
                             .fusions = std::move(placed.fusions),
                             .notes = std::move(placed.notes)};
  plan.items.reserve(placed.items.size());
  for (auto& item : placed.items) plan.items.push_back(std::move(item.item));
  return plan;
}

}  // namespace allot::load::detail
