// SPDX-License-Identifier: MIT
/// \file
/// The steps of a plan: which bytes of the file go where, once every item has its place.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/plan/transform.hpp>

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

namespace allot::load::detail {

/// Whether the words of a tensor are not in the machine's byte order.
[[nodiscard]] inline bool is_swapped(const gguf::File& file,
                                     const gguf::TensorInfo& tensor) noexcept {
  return file.shards()[tensor.shard].byte_order() != std::endian::native;
}

/// Whether `next` continues `step`: the same distance in the file as in the arena, and nothing
/// between the two but the padding of the block before, which ends at `granted_end`.
[[nodiscard]] inline bool continues(const Step& step, const Step& next,
                                    std::uint64_t granted_end) noexcept {
  if (step.transform != Transform::none || next.transform != Transform::none) return false;
  if (next.shard != step.shard || next.file_offset < step.file_offset + step.bytes) return false;
  if (next.arena != step.arena || next.arena_offset < step.arena_offset) return false;
  if (next.arena_offset > granted_end) return false;
  return next.file_offset - step.file_offset == next.arena_offset - step.arena_offset;
}

/// The part of a tensor that lies in one run in file and memory, and how often.
struct Runs {
  std::uint64_t rows = 1;  // in a run
  std::size_t first = 1;   // the first dimension that counts runs
};

/// Requires: not transposed.
[[nodiscard]] inline Runs runs_of(const Item& item) noexcept {
  Runs runs;
  while (runs.first < item.strides.size() &&
         (item.shape.extent[runs.first] == 1 ||
          item.strides[runs.first] == runs.rows * item.row_bytes)) {
    runs.rows *= item.shape.extent[runs.first++];
  }
  return runs;
}

class StepMaker {
 public:
  /// \param granted_ends  for each item, where its block ends in its arena
  StepMaker(const gguf::File& file, std::span<const Item> items,
            std::span<const std::uint64_t> granted_ends)
      : file_{file}, items_{items}, granted_ends_{granted_ends} {}

  [[nodiscard]] std::vector<Step> run() {
    for (std::uint32_t i = 0; i < file_.tensors().size(); ++i) {
      if (items_[i].bytes != 0) tensor(i);
    }
    for (std::uint32_t i = 0; i < items_.size(); ++i) {
      if (items_[i].strides[0] != 0 && items_[i].has_own_memory()) tail(i);
    }
    return std::move(steps_);
  }

 private:
  void tensor(std::uint32_t index) {
    const Item& item = items_[index];
    const gguf::TensorInfo& tensor = file_.tensors()[index];
    const std::uint64_t file_row = bytes_of_row(tensor.type, tensor.shape.extent[0]);
    Step step{.shard = tensor.shard,
              .file_offset = file_.shards()[tensor.shard].data_offset() + tensor.offset,
              .bytes = tensor.bytes,
              .arena = item.arena,
              .arena_offset = item.offset,
              .arena_bytes = extent_of(item),
              .transform = Transform::transpose,
              .item = index};
    if (item.transposed) {
      steps_.push_back(step);
      return;
    }
    const bool is_plain =
        item.type == tensor.type && item.row_bytes == file_row && !is_swapped(file_, tensor);
    step.transform = is_plain ? Transform::none : Transform::convert;
    const Runs runs = runs_of(item);
    step.bytes = runs.rows * file_row;
    step.arena_bytes = runs.rows * item.row_bytes;
    const std::uint64_t granted_end =
        is_plain && extent_of(item) == item.bytes ? granted_ends_[index] : 0;
    each_run(item, runs.first, item.shape.extent.size() - 1, step, granted_end);
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

  /// \param granted_end  where the next may begin at the latest to travel with this one
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

  /// The zeros behind a tensor.
  void tail(std::uint32_t index) {
    const Item& item = items_[index];
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
  std::span<const Item> items_;
  std::span<const std::uint64_t> granted_ends_;
  std::vector<Step> steps_;
  std::uint64_t granted_end_ = 0;
};

[[nodiscard]] inline std::vector<Step> make_steps(const gguf::File& file,
                                                  std::span<const Item> items,
                                                  std::span<const std::uint64_t> granted_ends) {
  return StepMaker{file, items, granted_ends}.run();
}

}  // namespace allot::load::detail
