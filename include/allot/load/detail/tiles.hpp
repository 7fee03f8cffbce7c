// SPDX-License-Identifier: MIT
/// \file
/// Steps that transform, in tiles: each can be made on its own, by any thread, in memory of any
/// size: in a slot on its way to a device, or in place.
#pragma once

#include <allot/core/units.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/detail/convert.hpp>
#include <allot/load/plan/plan.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace allot::load::detail {

/// A part of a step that one reader makes at once. Transposed: some rows and columns of one of the
/// file's matrices; without rows, the zeros behind the columns.
struct Tile {
  const Step* step;
  std::uint64_t at;          // of the step's bytes in the arena; transposed: the first one's
  std::uint64_t bytes;       // in the arena
  std::uint64_t slot_bytes;  // that it takes in a slot
  std::uint64_t first_row = 0;
  std::uint64_t rows = 0;
  std::uint64_t first_column = 0;
  std::uint64_t columns = 0;
  std::uint64_t matrix = 0;
};

/// A step that transforms, as tiles of at most `most_bytes`. Each is worked out when it is asked
/// for: tensors of a great many tiny matrices take no memory for their tiles.
class Tiling {
 public:
  /// Requires: `most_bytes` holds a block of any type, in any other; the step has bytes.
  Tiling(const gguf::File& file, const Plan& plan, const Step& step, std::uint64_t most_bytes)
      : step_{&step}, most_bytes_{most_bytes} {
    if (step.transform == Transform::transpose) {
      cut_transposed(file, plan);
    } else {
      cut_in_order(file, plan);
    }
  }

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

  /// Requires: `number` below `size()`.
  [[nodiscard]] Tile operator[](std::uint64_t number) const noexcept {
    return step_->transform == Transform::transpose ? transposed(number) : in_order(number);
  }

 private:
  [[nodiscard]] static std::uint64_t parts_of(std::uint64_t whole, std::uint64_t part) noexcept {
    return whole / part + (whole % part != 0 ? 1 : 0);
  }

  /// Whole rows, or parts of one.
  void cut_in_order(const gguf::File& file, const Plan& plan) {
    std::uint64_t row = step_->arena_bytes;
    std::uint64_t unit = 1;
    if (step_->transform == Transform::convert) {
      const Conversion conversion{file, plan, *step_};
      row = conversion.row_bytes;
      unit = conversion.unit_to;
    }
    run_ = row <= most_bytes_ ? step_->arena_bytes : row;
    part_ = row <= most_bytes_ ? most_bytes_ / row * row : most_bytes_ / unit * unit;
    parts_ = parts_of(run_, part_);
    size_ = step_->arena_bytes / run_ * parts_;
  }

  [[nodiscard]] Tile in_order(std::uint64_t number) const noexcept {
    const std::uint64_t in_run = number % parts_ * part_;
    const std::uint64_t bytes = std::min(part_, run_ - in_run);
    return {
        .step = step_, .at = number / parts_ * run_ + in_run, .bytes = bytes, .slot_bytes = bytes};
  }

  /// Some columns of many rows, so that what goes to one place in the arena is long; whole blocks
  /// of columns, so that nothing is read twice.
  void cut_transposed(const gguf::File& file, const Plan& plan) {
    const std::uint64_t usual_columns = most_bytes_ < 1 * MiB ? 256 : 1024;
    const Item& item = plan.items[step_->item];
    const auto& extent = item.shape.extent;
    rows_ = extent[0];
    columns_ = extent[1];
    row_bytes_ = item.row_bytes;
    size_of_one_ = gguf::type_info(item.type).block_bytes;
    const std::uint64_t block = gguf::type_info(file.tensors()[step_->item].type).block_elements;
    const std::uint64_t most_columns = std::max<std::uint64_t>(1024, 64 * KiB / rows_);

    width_ = std::max(block, std::min(usual_columns, most_bytes_ / size_of_one_) / block * block);
    const std::uint64_t whole = std::min(most_columns, most_bytes_ / (rows_ * size_of_one_));
    width_ = std::min(std::max(width_, whole / block * block), columns_);
    height_ = std::min(rows_, most_bytes_ / (width_ * size_of_one_));
    parts_ = parts_of(rows_, height_) + (zeros() != 0 ? 1 : 0);
    size_ = extent[2] * extent[3] * parts_of(columns_, width_) * parts_;
  }

  [[nodiscard]] Tile transposed(std::uint64_t number) const noexcept {
    const std::uint64_t strips = parts_of(columns_, width_);
    const std::uint64_t strip = number / parts_;
    const std::uint64_t row = number % parts_ * height_;
    const std::uint64_t column = strip % strips * width_;
    Tile tile{.step = step_,
              .at = (strip / strips * columns_ + column) * row_bytes_,
              .bytes = 0,
              .slot_bytes = 0,
              .first_column = column,
              .columns = std::min(width_, columns_ - column),
              .matrix = strip / strips};
    if (row < rows_) {
      tile.at += row * size_of_one_;
      tile.first_row = row;
      tile.rows = std::min(height_, rows_ - row);
      tile.bytes = tile.slot_bytes = tile.columns * tile.rows * size_of_one_;
    } else {
      tile.at += rows_ * size_of_one_;
      tile.bytes = tile.columns * zeros();
      tile.slot_bytes = std::min(zeros(), most_bytes_);
    }
    return tile;
  }

  /// Bytes behind each of the columns.
  [[nodiscard]] std::uint64_t zeros() const noexcept { return row_bytes_ - rows_ * size_of_one_; }

  const Step* step_;
  std::uint64_t most_bytes_;
  std::uint64_t size_ = 0;
  std::uint64_t parts_ = 1;  // of a run; transposed: of the rows, and one for the zeros
  std::uint64_t run_ = 0;    // bytes that are cut alike
  std::uint64_t part_ = 0;
  std::uint64_t rows_ = 0;  // these: transposed, of the file's matrices
  std::uint64_t columns_ = 0;
  std::uint64_t width_ = 0;  // columns of a tile
  std::uint64_t height_ = 0;
  std::uint64_t row_bytes_ = 0;  // of a column in memory
  std::uint64_t size_of_one_ = 0;
};

/// Writes a tile's columns, one every `column_bytes` from `out` on.
inline void transpose(const Conversion& conversion, const Plan& plan, const Tile& tile,
                      std::byte* out, std::uint64_t column_bytes) {
  const std::uint64_t size = gguf::type_info(conversion.to).block_bytes;
  const std::uint64_t block = gguf::type_info(conversion.from).block_elements;
  const auto& extent = plan.items[tile.step->item].shape.extent;
  const std::uint64_t units = tile.columns / block;
  const std::uint64_t first = conversion.file_offset +
                              (tile.matrix * extent[0] + tile.first_row) * conversion.file_row +
                              tile.first_column / block * conversion.unit_from;
  std::vector<std::byte> values(
      static_cast<std::size_t>(std::min(scattered_rows, tile.rows) * tile.columns * size));
  const bool is_whole = tile.columns == extent[1];  // its rows lie one behind the other
  BlockReader reader{conversion};
  if (is_whole) reader.start(first, tile.rows * conversion.file_row);
  for (std::uint64_t done = 0; done < tile.rows; done += scattered_rows) {
    const std::uint64_t rows = std::min(scattered_rows, tile.rows - done);
    if (is_whole) {
      convert_units(conversion, reader, rows * units, values.data());
    } else {
      for (std::uint64_t i = 0; i < rows; ++i) {
        reader.start(first + (done + i) * conversion.file_row, units * conversion.unit_from);
        convert_units(conversion, reader, units, values.data() + i * tile.columns * size);
      }
    }
    std::byte* const to = out + done * size;
    switch (size) {
      case 1:
        scatter<1>(values.data(), rows, tile.columns, to, column_bytes);
        break;
      case 2:
        scatter<2>(values.data(), rows, tile.columns, to, column_bytes);
        break;
      case 4:
        scatter<4>(values.data(), rows, tile.columns, to, column_bytes);
        break;
      default:
        scatter<8>(values.data(), rows, tile.columns, to, column_bytes);
        break;
    }
  }
}

/// Makes a tile in a slot, packed: transposed, column behind column.
inline void make_tile(const gguf::File& file, const Plan& plan, const Tile& tile,
                      std::span<std::byte> slot) {
  const auto out = slot.first(static_cast<std::size_t>(tile.slot_bytes));
  const Transform transform = tile.step->transform;
  if (transform == Transform::convert) {
    convert(Conversion{file, plan, *tile.step}, tile.at, out);
  } else if (tile.rows == 0) {
    std::fill(out.begin(), out.end(), std::byte{0});
  } else {
    transpose(Conversion{file, plan, *tile.step}, plan, tile, out.data(),
              out.size() / tile.columns);
  }
}

/// Calls `copy(to, from, bytes)` for each run of a tile in the arena: `to` in bytes from the
/// arena's start, `from` from the slot's.
template <class F>
void each_run_of(const Plan& plan, const Tile& tile, F&& copy) {
  const std::uint64_t first = tile.step->arena_offset + tile.at;
  const std::uint64_t row_bytes = plan.items[tile.step->item].row_bytes;
  if (tile.columns == 0 || tile.bytes == tile.columns * row_bytes) {
    copy(first, std::uint64_t{0}, tile.bytes);
    return;
  }
  const std::uint64_t piece = tile.bytes / tile.columns;
  for (std::uint64_t column = 0; column < tile.columns; ++column) {
    const std::uint64_t to = first + column * row_bytes;
    if (tile.rows != 0) {
      copy(to, column * piece, piece);
      continue;
    }
    for (std::uint64_t at = 0; at < piece; at += tile.slot_bytes)  // the same zeros again
      copy(to + at, std::uint64_t{0}, std::min(tile.slot_bytes, piece - at));
  }
}

/// Makes a tile where it belongs, in memory that the host addresses.
inline void make_tile_in_place(const gguf::File& file, const Plan& plan, const Tile& tile,
                               std::byte* arena) {
  if (tile.step->transform == Transform::transpose && tile.rows != 0) {
    transpose(Conversion{file, plan, *tile.step}, plan, tile,
              arena + tile.step->arena_offset + tile.at, plan.items[tile.step->item].row_bytes);
    return;
  }
  each_run_of(plan, tile, [&](std::uint64_t to, std::uint64_t, std::uint64_t bytes) {
    const std::span out{arena + to, static_cast<std::size_t>(bytes)};
    if (tile.step->transform == Transform::convert) {
      convert(Conversion{file, plan, *tile.step}, tile.at, out);
    } else {
      std::fill(out.begin(), out.end(), std::byte{0});
    }
  });
}

}  // namespace allot::load::detail
