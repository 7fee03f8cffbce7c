// SPDX-License-Identifier: MIT
/// \file
/// Steps that transpose, in tiles; `tiles.hpp` has the other steps.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/core/units.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/detail/convert.hpp>
#include <allot/load/detail/tiles.hpp>
#include <allot/load/plan/plan.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace allot::load::detail {

/// Some rows and columns of one of the file's matrices; without rows, the zeros after the columns.
struct TransposedTile {
  const Step* step;
  std::uint64_t at;          // the first byte, of the step's in the arena
  std::uint64_t bytes;       // in the arena
  std::uint64_t slot_bytes;  // that it takes in a slot
  std::uint64_t matrix;
  std::uint64_t first_row;
  std::uint64_t rows;
  std::uint64_t first_column;
  std::uint64_t columns;
};

/// A step that transposes, as tiles of at most `most_bytes`: some columns of many rows, so that
/// what goes to one place in the arena is long; whole blocks of columns, so that nothing is read
/// twice.
class TransposedTiling {
 public:
  /// Requires: as `Tiling`.
  template <class = void>
  TransposedTiling(const gguf::File& file, const Plan& plan, const Step& step,
                   std::uint64_t most_bytes)
      : step_{&step},
        most_bytes_{most_bytes},
        rows_{plan.items[step.item].shape.extent[0]},
        columns_{plan.items[step.item].shape.extent[1]},
        row_bytes_{plan.items[step.item].row_bytes},
        size_of_one_{gguf::type_info(plan.items[step.item].type).block_bytes} {
    const auto& extent = plan.items[step.item].shape.extent;
    const std::uint64_t usual_columns = most_bytes < 1 * MiB ? 256 : 1024;
    const std::uint64_t block =
        gguf::type_info(file.tensors()[plan.source_of(step.item)].type).block_elements;
    const std::uint64_t most_columns = larger<std::uint64_t>(1024, 64 * KiB / rows_);

    width_ = larger(block, smaller(usual_columns, most_bytes / size_of_one_) / block * block);
    const std::uint64_t whole = smaller(most_columns, most_bytes / (rows_ * size_of_one_));
    width_ = smaller(larger(width_, whole / block * block), columns_);
    height_ = smaller(rows_, most_bytes / (width_ * size_of_one_));
    parts_ = parts_of(rows_, height_) + (zeros() != 0 ? 1 : 0);
    size_ = extent[2] * extent[3] * parts_of(columns_, width_) * parts_;
  }

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

  /// Requires: `number` below `size()`.
  [[nodiscard]] TransposedTile operator[](std::uint64_t number) const noexcept {
    const std::uint64_t strips = parts_of(columns_, width_);
    const std::uint64_t strip = number / parts_;
    const std::uint64_t matrix = strip / strips;
    const std::uint64_t row = number % parts_ * height_;
    const std::uint64_t column = strip % strips * width_;
    const std::uint64_t columns = smaller(width_, columns_ - column);
    const std::uint64_t first = (matrix * columns_ + column) * row_bytes_;
    if (row >= rows_) {
      return {.step = step_,
              .at = first + rows_ * size_of_one_,
              .bytes = columns * zeros(),
              .slot_bytes = smaller(zeros(), most_bytes_),
              .matrix = matrix,
              .first_row = 0,
              .rows = 0,
              .first_column = column,
              .columns = columns};
    }
    const std::uint64_t rows = smaller(height_, rows_ - row);
    const std::uint64_t bytes = columns * rows * size_of_one_;
    return {.step = step_,
            .at = first + row * size_of_one_,
            .bytes = bytes,
            .slot_bytes = bytes,
            .matrix = matrix,
            .first_row = row,
            .rows = rows,
            .first_column = column,
            .columns = columns};
  }

 private:
  /// Returns the bytes after each of the columns.
  [[nodiscard]] std::uint64_t zeros() const noexcept { return row_bytes_ - rows_ * size_of_one_; }

  const Step* step_;
  std::uint64_t most_bytes_;
  std::uint64_t rows_;  // of the file's matrices
  std::uint64_t columns_;
  std::uint64_t row_bytes_;  // of a column in memory
  std::uint64_t size_of_one_;
  std::uint64_t width_;   // columns of a tile
  std::uint64_t height_;  // rows of a tile
  std::uint64_t parts_;   // of a strip of columns, one for the zeros
  std::uint64_t size_;
};

/// Writes a tile's columns, one every `column_bytes` from `out` on.
template <class Owner = void>
void transpose(const Conversion& conversion, const Plan& plan, const TransposedTile& tile,
               std::byte* out, std::uint64_t column_bytes) {
  const std::uint64_t size = gguf::type_info(conversion.to).block_bytes;
  const std::uint64_t block = gguf::type_info(conversion.from).block_elements;
  const auto& extent = plan.items[tile.step->item].shape.extent;
  const std::uint64_t units = tile.columns / block;
  const std::uint64_t before = tile.first_column / block * conversion.unit_from;
  DeferredVector<std::byte, Owner> values(
      static_cast<std::size_t>(smaller(scattered_rows, tile.rows) * tile.columns * size));
  const bool is_contiguous = tile.columns == extent[1] && conversion.has_rows_together();
  BlockReader reader{conversion};
  if (is_contiguous)
    reader.start(conversion.place_of_row(tile.matrix, tile.first_row),
                 tile.rows * conversion.file_row);
  for (std::uint64_t done = 0; done < tile.rows; done += scattered_rows) {
    const std::uint64_t rows = smaller(scattered_rows, tile.rows - done);
    if (is_contiguous) {
      convert_units(conversion, reader, rows * units, values.data());
    } else {
      for (std::uint64_t i = 0; i < rows; ++i) {
        reader.start(conversion.place_of_row(tile.matrix, tile.first_row + done + i) + before,
                     units * conversion.unit_from);
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

/// Makes a tile in a slot, column after column.
/// \param piece  has the file's bytes, if they are in memory already
template <class Owner = void>
void make_tile(const gguf::File& file, const Plan& plan, const TransposedTile& tile,
               DeferredSpan<std::byte, Owner> slot, FilePiece piece = {}) {
  const auto out = slot.first(static_cast<std::size_t>(tile.slot_bytes));
  if (tile.rows == 0) {
    std::memset(out.data(), 0, out.size());
  } else {
    transpose(Conversion{file, plan, *tile.step, piece}, plan, tile, out.data(),
              out.size() / tile.columns);
  }
}

/// Calls `copy(to, from, bytes)` for each run of a tile in the arena: `to` in bytes from the
/// arena's start, `from` from the slot's.
template <class Copy>
void each_run_of(const Plan& plan, const TransposedTile& tile, Copy&& copy) {
  const std::uint64_t first = tile.step->arena_offset + tile.at;
  const std::uint64_t row_bytes = plan.items[tile.step->item].row_bytes;
  if (tile.bytes == tile.columns * row_bytes) {
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
      copy(to + at, std::uint64_t{0}, smaller(tile.slot_bytes, piece - at));
  }
}

/// Makes a tile in place, in memory that the host addresses.
template <class Owner = void>
void make_tile_in_place(const gguf::File& file, const Plan& plan, const TransposedTile& tile,
                        std::byte* arena, FilePiece piece = {}) {
  if (tile.rows != 0) {
    transpose(Conversion{file, plan, *tile.step, piece}, plan, tile,
              arena + tile.step->arena_offset + tile.at, plan.items[tile.step->item].row_bytes);
    return;
  }
  each_run_of(plan, tile, [&](std::uint64_t to, std::uint64_t, std::uint64_t bytes) {
    std::memset(arena + to, 0, static_cast<std::size_t>(bytes));
  });
}

}  // namespace allot::load::detail
