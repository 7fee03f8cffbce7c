// SPDX-License-Identifier: MIT
/// \file
/// The tiles of a step that can be made from some of its bytes in the file: for bytes that come in
/// pieces, in any order.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/detail/convert.hpp>
#include <allot/load/detail/tiles.hpp>
#include <allot/load/detail/transposed_tiles.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/plan/shared_pieces.hpp>

#include <cstdint>

namespace allot::load::detail {

/// A place in a step's bytes in the file: of a row, how many of the bytes that the step takes come
/// before it.
struct RowPlace {
  std::uint64_t row;
  std::uint64_t bytes;

  RowPlace(const StepRange& range, std::uint64_t row_bytes, std::uint64_t offset) noexcept
      : row{(offset - range.begin) / row_bytes}, bytes{0} {
    const std::uint64_t in_row = (offset - range.begin) % row_bytes;
    const std::uint64_t part = range.has_columns() ? range.part : row_bytes;
    if (in_row <= range.first) return;
    bytes = in_row - range.first;
    if (bytes < part) return;
    ++row;
    bytes = 0;
  }
};

/// Calls `make(tile)` for all of a step that converts, from the bytes of the file from `begin` to
/// `end`. The zeros after a row come with its last byte.
template <class Make>
void each_converted_tile(const Conversion& conversion, const StepRange& range, const Step& step,
                         std::uint64_t begin, std::uint64_t end, std::uint64_t most_bytes,
                         Make&& make) {
  const auto place_of = [&](std::uint64_t offset) {
    const RowPlace place{range, conversion.file_row, offset};
    return place.row * conversion.row_bytes +
           place.bytes / conversion.unit_from * conversion.unit_to;
  };
  const std::uint64_t last = place_of(end);
  for (std::uint64_t at = place_of(begin); at < last;) {
    std::uint64_t next = last;
    if (last - at > most_bytes) {
      next = at + most_bytes;
      const std::uint64_t in_row = next % conversion.row_bytes;
      if (in_row < conversion.data_row) next -= in_row % conversion.unit_to;
    }
    make(Tile{&step, at, next - at});
    at = next;
  }
}

/// The same for a step that transposes; `each_zero_tile` has the zeros after its columns.
template <class Make>
void each_turned_tile(const gguf::File& file, const Plan& plan, const Conversion& conversion,
                      const StepRange& range, const Step& step, std::uint64_t begin,
                      std::uint64_t end, std::uint64_t most_bytes, Make&& make) {
  const Item& item = plan.items[step.item];
  const std::uint64_t rows = item.shape.extent[0];  // of each of the file's matrices
  const std::uint64_t columns = item.shape.extent[1];
  const std::uint64_t size = gguf::type_info(item.type).block_bytes;
  const std::uint64_t block =
      gguf::type_info(file.tensors()[plan.source_of(step.item)].type).block_elements;
  const std::uint64_t width =
      larger(block, smaller<std::uint64_t>(1024, most_bytes / size) / block * block);
  const auto make_rows = [&](std::uint64_t first, std::uint64_t count, std::uint64_t from,
                             std::uint64_t to) {
    while (count != 0 && from < to) {
      const std::uint64_t in_matrix = first % rows;
      const std::uint64_t wide = smaller(width, to - from);
      const std::uint64_t high = smaller(larger(std::uint64_t{1}, most_bytes / (wide * size)),
                                         smaller(count, rows - in_matrix));
      for (std::uint64_t column = from; column < to; column += width) {
        const std::uint64_t some = smaller(width, to - column);
        const std::uint64_t bytes = some * high * size;
        make(TransposedTile{
            .step = &step,
            .at = (first / rows * columns + column) * item.row_bytes + in_matrix * size,
            .bytes = bytes,
            .slot_bytes = bytes,
            .matrix = first / rows,
            .first_row = in_matrix,
            .rows = high,
            .first_column = column,
            .columns = some});
      }
      first += high;
      count -= high;
    }
  };
  // Of the file's rows, those that the step takes.
  const auto take_rows = [&](std::uint64_t first, std::uint64_t count, std::uint64_t from,
                             std::uint64_t to) {
    if (range.cut_rows == nullptr) return make_rows(first, count, from, to);
    const std::uint64_t end_matrix = smaller(parts_of(first + count, range.rows), range.matrices);
    range.each_range(first / range.rows, end_matrix,
                     [&](std::uint64_t taken, std::uint64_t some, std::uint64_t before) {
                       const std::uint64_t low = larger(first, taken);
                       const std::uint64_t high = smaller(first + count, taken + some);
                       if (low < high) make_rows(before + (low - taken), high - low, from, to);
                     });
  };
  RowPlace from{range, conversion.file_row, begin};
  const RowPlace to{range, conversion.file_row, end};
  const auto column_of = [&](std::uint64_t bytes) { return bytes / conversion.unit_from * block; };
  if (from.row == to.row) return take_rows(from.row, 1, column_of(from.bytes), column_of(to.bytes));
  if (from.bytes != 0) take_rows(from.row++, 1, column_of(from.bytes), columns);
  take_rows(from.row, to.row - from.row, 0, columns);
  take_rows(to.row, 1, 0, column_of(to.bytes));
}

/// Calls `make(tile)` for all of a step that transforms that can be made from bytes of the
/// file: at least those from `begin` to `end`.
/// \param most_bytes  the most in a tile: at least a block of any type, converted to any other
template <class Make>
void each_tile_of_piece(const gguf::File& file, const Plan& plan, const Step& step,
                        std::uint64_t begin, std::uint64_t end, std::uint64_t most_bytes,
                        Make&& make) {
  const StepRange range{file, plan, step};
  const Conversion conversion{file, plan, step};
  if (step.transform == Transform::transpose) {
    each_turned_tile(file, plan, conversion, range, step, begin, end, most_bytes, make);
  } else {
    each_converted_tile(conversion, range, step, begin, end, most_bytes, make);
  }
}

/// Calls `make(tile)` for those of a step's tiles that are made from nothing: zeros.
template <class Make>
void each_zero_tile(const gguf::File& file, const Plan& plan, const Step& step,
                    std::uint64_t most_bytes, Make&& make) {
  if (step.arena_bytes == 0) return;
  if (step.transform == Transform::zero) {
    const Tiling tiles{file, plan, step, most_bytes};
    for (std::uint64_t i = 0; i < tiles.size(); ++i) make(tiles[i]);
  } else if (step.transform == Transform::transpose) {
    const TransposedTiling tiles{file, plan, step, most_bytes};
    for (std::uint64_t i = 0; i < tiles.size(); ++i) {
      const TransposedTile tile = tiles[i];
      if (tile.rows == 0) make(tile);
    }
  }
}

}  // namespace allot::load::detail
