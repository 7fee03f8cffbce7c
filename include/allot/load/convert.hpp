// SPDX-License-Identifier: MIT
/// \file
/// Makes the bytes of steps that transform: reads their part of the file, and writes what the arena
/// is to hold. Any part of a step can be made on its own, by any thread, in memory of any size.
#pragma once

#include <allot/core/units.hpp>
#include <allot/gguf/byte_order.hpp>
#include <allot/gguf/dequantize.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/plan_data.hpp>
#include <allot/load/steps.hpp>
#include <allot/load/transform.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

namespace allot::load::detail {

/// What a step that transforms does to one tensor. Sizes in bytes.
struct Conversion {
  const gguf::Shard* shard;
  gguf::TensorType from;
  gguf::TensorType to;
  bool swapped;
  std::uint64_t file_offset;
  std::uint64_t file_row;   // of a row in the file
  std::uint64_t data_row;   // of a row in memory
  std::uint64_t row_bytes;  // with the zeros behind it
  std::uint64_t unit_from;  // the fewest that can be converted
  std::uint64_t unit_to;    // what they become

  /// Requires: `check_step` found the step right.
  Conversion(const gguf::File& file, const Plan& plan, const Step& step)
      : shard{&file.shards()[step.shard]},
        from{file.tensors()[step.item].type},
        to{plan.items[step.item].type},
        swapped{is_swapped(file, file.tensors()[step.item])},
        file_offset{step.file_offset},
        row_bytes{plan.items[step.item].row_bytes} {
    const gguf::TensorInfo& tensor = file.tensors()[step.item];
    const gguf::TypeInfo type = gguf::type_info(from);
    file_row = bytes_of_row(from, tensor.shape.extent[0]);
    data_row = bytes_of_row(to, plan.items[step.item].shape.extent[0]);
    unit_from = type.block_bytes;
    unit_to = from == to ? type.block_bytes : bytes_of_row(to, type.block_elements);
    if (step.transform == Transform::convert && data_row == row_bytes) {
      file_row = step.bytes;  // nothing between rows: all of them are one
      data_row = row_bytes = step.arena_bytes;
    }
  }
};

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

/// A step that transforms, as tiles of at most `most_bytes`. Each is worked out when it is asked for:
/// tensors of a great many tiny matrices take no memory for their tiles.
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

/// Values of whole blocks in their type in memory. `to` need not be aligned.
inline void decode(const Conversion& conversion, std::span<const std::byte> blocks, std::byte* to,
                   std::uint64_t elements) {
  const auto count = static_cast<std::size_t>(elements);
  const auto into = [&]<class T>(T) {
    if (reinterpret_cast<std::uintptr_t>(to) % alignof(T) == 0) {
      gguf::dequantize(conversion.from, blocks, std::span{reinterpret_cast<T*>(to), count});
    } else {
      std::vector<T> values(count);
      gguf::dequantize(conversion.from, blocks, std::span{values});
      std::memcpy(to, values.data(), count * sizeof(T));
    }
  };
  switch (conversion.to) {
    case gguf::TensorType::F32:
      return into(float{});
    case gguf::TensorType::F16:
      return into(gguf::Float16{});
    default:
      return into(gguf::BFloat16{});
  }
}

/// Reads whole blocks one behind the other, in the machine's byte order, many at once: a row may be
/// short.
class BlockReader {
 public:
  explicit BlockReader(const Conversion& conversion) noexcept : conversion_{conversion} {}

  /// Goes to `offset` of the file, to read `bytes`.
  void start(std::uint64_t offset, std::uint64_t bytes) noexcept {
    offset_ = offset;
    left_ = bytes;
    rest_ = {};
  }

  /// The next bytes, at most so many.
  [[nodiscard]] std::span<const std::byte> next(std::uint64_t most) {
    if (rest_.empty()) {
      const std::uint64_t room = buffer_.size() / conversion_.unit_from * conversion_.unit_from;
      const auto read = std::span{buffer_}.first(static_cast<std::size_t>(std::min(room, left_)));
      conversion_.shard->read(offset_, read);
      if (conversion_.swapped) gguf::swap_byte_order(conversion_.from, read);
      offset_ += read.size();
      left_ -= read.size();
      rest_ = read;
    }
    const auto given = rest_.first(std::min(rest_.size(), static_cast<std::size_t>(most)));
    rest_ = rest_.subspan(given.size());
    return given;
  }

 private:
  const Conversion& conversion_;
  std::uint64_t offset_ = 0;
  std::uint64_t left_ = 0;
  std::span<const std::byte> rest_{};
  std::array<std::byte, 64 * KiB> buffer_;
};

/// Writes what the next units of the file become.
inline void convert_units(const Conversion& conversion, BlockReader& reader, std::uint64_t units,
                          std::byte* to) {
  const std::uint64_t elements = gguf::type_info(conversion.from).block_elements;
  while (units != 0) {
    const std::span<const std::byte> blocks = reader.next(units * conversion.unit_from);
    const std::uint64_t count = blocks.size() / conversion.unit_from;
    if (conversion.from == conversion.to) {
      std::memcpy(to, blocks.data(), blocks.size());
    } else {
      decode(conversion, blocks, to, count * elements);
    }
    to += count * conversion.unit_to;
    units -= count;
  }
}

/// Makes `out`, the step's bytes in the arena from `at` on.
inline void convert(const Conversion& conversion, std::uint64_t at, std::span<std::byte> out) {
  const auto offset_of = [&](std::uint64_t place) {
    const std::uint64_t in_row = std::min(place % conversion.row_bytes, conversion.data_row);
    return conversion.file_offset + place / conversion.row_bytes * conversion.file_row +
           in_row / conversion.unit_to * conversion.unit_from;
  };
  BlockReader reader{conversion};
  reader.start(offset_of(at), offset_of(at + out.size()) - offset_of(at));
  while (!out.empty()) {
    const std::uint64_t in_row = at % conversion.row_bytes;
    std::uint64_t bytes = std::min<std::uint64_t>(out.size(), conversion.row_bytes - in_row);
    if (in_row < conversion.data_row) {
      bytes = std::min(bytes, conversion.data_row - in_row);
      convert_units(conversion, reader, bytes / conversion.unit_to, out.data());
    } else {
      std::memset(out.data(), 0, static_cast<std::size_t>(bytes));
    }
    out = out.subspan(static_cast<std::size_t>(bytes));
    at += bytes;
  }
}

inline constexpr std::uint64_t scattered_rows = 32;

/// Makes columns of rows, through a small square: each cache line is read once and written whole.
/// Requires: at most `scattered_rows` rows.
template <std::size_t Size>
void scatter(const std::byte* from, std::uint64_t rows, std::uint64_t columns, std::byte* to,
             std::uint64_t column_bytes) {
  constexpr std::uint64_t some = 64 / Size;
  std::array<std::byte, some * scattered_rows * Size> square;
  for (std::uint64_t first = 0; first < columns; first += some) {
    const std::uint64_t count = std::min(some, columns - first);
    for (std::uint64_t row = 0; row < rows; ++row) {
      const std::byte* const line = from + (row * columns + first) * Size;
      for (std::uint64_t i = 0; i < count; ++i)
        std::memcpy(square.data() + (i * scattered_rows + row) * Size, line + i * Size, Size);
    }
    for (std::uint64_t i = 0; i < count; ++i) {
      std::memcpy(to + (first + i) * column_bytes, square.data() + i * scattered_rows * Size,
                  static_cast<std::size_t>(rows * Size));
    }
  }
}

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
